"""From which checkpoint a job goes on: one, for all ranks."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import torch.distributed as dist

from .._options import PathLike
from .._verify import require_valid
from .._verify import verify as check
from ..errors import CorruptedError
from . import _metadata

_log = logging.getLogger("ckpt.dcp")


def verify(path: PathLike, *, fresh: bool = False, threads: int | None = None) -> None:
    """Checks a distributed checkpoint: the metadata, and every item of every rank.

    Args:
        path: The checkpoint's directory.
        fresh: Reads from the device what the page cache holds.
        threads: How many threads read.

    Raises:
        CorruptedError: The bytes are damaged, or something is missing; the message says which item.
        IncompatibleError: It isn't a checkpoint that can be read.
        OSError: It can't be read.
    """
    require_valid(check(path, fresh=fresh, threads=threads))


def last_verified(
    root: PathLike,
    *,
    process_group: dist.ProcessGroup | None = None,
    fresh: bool = False,
    threads: int | None = None,
) -> Path | None:
    """Returns the newest checkpoint below a directory that passes `verify`, the same one on all ranks.

    Newest is the one of the highest number in its name (``step-200`` after ``step-100``); where the names have none,
    the one that was written last. What has no metadata is no checkpoint. Rank 0 looks; each one that it passes over
    is logged with the reason. Every rank of the group must call this.

    Args:
        root: The directory of checkpoints.
        process_group: The ranks that agree. Default: all, where there are any.
        fresh: Reads from the device what the page cache holds.
        threads: How many threads read.

    Raises:
        CorruptedError: There are checkpoints, and none can be used: to begin anew is yours to decide.
        IncompatibleError: The newest sound one can't be read by this version: to pass it over would lose progress.
        OSError: One can't be read. On all ranks, as the other.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return _newest(Path(root), fresh, threads)
    told: list[Any] = [None]
    if dist.get_rank(process_group) == 0:
        try:
            told = [_newest(Path(root), fresh, threads)]
        except Exception as error:
            told = [error]
    source = dist.get_global_rank(process_group, 0) if process_group is not None else 0
    dist.broadcast_object_list(told, src=source, group=process_group)
    if isinstance(told[0], Exception):
        raise told[0]
    found: Path | None = told[0]
    return found


def _newest(root: Path, fresh: bool, threads: int | None) -> Path | None:
    if not root.is_dir():
        return None
    there = [path for path in root.iterdir() if not path.name.startswith(".") and (path / _metadata.NAME).is_file()]
    newest: CorruptedError | None = None
    for path in sorted(there, key=_age, reverse=True):
        try:
            verify(path, fresh=fresh, threads=threads)
        except CorruptedError as error:
            _log.warning("%s is passed over: %s", path, error)
            newest = newest or error
            continue
        return path
    if newest is not None:
        newest.message += f"; it is the newest of {len(there)} below {root}, and none of them can be used"
        raise newest
    return None


def _age(path: Path) -> tuple[int, int]:
    numbers = re.findall(r"\d+", path.name)
    return int(numbers[-1]) if numbers else -1, (path / _metadata.NAME).stat().st_mtime_ns
