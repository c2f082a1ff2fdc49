"""The README's example does what the README says."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import ckpt

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_the_example_prints_what_it_says(tmp_path: pathlib.Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    # The package that is tested, wherever it was imported from.
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(ckpt.__file__).parents[1])}
    for block in blocks:
        run = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        said = re.findall(r"^\s*print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert run.stdout.splitlines() == said
        assert run.stderr == ""
