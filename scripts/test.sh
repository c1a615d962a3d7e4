#!/usr/bin/env bash
# Install the test needs and run the whole suite; arguments go to pytest, such as: bash scripts/test.sh -k magnitude
set -euo pipefail
. "$(dirname "$0")/_venv.sh" tensorflow,jax,search,report,ray,data,dev
.venv/bin/python -m pytest -n 2 --dist worksteal "$@"
