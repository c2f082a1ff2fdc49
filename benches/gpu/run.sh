#!/usr/bin/env bash
# Runs the benchmark with the libtorch of a Python's PyTorch: run.sh PYTHON BINARY [OPTIONS]
set -euo pipefail
python=${1:?PYTHON is missing: the one that has PyTorch}
binary=${2:?BINARY is missing: what build.sh made}
shift 2
lib=$("$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')
"$python" -c 'import torch; print("PyTorch", torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "without CUDA")'
LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$binary" "$@"
