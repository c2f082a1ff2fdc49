"""Values that only Python's pickler can write down, and only PyTorch can make again.

PyTorch's own serializer writes the pickle; the storages stay on the fast path: they are taken from it before it would
copy them into an archive of its own.
"""

from __future__ import annotations

import pickle
from typing import Any


class _Recorder:
    """Stands where `torch.save` has its archive writer, and keeps what it is given."""

    def __init__(self) -> None:
        self.pickle = b""
        self.storages: dict[int, Any] = {}

    def write_record(self, name: str, data: Any, size: int) -> None:
        if name == "data.pkl":
            self.pickle = bytes(data)
        elif name.startswith("data/"):
            self.storages[int(name.removeprefix("data/"))] = data


def pickled(value: Any) -> tuple[bytes, list[Any]]:
    """Returns the pickle of a value as `torch.save` makes it, and the storages in the order of their keys.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: A value can't be pickled.
    """
    import torch

    recorder = _Recorder()
    # What `torch.save` calls once its archive is open; it has had this form since PyTorch 2.1.
    torch.serialization._save(value, recorder, pickle, 2, False)
    ordered = [recorder.storages[key] for key in sorted(recorder.storages)]
    return recorder.pickle, [_untyped(storage) for storage in ordered]


def _untyped(storage: Any) -> Any:
    """Returns a storage's bytes on the host."""
    import torch

    if isinstance(storage, torch.UntypedStorage):
        return storage if storage.device.type == "cpu" else storage.cpu()
    return storage.untyped()
