# Sourced by test.sh: the Debian programs that tests talk to. Without them, and without the right to install them, those
# tests are skipped with a reason.

install_system_packages() {
    local wanted=(chromium orthanc orthanc-dicomweb dcmtk dicom3tools plastimatch) missing=() package
    command -v dpkg-query > /dev/null || return 0
    for package in "${wanted[@]}"; do
        dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "not root, so tests that need these Debian packages will be skipped: ${missing[*]}"
        return 0
    fi
    echo "installing from Debian: ${missing[*]}"
    { apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
        --no-install-recommends "${missing[@]}"; } > /tmp/system_packages.log 2>&1 \
        || echo "could not install them (see /tmp/system_packages.log): their tests will be skipped"
}

# OHIF's own reader of DICOM SEG, for the round trips.
install_cornerstone3d() {
    local folder=tests/outputs/cornerstone3d
    [ ! -d "$folder/node_modules/@cornerstonejs" ] || return 0
    if ! command -v npm > /dev/null; then
        echo "npm is not installed: tests that need Cornerstone3D will be skipped"
        return 0
    fi
    (cd "$folder" && npm install --no-audit --no-fund --no-package-lock --silent) \
        || echo "npm could not install Cornerstone3D: its tests will be skipped"
}
