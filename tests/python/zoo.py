"""Write a zoo of checkpoints with the real frameworks, and what those read back from it.

    python zoo.py OUTDIR

OUTDIR must be empty or missing. Beside the checkpoints it gets ``zoo.json``, a list of

    {"path":    relative to OUTDIR, a file or a directory,
     "kind":    the format's name in ckpt's reports; "json" for a directory's other files,
                broken_save/half.pt is torch-zip by what it was to become,
     "note":    what is special about it,
     "torch":   {"ok": bool, "error": null or "ExceptionType: first line"}, what
                torch.load(weights_only=True, map_location="cpu") or safetensors says;
                null for directories and JSON,
     "values":  the canonical dump (see dump.py) where ok, otherwise null,
     "trusted": where PyTorch's safe reader refuses one of its own formats: the dump of what its
                unsafe one reads, null where that fails too. The values of NumPy arrays are here.}

sorted by path. Everything is made on the CPU, without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from zoo_files import FILES, Row
from zoo_frameworks import FRAMEWORKS

HERE = Path(__file__).resolve().parent
TORCH_KINDS = ("torch-zip", "torch-legacy")

Answer = dict[str, Any]


def write(out: Path) -> list[Row]:
    """Write all checkpoints."""
    rows: list[Row] = []
    for name, make in (FILES | FRAMEWORKS).items():
        rows += make(out / name)
    return sorted(rows, key=lambda row: row[0].as_posix())


def ask(paths: list[Path], *flags: str) -> dict[Path, Answer]:
    """Return the oracle's answers, from a process that has imported nothing but PyTorch."""
    names = "\n".join(map(str, paths))
    command = [sys.executable, str(HERE / "dump.py"), "--list", "/dev/stdin", *flags]
    done = subprocess.run(command, input=names, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(paths, answers, strict=True))


def describe(out: Path, row: Row, safe: dict[Path, Answer], trusted: dict[Path, Answer]) -> Answer:
    """Return the entry of one checkpoint."""
    path, kind, note = row
    answer = safe.get(path)
    return {
        "path": path.relative_to(out).as_posix(),
        "kind": kind,
        "note": note,
        "torch": answer and {"ok": answer["ok"], "error": answer["error"]},
        "values": answer and answer["values"],
        "trusted": trusted[path]["values"] if path in trusted else None,
    }


def catalogue(out: Path, rows: list[Row]) -> list[Answer]:
    """Return the entries of all checkpoints."""
    safe = ask([path for path, kind, _ in rows if path.is_file() and kind != "json"])
    refused = [path for path, kind, _ in rows if kind in TORCH_KINDS and not safe[path]["ok"]]
    trusted = ask(refused, "--trust")
    return [describe(out, row, safe, trusted) for row in rows]


def main() -> None:
    """Write the zoo."""
    if len(sys.argv) != 2:
        sys.exit("usage: zoo.py OUTDIR")
    out = Path(sys.argv[1]).resolve()
    if out.exists() and any(out.iterdir()):
        sys.exit(f"zoo: {out} is not empty")
    warnings.simplefilter("ignore")
    for name in FILES | FRAMEWORKS:
        (out / name).mkdir(parents=True)
    entries = catalogue(out, write(out))
    text = json.dumps(entries, indent=None, separators=(",", ":"))
    (out / "zoo.json").write_text(text + "\n", encoding="utf-8")
    loads = sum(bool(e["torch"] and e["torch"]["ok"]) for e in entries)
    print(f"zoo: {len(entries)} checkpoints, of which PyTorch or safetensors loads {loads}")


if __name__ == "__main__":
    main()
