"""Walking back to the newest checkpoint that passes, over directories that others laid out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ._options import PathLike
from .errors import CheckpointError, CorruptedError, IncompatibleError
from .records import Record

Fault = Callable[[Path], "CheckpointError | OSError | None"]


@dataclass(frozen=True)
class Numbered:
    """A checkpoint that has its step in its name."""

    step: int
    path: Path


@dataclass(frozen=True)
class Skipped(Record):
    """A newer checkpoint that can't be gone on from."""

    step: int
    path: Path
    reason: str
    """Why, in words: ``corrupted: ...``."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Verified(Record):
    """The newest checkpoint that passed."""

    step: int
    path: Path
    skipped: tuple[Skipped, ...]
    """The newer ones that didn't, newest first."""


def numbered(directory: PathLike, name: re.Pattern[str]) -> list[Numbered]:
    """Lists the directories whose whole name matches, by the number in the first group. Times are of no account: a
    copy, a restore or a network file system changes them.

    Raises:
        OSError: The directory can't be listed.
    """
    found = [(name.fullmatch(path.name), path) for path in Path(directory).iterdir()]
    there = [Numbered(int(match[1]), path) for match, path in found if match is not None and path.is_dir()]
    return sorted(there, key=lambda one: one.step)


def walk_back(
    directory: Path, name: re.Pattern[str], fault: Fault, force: bool, logger: logging.Logger
) -> Verified | None:
    """Returns the newest checkpoint of which `fault` says nothing; ``None`` where there is none at all.

    Raises:
        IncompatibleError, OSError: A newer one mustn't be skipped without ``force``.
        CorruptedError: There are checkpoints, and none passes.
    """
    try:
        there = numbered(directory, name)
    except FileNotFoundError:
        return None
    skipped: list[Skipped] = []
    while there:
        newest = there.pop()
        error = fault(newest.path)
        if error is None:
            logger.info("%s is verified: to be resumed from", newest.path)
            return Verified(newest.step, newest.path, tuple(skipped))
        if not force:
            _refuse(error, newest, there, fault)
        skipped.append(Skipped(newest.step, newest.path, str(error)))
        logger.warning("skipped %s", skipped[-1])
    if not skipped:
        return None
    message = f"none of the {len(skipped)} checkpoints passes (to begin anew, resume from none)"
    raise CorruptedError(directory, f"{message}; the newest is {skipped[0]}")


def _refuse(error: CheckpointError | OSError, newest: Numbered, older: list[Numbered], fault: Fault) -> None:
    """Raises what mustn't be skipped unasked."""
    if isinstance(error, CheckpointError) and error.error_type == "corrupted":
        return
    good = next((one.path for one in reversed(older) if fault(one.path) is None), None)
    remedy = f"{good} is the next good one: to go on from there, pass force=True" if good else "no older one is good"
    if isinstance(error, CheckpointError):
        raise IncompatibleError(newest.path, f"{newest.path}: {error.message}; {remedy}", error.finding)
    raise OSError(error.errno, f"{error}; {remedy}", str(newest.path)) from error
