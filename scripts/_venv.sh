# Sourced by the scripts: make .venv if missing and install kcompress in it with the given extras, once per change
# of pyproject.toml. What pip says is shown only if it fails. Usage: . scripts/_venv.sh EXTRA,EXTRA
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras=$1
python=${PYTHON:-python3}
if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
        { echo "kcompress needs Python 3.11 to 3.13; set PYTHON to one of them" >&2; exit 2; }
    "$python" -m venv .venv
fi
stamp=.venv/.installed-${extras//,/-}
if ! cmp -s pyproject.toml "$stamp"; then
    echo "installing kcompress[$extras] into .venv" >&2
    if ! said=$(.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" 2>&1); then
        echo "$said" >&2
        exit 1
    fi
    cp pyproject.toml "$stamp"
fi
