#!/usr/bin/env bash
# Distils ResNet-8 at half its multiply-adds on an NVIDIA GPU, beside plain fit: images per second, memory, accuracy.
#
#   bash scripts/bench/gpu.sh pack   where there is a network: wheels of kcompress, Keras and what they need, in wheels/
#   bash scripts/bench/gpu.sh        where there is a GPU: Python 3.11 to 3.13 with JAX for CUDA; no TensorFlow
#
# PYTHON_VERSION and EPOCHS, BATCH may be set.
set -euo pipefail
cd "$(dirname "$0")/../.."
wheels=${WHEELS:-wheels}
if [ "${1:-}" = pack ]; then
    python3 -m pip wheel -q --no-deps -w "$wheels" .
    python3 -m pip download -q --only-binary=:all: --python-version "${PYTHON_VERSION:-3.12}" --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
        -d "$wheels" "keras>=3.15" "numpy>=2.0" "h5py>=3.11" "click>=8.1" "rich>=13.7" "pydantic>=2.9" "pyyaml>=6.0"
    rm -f "$wheels"/numpy-*.whl "$wheels"/ml_dtypes-*.whl  # come with JAX
    exit
fi
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
export PYTHONPATH=$site KERAS_BACKEND=jax XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONWARNINGS=ignore
python3 -c "import jax; print(jax.devices()[0].device_kind, 'jax', jax.__version__)"
for what in fit finetune distill pruned quantized; do
    python3 scripts/bench/_gpu.py "$what" "${EPOCHS:-10}" "${BATCH:-256}"
done
