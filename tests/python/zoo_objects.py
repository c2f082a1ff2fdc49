"""The tensors and storages of the zoo: every kind that PyTorch can save.

``OBJECTS`` maps a name to a function that builds an object; ``zoo_values`` adds those that are no
tensors. The zoo saves each in the ZIP format and in the legacy one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Builder = Callable[[], Any]

OBJECTS: dict[str, Builder] = {}


def entry(build: Builder) -> Builder:
    """Register a builder under its own name."""
    OBJECTS[build.__name__] = build
    return build


def bits(dtype: torch.dtype, count: int = 24) -> torch.Tensor:
    """Return a tensor of any dtype with bytes that all differ."""
    numbers = torch.arange(count * dtype.itemsize, dtype=torch.int64).mul(37).remainder(251)
    if dtype == torch.bool:
        return numbers.remainder(2).to(torch.bool)
    carrier = torch.empty(0, dtype=dtype)
    return carrier.set_(numbers.to(torch.uint8).untyped_storage(), 0, (count,), (1,))


def dtypes() -> list[torch.dtype]:
    """Return every dtype that torch.save can write, except for the quantized ones."""
    known = [*torch.storage._dtype_to_storage_type_map(), *torch.storage._new_dtypes()]
    return sorted({d for d in known if not str(d).startswith("torch.q")}, key=str)


class Call:
    """An object whose pickle is a call, to reach rebuild functions that need other devices."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Tagged(torch.Tensor):
    """A subclass of a tensor, as a project of its own defines one."""


# Tensors.


def register_dtypes() -> None:
    """Register one object per dtype: a flat tensor, a scalar, and a transposed view."""
    for dtype in dtypes():
        name = "dtype_" + str(dtype).removeprefix("torch.")

        def build(dtype: torch.dtype = dtype) -> dict[str, torch.Tensor]:
            flat = bits(dtype)
            return {"flat": flat, "scalar": flat[5], "turned": flat.view(4, 6).t()}

        OBJECTS[name] = build


register_dtypes()


@entry
def bare_tensor() -> Any:
    return torch.arange(6.0).reshape(2, 3)


@entry
def bare_parameter() -> Any:
    return torch.nn.Parameter(torch.arange(4.0))


@entry
def shapes() -> Any:
    return {
        "zero_dim": torch.tensor(3.5),
        "zero_size": torch.empty(0),
        "zero_inside": torch.empty(3, 0, 2, dtype=torch.int16),
        "one": torch.ones(1, 1, 1),
        "rank_12": torch.arange(4096).reshape((2,) * 12),
        "rank_64": torch.ones((1,) * 64),
    }


@entry
def views() -> Any:
    base = torch.arange(100, dtype=torch.float32)
    return {
        "base": base,
        "slice": base[10:20],
        "step": base[::7],
        "matrix": base.view(10, 10),
        "turned": base.view(10, 10).t(),
        "window": base.view(10, 10)[2:5, 3:9],
        "expanded": base[:5].unsqueeze(1).expand(5, 4),
        "overlapping": base.as_strided((8, 4), (2, 1), 3),
        "same": base,
    }


@entry
def slice_only() -> Any:
    return {"head": torch.arange(1000, dtype=torch.int32)[:2]}


@entry
def expanded_far() -> Any:
    # 4 bytes stand for 64 GiB: whoever expands it is lost.
    return {"far": torch.tensor([1.5]).expand(1 << 17, 1 << 17)}


@entry
def channels_last() -> Any:
    return {"image": torch.arange(96.0).reshape(1, 3, 4, 8).to(memory_format=torch.channels_last)}


@entry
def conjugate() -> Any:
    return {
        "c64": torch.complex(torch.arange(6.0), torch.arange(6.0).neg()).conj(),
        "c128": torch.arange(4.0).mul(1 + 2j).to(torch.complex128).conj(),
        "plain": torch.tensor([1 + 2j]),
    }


@entry
def negative() -> Any:
    numbers = torch.complex(torch.arange(6.0), torch.arange(1.0, 7.0))
    return {
        "imaginary": numbers.conj().imag,
        "negative": torch._neg_view(torch.arange(5.0)),
        "both": torch._neg_view(numbers.clone().conj()),
    }


@entry
def gradients() -> Any:
    leaf = torch.arange(3.0).requires_grad_()
    return {"leaf": leaf, "parameter": torch.nn.Parameter(leaf.detach()), "plain": torch.ones(3)}


@entry
def frozen_parameter() -> Any:
    return {"p": torch.nn.Parameter(torch.arange(3), requires_grad=False)}


@entry
def parameter_with_state() -> Any:
    parameter = torch.nn.Parameter(torch.arange(3.0))
    parameter.group = "decay"
    parameter.scale = 0.5
    return {"p": parameter}


@entry
def buffers() -> Any:
    return {
        "kept": torch.nn.Buffer(torch.arange(5.0)),
        "passing": torch.nn.Buffer(torch.arange(5), persistent=False),
    }


@entry
def tensor_with_attributes() -> Any:
    tensor = torch.arange(4.0)
    tensor.name_of_it = "w"
    tensor.around = {"deep": [1, torch.ones(2)]}
    return {"t": tensor}


