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
        return result
    import torch.distributed as dist

    told = (result, _portable(error))
    everyone = [told] * dist.get_world_size()
    dist.all_gather_object(everyone, told)
    failures = (failure for _, failure in everyone if failure is not None)
    first = error or next(failures, None)
    if first is not None:
        raise first
    return [one for results, _ in everyone for one in results]


def rank() -> int:
    """Returns the number of this process in its job; 0 where it is alone."""
    if not _is_group():
        return 0
    import torch.distributed as dist

    return int(dist.get_rank())


def _attempt(work: Callable[[], T] | None) -> tuple[list[T], Exception | None]:
    """Returns the one result, where there is work, or what it raised."""
    try:
        return ([] if work is None else [work()]), None
    except Exception as error:
        return [], error


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
