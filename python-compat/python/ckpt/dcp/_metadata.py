"""The metadata of a checkpoint: which items there are, and where.

It is the pickle that PyTorch's own reader takes. Here nothing of it is executed but the classes that DCP describes
items with.
"""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)

from .. import _native
from ..errors import CorruptedError, IncompatibleError

NAME = ".metadata"
"""The file, in the checkpoint's directory. Its seal is beside it."""

VERSION = "1.0.0"
"""The version of DCP's layout that is written."""

_CLASSES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "collections": {"OrderedDict"},
    # Where the checkpoint was, as PyTorch notes it.
    "pathlib": {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
    "pathlib._local": {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
}


class _Unpickler(pickle.Unpickler):
    """Knows DCP's own classes, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        if name not in _CLASSES.get(module, ()):
            raise _Foreign(f"{module}.{name}")
        if module.startswith("pathlib"):
            # Of another system's path, the text is enough.
            return _joined
        return super().find_class(module, name)


class _Foreign(Exception):
    """A global that no metadata needs."""


def _joined(*parts: str) -> str:
    return os.path.join(*parts) if parts else "."


@dataclass(frozen=True)
class Place:
    """Where an item is, and what proves it."""

    path: Path
    start: int
    end: int
    proof: str | None
    """The id of the proof that it carries; ``None`` where PyTorch wrote it."""
    digest: str | None
    """The digest of its bytes, where it carries no proof of ours."""


def load(path: Path) -> Metadata:
    """Reads a metadata file, held against its seal where it has one.

    Raises:
        CorruptedError: It isn't what was written, or no pickle.
        IncompatibleError: It is no metadata that this PyTorch knows; the message names what it asks for.
        OSError: It can't be read.
    """
    content, _ = _native.read_sealed(path)
    if not content:
        raise CorruptedError(path, "the metadata is empty: it was created, and nothing was written or kept")
    try:
        metadata = _Unpickler(io.BytesIO(content)).load()
    except _Foreign as error:
        raise IncompatibleError(path, f"the metadata asks for {error}, which is none of DCP's own classes") from None
    except Exception as error:
        raise CorruptedError(path, f"the metadata is no pickle, or a damaged one: {error}") from error
    _check(path, metadata)
    checked: Metadata = metadata
    return checked


def dump(metadata: Metadata) -> bytes:
    """Returns metadata as the file has it."""
    return pickle.dumps(metadata)


def _check(path: Path, metadata: Any) -> None:
    """Refuses what is no metadata, and one that lacks items of its own."""
    is_metadata = isinstance(metadata, Metadata) and isinstance(getattr(metadata, "state_dict_metadata", None), dict)
    if not is_metadata or not isinstance(getattr(metadata, "storage_data", None), dict):
        raise IncompatibleError(path, "it isn't the metadata of a distributed checkpoint")
    for index in indices(metadata):
        if index not in metadata.storage_data:
            raise CorruptedError(path, f"the metadata says nothing of where {named(index)} is")


def indices(metadata: Metadata) -> list[MetadataIndex]:
    """Lists the items that a checkpoint must have: each chunk of each tensor, and each other value.

    Raises:
        IncompatibleError: A value is of a kind that isn't known.
    """
    listed = []
    for fqn, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            listed += [MetadataIndex(fqn, chunk.offsets) for chunk in entry.chunks]
        elif isinstance(entry, BytesStorageMetadata):
            listed.append(MetadataIndex(fqn))
        else:
            raise IncompatibleError(None, f"'{fqn}' is of an unknown kind: {type(entry).__name__}")
    return listed


def chunk_of(metadata: Metadata, index: MetadataIndex) -> tuple[TensorStorageMetadata, ChunkStorageMetadata]:
    """Returns the tensor and the chunk of it that an index means.

    Raises:
        IncompatibleError: There is none.
    """
    entry = metadata.state_dict_metadata.get(index.fqn)
    if isinstance(entry, TensorStorageMetadata):
        hint = index.index
        if hint is not None and hint < len(entry.chunks) and entry.chunks[hint].offsets == index.offset:
            return entry, entry.chunks[hint]
        for chunk in entry.chunks:
            if index.offset is None or chunk.offsets == index.offset:
                return entry, chunk
    raise IncompatibleError(None, f"there is no tensor {named(index)}")


def info(relative_path: str, start: int, length: int, digest: str, is_proven: bool) -> _StorageInfo:
    """Makes the note of where an item is. PyTorch's reader passes over what it doesn't know."""
    noted = _StorageInfo(relative_path, start, length)
    noted.__dict__["ckpt_proof" if is_proven else "ckpt_digest"] = digest
    return noted


def place(directory: Path, noted: Any) -> Place:
    """Returns where an item is, from the note of it.

    Raises:
        CorruptedError: The note leads elsewhere than to a part of a file in the directory.
        IncompatibleError: The item was transformed by an extension.
    """
    name, start, length = noted.relative_path, noted.offset, noted.length
    is_plain = isinstance(name, str) and name not in ("", ".", "..") and not any(one in name for one in "/\\\0")
    if not is_plain or not isinstance(start, int) or not isinstance(length, int) or start < 0 or length < 0:
        raise CorruptedError(directory / NAME, f"the metadata leads to {name!r}, bytes {start} + {length}: no item")
    if getattr(noted, "transform_descriptors", None):
        how = noted.transform_descriptors
        raise IncompatibleError(directory / name, f"items are transformed by {how}: use PyTorch")
    proof, digest = (noted.__dict__.get(key) for key in ("ckpt_proof", "ckpt_digest"))
    return Place(directory / name, start, start + length, proof, digest)


def named(index: MetadataIndex) -> str:
    """Names an item in a message."""
    return f"'{index.fqn}'" if index.offset is None else f"'{index.fqn}' at {list(index.offset)}"

