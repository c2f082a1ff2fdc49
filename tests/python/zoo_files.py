"""The files of the zoo whose shape, not whose object, is the point."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.serialization import config

from zoo_objects import bits, dtypes
from zoo_values import OBJECTS

Row = tuple[Path, str, str]
"""A file, its format's name, and what is special about it."""


def state() -> dict[str, Any]:
    """Return a small state with several storages."""
    return {
        "w": torch.arange(12, dtype=torch.float32).reshape(3, 4),
        "h": torch.arange(5, dtype=torch.float16),
        "i": torch.arange(3),
        "step": 7,
    }


def saved(value: Any, path: Path, note: str, **options: Any) -> Row:
    """Save with PyTorch."""
    torch.save(value, path, **options)
    legacy = options.get("_use_new_zipfile_serialization") is False
    return path, "torch-legacy" if legacy else "torch-zip", note


def stems(out: Path) -> Iterator[Row]:
    """Write archives whose top folder, the file's stem, has every length from 1 to 40."""
    for length in range(1, 41):
        yield saved(state(), out / f"{'s' * length}.pt", f"a top folder of {length} characters")
    for stem in ("my.ckpt.v1", "with space", "modèle-重み", "-dash", ".hidden"):
        yield saved(state(), out / f"{stem}.pt", "an unusual file name")


def suffixes(out: Path) -> Iterator[Row]:
    """Write the same state under each name that people give it."""
    for name in ("a.pth", "pytorch_model.bin", "last.ckpt", "noend"):
        yield saved(state(), out / name, "another suffix")
    buffer = io.BytesIO()
    torch.save(state(), buffer)
    path = out / "from_buffer.pt"
    path.write_bytes(buffer.getvalue())
    yield path, "torch-zip", "saved to a file object: the top folder is archive/"


def protocols(out: Path) -> Iterator[Row]:
    """Write the pickle protocols that PyTorch's reader refuses, with and without tensors."""
    plain = {"step": 7, "name": "x", "list": [1, 2.5, None, True], "t": (1, 2), "b": b"\x00z"}
    for number in (0, 1, 3, 4, 5):
        for legacy in (False, True):
            tag = f"protocol_{number}{'_legacy' if legacy else ''}"
            options = {"pickle_protocol": number, "_use_new_zipfile_serialization": not legacy}
            yield saved(plain, out / f"{tag}_plain.pt", f"protocol {number}, no tensor", **options)
            lossy = "; protocol 0 can't hold storages" if number == 0 else ""
            note = f"protocol {number}{lossy}"
            yield saved(state(), out / f"{tag}.pt", note, **options)


def options(out: Path) -> Iterator[Row]:
    """Write with each of torch.save's own switches."""
    with config.patch("save.compute_crc32", False):
        yield saved(state(), out / "no_crc.pt", "checksums switched off: every CRC is 0")
    for size in (1, 4096):
        with config.patch("save.storage_alignment", size):
            yield saved(state(), out / f"aligned_{size}.pt", f"storages at multiples of {size}")
    with torch.serialization.skip_data():
        yield saved(state(), out / "skip_data.pt", "holes instead of data, CRC 0")
    path = out / "no_byteorder.pt"
    yield saved(state(), path, "no byteorder record", _disable_byteorder_record=True)
    with mock.patch.object(torch.serialization, "location_tag", lambda _: "cuda:0"):
        yield saved(state(), out / "cuda.pt", "storages tagged cuda:0")
        path = out / "cuda_legacy.pt"
        yield saved(state(), path, "tagged cuda:0", _use_new_zipfile_serialization=False)


