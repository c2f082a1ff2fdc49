"""From which checkpoint a training goes on."""

from __future__ import annotations

from pathlib import Path

from .._options import PathLike
from .._resume import Verified, walk_back
from .._together import agree, rank
from ._checkpoints import NAME, fault, logger


def last_verified(directory: PathLike, *, level: str = "load", force: bool = False) -> str | None:
    """Returns the newest checkpoint that passes, for ``trainer.train(resume_from_checkpoint=...)``.

    It walks back from the highest step. Checkpoints that were cut off or are corrupted are skipped, each with a warning
    in the log that says why. In a job of many processes, the first looks, and all get its answer.

    Args:
        directory: The Trainer's ``output_dir``. One that isn't there has no checkpoints.
        level: How deep each is verified: ``"size"``, ``"container"`` or ``"load"``, which reads every byte.
        force: Whether also those are skipped that are incompatible, or can't be read.

    Returns:
        The path; ``None`` where there is no checkpoint at all.

    Raises:
        IncompatibleError: A newer one is sound and of no use here. To skip it would drop good progress unasked; the
            message names the next good one.
        CorruptedError: There are checkpoints, and none passes: to begin anew would be worse than to stop.
        OSError: A newer one can't be read, which says nothing of its bytes.
    """
    found = newest_verified(directory, level=level, force=force)
    return None if found is None else str(found.path)


def newest_verified(directory: PathLike, *, level: str = "load", force: bool = False) -> Verified | None:
    """As `last_verified`; the record also says which newer ones were skipped, and why."""

    def look() -> Verified | None:
        return walk_back(Path(directory), NAME, lambda path: fault(path, level), force, logger)

    return agree(look if rank() == 0 else None)[0]
