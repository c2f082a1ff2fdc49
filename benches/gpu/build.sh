#!/usr/bin/env bash
# Builds the benchmark for the PyTorch of another machine: benches/gpu/build.sh PYTHON [TCH [OUT]]
#
#   PYTHON  a Python that has the same PyTorch version as that machine
#   TCH     the tch that fits it: 0.26.0 (PyTorch 2.13, default), 0.25.0 (2.12), 0.24.0 (2.11)
#   OUT     where the binary goes; default: gpu-TCH
#
# Works on a copy of what Git has: the lock file of this one stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${1:?PYTHON is missing: the one whose libtorch is built against}
version=${2:-0.26.0}
out=$(realpath "${3:-gpu-$version}")
bin=$(cd "$(dirname "$python")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

git ls-files -z | xargs -0 cp --parents -t "$copy"
target=${CARGO_TARGET_DIR:-$PWD/target}/gpu-$version
cd "$copy"
cargo update --quiet -p tch --precise "$version"
LIBTORCH_USE_PYTORCH=1 PATH="$bin:$PATH" CARGO_TARGET_DIR=$target \
    cargo build --quiet --release --no-default-features --features tch --example gpu
cp "$target/release/examples/gpu" "$out"
printf '%s\n' "$out"
