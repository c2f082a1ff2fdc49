"""The directories that a Trainer writes: ``checkpoint-STEP``, in the order of their steps."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from .. import _native
from .._resume import numbered
from .._retention import Keep, Known, Standing, prune
from .._seal import seal_directory
from .._verify import require_valid, verify
from ..errors import CheckpointError, CorruptedError

logger = logging.getLogger("ckpt.hf")

#: Written last by the Trainer, and sealed last here.
STATE = "trainer_state.json"

#: There as long as the Trainer saves after a SIGTERM. The Trainer itself never asks for it.
_SENTINEL = "checkpoint-is-incomplete.txt"

NAME = re.compile(r"checkpoint-(\d+)")


def name_of(step: int) -> str:
    """Returns the name of a step's directory."""
    return f"checkpoint-{step}"


def fault(path: Path, level: str = "load") -> CheckpointError | OSError | None:
    """Returns what speaks against resuming from a checkpoint; ``None`` if nothing does."""
    try:
        if (path / _SENTINEL).exists():
            return CorruptedError(path, f"{_SENTINEL} is there: the save after a SIGTERM was cut off")
        if not (path / STATE).exists():
            return CorruptedError(path, f"{STATE}, which is written last, is missing: the save was cut off")
        require_valid(verify(path, level=level))
    except (CheckpointError, OSError) as error:
        return error
    return None


def prove(path: Path, *, durable: bool = True) -> None:
    """Verifies and seals a checkpoint that was just written.

    The names and the position come first; then each file is verified while it is sealed.

    Raises:
        CheckpointError: It is damaged, or isn't what it should be. It has no seal for ``trainer_state.json`` then.
        OSError: It can't be read, or a seal can't be written.
    """
    found = fault(path, "container")
    if found is not None:
        raise found
    seal_directory(path, last=STATE, renew=True, durable=durable)


def standing(path: Path) -> Standing:
    """Says how a checkpoint stands, by a look from outside: the names and sizes of all files, and the seals.

    A good one was verified when it was sealed, and all of it is there. One without a seal was verified by nobody.
    """
    found = fault(path, "size")
    if isinstance(found, CheckpointError):
        return "bad" if found.error_type == "corrupted" else "unverified"
    return "good" if found is None and (path / f"{STATE}.seal").exists() else "unverified"


def remove_old(place: _native.Place, run: Path, keep: Keep, *, newest: int, best: str | None) -> list[int]:
    """Removes what a policy lets go; what was just written stays in any case, and so does the best one.

    Args:
        place: The run's directory, which this process alone changes.
        run: The same.
        keep: The policy.
        newest: The step of the checkpoint that was just verified.
        best: The path of the best one, as the Trainer's state has it.
    """
    known = [
        Known(one.step, standing(one.path), pinned=one.step == newest or _is_same(one.path, best))
        for one in (numbered(run, NAME) if keep.says_something() else [])
    ]
    return prune(place, known, keep, name_of, logger)


def _is_same(path: Path, other: str | None) -> bool:
    return other is not None and os.path.realpath(path) == os.path.realpath(other)