@entry
def tensor_subclass() -> Any:
    return {"t": torch.arange(4.0).as_subclass(Tagged)}


@entry
def special_floats() -> Any:
    wild = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45])
    signalling = torch.tensor([0x7F800001, -1], dtype=torch.int32).view(torch.float32)
    return {"wild": wild, "signalling": signalling, "half": wild.half(), "bf16": wild.bfloat16()}


@entry
def meta() -> Any:
    return {
        "meta": torch.empty(3, 4, device="meta", dtype=torch.bfloat16),
        "turned": torch.empty(3, 4, device="meta").t(),
        "uint16": torch.empty(5, device="meta", dtype=torch.uint16),
    }


@entry
def sparse_coo() -> Any:
    matrix = torch.tensor([[0, 1.5, 0], [2.5, 0, 0]])
    twice = torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (2, 3))
    hybrid = torch.sparse_coo_tensor([[0, 2]], [[1, 2], [3, 4]], (3, 2))
    return {
        "coalesced": matrix.to_sparse(),
        "twice": twice,
        "hybrid": hybrid,
        "empty": torch.sparse_coo_tensor(size=(2, 2), dtype=torch.float64),
    }


@entry
def sparse_compressed() -> Any:
    matrix = torch.zeros(4, 6)
    matrix[0, 1], matrix[2, 3], matrix[3, 0] = 1.0, 2.0, 3.0
    return {
        "csr": matrix.to_sparse_csr(),
        "csc": matrix.to_sparse_csc(),
        "bsr": matrix.to_sparse_bsr((2, 3)),
        "bsc": matrix.to_sparse_bsc((2, 3)),
        "batched": torch.stack([matrix, matrix]).to_sparse_csr(),
    }


@entry
def quantized() -> Any:
    numbers = torch.linspace(-1, 1, 12).reshape(3, 4)
    quantize = torch.quantize_per_tensor
    return {
        "qint8": quantize(numbers, 0.01, 3, torch.qint8),
        "quint8": quantize(numbers, 0.01, 100, torch.quint8),
        "qint32": quantize(numbers, 1e-6, -7, torch.qint32),
        "turned": quantize(numbers, 0.01, 3, torch.qint8).t(),
    }


@entry
def quantized_per_channel() -> Any:
    numbers = torch.linspace(-1, 1, 12).reshape(3, 4)
    scales, zeros = torch.tensor([0.01, 0.02, 0.03]), torch.tensor([0, 1, 2])
    quantize = torch.quantize_per_channel
    return {
        "qint8": quantize(numbers, scales, zeros, 0, torch.qint8),
        "quint8": quantize(numbers, scales.double(), zeros + 100, 0, torch.quint8),
    }


@entry
def quantized_sub_byte() -> Any:
    numbers = torch.linspace(-1, 1, 24).reshape(3, 8)
    scales, zeros = torch.full((3,), 0.2), torch.full((3,), 7.0)
    return {
        name: torch.quantize_per_channel(numbers, scales, zeros, 0, dtype)
        for name, dtype in (("quint4x2", torch.quint4x2), ("quint2x4", torch.quint2x4))
    }


@entry
def nested_strided() -> Any:
    parts = [torch.arange(6.0).reshape(2, 3), torch.arange(3.0).reshape(1, 3)]
    return {"nested": torch.nested.nested_tensor(parts)}


@entry
def nested_jagged() -> Any:
    parts = [torch.arange(2.0), torch.arange(3.0)]
    return {"nested": torch.nested.nested_tensor(parts, layout=torch.jagged)}


# Storages.


@entry
def storages() -> Any:
    tensor = torch.arange(5.0)
    return {
        "untyped": torch.arange(7, dtype=torch.uint8).untyped_storage(),
        "typed": torch.storage.TypedStorage([1.5, 2.5], dtype=torch.float64),
        "of_tensor": tensor.storage(),
        "tensor": tensor,
        "empty": torch.UntypedStorage(0),
    }


@entry
def storage_alone() -> Any:
    return torch.arange(7, dtype=torch.uint8).untyped_storage()


# Rebuild functions that need a call.


@entry
def rebuild_tensor_v1() -> Any:
    storage = torch.arange(6.0).storage()
    return {"t": Call(torch._utils._rebuild_tensor, storage, 1, (2, 2), (2, 1))}


@entry
def rebuild_from_cpu_tensor() -> Any:
    function = torch._utils._rebuild_device_tensor_from_cpu_tensor
    return {"t": Call(function, torch.arange(6.0), torch.float32, "cpu", True)}


@entry
def rebuild_from_numpy() -> Any:
    function = torch._utils._rebuild_device_tensor_from_numpy
    return {"t": Call(function, np.arange(6.0), torch.float64, "cpu", False)}


@entry
def rebuild_wrapper_subclass() -> Any:
    function = torch._utils._rebuild_wrapper_subclass
    rest = (torch.float32, (2, 3), (3, 1), 0, torch.strided, torch.device("cpu"), False)
    return {"t": Call(function, torch.Tensor, *rest)}
