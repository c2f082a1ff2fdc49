"""Copies of states, for saving in the background while the training changes the original."""

from __future__ import annotations

import io
import pickle
from collections import defaultdict
from typing import Any

import torch

_Memory = dict[tuple[int, bool], list[torch.UntypedStorage]]
"""Storages on the host, by their length in bytes and whether they are pinned."""


class Staging:
    """Memory on the host that holds a copy of a state, and is used again for the next one.

    Each storage is copied once, however many tensors see it. Fresh memory is slow, because the kernel zeroes each page
    when it is first touched; for tensors of a GPU it is pinned, which takes longer still. So it is kept.
    """

    def __init__(self) -> None:
        self._memory: _Memory = {}

    def copy(self, value: Any) -> Any:
        """Returns a copy of a value, tensors and all, on the host. The copy before it is overwritten.

        All else than plain tensors is copied by pickling it: what can't be pickled couldn't be saved either.

        Raises:
            pickle.PicklingError, TypeError, AttributeError: A value can't be pickled.
        """
        copying = _Copying(self._memory)
        written = io.BytesIO()
        _Pickler(written, copying).dump(value)
        # Memory that this copy had no use for goes back to the system.
        self._memory = copying.used
        written.seek(0)
        return _Unpickler(written, copying.copies).load()


class _Copying:
    """One copy that is being made."""

    def __init__(self, memory: _Memory) -> None:
        self._free = {kind: list(storages) for kind, storages in memory.items()}
        self.used: _Memory = defaultdict(list)
        self.copies: list[torch.Tensor] = []
        self._places: dict[int, int] = {}
        self._by_source: dict[tuple[torch.device, int, int], torch.UntypedStorage] = {}
        # While an original lives, no other gets its address.
        self._originals: list[torch.Tensor] = []

    def place_of(self, tensor: torch.Tensor) -> int:
        """Copies a tensor, unless it was met before, and returns its place among the copies."""
        place = self._places.get(id(tensor))
        if place is None:
            place = self._places[id(tensor)] = len(self.copies)
            self._originals.append(tensor)
            self.copies.append(self._copied(tensor))
        return place

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        plain = tensor.detach().resolve_conj().resolve_neg()
        self._originals.append(plain)
        storage = self._storage(plain.untyped_storage())
        copy = torch.empty(0, dtype=plain.dtype)
        copy.set_(storage, plain.storage_offset(), plain.size(), plain.stride())
        if type(tensor) is torch.nn.Parameter:
            return torch.nn.Parameter(copy, tensor.requires_grad)
        return copy.requires_grad_(tensor.requires_grad)

    def _storage(self, source: torch.UntypedStorage) -> torch.UntypedStorage:
        key = (source.device, source.data_ptr(), source.nbytes())
        if key not in self._by_source:
            copy = self._memory(source.nbytes(), pinned=source.device.type == "cuda")
            copy.copy_(source, non_blocking=False)
            if source.nbytes() == 0:
                # Storages without memory have no address that tells them apart.
                return copy
            self._by_source[key] = copy
        return self._by_source[key]

    def _memory(self, length: int, *, pinned: bool) -> torch.UntypedStorage:
        free = self._free.get((length, pinned))
        memory = free.pop() if free else torch.empty(length, dtype=torch.uint8, pin_memory=pinned).untyped_storage()
        self.used[length, pinned].append(memory)
        return memory


class _Pickler(pickle.Pickler):
    """Leaves plain tensors out, and notes the places of their copies."""

    def __init__(self, file: io.BytesIO, copying: _Copying) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._copying = copying

    def persistent_id(self, value: Any) -> int | None:
        return self._copying.place_of(value) if _is_plain(value) else None


class _Unpickler(pickle.Unpickler):
    """Puts the copies in. What it reads was written by `_Pickler` a moment ago."""

    def __init__(self, file: io.BytesIO, copies: list[torch.Tensor]) -> None:
        super().__init__(file)
        self._copies = copies

    def persistent_load(self, place: int) -> torch.Tensor:
        return self._copies[place]


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that is a view of one storage and nothing else.

    Others (sparse, quantized, subclasses) are pickled, and made of plain ones mostly.
    """
    if type(value) is not torch.Tensor and type(value) is not torch.nn.Parameter:
        return False
    return bool(
        value.layout is torch.strided
        and not (value.is_meta or value.is_quantized or value.is_nested)
        and not value.__dict__
    )
