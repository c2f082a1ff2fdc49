"""Read the shards of an extraction as anybody would who hasn't ckpt.

Usage:

    python shards.py PAGE < LIST

Reads paths, one a line, and prints one JSON line per shard, in the order given:

    {"ids": [TEXT, ...], "shape": [NUMBER, ...], "rows": "HEX"}

A ``.pt`` is loaded with ``weights_only=True``. A ``.safetensors`` is read with the lines of Python that PAGE
(``docs/features.md``) shows for it, the file's name apart.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import torch


def as_the_page_says(page: str, path: str) -> tuple[list[str], torch.Tensor]:
    """Run the page's lines on a file."""
    with open(page, encoding="utf-8") as file:
        lines = file.read().split("```python\n")[1].split("```")[0]
    os.chdir(os.path.dirname(path))
    names: dict[str, Any] = {}
    exec(lines.replace("batch_0.safetensors", os.path.basename(path)), names)  # noqa: S102 - the page's own lines
    return names["ids"], names["rows"]


def main() -> None:
    """Print one JSON line per shard."""
    page = os.path.abspath(sys.argv[1])
    for path in sys.stdin.read().splitlines():
        if path.endswith(".pt"):
            shard = torch.load(path, weights_only=True)
            ids, rows = shard["ids"], shard["data"]
        else:
            ids, rows = as_the_page_says(page, path)
        data = bytes(rows.contiguous().view(torch.uint8).numpy()).hex()
        print(json.dumps({"ids": ids, "shape": list(rows.shape), "rows": data}))


if __name__ == "__main__":
    main()
