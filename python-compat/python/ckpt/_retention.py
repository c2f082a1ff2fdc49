"""Which checkpoints stay, by the core's rules."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from . import _native

Standing = Literal["good", "bad", "unverified"]


@dataclass(frozen=True)
class Keep:
    """What is kept; all, where nothing is said."""

    last: int | None = None
    """The newest good ones, this many."""
    every: int | None = None
    """One of every so many steps."""
    remove_damaged: bool = False
    """Whether damaged ones go, where a newer one is good."""

    def __post_init__(self) -> None:
        for what, number in (("keep_last", self.last), ("keep_every", self.every)):
            if number is not None and number < 1:
                raise ValueError(f"{what}={number} would keep nothing: give a number from 1 on")

    def says_something(self) -> bool:
        """Returns whether any checkpoint may go at all."""
        return self.last is not None or self.every is not None


@dataclass(frozen=True)
class Known:
    """What is known of one checkpoint."""

    step: int
    standing: Standing
    pinned: bool = False
    """Whether it stays in any case."""


def prune(
    place: _native.Place, known: Iterable[Known], keep: Keep, name: Callable[[int], str], logger: logging.Logger
) -> list[int]:
    """Removes what the policy lets go, oldest first, and returns the steps.

    Whatever the policy says, these stay: pinned ones, the newest good one, and what nobody has verified. Only good ones
    count among the last. One that can't be removed stays, with a warning.

    Args:
        place: The directory that they are in or below, which this process alone changes.
        known: All that are there.
        keep: The policy.
        name: Returns the name of a step's checkpoint in the directory.
        logger: Hears of each removal, with its reasons.
    """
    if not keep.says_something():
        return []
    candidates = [(one.step, one.standing, one.pinned) for one in known]
    removed = []
    for step, stays, reasons in _native.plan_retention(candidates, keep.last, keep.every, keep.remove_damaged):
        if stays:
            logger.debug("%s stays: %s", name(step), reasons)
            continue
        try:
            place.remove(name(step))
        except OSError as error:
            logger.warning("%s should go and can't be removed: %s", name(step), error)
            continue
        logger.info("removed %s: %s", name(step), reasons)
        removed.append(step)
    return removed