def swapped(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose memory is as on a big-endian machine."""
    copy = tensor.clone()
    copy.untyped_storage().byteswap(copy.dtype)
    return copy


def save_big_endian(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Save as PyTorch does on a big-endian machine."""
    memory = {name: swapped(tensor) for name, tensor in tensors.items()}
    with mock.patch.object(sys, "byteorder", "big"):
        torch.save(memory, path)


def big_endian(out: Path) -> Iterator[Row]:
    """Write big-endian archives."""
    new = torch.storage._new_dtypes()
    typed = {str(d): bits(d) for d in dtypes() if d not in new}
    save_big_endian(typed, out / "typed.pt")
    yield out / "typed.pt", "torch-zip", "big-endian, typed storages"
    untyped = {str(d): bits(d) for d in dtypes() if d in new and "bits" not in str(d)}
    save_big_endian(untyped, out / "untyped.pt")
    note = "big-endian, untyped storages: PyTorch doesn't swap them back"
    yield out / "untyped.pt", "torch-zip", note


def members(path: Path) -> dict[str, bytes]:
    """Return an archive's records in order."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(records: dict[str, bytes], path: Path, method: int = zipfile.ZIP_STORED) -> None:
    """Write records with Python's own ZIP writer."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)


def rezipped(out: Path) -> Iterator[Row]:
    """Write archives that other programs made from PyTorch's."""
    source, _, _ = saved(state(), out / "source.pt", "")
    records = members(source)
    rezip(records, out / "stored.pt")
    yield out / "stored.pt", "torch-zip", "written by Python's zipfile"
    rezip(records, out / "deflated.pt", zipfile.ZIP_DEFLATED)
    yield out / "deflated.pt", "torch-zip", "compressed: loads, but not mapped"
    rezip(records, out / "bzip2.pt", zipfile.ZIP_BZIP2)
    yield out / "bzip2.pt", "torch-zip", "a method that PyTorch doesn't know"
    needed = ("data.pkl", "version")
    least = {n: c for n, c in records.items() if n.split("/", 1)[1] in needed or "/data/" in n}
    rezip(least, out / "least.pt")
    yield out / "least.pt", "torch-zip", "the least that PyTorch takes"
    source.unlink()


def broken_save(out: Path) -> Iterator[Row]:
    """Write what torch.save leaves behind when the object can't be pickled."""
    path = out / "half.pt"
    with contextlib.suppress(AttributeError, pickle.PicklingError):
        torch.save({"w": torch.ones(3), "f": lambda: None}, path)
    yield path, "torch-zip", "a failed torch.save: a sound archive without data.pkl"


def safetensors(out: Path) -> Iterator[Row]:
    """Write a safetensors file per dtype, and some special ones."""
    for dtype in dtypes():
        path = out / f"{str(dtype).removeprefix('torch.')}.safetensors"
        flat = bits(dtype)
        # A KeyError: safetensors has no name for the dtype.
        with contextlib.suppress(KeyError):
            save_file({"flat": flat, "matrix": flat.clone().view(4, 6)}, path)
            yield path, "safetensors", "one dtype"
    special = {
        "empty": ({}, None),
        "metadata": ({"w": torch.ones(2)}, {"format": "pt", "ü": "重み"}),
        "zero_size": ({"a": torch.ones(2), "b": torch.empty(0, 3), "c": torch.ones(1)}, None),
        "names": ({"": torch.ones(1), "a.b": torch.ones(2), "重み": torch.ones(3)}, None),
    }
    for name, (tensors, metadata) in special.items():
        path = out / f"{name}.safetensors"
        save_file(tensors, path, metadata)
        yield path, "safetensors", "special contents"


def misnamed(out: Path) -> Iterator[Row]:
    """Write files whose name promises another format."""
    save_file({"w": torch.ones(3)}, out / "safetensors.pt")
    yield out / "safetensors.pt", "safetensors", "safetensors named .pt"
    torch.save(state(), out / "torch.safetensors")
    yield out / "torch.safetensors", "torch-zip", "a torch zip named .safetensors"


def numpy_files(out: Path) -> Iterator[Row]:
    """Write NumPy's own formats."""
    grid = np.arange(12, dtype="f4").reshape(3, 4)
    np.save(out / "a.npy", grid)
    yield out / "a.npy", "npy", ""
    np.save(out / "fortran.npy", np.asfortranarray(grid))
    yield out / "fortran.npy", "npy", "column-major"
    np.savez(out / "a.npz", w=grid, b=grid[0])
    yield out / "a.npz", "npz", ""
    np.savez_compressed(out / "packed.npz", w=grid)
    yield out / "packed.npz", "npz", "compressed"


def pickles(out: Path) -> Iterator[Row]:
    """Write raw pickles, which no PyTorch function reads."""
    for number in range(pickle.HIGHEST_PROTOCOL + 1):
        path = out / f"raw_{number}.pkl"
        path.write_bytes(pickle.dumps({"a": [1, 2.5, "x"]}, number))
        yield path, "pickle", f"a raw pickle, protocol {number}"


def scripts(out: Path) -> Iterator[Row]:
    """Write a TorchScript archive and a torch.export one."""
    module = torch.nn.Linear(3, 2).eval()
    torch.jit.save(torch.jit.trace(module, torch.ones(1, 3)), out / "script.pt")
    yield out / "script.pt", "torch-script", ""
    exported = torch.export.export(module, (torch.ones(1, 3),))
    torch.export.save(exported, out / "exported.pt2")
    yield out / "exported.pt2", "torch-export", ""


# A nested tensor's sizes are copied before the legacy reader has read them: PyTorch gets noise.
NOT_LEGACY = ("nested_strided",)


def objects(out: Path) -> Iterator[Row]:
    """Write each object of the zoo in both of PyTorch's formats."""
    for name, build in OBJECTS.items():
        for folder, zip_format in (("zip", True), ("legacy", False)):
            if name in NOT_LEGACY and not zip_format:
                continue
            path = out / folder / f"{name}.pt"
            path.parent.mkdir(exist_ok=True)
            yield saved(build(), path, name, _use_new_zipfile_serialization=zip_format)


FILES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "objects": objects,
    "stems": stems,
    "suffixes": suffixes,
    "protocols": protocols,
    "options": options,
    "big_endian": big_endian,
    "rezipped": rezipped,
    "broken_save": broken_save,
    "safetensors": safetensors,
    "misnamed": misnamed,
    "numpy": numpy_files,
    "pickles": pickles,
    "scripts": scripts,
}
