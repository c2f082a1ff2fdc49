"""Saving in the background: who waits for whom, and who hears of failures."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue
from typing import Any

from ._copies import Staging

_log = logging.getLogger(__name__)


class Background:
    """One thread that saves, and removes, in the order in which it was asked to.

    So a removal waits for the saves before it. And it is put off while the last save has failed: what was to be removed
    may be the last good checkpoint. The next save that succeeds carries it out.

    Args:
        max_in_flight: How many saves may be unfinished at once, at least 1. Each holds a copy of the state.
        remove: Removes a checkpoint.
    """

    def __init__(self, max_in_flight: int, remove: Callable[[str], object]) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight is {max_in_flight}; at least one save must be allowed")
        self._remove = remove
        # The last that was given back comes first: saves that don't overlap fill the memory of one alone.
        self._free: LifoQueue[Staging] = LifoQueue()
        for _ in range(max_in_flight):
            self._free.put(Staging())
        # The interpreter waits for this thread before it ends: what was asked for is written.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ckpt-save")
        self._failures: deque[BaseException] = deque()
        # The two below belong to the worker's thread.
        self._has_failed = False
        self._put_off: list[str] = []

    def save(self, value: Any, path: str, write: Callable[[Any, str], object]) -> None:
        """Copies a value and returns; the copy is written later. Waits while as many saves as allowed are unfinished.

        Args:
            value: What is saved. It may change as soon as this returns.
            path: Where.
            write: Writes the copy there: all of it, or it raises and the old file is as it was.

        Raises:
            Exception: What an earlier save raised. The value isn't saved then: ask again.
        """
        staging = self._free.get()
        try:
            self.raise_failure()
            copy = staging.copy(value)
            self._worker.submit(self._save_one, staging, copy, path, write)
        except BaseException:
            self._free.put(staging)
            raise

    def remove(self, path: str) -> None:
        """Removes a checkpoint, when all that was asked for before is done.

        Raises:
            Exception: What an earlier save raised. Nothing is removed then.
        """
        self.raise_failure()
        self._worker.submit(self._remove_one, path)

    def drain(self) -> None:
        """Waits until all is done.

        Raises:
            Exception: What a save raised.
        """
        # What is behind all the others is done when they are.
        self._worker.submit(lambda: None).result()
        self.raise_failure()

    def close(self) -> None:
        """Waits until all is done, and ends the thread.

        Raises:
            Exception: What a save raised.
        """
        self._worker.shutdown(wait=True)
        for path in self._put_off:
            _log.warning("%s was to be removed, and is kept: the save after it failed", path)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raises the first failure that nobody has heard of; those after it are in the log."""
        failures = [self._failures.popleft() for _ in range(len(self._failures))]
        if failures:
            raise failures[0]

    def _save_one(self, staging: Staging, copy: Any, path: str, write: Callable[[Any, str], object]) -> None:
        try:
            write(copy, path)
        except BaseException as error:
            self._has_failed = True
            self._failed(f"the save of {path}", error)
        else:
            self._has_failed = False
            self._catch_up(path)
        finally:
            # Last, so that who waits for the memory hears of the failure.
            self._free.put(staging)

    def _catch_up(self, saved: str) -> None:
        """Carries out the removals that were put off, but for what has been saved anew since."""
        put_off, self._put_off = self._put_off, []
        for path in put_off:
            if not _is_same(path, saved):
                self._remove_one(path)

    def _remove_one(self, path: str) -> None:
        if self._has_failed:
            self._put_off.append(path)
            return
        try:
            self._remove(path)
        except BaseException as error:
            self._failed(f"the removal of {path}", error)

    def _failed(self, what: str, error: BaseException) -> None:
        _log.error("%s failed: %s", what, error)
        self._failures.append(error)


def _is_same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)
