"""`ckpt.save` and `ckpt.load`: every kind of value, in both formats, against PyTorch's and safetensors' own readers."""

from __future__ import annotations

import collections
import gc
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, OrderedDict
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch

import ckpt
from values import Nest, assert_same, raw, storable_dtypes, tensor_of

FORMATS = (".pt", ".safetensors")


@pytest.fixture(params=FORMATS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def there_and_back(value: Any, path: pathlib.Path, **options: Any) -> Any:
    saved = ckpt.save(value, path, durable=False, **options)
    assert saved.validated is not None
    assert ckpt.verify(path), ckpt.verify(path)
    return ckpt.load(path)


def test_every_dtype_comes_back_bit_for_bit(tmp_path: pathlib.Path, suffix: str) -> None:
    value = {str(dtype): tensor_of(dtype) for dtype in storable_dtypes()}
    assert len(value) > 25
    assert_same(there_and_back(value, tmp_path / f"all{suffix}"), value)


def test_pytorch_reads_every_dtype_of_ours(tmp_path: pathlib.Path) -> None:
    value = {str(dtype): tensor_of(dtype) for dtype in storable_dtypes()}
    ckpt.save(value, tmp_path / "all.pt")
    assert_same(torch.load(tmp_path / "all.pt", weights_only=True), value)
    assert_same(torch.load(tmp_path / "all.pt", weights_only=True, mmap=True), value)


def test_safetensors_reads_every_dtype_of_ours_that_it_has(tmp_path: pathlib.Path) -> None:
    value = {}
    for dtype in storable_dtypes():
        try:
            safetensors.torch.save({"one": tensor_of(dtype)})
        except KeyError:
            continue
        if dtype == torch.float4_e2m1fn_x2:
            continue  # in our files, pairs of 4-bit floats are bytes to who reads them without ckpt
        value[str(dtype)] = tensor_of(dtype)
    assert torch.bfloat16 in [one.dtype for one in value.values()]
    assert len(value) >= 15
    ckpt.save(value, tmp_path / "all.safetensors")
    read = safetensors.torch.load_file(tmp_path / "all.safetensors")
    assert_same({name: read[name] for name in value}, value)


def test_ours_reads_theirs(tmp_path: pathlib.Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save(model.state_dict(), tmp_path / "theirs.pt")
    assert_same(ckpt.load(tmp_path / "theirs.pt"), torch.load(tmp_path / "theirs.pt"))
    torch.save(model.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert_same(ckpt.load(tmp_path / "old.pt"), torch.load(tmp_path / "old.pt"))
    safetensors.torch.save_file(dict(model.state_dict()), tmp_path / "theirs.safetensors")
    theirs = safetensors.torch.load_file(tmp_path / "theirs.safetensors")
    ours = ckpt.load(tmp_path / "theirs.safetensors")
    assert_same({name: ours[name] for name in theirs}, theirs)


PLAIN = {
    "none": None,
    "bools": [True, False],
    "integers": [0, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**200), 2**3000],
    "floats": [0.1, -0.0, float("inf"), float("nan"), 5e-324],
    "complex": complex(1, -0.0),
    "texts": ["", "žluťoučký", "\x00", "🐎" * 100],
    "bytes": [b"", b"\x00\xff", bytearray(b"ab")],
    "tuple": (1, (2, [])),
    "sets": [set(), {1, "two", (3,)}, frozenset(), frozenset({1, b"x"})],
    "torch": [torch.Size([2, 3]), torch.Size([]), torch.device("cuda:3"), torch.device("meta"), torch.float8_e4m3fn],
    "ordered": OrderedDict(b=1, a=2),
    "counter": Counter("abca"),
    "keys": {1: "a", "1": "b", (1, 2): "c", None: "d", 2.5: "e", b"x": "f", "a.b": "g", "": "h"},
    "empty": [{}, [], (), OrderedDict(), Counter()],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_come_back_as_they_were(name: str, tmp_path: pathlib.Path, suffix: str) -> None:
    value = {name: PLAIN[name]}
    assert_same(there_and_back(value, tmp_path / f"plain{suffix}"), value)


def shapes() -> dict[str, Any]:
    base = torch.arange(24, dtype=torch.float32)
    imaginary = torch.view_as_complex(torch.randn(4, 2, dtype=torch.float64))
    return {
        "no dimensions": torch.tensor(3.5),
        "empty": torch.empty(0),
        "empty with a shape": torch.empty(2, 0, 3),
        "part": base[5:9],
        "transposed": base.view(2, 3, 4).transpose(0, 2),
        "strided": base[1::5],
        "expanded": base[:1].expand(10, 1),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "shared": [base, base.view(4, 6), base[3:]],
        "same twice": [base, base],
        "conjugated": imaginary.conj(),
        "negated": imaginary.conj().imag,
        "gradient": torch.ones(3, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "frozen parameter": torch.nn.Parameter(torch.ones(3), requires_grad=False),
    }


@pytest.mark.parametrize("name", shapes())
def test_tensors_of_every_form_come_back_as_they_were(name: str, tmp_path: pathlib.Path, suffix: str) -> None:
    value = {name: shapes()[name]}
    assert_same(there_and_back(value, tmp_path / f"form{suffix}"), value, strides=suffix == ".pt")


def test_a_tensor_without_elements_keeps_dtype_and_shape(tmp_path: pathlib.Path, suffix: str) -> None:
    loaded = there_and_back({"a": torch.empty(2, 3, dtype=torch.half, device="meta")}, tmp_path / f"meta{suffix}")
    assert (loaded["a"].device.type, loaded["a"].dtype, loaded["a"].shape) == ("meta", torch.half, (2, 3))


def test_a_tensor_alone_is_a_checkpoint(tmp_path: pathlib.Path, suffix: str) -> None:
    assert_same(there_and_back(torch.ones(3), tmp_path / f"alone{suffix}"), torch.ones(3))


def test_tied_weights_stay_tied_and_are_stored_once(tmp_path: pathlib.Path, suffix: str) -> None:
    # Fault of the peers: safetensors refuses tied weights, others store them twice.
    first, second = torch.nn.Linear(256, 256, bias=False), torch.nn.Linear(256, 256, bias=False)
    second.weight = first.weight
    model = torch.nn.Sequential(first, second)
    saved = ckpt.save(model.state_dict(), tmp_path / f"tied{suffix}")
    assert saved.bytes < 1.2 * first.weight.nbytes
    loaded = ckpt.load(tmp_path / f"tied{suffix}")
    assert loaded["0.weight"].data_ptr() == loaded["1.weight"].data_ptr()
    model.load_state_dict(loaded)


def test_a_model_and_its_optimizer_go_on_as_if_nothing_had_happened(tmp_path: pathlib.Path, suffix: str) -> None:
    def begin() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 2)
        return model, torch.optim.AdamW(model.parameters())

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()

    model, optimizer = begin()
    step(model, optimizer)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": (torch.get_rng_state(), random.getstate(), numpy.random.get_state()),
    }
    loaded = there_and_back(state, tmp_path / f"run{suffix}")
    assert_same(loaded, state)
    step(model, optimizer)
    drawn = (random.random(), numpy.random.rand())

    again, optimizer_again = begin()
    again.load_state_dict(loaded["model"])
    optimizer_again.load_state_dict(loaded["optimizer"])
    torch.set_rng_state(loaded["random"][0])
    random.setstate(loaded["random"][1])
    numpy.random.set_state(loaded["random"][2])
    step(again, optimizer_again)
    assert_same(again.state_dict(), model.state_dict())
    assert drawn == (random.random(), numpy.random.rand())


ARRAYS = {
    "integers": numpy.arange(6).reshape(2, 3),
    "big-endian": numpy.arange(3, dtype=">i2"),
    "Fortran": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    "strided": numpy.arange(10)[::3],
    "empty": numpy.empty((0, 3), dtype=numpy.float32),
    "no dimensions": numpy.array(3.5),
    "text": numpy.array(["a", "bcd"]),
    "bools": numpy.array([True, False]),
    "complex": numpy.array([1j]),
    "dates": numpy.array(["2026-01-02"], dtype="M8[D]"),
    "float scalar": numpy.float64(0.1),
    "bool scalar": numpy.bool_(True),
    "integer scalar": numpy.int16(-3),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(name: str, tmp_path: pathlib.Path, suffix: str) -> None:
    loaded = there_and_back({"a": ARRAYS[name]}, tmp_path / f"array{suffix}")
    if name == "strided":
        assert loaded["a"].tolist() == ARRAYS[name].tolist()
    else:
        assert_same(loaded, {"a": ARRAYS[name]})


def test_a_large_array_belongs_into_a_tensor(tmp_path: pathlib.Path) -> None:
    large = numpy.zeros(1 << 18)
    with pytest.raises(ValueError, match=r"'a\.0' is a NumPy array of 2097152 bytes.*torch\.from_numpy"):
        ckpt.save({"a": [large]}, tmp_path / "large.safetensors")
    assert_same(there_and_back({"a": [large]}, tmp_path / "large.pt"), {"a": [large]})


def by_pytorch() -> dict[str, Any]:
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    marked = torch.ones(3)
    marked.note = "mine"
    return {
        "sparse": torch.eye(3).to_sparse(),
        "sparse rows": torch.eye(3).to_sparse_csr(),
        "quantized": quantized,
        "with attributes": marked,
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "storage": torch.ones(3).untyped_storage(),
        "lone surrogate": "\ud800",
    }


@pytest.mark.parametrize("name", by_pytorch())
def test_what_only_pytorch_writes_goes_through_its_serializer(name: str, tmp_path: pathlib.Path) -> None:
    value = by_pytorch()[name]
    saved = ckpt.save({"a": {"b": [value]}, "c": torch.ones(2)}, tmp_path / "any.pt")
    assert (saved.names_to_trust, saved.validated) == ((), "load")
    ours = ckpt.load(tmp_path / "any.pt")["a"]["b"][0]
    theirs = torch.load(tmp_path / "any.pt", weights_only=True)["a"]["b"][0]
    assert str(ours) == str(theirs)
    assert getattr(ours, "note", None) == getattr(value, "note", None)


@pytest.mark.parametrize("name", by_pytorch())
def test_what_only_pytorch_writes_is_refused_in_safetensors_with_its_keys(name: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "any.safetensors"
    with pytest.raises(ValueError, match=r"^'a\.b\.1' is .*: only a \.pt holds that"):
        ckpt.save({"a": {"b": [1, by_pytorch()[name]]}}, path)
    assert not list(tmp_path.iterdir())


class Marked(torch.Tensor):
    """A tensor of a class of its own."""


def to_trust() -> dict[str, Any]:
    return {
        "object": pathlib.PurePosixPath("a/b"),
        "tensor subclass": torch.ones(3).as_subclass(Marked),
        "default dict": collections.defaultdict(list, {"a": [1]}),
        "function": len,
    }


@pytest.mark.parametrize("name", to_trust())
def test_objects_are_saved_and_need_trust_to_be_loaded(name: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "object.pt"
    saved = ckpt.save({"a": to_trust()[name], "w": torch.arange(5)}, path)
    assert saved.names_to_trust
    with pytest.raises(ckpt.NeedsTrustError, match="trusted=True") as caught:
        ckpt.load(path)
    assert saved.names_to_trust[0].split(".")[-1] in str(caught.value)
    loaded = ckpt.load(path, trusted=True)
    assert type(loaded["a"]) is type(to_trust()[name])
    assert loaded["w"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"^'a' is a value of type"):
        ckpt.save({"a": to_trust()[name]}, tmp_path / "object.safetensors")


def test_a_trusted_file_that_is_damaged_is_not_executed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "object.pt"
    ckpt.save({"a": pathlib.PurePosixPath("a"), "w": torch.zeros(100_000)}, path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ckpt.CorruptedError):
        ckpt.load(path, trusted=True)


def test_what_contains_itself_is_refused(tmp_path: pathlib.Path, suffix: str) -> None:
    value: dict[str, Any] = {"a": 1}
    value["self"] = value
    with pytest.raises((ValueError, ckpt.IncompatibleError), match="contains itself"):
        ckpt.save(value, tmp_path / f"cycle{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(40))
def test_any_nest_comes_back_as_it_was(seed: int, tmp_path: pathlib.Path, suffix: str) -> None:
    nest = Nest(seed)
    value = {f"k{number}": nest.value() for number in range(6)}
    assert_same(there_and_back(value, tmp_path / f"nest{suffix}"), value, strides=suffix == ".pt")
    if suffix == ".pt" and not _has_arrays_or_frozensets(value):
        assert_same(torch.load(tmp_path / "nest.pt", weights_only=True), value)


def _has_arrays_or_frozensets(value: Any) -> bool:
    if isinstance(value, (numpy.ndarray, numpy.generic, frozenset)):
        return True
    held = [*value, *value.values()] if isinstance(value, dict) else value
    return isinstance(held, (list, tuple, set)) and any(_has_arrays_or_frozensets(item) for item in held)


def test_equal_values_give_equal_bytes(tmp_path: pathlib.Path, suffix: str) -> None:
    value = {"w": torch.arange(1000.0), "step": 3}
    ckpt.save(value, tmp_path / f"one{suffix}")
    ckpt.save({"w": torch.arange(1000.0), "step": 3}, tmp_path / f"other{suffix}", threads=1)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


def test_some_tensors_are_loaded_alone(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"some{suffix}"
    ckpt.save({"model": {"a": torch.ones(2), "b": torch.zeros(3)}, "step": 4}, path)
    assert_same(ckpt.load(path, tensors="model.a"), {"model": {"a": torch.ones(2)}, "step": 4})
    with pytest.raises(ckpt.IncompatibleError, match=r"model\.c"):
        ckpt.load(path, tensors=["model.c"])
    with pytest.raises(ckpt.IncompatibleError, match="head"):
        ckpt.load(path, required_keys="head.*")


def test_what_is_loaded_can_be_trained_on_and_outlives_its_file(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"gone{suffix}"
    ckpt.save({"w": torch.ones(1 << 20)}, path)
    loaded = ckpt.load(path)["w"]
    path.unlink()
    loaded += 1
    assert loaded.sum().item() == 2 << 20
    assert loaded.data_ptr() % 64 == 0


def test_tensors_go_to_the_device_that_is_asked_for_and_share_memory_there(tmp_path: pathlib.Path, suffix: str) -> None:
    # The meta device is there on every machine. Elements it has none, but sharing and places in storages.
    path = tmp_path / f"moved{suffix}"
    base = torch.arange(10.0)
    ckpt.save({"a": base, "b": base[3:], "p": torch.nn.Parameter(torch.ones(2)), "step": 1}, path)
    for device in ("meta", torch.device("meta")):
        loaded = ckpt.load(path, map_location=device)
        assert [loaded[name].device.type for name in "abp"] == ["meta"] * 3
        assert loaded["a"].untyped_storage()._cdata == loaded["b"].untyped_storage()._cdata
        assert (loaded["b"].storage_offset(), loaded["b"].shape) == (3, (7,))
        assert isinstance(loaded["p"], torch.nn.Parameter)
    assert ckpt.load(path, map_location="cpu")["a"].device.type == "cpu"
    with pytest.raises(ValueError, match="map_location"):
        ckpt.load(path, map_location=lambda storage, _place: storage)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_tensors_go_to_the_gpu_and_come_back(tmp_path: pathlib.Path, suffix: str) -> None:
    base = torch.arange(10.0, device="cuda")
    ckpt.save({"a": base, "b": base[3:]}, tmp_path / f"gpu{suffix}")
    loaded = ckpt.load(tmp_path / f"gpu{suffix}", map_location="cuda")
    assert loaded["a"].device.type == "cuda"
    assert loaded["a"].data_ptr() + 12 == loaded["b"].data_ptr()
    assert loaded["b"].tolist() == base[3:].tolist()


def test_load_into_fills_what_is_there(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"into{suffix}"
    model = torch.nn.Linear(5, 3)
    ckpt.save({"model": model.state_dict(), "step": 1}, path)
    other = torch.nn.Linear(5, 3)
    places = [parameter.data_ptr() for parameter in other.parameters()]
    ckpt.load_into(path, other, prefix="model.")
    assert [parameter.data_ptr() for parameter in other.parameters()] == places
    assert_same(other.state_dict(), model.state_dict())


def test_load_into_fills_strided_targets(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"into{suffix}"
    ckpt.save({"w": torch.arange(6.0).view(2, 3)}, path)
    whole = torch.zeros(3, 4)
    ckpt.load_into(path, {"w": whole.t()[:2]})
    assert whole[:, :2].t().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert whole[:, 2:].abs().sum() == 0


def test_load_into_fills_tied_weights(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"tied{suffix}"
    ckpt.save({"a": torch.arange(6.0), "b": torch.arange(6.0)[2:], "c": torch.ones(0)}, path)
    base = torch.zeros(6)
    ckpt.load_into(path, {"a": base, "b": base[2:], "c": torch.ones(0)})
    assert base.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"w": torch.zeros(4)}, "shape"),
        ({"w": torch.zeros(3, dtype=torch.float64)}, "f64|dtype"),
        ({"w": torch.zeros(3), "x": torch.zeros(1)}, "x"),
    ],
)
def test_load_into_touches_nothing_where_anything_differs(
    target: dict[str, torch.Tensor], message: str, tmp_path: pathlib.Path, suffix: str
) -> None:
    path = tmp_path / f"into{suffix}"
    ckpt.save({"w": torch.ones(3)}, path)
    with pytest.raises(ckpt.IncompatibleError, match=message):
        ckpt.load_into(path, target)
    assert all(tensor.abs().sum() == 0 for tensor in target.values())


def test_load_into_takes_what_is_there_where_that_is_enough(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"into{suffix}"
    ckpt.save({"w": torch.ones(3)}, path)
    targets = {"w": torch.zeros(3), "x": torch.zeros(1)}
    ckpt.load_into(path, targets, strict=False)
    assert (targets["w"].tolist(), targets["x"].tolist()) == ([1, 1, 1], [0])
    with pytest.raises(ValueError, match="'w' is no tensor"):
        ckpt.load_into(path, {"w": 3})


def test_what_is_damaged_is_told_and_where(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    ckpt.save({"fine": torch.zeros(1000), "hurt": torch.ones(3_000_000)}, path)
    damaged = bytearray(path.read_bytes())
    place = damaged.rindex(raw(torch.ones(1000)))
    damaged[place] ^= 4
    path.write_bytes(damaged)
    for load in (ckpt.load, lambda path: ckpt.load_into(path, {"hurt": torch.zeros(3_000_000)})):
        with pytest.raises(ckpt.CorruptedError, match="hurt") as caught:
            load(path)
        assert caught.value.checkpoint_path == str(path)
        assert (caught.value.finding or {})["code"] == "checksum-mismatch"
    ckpt.load(path, verify=False)


def count_meanwhile(work: Any) -> int:
    """Returns how far another thread counts while work goes on."""
    begun, over, count = threading.Event(), threading.Event(), 0

    def run() -> None:
        nonlocal count
        begun.set()
        while not over.is_set():
            count += 1
            time.sleep(0)  # gives the interpreter away

    counter = threading.Thread(target=run)
    counter.start()
    begun.wait()
    before = count
    work()
    counted = count - before
    over.set()
    counter.join()
    return counted


def test_other_threads_run_while_files_are_written_and_read(tmp_path: pathlib.Path, suffix: str) -> None:
    value = {"w": torch.zeros(32 << 20)}
    path = tmp_path / f"large{suffix}"
    into = {"w": torch.zeros(32 << 20)}
    # Nobody is made to give the interpreter away: the counter gets on only while a call does so by itself.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        assert count_meanwhile(lambda: sum(range(3_000_000))) < 5
        assert count_meanwhile(lambda: ckpt.save(value, path)) > 10
        assert count_meanwhile(lambda: ckpt.load(path)) > 10
        assert count_meanwhile(lambda: ckpt.load_into(path, into)) > 10
        assert count_meanwhile(lambda: ckpt.verify(path)) > 10
    finally:
        sys.setswitchinterval(interval)


INTERRUPTED = """
import signal, sys, threading, time
import ckpt, torch

began = threading.Event()

def progress(count):
    # Called on a thread that writes: it goes on slowly from here, so that the end is far.
    if not began.is_set():
        began.set()
        print("began", flush=True)
    time.sleep(0.05)

signal.signal(signal.SIGINT, signal.default_int_handler)
value = {"w": torch.ones(1 << 30, dtype=torch.uint8)}
if sys.argv[2] == "pickled":
    value["a class"] = threading.Event
try:
    ckpt.save(value, sys.argv[1], progress=progress, threads=1)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("kind", [".safetensors", ".pt", "pickled"])
def test_ctrl_c_ends_a_long_save_and_the_old_file_is_as_it_was(kind: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / ("a.pt" if kind == "pickled" else f"a{kind}")
    ckpt.save({"w": torch.zeros(3)}, path, done_marker=True)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(path), kind], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "began\n"
    child.send_signal(signal.SIGINT)
    assert child.stdout.read() == "interrupted\n"
    assert child.wait() == 0
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_a_link_is_followed_or_replaced_as_asked(tmp_path: pathlib.Path, suffix: str) -> None:
    old, link = tmp_path / f"old{suffix}", tmp_path / f"link{suffix}"
    ckpt.save({"w": torch.zeros(3)}, old)
    link.symlink_to(old.name)
    ckpt.save({"w": torch.ones(3)}, link)
    assert link.is_symlink() and ckpt.load(old)["w"].sum() == 3
    ckpt.save({"w": torch.zeros(3)}, link, replace_link=True)
    assert not link.is_symlink() and ckpt.load(old)["w"].sum() == 3 and ckpt.load(link)["w"].sum() == 0


def test_progress_hears_of_every_byte(tmp_path: pathlib.Path, suffix: str) -> None:
    heard: dict[str, int] = {"save": 0, "load": 0, "verify": 0}
    lock = threading.Lock()

    def hear(what: str) -> Any:
        def add(count: int) -> None:
            with lock:
                heard[what] += count

        return add

    path = tmp_path / f"heard{suffix}"
    value = {"w": torch.zeros(3 << 20)}
    size = ckpt.save(value, path, progress=hear("save")).bytes
    ckpt.load(path, progress=hear("load"))
    ckpt.verify(path, progress=hear("verify"))
    assert heard["verify"] == size
    assert heard["save"] >= value["w"].nbytes
    assert heard["load"] >= value["w"].nbytes


def test_importing_ckpt_imports_neither_pytorch_nor_numpy() -> None:
    script = "import ckpt, sys; print([name for name in ('torch', 'numpy', 'lightning') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[]"


def test_plain_values_need_no_pytorch(tmp_path: pathlib.Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; import ckpt\n"
        f"path = {str(tmp_path / 'plain.safetensors')!r}\n"
        "ckpt.save({'step': 3, 'names': ['a', 'b']}, path)\n"
        "print(ckpt.load(path), bool(ckpt.verify(path)), ckpt.info(path).format)"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "{'step': 3, 'names': ['a', 'b']} True safetensors"


def test_a_target_that_is_seen_conjugated_or_negated_gets_its_values(tmp_path: pathlib.Path) -> None:
    value = torch.tensor([1 + 2j, 3 - 4j])
    ckpt.save({"z": value, "i": value.imag.clone()}, tmp_path / "a.pt")
    target = torch.zeros(2, dtype=torch.complex64).conj()
    negated = torch.zeros(2, dtype=torch.complex64).conj().imag
    assert target.is_conj() and negated.is_neg()
    ckpt.load_into(tmp_path / "a.pt", {"z": target, "i": negated})
    assert torch.equal(target, value) and torch.equal(negated, value.imag)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_runs_again_afterwards_if_it_did(tmp_path: pathlib.Path, enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        state = {f"w.{number}": torch.zeros(2) for number in range(2000)}
        ckpt.save(state, tmp_path / "model.pt")
        assert gc.isenabled() == enabled
        collected: list[str] = []
        gc.callbacks.append(lambda phase, _: collected.append(phase))
        loaded = ckpt.load(tmp_path / "model.pt")
        gc.callbacks.pop()
        # 4,000 objects were made: a collector that ran would have come several times.
        assert len(collected) <= 2 and len(loaded) == 2000
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
