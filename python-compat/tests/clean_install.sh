#!/usr/bin/env bash
# Installs a wheel into environments that know nothing else, as a user's machine without Rust, and uses it there.
#
#   clean_install.sh WHEEL PYTHON
#
# PYTHON has pip, and PyTorch: the second environment borrows it, because PyTorch is gigabytes to download.
set -euo pipefail
wheel=$(realpath "$1")
python=$(realpath --no-symlinks "$2")
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# Makes an environment with nothing but the wheel. PATH has no compiler that a user wouldn't have.
fresh() {
    "$python" -m venv --without-pip "$1"
    "$python" -m pip --disable-pip-version-check --quiet --python "$1/bin/python" \
        install --no-index --no-deps --ignore-installed "$wheel"
}

# Runs a program in an environment, with nothing of this one.
inside() {
    local environment=$1
    shift
    (cd "$place" && env -i PATH=/usr/bin:/bin HOME="$place" "$environment/bin/python" "$@")
}

fresh "$place/bare"
inside "$place/bare" - "$here/../../samples" <<'EOF'
import importlib.metadata
import importlib.util
import pathlib
import sys

import ckpt

assert importlib.util.find_spec("torch") is None, "this environment was to be without PyTorch"
assert pathlib.Path(ckpt.__file__).is_relative_to(sys.prefix), ckpt.__file__
samples = pathlib.Path(sys.argv[1])
verdicts = {report.path.stem: report.verdict for report in ckpt.verify_all(samples)}
assert verdicts == {name: name for name in ("valid", "corrupted", "incompatible")}, verdicts
assert len(ckpt.info(samples / "valid.pt").tensors) == 27
ckpt.save({"step": 3}, "plain.safetensors")
assert ckpt.load("plain.safetensors") == {"step": 3}
with ckpt.pipeline.Pipeline("pipeline.json", ["count"]) as pipeline:
    assert pipeline.run("count", lambda stage: stage.value("lines", 3)) == "done"

about = importlib.metadata.metadata("ckpt")
assert about["Version"] == ckpt.__version__, about["Version"]
assert about["License-Expression"] == "MIT OR Apache-2.0", about["License-Expression"]
assert about["Description-Content-Type"].startswith("text/markdown") and "ckpt.save" in about.get_payload()
assert set(about.get_all("Provides-Extra")) >= {"torch", "lightning", "transformers", "accelerate", "ignite"}
assert all("extra ==" in needed for needed in about.get_all("Requires-Dist")), "the package alone needs nothing"
shipped = {file.name for file in importlib.metadata.files("ckpt")}
assert {"LICENSE-MIT", "LICENSE-APACHE", "py.typed", "_native.pyi", "__init__.py"} <= shipped, shipped
EOF

fresh "$place/torch"
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$("$place/torch/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
inside "$place/torch" - "$here" "$place" <<'EOF'
import pathlib
import sys

import ckpt

assert pathlib.Path(ckpt.__file__).is_relative_to(sys.prefix), ckpt.__file__
sys.path.append(sys.argv[1])
import test_readme

test_readme.test_the_example_prints_what_it_says(pathlib.Path(sys.argv[2]))
EOF
echo "The wheel works where there is nothing else, and with PyTorch."
