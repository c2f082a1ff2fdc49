"""The copy of a state that a background save writes."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch

from ckpt._copies import Staging

Pair = namedtuple("Pair", "one two")


def test_a_copy_is_equal_and_apart() -> None:
    w = torch.arange(6.0).reshape(2, 3)
    value: dict[str, Any] = {
        "w": w,
        "nested": [Pair(w, None), Namespace(t=torch.ones(2)), OrderedDict(a=(torch.zeros(1),))],
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "strided": torch.arange(10)[::3],
        "complex": torch.view_as_complex(torch.ones(2, 2)).conj(),
        "bf16": torch.ones(3, dtype=torch.bfloat16),
    }
    copy = Staging().copy(value)
    for tensor in (w, value["nested"][1].t, value["nested"][2]["a"][0], value["scalar"], value["strided"]):
        tensor.fill_(-1)
    assert copy["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert copy["nested"][0].one is copy["w"]
    assert copy["nested"][1].t.tolist() == [1, 1] and copy["nested"][2]["a"][0].tolist() == [0]
    assert copy["scalar"].item() == 3.5 and copy["empty"].shape == (0, 4)
    assert copy["strided"].tolist() == [0, 3, 6, 9]
    assert copy["complex"].tolist() == [1 - 1j, 1 - 1j] and copy["bf16"].dtype is torch.bfloat16


def test_tensors_that_share_a_storage_share_one_in_the_copy() -> None:
    base = torch.arange(10.0)
    copy = Staging().copy({"a": base, "b": base[2:4], "tied": base.view(2, 5)})
    copy["a"].fill_(7)
    assert copy["b"].tolist() == [7, 7] and copy["tied"].sum() == 70


def test_parameters_stay_parameters() -> None:
    weight = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    copy = Staging().copy([weight, torch.ones(1, requires_grad=True), weight])
    assert type(copy[0]) is torch.nn.Parameter and not copy[0].requires_grad and copy[0] is copy[2]
    assert copy[1].requires_grad and copy[1].is_leaf


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.empty(3, device="meta"),
    ],
    ids=["coo", "csr", "quantized", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_other_kinds_of_tensors_are_copied_too(tensor: torch.Tensor) -> None:
    copy = Staging().copy({"t": tensor})["t"]
    assert copy is not tensor and copy.layout == tensor.layout and copy.dtype == tensor.dtype
    if not tensor.is_meta:
        dense = copy.dequantize() if copy.is_quantized else copy.to_dense()
        assert torch.equal(dense, tensor.dequantize() if tensor.is_quantized else tensor.to_dense())


def test_memory_is_used_again() -> None:
    staging = Staging()

    def addresses(value: Any) -> list[int]:
        return sorted(tensor.data_ptr() for tensor in staging.copy(value))

    first = addresses([torch.zeros(1000), torch.ones(2000), torch.zeros(1000)])
    assert len(set(first)) == 3
    assert addresses([torch.ones(2000), torch.zeros(1000), torch.zeros(1000)]) == first
    # What a copy has no use for isn't kept.
    addresses([torch.ones(2000)])
    assert sum(len(storages) for storages in staging._memory.values()) == 1


def test_what_cannot_be_pickled_is_refused_and_the_memory_stays_usable() -> None:
    staging = Staging()
    with pytest.raises((AttributeError, TypeError), match="lambda"):
        staging.copy({"w": torch.ones(3), "f": lambda: None})
    assert staging.copy(torch.ones(3)).tolist() == [1, 1, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_tensors_of_a_gpu_are_copied_into_pinned_memory_that_is_used_again() -> None:
    staging = Staging()
    weight = torch.arange(1_000_000.0, device="cuda")
    first = staging.copy({"w": weight, "view": weight[10:20]})
    weight.fill_(0)
    assert first["w"].device.type == "cpu" and first["w"].is_pinned()
    assert torch.equal(first["w"], torch.arange(1_000_000.0)) and first["view"].tolist() == list(range(10, 20))
    address = first["w"].data_ptr()
    second = staging.copy({"w": weight})
    assert second["w"].data_ptr() == address and second["w"].sum() == 0
