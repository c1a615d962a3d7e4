# Sourced by the scripts: make .venv if missing and install kcompress in it with the given extras, once per change
# of pyproject.toml. Usage: . scripts/_venv.sh EXTRA,EXTRA
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
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
    cp pyproject.toml "$stamp"
fi
