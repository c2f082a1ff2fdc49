"""What the processes of one job do together: an error in one is an error in all."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def agree(work: Callable[[], T] | None) -> list[T]:
    """Does a piece of work on each process that has one, and returns the results of all.

    Nobody goes on before all are done. Without ``torch.distributed``, or in a group of one, this calls ``work``.

    Args:
        work: What this process does; ``None`` where it has nothing to do.

    Raises:
        Exception: What any process raised, on all of them: on that process its own, on the others a copy.
    """
    result, error = _attempt(work)
    if not _is_group():
        if error is not None:
            raise error
        return [] if work is None else [result]  # type: ignore[list-item]
    import torch.distributed as dist

    told = (work is not None, result, _portable(error))
    everyone: list[tuple[bool, T, Exception | None]] = [told] * dist.get_world_size()
    dist.all_gather_object(everyone, told)
    if error is not None:
        raise error
    for rank, (_, _, failure) in enumerate(everyone):
        if failure is not None:
            failure.add_note(f"on process {rank}") if hasattr(failure, "add_note") else None
            raise failure
    return [one for has_one, one, _ in everyone if has_one]


def rank() -> int:
    """Returns the number of this process in its job; 0 where it is alone."""
    if not _is_group():
        return 0
    import torch.distributed as dist

    return int(dist.get_rank())


def _attempt(work: Callable[[], T] | None) -> tuple[T | None, Exception | None]:
    if work is None:
        return None, None
    try:
        return work(), None
    except Exception as error:
        return None, error


def _is_group() -> bool:
    import torch.distributed as dist

    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def _portable(error: Exception | None) -> Exception | None:
    """Returns an error that another process can make again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
