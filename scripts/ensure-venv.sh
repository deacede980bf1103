#!/bin/sh
# Make a virtual environment with pip in it. Usage: ensure-venv.sh PYTHON DIRECTORY
# Debian and Ubuntu keep what `python -m venv` needs in a package of its own.
set -eu
python=$1
directory=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "jobctl needs Python 3.11 or later and $python is $("$python" -V 2>&1);" \
        "name another one: make PYTHON=python3.12 ..." >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -qy --no-install-recommends python3-venv
    else
        echo "$python can't make virtual environments; install the package python3-venv:" \
            "sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
exec "$python" -m venv "$directory"
