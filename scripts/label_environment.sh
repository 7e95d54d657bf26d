# Sourced by monai_label.sh and test.sh: makes .label-venv with MONAI Label and the package in it, again only if its
# requirements have changed.
# Usage: source scripts/label_environment.sh; make_label_environment [full|beside]
#   full    everything by pip, as a user gets it
#   beside  torch and other packages are taken from .venv, which must exist: some 20 s instead of minutes, for the tests

make_label_environment() {
    local kind="${1:-full}" python="${PYTHON:-python3}" stamp=.label-venv/installed wanted
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed, found $("$python" --version 2>&1); set PYTHON to one" >&2
        return 2
    }
    wanted="$(cat setup.cfg pyproject.toml constraints.txt scripts/label_requirements.txt | cksum)"
    # a full environment serves the tests too, but never the other way round
    if [ -f "$stamp" ] && grep -qxF -e "$wanted full" -e "$wanted $kind" "$stamp"; then
        return 0
    fi
    rm -rf .label-venv
    build_label_environment "$kind" "$python" && echo "$wanted $kind" > "$stamp" && return 0
    rm -rf .label-venv # or half an environment would pass for a whole one
    return 2
}

build_label_environment() {
    local kind="$1" python="$2" packages
    "$python" -m venv .label-venv || return 2
    if [ "$kind" = beside ]; then
        packages="$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || return 2
        echo "$packages" > "$(.label-venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
    else
        echo "installing MONAI Label into .label-venv (torch alone is several GB; this takes some minutes)"
    fi
    .label-venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --requirement scripts/label_requirements.txt --editable ".[openvino]" || return 2
    .label-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps monailabel==0.8.5 || return 2
}
