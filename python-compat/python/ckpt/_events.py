"""What happens to saves, told to the log and to who else listens."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from . import _native
from .records import Event

logger = logging.getLogger("ckpt")

_LEVELS = {
    "saved": logging.INFO,
    "pruned": logging.INFO,
    "skipped": logging.INFO,
    "replaced": logging.INFO,
    "retrying": logging.WARNING,
    "failed": logging.ERROR,
}


class Reporter:
    """Hears of events from the native half, on any thread.

    Args:
        on_event: Who hears of them after the log.
    """

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        self.on_event = on_event

    def __call__(self, record: dict[str, Any]) -> None:
        event = Event.of(record)
        _log(event)
        if self.on_event is not None:
            self.on_event(event)


def _log(event: Event) -> None:
    level = _LEVELS.get(event.kind, logging.INFO)
    if event.error is not None:
        level = max(level, logging.WARNING)
    logger.log(level, "%s", event.message)
    for notice in event.committed.notices if event.committed else ():
        logger.warning("%s: %s", event.id, notice)


def closed(native: _native.Manager, directory: str, process: int) -> None:
    """Finishes a manager that nobody finished, and logs what failed: there is nobody to raise it to."""
    # A process that was forked has the memory of a manager that isn't its own.
    if os.getpid() != process:
        return
    try:
        native.finish()
    except Exception as error:
        logger.error("%s: saves failed, and nobody has asked: %s", directory, error)
