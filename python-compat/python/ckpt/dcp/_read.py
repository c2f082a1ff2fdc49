"""Loading on any number of ranks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from .. import _native
from .._load import is_plain_memory
from .._options import PathLike, words
from .._verify import _arguments as verify_arguments
from .._verify import require_valid
from ..errors import CheckpointError, CorruptedError, IncompatibleError, NeedsTrustError
from ..records import Report
from . import _metadata
from ._metadata import Place

_REMEDY = "allow it by name with allowed_globals, or pass trusted=True if you trust who wrote the checkpoint"


class Reader(StorageReader):
    """Reads a checkpoint of `Writer`, or of PyTorch's own `FileSystemWriter`, and verifies what it reads.

    Each item that is needed is held against its proof; one that PyTorch wrote against the CRC-32 of its records. The
    metadata is read without executing anything of it. Tensors that are wanted as they were saved are read straight to
    their places.

    Args:
        path: The checkpoint's directory.
        verify: Whether bytes are held against their checksums.
        cast: Whether a tensor may be loaded into one of another dtype. PyTorch does that silently.
        allowed_globals: Globals that values other than tensors may use (``"module.name"``): PyTorch calls them.
        trusted: Lets values other than tensors execute what they will, once their bytes were verified. Only for
            checkpoints whose writer you trust.
        threads: How many threads read, on each rank.

    Raises:
        CorruptedError: From `dcp.load`, as all that follow: the bytes are damaged; the message says which item's.
        IncompatibleError: A tensor has another dtype, or the checkpoint isn't one that can be read.
        NeedsTrustError: A value is an object that only a pickle can make; the message names it.
        OSError: A file can't be read.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        verify: bool = True,
        cast: bool = False,
        allowed_globals: Iterable[str] = (),
        trusted: bool = False,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.verify = verify
        self.cast = cast
        self.allowed_globals = words(allowed_globals)
        self.trusted = trusted
        self.threads = threads
        self.failure: Exception | None = None
        """Why the metadata couldn't be read: PyTorch keeps the text alone."""
        self._metadata: Metadata | None = None

    @property
    def checkpoint_id(self) -> Path:
        """The checkpoint's directory."""
        return self.path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Returns whether an id is a path of this computer."""
        return "://" not in str(checkpoint_id)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begins another load."""
        if checkpoint_id is not None:
            self.path = Path(checkpoint_id)
        self.failure = self._metadata = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Reads the metadata: of all ranks; of one (``rank=``) where each has written its own."""
        rank = kwargs.get("rank")
        name = _metadata.NAME if rank is None else f"__{rank}{_metadata.NAME}"
        try:
            # A damaged file isn't passed over for a rank's own.
            if rank is not None and self.failure is not None and not isinstance(self.failure, FileNotFoundError):
                raise self.failure
            metadata = _metadata.load(self.path / name)
        except Exception as error:
            self.failure = self.failure or error
            raise
        self.failure = None
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Takes up the metadata."""
        self._metadata = metadata

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Leaves the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Leaves the plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Reads what this rank needs. Nothing is touched before all dtypes and shapes fit."""
        tensors = [item for item in plan.items if item.type == LoadItemType.TENSOR]
        targets = [planner.resolve_tensor(item).detach() for item in tensors]
        for item, target in zip(tensors, targets, strict=True):
            self._check_fit(item, target)
        for item in plan.items:
            if item.type == LoadItemType.BYTE_IO:
                planner.load_bytes(item, io.BytesIO(self._bytes(item)))
        # In the order of the files.
        pairs = sorted(zip(tensors, targets, strict=True), key=lambda pair: self._order(pair[0]))
        for item, target in pairs:
            self._fill(item, target)
            planner.commit_tensor(item, target)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def _place(self, item: ReadItem) -> Place:
        if self._metadata is None or self._metadata.storage_data is None:
            raise ValueError("the metadata wasn't read")
        return _metadata.place(self.path, self._metadata.storage_data[item.storage_index])

    def _order(self, item: ReadItem) -> tuple[str, int]:
        place = self._place(item)
        return str(place.path), place.start

    def _check_fit(self, item: ReadItem, target: torch.Tensor) -> None:
        assert self._metadata is not None
        entry, _ = _metadata.chunk_of(self._metadata, item.storage_index)
        name, dtype = _metadata.named(item.storage_index), entry.properties.dtype
        if target.size() != item.lengths:
            wanted, given = list(item.lengths), list(target.size())
            raise IncompatibleError(self.path, f"{name} is to fill the shape {wanted}, and the target has {given}")
        if target.dtype != dtype and not self.cast:
            message = f"{name} has the dtype {dtype}, and the target {target.dtype}: pass cast=True to convert it"
            raise IncompatibleError(self.path, message)

    def _fill(self, item: ReadItem, target: torch.Tensor) -> None:
        """Reads the part of a chunk that is wanted to its place."""
        assert self._metadata is not None
        entry, chunk = _metadata.chunk_of(self._metadata, item.storage_index)
        place, arguments = self._place(item), self._load_arguments()
        is_whole = item.lengths == chunk.sizes
        is_plain = type(target) is torch.Tensor and is_plain_memory(target)
        try:
            if is_whole and is_plain and target.dtype == entry.properties.dtype:
                _native.load_item_into(place, target, arguments)
                return
            try:
                tensor = _native.load_item(place, arguments)
            except _native.Unfit:
                # Of a kind that only PyTorch makes: sparse, quantized.
                tensor = torch.load(io.BytesIO(self._bytes(item)), map_location="cpu", weights_only=True)
        except (CheckpointError, FileNotFoundError) as error:
            raise _named(error, item, place) from None
        if not isinstance(tensor, torch.Tensor) or tensor.size() != chunk.sizes:
            found = list(tensor.size()) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            message = f"{_metadata.named(item.storage_index)} is to have the shape {list(chunk.sizes)}, and is {found}"
            raise CorruptedError(place.path, message)
        target.copy_(narrow_tensor_by_index(tensor.detach(), item.storage_offsets, item.lengths))

    def _bytes(self, item: ReadItem) -> bytes:
        """Returns the bytes of an item that is no tensor, once they were verified and nothing in them needs trust."""
        place = self._place(item)
        try:
            content, digest = _native.read_item(place)
            if place.digest is not None and digest != place.digest and self.verify:
                raise CorruptedError(place.path, "its bytes aren't those that were saved")
            arguments = verify_arguments("load", None, False, False, self.allowed_globals, False, self.threads, None)
            report = Report.of(_native.verify_bytes(place.path, content, arguments))
            if not self.trusted:
                _require_safe(place.path, report)
            elif self.verify and report.verdict != "incompatible":
                require_valid(report)
        except (CheckpointError, FileNotFoundError) as error:
            raise _named(error, item, place) from None
        return bytes(content)

    def _load_arguments(self) -> dict[str, object]:
        return {
            "tensors": [],
            "required_keys": [],
            "verify": self.verify,
            "allowed_globals": self.allowed_globals,
            "threads": self.threads,
            "progress": None,
        }


def _require_safe(path: Path, report: Report) -> None:
    """Refuses what the planner must not be given: it hands values to PyTorch's reader that executes them.

    So nothing passes but an archive that the safe reader has read to its end, whether or not checksums are asked for.
    """
    reason = report.reason
    if report.verdict == "corrupted":
        require_valid(report)
    if report.verdict != "valid" or report.format != "torch-zip":
        what = reason.message if reason is not None else f"it is a {report.format} file, and no archive of PyTorch"
        raise NeedsTrustError(path, f"{what}; {_REMEDY}", reason.to_dict() if reason is not None else None)


def _named(error: CheckpointError | FileNotFoundError, item: ReadItem, place: Place) -> CheckpointError:
    """Says of an error which item it is about."""
    name = f"{_metadata.named(item.storage_index)} (at byte {place.start} of {place.path.name})"
    if isinstance(error, FileNotFoundError):
        return CorruptedError(place.path, f"{name}: the file isn't there")
    kind = type(error)
    return kind(place.path, f"{name}: {error.message}", error.finding)  # type: ignore[arg-type]
