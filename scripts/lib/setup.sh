# Shared set-up of the scripts; to be sourced. Each step reports what it does and runs only once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

say() { printf '== %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root: $*"
        return 1
    fi
}

# need PROGRAM PACKAGE: installs the Debian package PACKAGE if PROGRAM is missing.
need() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null && return
    say "installing $2 (for $1)"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
}

# venv FOLDER LOCK [OPTION...]: a virtual environment with the packages of LOCK and this project.
venv() {
    local folder=$1 lock=$2
    shift 2
    [ -n "${PYTHON:-}" ] || need python3 python3
    local python=${PYTHON:-python3}
    local stamp
    stamp=$(cat "$lock" pyproject.toml <("$python" -V) | sha256sum)
    if [ "$(cat "$folder/stamp" 2>/dev/null || true)" != "$stamp" ]; then
        "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || {
            say "Senyum needs Python 3.11 to 3.13; $python is $("$python" -V). Set PYTHON=…"
            return 2
        }
        "$python" -c 'import ensurepip' 2>/dev/null || need no-such-program python3-venv
        say "setting up $folder (about half a minute)"
        rm -rf "$folder"
        "$python" -m venv "$@" "$folder"
        "$folder/bin/pip" install -q --require-hashes --no-deps -r "$lock" >&2
        "$folder/bin/pip" install -q --no-deps --no-build-isolation -e . >&2
        "$folder/bin/senyum" --version >/dev/null
        echo "$stamp" >"$folder/stamp"
    fi
}
