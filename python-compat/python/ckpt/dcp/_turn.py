"""One save after the other: those in the background share the ranks' process group, and must not mix."""

from __future__ import annotations

import threading
import weakref

_EXECUTOR = "AsyncCheckpointExecutor"
"""What PyTorch calls the thread of `async_save`. It ends with its save."""

_lock = threading.Lock()
_last: threading.Thread | None = None
_taken: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def take() -> None:
    """Waits until the background save that began last is over, and is the last one from now on.

    Called on the thread that saves, before it talks to other ranks. Only PyTorch's own threads are waited for: of
    another one nobody knows when its save is over, and its owner does.
    """
    global _last
    current = threading.current_thread()
    with _lock:
        # A thread of PyTorch's has one save, and a place in the row that it keeps.
        if current.name.startswith(_EXECUTOR) and current in _taken:
            return
        _taken.add(current)
        before, _last = _last, current
    if before is not None and before is not current and before.name.startswith(_EXECUTOR):
        before.join()
