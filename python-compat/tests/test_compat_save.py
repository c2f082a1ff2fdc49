"""`ckpt.compat.atomic_save`."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ckpt
from ckpt import _native, compat
from ckpt.compat import atomic_save, get_checkpoint_info, has_done_marker, load_checkpoint_safe, validate_checkpoint
from compat_files import contents, flipped, names, offset_of


@dataclasses.dataclass
class Settings:
    rate: float
    tags: list[str]


OBJECTS: dict[str, Any] = {
    "settings": Settings(0.5, ["a", "b"]),
    "args": argparse.Namespace(seed=1, path=Path("x")),
    "when": datetime.datetime(2026, 3, 1, 12, 30),
    "groups": collections.defaultdict(list, {"a": [1]}),
    "array": np.float64(2.5),
}

UNPICKLABLE = [lambda: 0, threading.Lock(), (number for number in "123")]


def saved(directory: Path, name: str = "model.pt", **fields: Any) -> Path:
    return atomic_save({"data": torch.arange(1000.0), **fields}, directory / name)


def fails(value: Any, path: Path, **arguments: Any) -> BaseException:
    """Saves what can't be saved; returns the cause. The directory is as it was."""
    before = contents(path.parent)
    with pytest.raises(RuntimeError) as raised:
        atomic_save(value, path, **arguments)
    assert contents(path.parent) == before
    assert str(path) in str(raised.value)
    assert raised.value.__cause__ is not None
    return raised.value.__cause__


