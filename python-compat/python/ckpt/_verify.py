"""Checking, and looking at what a checkpoint says of itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from . import _native
from ._options import PathLike, words
from .errors import CorruptedError, IncompatibleError
from .records import Info, Report


def verify(
    path: PathLike,
    *,
    level: str | None = None,
    required_keys: str | Iterable[str] | None = None,
    skip_contents: bool = False,
    require_done_marker: bool = False,
    allowed_globals: Iterable[str] = (),
    fresh: bool = False,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Checks one checkpoint: a file, a shard index, or a directory that is one checkpoint.

    Nothing of it is executed, and nothing is written. A damaged checkpoint is no exception here: the report says so.

    Args:
        path: The checkpoint.
        level: The deepest level to check: ``"size"``, ``"container"``, ``"load"`` or ``"keys"``. Default: ``"load"``,
            or ``"keys"`` where keys are required.
        required_keys: What the checkpoint must have: ``"model.*"``, ``"w:f32[768,*]"``.
        skip_contents: The fast path: presence, size and completion marker only.
        require_done_marker: Makes a missing ``NAME.done`` a failure.
        allowed_globals: Globals accepted in a pickle by name, as data.
        fresh: Reads from the device what the page cache holds.
        threads: How many threads read. Default: one per core, at most 8.
        progress: Hears, from any thread, how many further bytes were checked.

    Raises:
        ValueError: A requirement or a level makes no sense.
        KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second.

    >>> import ckpt, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.pt"
    >>> path.write_bytes(b"")
    0
    >>> report = ckpt.verify(path)
    >>> report.verdict, report.reason.code
    ('corrupted', 'empty')
    """
    arguments = _arguments(
        level, required_keys, skip_contents, require_done_marker, allowed_globals, fresh, threads, progress
    )
    return Report.of(_native.verify(path, arguments))


def verify_all(
    paths: PathLike | Iterable[PathLike],
    *,
    level: str | None = None,
    required_keys: str | Iterable[str] | None = None,
    skip_contents: bool = False,
    require_done_marker: bool = False,
    allowed_globals: Iterable[str] = (),
    fresh: bool = False,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
    on_report: Callable[[Report], object] | None = None,
) -> list[Report]:
    """Checks all checkpoints at and below paths, several at once, and returns their reports in order.

    Args:
        paths: Files and directories; a directory is searched.
        on_report: Hears of each report as it comes.

    The others are those of `verify`; ``threads`` is the number of threads altogether.
    """
    several: list[PathLike] = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    reports: list[Report] = []

    def hear(record: dict[str, object]) -> None:
        reports.append(Report.of(record))
        if on_report is not None:
            on_report(reports[-1])

    arguments = _arguments(
        level, required_keys, skip_contents, require_done_marker, allowed_globals, fresh, threads, progress
    )
    _native.verify_all(several, arguments, hear)
    return reports


def info(path: PathLike) -> Info:
    """Reads what a checkpoint says of itself: format, version, status, tensors.

    Costs the header, not the data: milliseconds on a file of many gigabytes.

    Raises:
        CheckpointError: Its structure is damaged, or of no use.
        OSError: It can't be read.
    """
    return Info.of(_native.inspect(path))


def require_valid(report: Report) -> None:
    """Raises what a report says, if the checkpoint isn't valid."""
    reason = report.reason
    if reason is None:
        return
    if report.verdict == "unreadable":
        raise OSError(f"{report.path}: {reason.message}")
    kind = CorruptedError if report.verdict == "corrupted" else IncompatibleError
    raise kind(report.path, reason.message, reason.to_dict())


def _arguments(
    level: str | None,
    required_keys: str | Iterable[str] | None,
    skip_contents: bool,
    require_done_marker: bool,
    allowed_globals: Iterable[str],
    fresh: bool,
    threads: int | None,
    progress: Callable[[int], object] | None,
    compat: bool = False,
) -> dict[str, object]:
    return {
        "level": level,
        "required_keys": words(required_keys),
        "skip_contents": skip_contents,
        "require_done_marker": require_done_marker,
        "allowed_globals": words(allowed_globals),
        "compat": compat,
        "fresh": fresh,
        "threads": threads,
        "progress": progress,
    }
