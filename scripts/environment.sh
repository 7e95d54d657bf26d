# Sourced by quickstart.sh and test.sh: makes .venv with the package in it, again only if its requirements have changed.
# Usage: source scripts/environment.sh [extra,...]

source "$(dirname "${BASH_SOURCE[0]}")/fetch_niivue.sh"

make_environment() {
    local extras="$1" python="${PYTHON:-python3}" stamp wanted
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed, found $("$python" --version 2>&1); set PYTHON to one" >&2
        return 2
    }
    wanted="$(cat setup.cfg pyproject.toml constraints.txt | cksum) $extras"
    stamp=.venv/installed
    if [ -f "$stamp" ] && grep -qxF "$wanted" "$stamp"; then
        fetch_niivue
        return 0
    fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 2
    echo "installing into .venv (torch alone is several GB; this takes some minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable ".${extras:+[$extras]}" || return 2
    echo "$wanted" >> "$stamp"
    fetch_niivue
}
