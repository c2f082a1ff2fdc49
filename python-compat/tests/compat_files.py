"""Files and observations that the tests of `ckpt.compat` share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Payload:
    """Leaves a file behind when its pickle is executed."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (os.mkdir, (str(self.witness),))


def torch_file(path: Path, value: Any = None) -> Path:
    """Writes a file with the real `torch.save`, as scripts of before do."""
    torch.save({"data": torch.arange(24.0), "version": "1.0", "status": "complete"} if value is None else value, path)
    return path


def flipped(path: Path, at: int, target: Path) -> Path:
    """Copies a file with one bit changed."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    target.write_bytes(data)
    return target


def offset_of(path: Path, tensor: torch.Tensor) -> int:
    """Returns where a tensor's bytes lie in a file."""
    at = path.read_bytes().find(tensor.numpy().tobytes())
    assert at >= 0, "the tensor isn't in the file"
    return at


def names(directory: Path) -> list[str]:
    """Lists everything in a directory, hidden files included."""
    return sorted(os.listdir(directory))


def contents(directory: Path) -> dict[str, bytes]:
    """Reads everything in a directory."""
    return {name: (directory / name).read_bytes() for name in names(directory)}


def huge_file(path: Path, **fields: Any) -> Path:
    """Makes a checkpoint of 4 GiB that takes a few KiB on the disk: nobody writes the tensor's bytes."""
    with torch.serialization.skip_data():
        torch.save({"data": torch.empty(1 << 30), **fields}, path)
    assert path.stat().st_size > 4 << 30
    return path


def bytes_read(work: Callable[[], object]) -> int:
    """Returns how many bytes this process asked the system for while it did the work."""

    def so_far() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])

    before = so_far()
    work()
    return so_far() - before
