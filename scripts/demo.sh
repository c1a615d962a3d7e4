#!/usr/bin/env bash
# What the tool is for, on a trained ResNet-8: four smaller files, and a table of all. They go to kcompress-demo/.
set -euo pipefail
. "$(dirname "$0")/_venv.sh" tensorflow
.venv/bin/kcompress demo "${1:-kcompress-demo}"