@pytest.fixture(params=["nothing", "a good file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a save goes that fails: nothing is there, or a good file with its marker."""
    if request.param == "a good file":
        saved(tmp_path)
    return tmp_path / "model.pt"


def test_version_and_status_are_added_where_missing(tmp_path: Path) -> None:
    value = {"data": torch.ones(3)}
    path = atomic_save(value, tmp_path / "model.pt")
    assert path == tmp_path / "model.pt" and isinstance(path, Path)
    loaded = torch.load(path, weights_only=True)
    assert list(loaded) == ["data", "version", "status"]
    assert (loaded["version"], loaded["status"]) == (compat.CHECKPOINT_VERSION, "complete")


@pytest.mark.parametrize("version", ["0.9", "1.5", "2.0", 7, None])
@pytest.mark.parametrize("validate", [True, False])
def test_a_given_version_is_not_touched(tmp_path: Path, version: Any, validate: bool) -> None:
    path = atomic_save({"version": version, "data": 1}, tmp_path / "a.pt", validate_after_save=validate)
    assert torch.load(path)["version"] == version


@pytest.mark.parametrize("status", ["in_progress", "complete", "whatever"])
def test_it_ends_as_complete_and_the_callers_dict_stays_as_it_was(tmp_path: Path, status: str) -> None:
    value = {"data": [1], "status": status}
    path = atomic_save(value, str(tmp_path / "a.pt"))
    assert torch.load(path)["status"] == "complete" and value == {"data": [1], "status": status}
    value = {"data": [1]}
    atomic_save(value, path)
    assert value == {"data": [1]}


def test_the_marker_names_size_and_proof_and_follows_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    first = json.loads((tmp_path / "model.pt.done").read_text())
    assert first["bytes"] == path.stat().st_size and first["proof"].startswith("crc64-nvme:")
    saved(tmp_path, more=torch.ones(5))
    second = json.loads((tmp_path / "model.pt.done").read_text())
    assert second["bytes"] == path.stat().st_size and second != first
    assert names(tmp_path) == ["model.pt", "model.pt.done"] and validate_checkpoint(path) == (True, "")


def test_the_marker_is_made_without_validation_too(tmp_path: Path) -> None:
    assert has_done_marker(atomic_save({"k": 1}, tmp_path / "a.pt", validate_after_save=False))
    assert has_done_marker(atomic_save({"k": 1}, tmp_path / "b.pt", skip_validation=True))


@pytest.mark.parametrize("arguments", [{"validate_after_save": False}, {"skip_validation": True}])
def test_validation_can_be_left_out(tmp_path: Path, arguments: dict[str, bool], monkeypatch: Any) -> None:
    asked = []
    real = _native.save

    def watched(*given: Any) -> Any:
        asked.append(given[2]["validate"])
        return real(*given)

    monkeypatch.setattr(_native, "save", watched)
    atomic_save([1, 2], tmp_path / "a.pt", **arguments)
    atomic_save({"data": 1}, tmp_path / "b.pt")
    assert asked == [False, True]
    assert torch.load(tmp_path / "a.pt") == [1, 2]


@pytest.mark.parametrize("value", [{"wrong_key": torch.ones(5)}, [1, 2], torch.ones(3), {}])
def test_what_validation_would_refuse_replaces_nothing(place: Path, value: Any) -> None:
    cause = fails(value, place)
    assert "incompatible: " in str(cause)


def test_a_file_that_does_not_read_back_replaces_nothing(place: Path, monkeypatch: Any) -> None:
    def damaged(*_: Any) -> None:
        raise ckpt.CorruptedError(place, "what was written can't be read back as it was")

    monkeypatch.setattr(_native, "save", damaged)
    assert isinstance(fails({"data": 1}, place), ckpt.CorruptedError)


def test_a_device_that_cannot_read_back_what_was_written_replaces_nothing(place: Path) -> None:
    """The real thing: the system fails every read of the new file, for a tracer that the process starts itself."""
    before = contents(place.parent)
    script = (
        "import os, subprocess, sys, time; from ckpt import compat\n"
        "faults = ['strace', '-f', '-qq', '-o', os.devnull, '-e', 'inject=preadv,preadv2,pread64:error=EIO']\n"
        "tracer = subprocess.Popen([*faults, '-p', str(os.getpid())])\n"
        "while 'TracerPid:\\t0' in open('/proc/self/status').read():\n"
        "    if tracer.poll() is not None: sys.exit(77)\n"
        "    time.sleep(0.01)\n"
        "try: compat.atomic_save({'data': bytes(20_000)}, sys.argv[1])\n"
        "except RuntimeError as error: print(error)\n"
        "tracer.terminate(); tracer.wait()"
    )
    if shutil.which("strace") is None:
        pytest.skip("strace isn't installed")
    ran = subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=False)
    if ran.returncode == 77:
        pytest.skip(f"no process can be traced here: {ran.stderr.strip()}")
    assert "Input/output error" in ran.stdout, ran.stdout + ran.stderr
    assert contents(place.parent) == before


@pytest.mark.parametrize("bad", UNPICKLABLE, ids=["lambda", "lock", "generator"])
@pytest.mark.parametrize("arguments", [{}, {"validate_after_save": False}])
def test_a_value_that_cannot_be_pickled_replaces_nothing(place: Path, bad: Any, arguments: dict[str, bool]) -> None:
    fails({"data": torch.ones(3), "deep": [{"bad": bad}]}, place, **arguments)


def test_a_full_disk_replaces_nothing(place: Path) -> None:
    before = contents(place.parent)
    script = (
        "import argparse, resource, signal, sys, torch; from ckpt import compat\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "for objects in ({}, {'args': argparse.Namespace()}):\n"
        "    try: compat.atomic_save({'data': torch.ones(1_000_000), **objects}, sys.argv[1])\n"
        "    except RuntimeError as error: print(type(error.__cause__).__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=True)
    assert ran.stdout == "OSError\nOSError\n", ran.stdout + ran.stderr
    assert contents(place.parent) == before


def test_a_filesystem_without_room_keeps_the_good_file(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        path = saved(tmp_path)
        cause = fails({"data": torch.ones(1_000_000)}, path)
        assert isinstance(cause, OSError)
        assert validate_checkpoint(path) == (True, "")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_directory_that_is_not_there_is_a_runtime_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        atomic_save({"data": 1}, tmp_path / "nowhere" / "a.pt")
    assert isinstance(raised.value.__cause__, OSError) and names(tmp_path) == []


def test_a_process_that_is_killed_while_it_saves_leaves_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    script = (
        "import sys, torch; from ckpt import compat\n"
        "for step in range(10**6):\n"
        "    compat.atomic_save({'data': torch.full((300_000,), float(step)), 'step': step}, sys.argv[1])\n"
        "    print('saved', flush=True)"
    )
    for round_ in range(3):
        worker = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(0.05 + 0.03 * round_)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        assert validate_checkpoint(path) == (True, "") and has_done_marker(path)
        loaded = load_checkpoint_safe(path)
        assert torch.all(loaded["data"] == loaded["step"])
    saved(tmp_path)
    assert names(tmp_path) == ["model.pt", "model.pt.done"], "what killed processes left is cleaned up"


def test_any_value_that_can_be_pickled_is_saved_and_comes_back_where_it_is_trusted(tmp_path: Path) -> None:
    data = torch.arange(1000.0)
    path = atomic_save({"data": data, **OBJECTS}, tmp_path / "objects.pt")
    assert names(tmp_path) == ["objects.pt", "objects.pt.done"]
    loaded = load_checkpoint_safe(path, trusted=True)
    assert torch.equal(loaded.pop("data"), data)
    assert loaded == {**OBJECTS, "version": "1.0", "status": "complete"}
    assert torch.load(path, weights_only=False)["args"] == OBJECTS["args"], "PyTorch reads it too"
    with pytest.raises(ckpt.NeedsTrustError, match="trusted=True"):
        load_checkpoint_safe(path)
    info = get_checkpoint_info(path)
    assert (info["version"], info["status"], info["has_done_marker"]) == ("1.0", "complete", True)


def test_objects_that_refer_to_each_other_are_saved_validated_and_loaded(tmp_path: Path) -> None:
    first, second = argparse.Namespace(), argparse.Namespace()
    first.other, second.other = second, first
    path = atomic_save({"data": torch.ones(3), "pair": first}, tmp_path / "pair.pt")
    assert validate_checkpoint(path) == (True, "")
    loaded = load_checkpoint_safe(path, trusted=True)
    assert loaded["pair"].other.other is loaded["pair"]
    with pytest.raises(ckpt.NeedsTrustError, match=r"argparse\.Namespace"):
        load_checkpoint_safe(path)
    assert get_checkpoint_info(path)["has_done_marker"] is True


def test_what_needs_trust_is_validated_by_its_bytes(tmp_path: Path) -> None:
    data = torch.arange(1000.0)
    path = atomic_save({"data": data, **OBJECTS}, tmp_path / "objects.pt")
    assert validate_checkpoint(path) == (True, "")
    start = offset_of(path, data)
    for at in range(start, start + data.nbytes, 501):
        damaged = flipped(path, at, tmp_path / "damaged.pt")
        assert validate_checkpoint(damaged)[1].startswith("corrupted: ")
        for trusted in (True, False):
            with pytest.raises(ckpt.CorruptedError if trusted else ckpt.CheckpointError):
                load_checkpoint_safe(damaged, trusted=trusted)


def test_tensors_stay_on_the_fast_path_beside_objects(tmp_path: Path, monkeypatch: Any) -> None:
    tensor, seen = torch.arange(1000.0), []
    real = _native.save_pickled

    def watched(pickle: bytes, storages: list[Any], *rest: Any) -> Any:
        seen.append((len(pickle) < 4000, [storage.data_ptr() for storage in storages]))
        return real(pickle, storages, *rest)

    monkeypatch.setattr(_native, "save_pickled", watched)
    atomic_save({"data": tensor, "view": tensor[3:], "args": argparse.Namespace()}, tmp_path / "a.pt")
    assert seen == [(True, [tensor.data_ptr()])], "one storage, where it is, and not in the pickle"
    atomic_save({"data": tensor}, tmp_path / "b.pt")
    assert len(seen) == 1, "what a state can hold takes no pickler"


def test_what_needs_no_trust_loads_with_pytorchs_safe_reader(tmp_path: Path) -> None:
    value: dict[str, Any] = collections.OrderedDict(data=torch.ones(2, dtype=torch.bfloat16), n=[1, None, "x", (2.5,)])
    loaded = torch.load(atomic_save(value, tmp_path / "a.pt"), weights_only=True)
    assert type(loaded) is collections.OrderedDict and torch.equal(loaded["data"], value["data"])
    assert loaded["n"] == value["n"]


@pytest.mark.parametrize("name", ["weights", "weights.dat", "step.100", "checkpoint.tar.pt", ".hidden", "ü ☃.pt"])
def test_the_name_decides_nothing(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name)
    assert names(tmp_path) == sorted([name, f"{name}.done"])
    assert validate_checkpoint(path) == (True, "") and torch.load(path)["status"] == "complete"


def test_a_name_that_promises_another_format_is_refused(place: Path) -> None:
    assert "the name says otherwise" in str(fails({"data": 1}, place.with_suffix(".safetensors")))


def test_pytorch_is_imported_only_where_it_is_needed(tmp_path: Path) -> None:
    script = (
        "import sys; from ckpt import compat\n"
        "path = compat.atomic_save({'data': [1, 2.5, 'x']}, sys.argv[1])\n"
        "assert compat.validate_checkpoint(path)[0] and compat.get_checkpoint_info(path)['version'] == '1.0'\n"
        "assert compat.load_checkpoint_safe(path)['data'] == [1, 2.5, 'x']\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.pt")], check=True)


def test_a_relative_path_is_one_of_the_working_directory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert atomic_save({"data": 1}, "model.pt") == Path("model.pt")
    assert has_done_marker("model.pt") and names(tmp_path) == ["model.pt", "model.pt.done"]


def test_the_mode_of_the_file_is_that_of_an_ordinary_one(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = saved(tmp_path)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
