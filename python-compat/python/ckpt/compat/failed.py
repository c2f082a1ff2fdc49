"""``failed_checkpoints.txt``: what failed before, a line per failure.

The file is the one that ``ckpt verify --log-failures`` appends to and shows: ``path|reason|timestamp``, with bars and
control characters escaped, so that each line has exactly two bars.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from .. import _native
from .._options import PathLike
from ._log import LOGGER


def log_failed_checkpoint(
    path: PathLike, reason: str, checkpoint_dir: PathLike | None = None, timestamp: str | None = None
) -> None:
    """Appends a failure to ``failed_checkpoints.txt``, and syncs it.

    A log that can't be written is a warning and no exception: the failure itself is what matters to the caller.

    Args:
        path: The checkpoint that failed; written as it is given.
        reason: Why: the message of `validate_checkpoint`.
        checkpoint_dir: The directory of the log. Default: that of the checkpoint.
        timestamp: When, in ISO 8601. Default: now, in UTC.
    """
    directory = Path(path).parent if checkpoint_dir is None else Path(checkpoint_dir)
    try:
        _native.log_failure(directory, path, reason, timestamp or _now())
    except OSError as error:
        LOGGER.warning("%s: the failure isn't in the log: %s", path, error)


def load_failed_checkpoints(dir: PathLike) -> list[tuple[str, str, str]]:
    """Reads ``failed_checkpoints.txt``, oldest first: path, reason and timestamp of each failure.

    A malformed line is skipped with a warning, and so is a log that can't be read. Without a log there are none. Of a
    log beyond 16 MiB the end is read.

    Args:
        dir: The directory of the log.
    """
    try:
        lines, malformed = _native.logged_failures(dir)
    except OSError as error:
        LOGGER.warning("%s", error)
        return []
    for text in malformed:
        LOGGER.warning("%s: a line of the failure log isn't path|reason|timestamp: %r", dir, text)
    return [(str(path), reason, at) for path, reason, at in lines]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
