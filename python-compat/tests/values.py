"""Values that a checkpoint can hold: how to make them, and how to tell whether two are the same."""

from __future__ import annotations

import io
import math
import random
from collections import Counter, OrderedDict
from typing import Any

import numpy
import torch


def storable_dtypes() -> list[torch.dtype]:
    """All dtypes of this PyTorch but the quantized ones, whose tensors need a quantizer."""
    found = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    quantized = {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4}
    return sorted(found - quantized, key=str)


def dtypes_of_pytorch() -> list[torch.dtype]:
    """The dtypes of which PyTorch's own serializer can write tensors, and copy them."""

    def works(dtype: torch.dtype) -> bool:
        try:
            torch.save(tensor_of(dtype)[::2].contiguous(), io.BytesIO())
        except (KeyError, NotImplementedError):
            return False
        return True

    return [dtype for dtype in storable_dtypes() if works(dtype)]


def tensor_of(dtype: torch.dtype, count: int = 6, seed: int = 0) -> torch.Tensor:
    """A tensor whose bytes are random: of a float, NaNs included. Of a bool, zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    highest = 2 if dtype == torch.bool else 256
    raw = torch.randint(0, highest, (count * dtype.itemsize,), dtype=torch.uint8, generator=generator)
    return raw.view(dtype)


def raw(tensor: torch.Tensor) -> bytes:
    """The elements in row-major order, as bytes."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if plain.numel() == 0:
        return b""
    start, size = plain.storage_offset() * plain.element_size(), plain.numel() * plain.element_size()
    return bytes(plain.untyped_storage()[start : start + size])


def assert_same(one: Any, other: Any, *, strides: bool = True) -> None:
    """Asserts that two values are the same, to the bit: types, order of keys, and sharing of tensors' memory.

    Strides, and the marks for what is conjugated or negated, are left out where the format makes all row-major.
    """
    _Compare(strides).same(one, other, "")


class _Compare:
    def __init__(self, strides: bool) -> None:
        self.strides = strides
        self.storages: dict[int, int] = {}

    def same(self, one: Any, other: Any, place: str) -> None:
        assert type(one) is type(other), place
        if isinstance(one, torch.Tensor):
            self.tensors(one, other, place)
        elif isinstance(one, numpy.ndarray):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), place
            assert one.flags.f_contiguous == other.flags.f_contiguous, place
            assert other.flags.writeable, place
        elif isinstance(one, dict):
            self.each(list(one), list(other), place + " keys")
            self.each(list(one.values()), list(other.values()), place)
            self.same_attributes(one, other, place)
        elif isinstance(one, (list, tuple)) and not isinstance(one, torch.Size):
            self.each(one, other, place)
        elif isinstance(one, (set, frozenset)):
            self.each(sorted(one, key=repr), sorted(other, key=repr), place)
        elif isinstance(one, float):
            assert math.copysign(1, one) == math.copysign(1, other) and (one == other or one != one), place
        else:
            assert one == other, place

    def each(self, one: Any, other: Any, place: str) -> None:
        assert len(one) == len(other), place
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            self.same(left, right, f"{place}[{number}]")

    def same_attributes(self, one: Any, other: Any, place: str) -> None:
        if hasattr(one, "__dict__"):
            self.same(vars(one), vars(other), place + " attributes")

    def tensors(self, one: torch.Tensor, other: torch.Tensor, place: str) -> None:
        facts = [(t.dtype, t.shape, t.requires_grad) for t in (one, other)]
        assert facts[0] == facts[1], place
        forms = [(t.stride(), t.is_conj(), t.is_neg()) for t in (one, other)]
        assert forms[0] == forms[1] or not self.strides, place
        assert raw(one) == raw(other), place
        if one.numel():
            seen = self.storages.setdefault(one.untyped_storage().data_ptr(), other.untyped_storage().data_ptr())
            assert seen == other.untyped_storage().data_ptr(), f"{place}: what shared memory doesn't any more"


class Nest:
    """Makes random nests of values, the same for the same seed."""

    dtypes = dtypes_of_pytorch()

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tensors: list[torch.Tensor] = []

    def value(self, depth: int = 0) -> Any:
        makers = [self.leaf] * (depth + 1) + [self.tensor] * 2 + ([self.holder] * 3 if depth < 5 else [])
        return self.random.choice(makers)(*((depth,) if makers else ()))

    def leaf(self, _depth: int = 0) -> Any:
        pick = self.random
        return pick.choice([
            None, True, False, 0, -1, pick.getrandbits(62), pick.getrandbits(200), -pick.getrandbits(64),
            pick.random(), -0.0, math.inf, -math.inf, math.nan, 5e-324, complex(pick.random(), -0.0),
            "", "text", "žluťoučký ⅷ 🐎", "a.b", "line\nline", b"", pick.randbytes(5), bytearray(b"\x00\xff"),
            torch.Size([2, 0, 3]), torch.device("cpu"), torch.device("cuda:1"), torch.bfloat16,
            numpy.float64(0.1), numpy.arange(6, dtype=">i4").reshape(2, 3), numpy.array("ab"),
        ])  # fmt: skip

    def key(self) -> Any:
        pick = self.random
        return pick.choice([pick.getrandbits(8), f"k{pick.getrandbits(8)}", f"a.{pick.getrandbits(4)}", None,
                            (1, "two"), 2.5, "", b"bytes"])  # fmt: skip

    def holder(self, depth: int) -> Any:
        items = [self.value(depth + 1) for _ in range(self.random.randrange(5))]
        kind = self.random.choice([list, tuple, dict, OrderedDict, Counter, set, frozenset])
        if kind in (list, tuple):
            return kind(items)
        if kind in (set, frozenset):
            return kind(self.key() for _ in items)
        made = kind()
        made.update({self.key(): (self.random.getrandbits(9) if kind is Counter else item) for item in items})
        if kind is OrderedDict and self.random.random() < 0.5:
            made._metadata = OrderedDict(version=2)
        return made

    def tensor(self, _depth: int = 0) -> torch.Tensor:
        if self.tensors and self.random.random() < 0.4:
            return self.view(self.random.choice(self.tensors))
        made = tensor_of(self.random.choice(self.dtypes), 24, self.random.getrandbits(30))
        if made.is_floating_point() and made.element_size() > 1 and self.random.random() < 0.3:
            made.requires_grad_()
        elif self.random.random() < 0.3:
            made = torch.nn.Parameter(made, requires_grad=False)
        self.tensors.append(made)
        return made

    def view(self, base: torch.Tensor) -> torch.Tensor:
        plain = base.detach()
        return self.random.choice([
            lambda: base,
            lambda: plain[3:11],
            lambda: plain.view(2, 3, 4).transpose(0, 2),
            lambda: plain[::5],
            lambda: plain[:1].expand(7, 1),
            lambda: plain[:0],
            lambda: plain[2],
        ])()  # fmt: skip
