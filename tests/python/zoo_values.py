"""The other objects of the zoo: plain values, training state, NumPy's, and what needs trust."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
from typing import Any

import numpy as np
import torch

from zoo_objects import OBJECTS, entry

__all__ = ["OBJECTS", "network", "stepped"]

# Plain values.


@entry
def scalars() -> Any:
    ints = [0, 255, 256, 65535, 65536, -1, 2**31 - 1, 2**31, -(2**31), 2**63, -(2**200), 2**2000]
    return {
        "none": None,
        "bools": [True, False],
        "ints": ints,
        "floats": [0.0, -0.0, 1.5, 1e308, 5e-324, float("inf"), float("-inf"), float("nan")],
        "complex": [1 + 2j, complex(-0.0, float("inf"))],
    }


@entry
def int_huge() -> Any:
    # 300 bytes: protocol 2 needs LONG4, which the safe reader doesn't know.
    return {"huge": 2**2400}


@entry
def strings() -> Any:
    wild = ["", "plain", "Gewicht ü", "重み", "🦀", "a\x00b", "line\nbreak", '"quoted"', "\ud800!"]
    return {"list": wild, "long": "x" * 100_000, "重み.ü": 1}


@entry
def byte_strings() -> Any:
    return {"bytes": bytes(range(256)), "long": bytes(2000), "bytearray": bytearray(b"\x00\xffab")}


@entry
def bytes_empty() -> Any:
    return {"bytes": b""}


@entry
def bytearray_empty() -> Any:
    return {"bytearray": bytearray()}


@entry
def containers() -> Any:
    shared = [1, 2]
    return {
        "list": [1, [2, [3, []]]],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "dict": {"a": {"b": {}}, "z": 1, "m": 2},
        "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
        "counter": collections.Counter("abracadabra"),
        "sets": [set(), {1}, {3, 1, 2}, {"b", "a"}, {(1, "x"), (0, "y")}, {None}],
        "size": torch.Size([2, 3]),
        "shared": [shared, shared],
    }


@entry
def keys() -> Any:
    return {
        "s": 0, 7: 1, -3: 2, False: 3, (1, "x"): 4, None: 5, 1.5: 6, b"k": 7, 2j: 8,
        torch.float32: 9, torch.device("cpu"): 10, "": 11, "dot.ted": 12, "7": 13,
        (): 14, (0.1, (True,)): 15, torch.Size([1]): 16,
    }  # fmt: skip


@entry
def many_items() -> Any:
    # More than a pickler's batch of 1,000, and than one byte of memo.
    return {"list": list(range(2500)), "dict": {f"k{i}": i for i in range(2500)}}


@entry
def cyclic() -> Any:
    root: dict[str, Any] = {"list": [1]}
    root["list"].append(root["list"])
    root["self"] = root
    return root


@entry
def deep() -> Any:
    value: list[Any] = []
    for _ in range(150):
        value = [value]
    return {"deep": value}


@entry
def torch_values() -> Any:
    return {
        "devices": [torch.device("cpu"), torch.device("cuda:3"), torch.device("meta")],
        "dtypes": [torch.float32, torch.uint16, torch.qint8, torch.int4, torch.float8_e4m3fn],
        "layouts": [torch.strided, torch.sparse_coo, torch.sparse_csr],
        "scheme": torch.per_tensor_affine,
    }


@entry
def classes() -> Any:
    return {
        "tensor": torch.Tensor,
        "legacy_tensor": torch.FloatTensor,
        "storage": torch.FloatStorage,
        "ordered": collections.OrderedDict,
        "parameter": torch.nn.Parameter,
    }


@entry
def empty_dict() -> Any:
    return {}


@entry
def none() -> Any:
    return None


# Training state.


def network() -> torch.nn.Module:
    """Return a small network with buffers and tied weights."""
    torch.manual_seed(0)
    first, last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    last.weight = first.weight
    return torch.nn.Sequential(first, torch.nn.BatchNorm1d(4), last)


def stepped(kind: type[torch.optim.Optimizer], **options: Any) -> torch.optim.Optimizer:
    """Return an optimizer that has made two steps."""
    net = network()
    optimizer = kind(net.parameters(), **options)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.arange(12.0).reshape(3, 4)).square().sum().backward()
        optimizer.step()
    return optimizer


@entry
def state_dict() -> Any:
    return network().state_dict()


@entry
def training_state() -> Any:
    optimizer = stepped(torch.optim.AdamW, lr=0.01, amsgrad=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    return {
        "model": network().state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "rng": torch.get_rng_state(),
        "epoch": 3,
    }


@entry
def optimizers() -> Any:
    return {
        "sgd": stepped(torch.optim.SGD, lr=0.1, momentum=0.9).state_dict(),
        "adagrad": stepped(torch.optim.Adagrad).state_dict(),
        "rmsprop": stepped(torch.optim.RMSprop, centered=True).state_dict(),
    }


@entry
def schedulers() -> Any:
    optimizer = stepped(torch.optim.SGD, lr=0.1)
    schedule = torch.optim.lr_scheduler
    return {
        "plateau": schedule.ReduceLROnPlateau(optimizer).state_dict(),
        "milestones": schedule.MultiStepLR(optimizer, [2, 5]).state_dict(),
        "one_cycle": schedule.OneCycleLR(optimizer, 0.1, total_steps=10).state_dict(),
    }


@entry
def whole_module() -> Any:
    return network()


# NumPy: data, though PyTorch's safe reader refuses it.


@entry
def numpy_scalars() -> Any:
    kinds = (np.float64, np.float32, np.float16, np.int64, np.uint8, np.complex64, np.bool_)
    return {kind.__name__: kind(1) for kind in kinds}


@entry
def numpy_float64() -> Any:
    return {"best": np.float64(0.5), "w": torch.ones(2)}


@entry
def numpy_arrays() -> Any:
    grid = np.arange(12).reshape(3, 4)
    return {
        "f4": grid.astype("<f4"),
        "big_endian": grid.astype(">i4"),
        "fortran": np.asfortranarray(grid.astype("f8")),
        "zero_dim": np.array(2.5),
        "empty": np.empty((0, 3), dtype="i2"),
        "bool": grid % 2 == 0,
        "complex": grid.astype("c16"),
        "f2": grid.astype("f2"),
        "large": np.arange(5000, dtype="u2"),
        "view": grid[::2, 1:],
    }


@entry
def numpy_text_and_time() -> Any:
    return {
        "bytes": np.array([b"ab", b"cde"]),
        "text": np.array(["ab", "ü"]),
        "time": np.array(["2026-01-02"], dtype="datetime64[D]"),
        "delta": np.array([5], dtype="timedelta64[ms]"),
    }


@entry
def numpy_structured() -> Any:
    kind = np.dtype([("x", "<f4"), ("n", "<i8", (2,))])
    return {"records": np.zeros(3, dtype=kind), "dtype": kind}


@entry
def numpy_dtypes() -> Any:
    return [np.dtype(name) for name in ("f4", ">f8", "i1", "bool", "c8", "S5", "U3", "M8[ns]")]


@entry
def numpy_objects() -> Any:
    return {"objects": np.array([1, "a", None], dtype=object)}


@entry
def numpy_rng() -> Any:
    return {"numpy": np.random.RandomState(0).get_state()}


# Objects that need trust.


@entry
def needs_namespace() -> Any:
    return {"args": argparse.Namespace(lr=0.1), "w": torch.ones(2)}


@entry
def needs_path() -> Any:
    return {"path": pathlib.PurePosixPath("runs/a")}


@entry
def needs_datetime() -> Any:
    return {"saved": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)}


@entry
def needs_defaultdict() -> Any:
    return {"counts": collections.defaultdict(int, a=1)}


@entry
def needs_frozenset() -> Any:
    return {"tags": frozenset({"a"})}


@entry
def needs_function() -> Any:
    return {"act": torch.nn.functional.relu}
