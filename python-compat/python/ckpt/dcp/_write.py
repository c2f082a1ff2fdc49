"""Saving from many ranks."""

from __future__ import annotations

import dataclasses
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from .. import _native
from .._options import PathLike, position_text
from .._pickled import pickled
from . import _metadata, _turn

_COPIES_BYTES = 1 << 30
"""How many bytes of copies on the host are held at once: of tensors on a GPU, or strided."""

_log = logging.getLogger("ckpt.dcp")


@dataclass(frozen=True)
class _Share:
    """What the coordinator tells each rank: where to write."""

    staging: str
    rank: int


class Writer(StorageWriter):
    """Writes a checkpoint that has its name only when all of it is on the disk, with proofs inside.

    Every rank writes its own file into a directory beside the destination, syncs it, reads it back and verifies it.
    When all ranks are done, the coordinator looks whether every item is there, writes the metadata, and renames the
    directory: once. A failure on any rank fails the save on all, and nothing has the checkpoint's name. What has its
    name is never written into again.

    All ranks must see the same file system. Background saves come one after the other.

    Args:
        path: The checkpoint's directory. It must not be there; those above it are made.
        durable: Whether the save ends only when the checkpoint would survive a loss of power.
        validate: Whether each file is read back and verified before the checkpoint gets its name.
        algorithm: What the proofs' digests are computed with: ``"crc64-nvme"`` or ``"blake3"``.
        position: Where in the work this is, which every item's proof says: a step's number, or the name of a stage.
        threads: How many threads write, on each rank. Default: 8; they wait for the device most of the time.

    Raises:
        ValueError: From `dcp.save`, as all that follow: something has that name; or ``use_collectives=False``, where
            nobody could commit for all.
        OSError: The destination can't be written, or a disk is full.
        CheckpointError: What was written couldn't be read back as it was.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        durable: bool = True,
        validate: bool = True,
        algorithm: str = "crc64-nvme",
        position: int | str | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.durable = durable
        self._arguments = {
            "format": "torch",
            "validate": validate,
            "level": "load",
            "durable": durable,
            "done_marker": False,
            "overwrite": False,
            "replace_link": False,
            "algorithm": algorithm,
            "position": position_text(position),
            "metadata": {},
            "threads": threads,
            "progress": None,
        }
        self._save_id = str(uuid.uuid4())
        self._staging: Any = None

    @property
    def checkpoint_id(self) -> Path:
        """The checkpoint's directory."""
        return self.path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Returns whether an id is a path of this computer."""
        return "://" not in str(checkpoint_id)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begins another save, once the one before it is over; what that has left staged is given up."""
        _turn.take()
        self.close()
        if checkpoint_id is not None:
            self.path = Path(checkpoint_id)
        self._save_id = str(uuid.uuid4())

    def close(self) -> None:
        """Removes what a failed save has staged. Forgetting the writer does the same."""
        staging, self._staging = self._staging, None
        if staging is not None:
            staging.abandon()

    def storage_meta(self) -> StorageMeta | None:
        """Returns what the metadata says of the save."""
        return StorageMeta(checkpoint_id=str(self.path), save_id=self._save_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Waits for the background save before this one."""
        if not kwargs.get("use_collectives", True):
            raise ValueError("use_collectives=False leaves nobody to commit for all ranks: ckpt.dcp.Writer needs it")
        _turn.take()
        self.close()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Refuses a checkpoint that is there already, on every rank and before anything is written."""
        _native.refuse_existing(self.path)
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Creates the directory that all ranks write into, and tells them."""
        self._staging = _native.stage(self.path)
        staging = str(self._staging.path)
        return [dataclasses.replace(plan, storage_data=_Share(staging, rank)) for rank, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes this rank's items."""
        share = plan.storage_data
        try:
            results = self._write(share, plan.items, planner)
        except BaseException as error:
            # Whoever saves in the background may never look at the future.
            _log.error("rank %s can't save %s: %s", getattr(share, "rank", "?"), self.path, error)
            self.close()
            raise
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def _write(self, share: Any, items: list[WriteItem], planner: SavePlanner) -> list[WriteResult]:
        if not items:
            return []
        if not isinstance(share, _Share) or not Path(share.staging).is_dir():
            raise RuntimeError(
                "the plan is of an earlier save, or another host's: ckpt.dcp.Writer needs a file system that all ranks "
                "share, and a planner without enable_plan_caching"
            )
        results = []
        for number, group in enumerate(_groups(items, planner)):
            name = f"__{share.rank}_{number}.distcp"
            saved = _native.save_series(Path(share.staging, name), [data for _, data in group], self._arguments)
            for (item, _), (start, length, digest, is_proven) in zip(group, saved, strict=True):
                info = _metadata.info(name, start, length, digest, is_proven)
                results.append(WriteResult(item.index, length, info))
        return results

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Looks whether every item of every rank is there, writes the metadata, and gives the checkpoint its name."""
        staging = self._staging
        if staging is None:
            raise RuntimeError(f"nothing is staged for {self.path}: another save began with the same writer")
        try:
            storage_data = {result.index: result.storage_data for rank in results for result in rank}
            _check_complete(Path(staging.path), metadata, storage_data)
            metadata.version = _metadata.VERSION
            metadata.storage_data = storage_data
            metadata.storage_meta = self.storage_meta()
            staging.commit(_metadata.dump(metadata), self.durable)
        finally:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        # A background process gets the writer before anything is staged.
        return {**self.__dict__, "_staging": None}


def _groups(items: list[WriteItem], planner: SavePlanner) -> Iterator[list[tuple[WriteItem, Any]]]:
    """Resolves items, as many at a time as their copies on the host may be held at once."""
    group: list[tuple[WriteItem, Any]] = []
    copies = 0
    for item in items:
        data, copied = _resolved(item, planner)
        group.append((item, data))
        copies += copied
        if copies >= _COPIES_BYTES:
            yield group
            group, copies = [], 0
    if group:
        yield group


def _resolved(item: WriteItem, planner: SavePlanner) -> tuple[Any, int]:
    """Returns what is to be saved, as the native writer takes it, and how many bytes of it are a copy."""
    data: Any = planner.resolve_data(item)
    if item.type == WriteItemType.BYTE_IO:
        return data.getvalue(), len(data.getbuffer())
    tensor = data.detach()
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or tensor.is_quantized:
        return pickled(tensor.cpu()), tensor.nbytes
    plain = tensor.resolve_conj().resolve_neg().cpu().contiguous()
    return plain, 0 if plain.data_ptr() == tensor.data_ptr() else plain.nbytes


def _check_complete(staging: Path, metadata: Metadata, storage_data: dict[MetadataIndex, Any]) -> None:
    """Refuses to commit what lacks an item.

    Raises:
        RuntimeError: A rank has written nothing for an item of its plan, or its file isn't there as a whole.
    """
    missing = [index for index in _metadata.indices(metadata) if index not in storage_data]
    if missing:
        raise RuntimeError(f"no rank has written {_metadata.named(missing[0])}, and {len(missing)} items are missing")
    ends: dict[str, int] = {}
    for info in storage_data.values():
        ends[info.relative_path] = max(ends.get(info.relative_path, 0), info.offset + info.length)
    for name, end in ends.items():
        try:
            size = os.stat(staging / name).st_size
        except FileNotFoundError:
            raise RuntimeError(f"{name} isn't in {staging}: do all ranks see the same file system?") from None
        if size < end:
            raise RuntimeError(f"{name} has {size} bytes here, and {end} were written: is the file system in step?")
