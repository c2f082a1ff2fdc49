"""Signals that a manager listens to, in processes that are forked from its own.

They inherit its handler, and not its training loop: nothing would end a data loader's worker on SIGTERM any more. So
they answer signals as Python believes that they do.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable

_numbers: set[signal.Signals] = set()
_blocked = threading.local()


def restore_in_children(names: Iterable[str]) -> None:
    """Has processes that are forked from now on answer the signals of these names as if there were no manager."""
    numbers = {signal.Signals[name] for name in names}
    if numbers and not _numbers and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_restore)
    _numbers.update(numbers)


def _block() -> None:
    # One that comes before the handler is restored waits until it is.
    _blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.before)


def _restore() -> None:
    for number in _numbers:
        handler = signal.getsignal(number)
        # One that somebody else's C code has set stays.
        if handler is not None:
            signal.signal(number, handler)
    _unblock()
