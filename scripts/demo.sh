#!/usr/bin/env bash
# The main job on the embedded fixtures: compress trained models, print the reports. Files go to kcompress-demo/.
set -euo pipefail
. "$(dirname "$0")/_venv.sh" tensorflow
.venv/bin/kcompress demo "${1:-kcompress-demo}"
