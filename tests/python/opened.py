"""Open checkpoint files in every way that PyTorch has, and say whether all give the same.

Usage:

    python opened.py < LIST

Reads paths, one a line, and prints one JSON line per file, in the order given:

    {"path": PATH, "error": null, "values": [LEAF, ...]}
    {"path": PATH, "error": "what is wrong", "values": null}

A file is loaded with ``weights_only=True``, with ``weights_only=False`` (which EXECUTES it: this is
for files that the caller has just written), and both again with ``mmap=True``. The four dumps, as
``dump.py`` defines them, must be the same. Python's ``zipfile`` must find every checksum right, and the
first record must be the pickle.
"""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from typing import Any

import torch

import dump


def loaded(path: str, trust: bool, mapped: bool) -> list[dump.Leaf]:
    """Return the dump of what torch.load makes of a file."""
    values = torch.load(path, weights_only=not trust, mmap=mapped, map_location="cpu")
    return list(dump.leaves(values))


class Wrong(Exception):
    """A file that isn't as it should be."""


def check(path: str) -> list[dump.Leaf]:
    """Return what a file holds, when all ways agree."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise Wrong(f"zipfile: {damaged} hasn't its checksum")
        if archive.namelist()[0] != "archive/data.pkl":
            raise Wrong(f"zipfile: the first record is {archive.namelist()[0]}")
    first = loaded(path, False, False)
    for trust, mapped in [(True, False), (False, True), (True, True)]:
        if json.dumps(loaded(path, trust, mapped)) != json.dumps(first):
            raise Wrong(f"trust={trust}, mmap={mapped} gives other values")
    return first


def main() -> None:
    """Print one JSON line per file."""
    warnings.simplefilter("ignore")
    for path in sys.stdin.read().splitlines():
        answer: dict[str, Any] = {"path": path, "error": None, "values": None}
        try:
            answer["values"] = check(path)
        except Exception as raised:  # noqa: BLE001 - any exception is an answer here
            answer["error"] = dump.first_line(raised)
        print(json.dumps(answer, separators=(",", ":")))


if __name__ == "__main__":
    main()
