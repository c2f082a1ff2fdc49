"""`torch.distributed.checkpoint` in one call, with errors that a program can catch."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlanner, SavePlanner
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType, AsyncSaveResponse

from .._options import PathLike
from ..errors import CheckpointError
from ._read import Reader
from ._write import Writer

_log = logging.getLogger("ckpt.dcp")


def save(
    state_dict: dict[str, Any],
    path: PathLike,
    *,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    **options: Any,
) -> Metadata:
    """Saves a state from all ranks: as `dcp.save` with a `Writer`.

    Args:
        state_dict: What is saved; every rank has its own part of it.
        path: The checkpoint's directory.
        planner: As `dcp.save` takes it.
        process_group: As `dcp.save` takes it.
        **options: Those of `Writer`.

    Raises:
        Exception: What went wrong, on all ranks: as `Writer` says. Of a rank that died, the process group says it.
    """
    writer = Writer(path, **options)
    try:
        metadata: Metadata = state_dict_saver.save(
            state_dict, storage_writer=writer, planner=planner, process_group=process_group
        )
        return metadata
    except CheckpointException as error:
        raise _catchable(error) from error
    finally:
        writer.close()


def load(
    state_dict: dict[str, Any],
    path: PathLike,
    *,
    planner: LoadPlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    **options: Any,
) -> None:
    """Fills a state on all ranks, however many saved it: as `dcp.load` with a `Reader`.

    Args:
        state_dict: What is filled, in place: tensors as they are to be, sharded or not.
        path: The checkpoint's directory.
        planner: As `dcp.load` takes it.
        process_group: As `dcp.load` takes it.
        **options: Those of `Reader`.

    Raises:
        Exception: What went wrong, on all ranks: as `Reader` says. The state may be filled in part by then.
    """
    reader = Reader(path, **options)
    try:
        state_dict_loader.load(state_dict, storage_reader=reader, planner=planner, process_group=process_group)
    except CheckpointException as error:
        raise (reader.failure or _catchable(error)) from error


class _Saving(Future[Metadata]):
    """A save in the background. Knows whether somebody has asked how it went."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = False

    def result(self, timeout: float | None = None) -> Metadata:
        error = self.exception(timeout)
        if error is not None:
            raise error
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        found = super().exception(timeout)
        # Who gave up waiting hasn't heard how it went.
        self.was_asked = True
        return found

    def take_over(self, inner: Future[Any]) -> None:
        """Ends as another future did."""
        error = inner.exception()
        if error is None:
            self.set_result(inner.result())
            return
        if isinstance(error, CheckpointException):
            error = _catchable(error)
        _log.error("a checkpoint wasn't saved: %s", error)
        self.set_exception(error)


_last: _Saving | None = None
_group: tuple[Any, dist.ProcessGroup] | None = None


def _own_group() -> dist.ProcessGroup | None:
    """Returns the group for background saves: all ranks, and nobody else's messages among theirs."""
    global _group
    if not (dist.is_available() and dist.is_initialized()):
        return None
    world = dist.group.WORLD
    if _group is None or _group[0] is not world:
        _group = (world, dist.new_group(backend="gloo"))
    return _group[1]


def async_save(
    state_dict: dict[str, Any],
    path: PathLike,
    *,
    planner: SavePlanner | None = None,
    process_group: dist.ProcessGroup | None = None,
    async_checkpointer_type: AsyncCheckpointerType = AsyncCheckpointerType.THREAD,
    **options: Any,
) -> Future[Metadata]:
    """Saves in the background: as `dcp.async_save` with a `Writer`.

    Returns when the state is copied. A save that is still under way is waited for first, so that two never mix. Every
    rank must call this. A failure is logged at once; it is also raised by the next call, unless somebody has asked.

    Args:
        state_dict: What is saved.
        path: The checkpoint's directory.
        planner: As `dcp.async_save` takes it.
        process_group: The ranks that save, for the background alone: what the training sends over the same group
            meanwhile would mix with it, and hang. Default: a group of all ranks that is made for this.
        async_checkpointer_type: A thread, or a process of its own.
        **options: Those of `Writer`.

    Returns:
        A future: of the metadata, or of what went wrong.

    Raises:
        Exception: The save before this one failed, and nobody has asked for its result.
    """
    global _last
    before, _last = _last, None
    if before is not None:
        asked = before.was_asked
        error = before.exception()
        if error is not None and not _all_asked(asked, process_group):
            raise error
    handle = _Saving()
    response = state_dict_saver.async_save(
        state_dict,
        storage_writer=Writer(path, **options),
        planner=planner,
        process_group=process_group if process_group is not None else _own_group(),
        async_checkpointer_type=async_checkpointer_type,
    )
    inner = response.upload_completion if isinstance(response, AsyncSaveResponse) else response
    inner.add_done_callback(handle.take_over)
    _last = handle
    return handle


def _all_asked(asked: bool, group: dist.ProcessGroup | None) -> bool:
    """Returns whether all ranks have asked how a save went, which failed on all of them: else all raise it."""
    if not (dist.is_available() and dist.is_initialized()):
        return asked
    told: list[Any] = [None] * dist.get_world_size(group if group is not None else _own_group())
    dist.all_gather_object(told, asked, group=group if group is not None else _own_group())
    return all(told)


def _catchable(error: CheckpointException) -> Exception:
    """Returns the first rank's failure, as an `Exception` that says which rank it was."""
    failures = sorted(error.failures.items())
    if not failures:
        return RuntimeError(str(error))
    rank, (cause, _) = failures[0]
    others = f" (and {len(failures) - 1} other ranks)" if len(failures) > 1 else ""
    where = f"rank {rank}{others}"
    if isinstance(cause, CheckpointError):
        cause.message = f"{where}: {cause.message}"
        return cause
    if isinstance(cause, OSError) and cause.errno is not None:
        return type(cause)(cause.errno, f"{where}: {cause.strerror}", cause.filename)
    if isinstance(cause, Exception) and type(cause) in (ValueError, TypeError, NotImplementedError):
        return type(cause)(f"{where}: {cause}")
    if isinstance(cause, ValueError):
        # Its subclasses are made of more than a text.
        return ValueError(f"{where}: {type(cause).__name__}: {cause}")
    if isinstance(cause, Exception):
        return RuntimeError(f"{where}: {type(cause).__name__}: {cause}")
    return RuntimeError(f"{where}: {cause!r}")
