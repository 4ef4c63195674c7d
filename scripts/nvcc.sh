#!/usr/bin/env bash
# Puts the pinned CUDA compiler into .tools/cuda (from its Python wheels: no root, no GPU, no CUDA
# installation); silent when it is there. build.rs looks for it there.
set -euo pipefail
cd "$(dirname "$0")/.."

# Seen to work together with gcc 12. The disassemblers are for the compile gates.
PINS='nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
nvidia-cuda-cuobjdump==13.5.37 nvidia-cuda-nvdisasm==13.5.37'

wheels=.tools/cuda-wheels
if [ -x .tools/cuda/bin/nvcc ] && [ "$(cat $wheels/pins 2>/dev/null)" = "$PINS" ]; then
    exit 0
fi

fail() {
    echo "error: $1" >&2
    echo "  fix: $2" >&2
    exit 1
}
command -v python3 >/dev/null 2>&1 ||
    fail "no python3: the CUDA compiler comes as Python wheels" \
        "install python3 with pip, or a CUDA toolkit (12.4 or newer), and set NVCC to its nvcc"

echo "setup: putting the CUDA compiler into .tools/cuda (about 300 MB)" >&2
rm -rf $wheels .tools/cuda
mkdir -p .tools
install() { "$1" -m pip install --quiet --disable-pip-version-check --no-deps --target $wheels $PINS; }
if ! install python3 2>/dev/null >&2; then
    # Some systems have venv but no pip outside it.
    python3 -m venv .tools/venv >&2 && install .tools/venv/bin/python >&2 ||
        fail "pip could not install the CUDA compiler's wheels" \
            "check that pip reaches its index, or set NVCC to the nvcc of a CUDA toolkit"
fi
ln -s cuda-wheels/nvidia/cu13 .tools/cuda
.tools/cuda/bin/nvcc --version >/dev/null ||
    fail "the installed nvcc does not run on this machine" \
        "install a CUDA toolkit (12.4 or newer) and set NVCC to its nvcc"
printf '%s' "$PINS" >$wheels/pins
