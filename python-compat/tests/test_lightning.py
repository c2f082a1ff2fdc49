"""The plug-in for Lightning, with the real Lightning."""

from __future__ import annotations

import json
import logging
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch import Callback, Trainer

import ckpt
from ckpt.lightning import AsyncCkptIO, CkptIO, last_verified
from lightning_job import Tiny, data, trainer

TESTS = Path(__file__).parent
BOTH = pytest.mark.parametrize("plugin", [CkptIO, AsyncCkptIO])


def flip_a_bit(path: Path) -> None:
    """Flips one bit of the largest tensor, which is somewhere in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def state(step: int, size: int = 1000) -> dict[str, Any]:
    return {"state_dict": {"w": torch.full((size,), float(step))}, "global_step": step}


class Gate:
    """Holds a save up: what is passed as its `progress` waits until the gate is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()

    @property
    def options(self) -> dict[str, Any]:
        return {"progress": self._wait}

    def _wait(self, _: int) -> None:
        self.reached.set()
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


# Training


@BOTH
def test_what_a_trainer_saves_is_proven_and_any_reader_opens_it(plugin: type[CkptIO], tmp_path: Path) -> None:
    job = trainer(tmp_path, plugin(), 4, monitor="loss", save_top_k=2, save_last=True)
    job.fit(Tiny(), data())
    assert sorted(os.listdir(tmp_path)) == ["epoch=2.ckpt", "epoch=3.ckpt", "last.ckpt"]
    for path in tmp_path.iterdir():
        report = ckpt.verify(path)
        assert report and report.integrity == "full", report
    loaded = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert loaded["global_step"] == 16 and loaded["state_dict"].keys() == {"layer.weight", "layer.bias", "ballast"}
    Tiny.load_from_checkpoint(tmp_path / "last.ckpt")


@BOTH
def test_a_resume_with_the_defaults_ends_as_if_it_never_stopped(plugin: type[CkptIO], tmp_path: Path) -> None:
    trainer(tmp_path / "a", plugin(), 4).fit(Tiny(), data())
    trainer(tmp_path / "b", plugin(), 2).fit(Tiny(), data())
    newest = last_verified(tmp_path / "b")
    assert newest == str(tmp_path / "b/epoch=1.ckpt")
    trainer(tmp_path / "b", plugin(), 4).fit(Tiny(), data(), ckpt_path=newest)
    assert_equal(ckpt.load(tmp_path / "a/epoch=3.ckpt"), ckpt.load(tmp_path / "b/epoch=3.ckpt"))


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Compares weights, optimizers and schedulers, bit by bit."""
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=0)


def test_a_killed_training_resumes_from_the_newest_good_checkpoint(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    ballast = 2_000_000
    command = [sys.executable, str(TESTS / "lightning_job.py"), str(killed), "--epochs=500", f"--ballast={ballast}"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        # In the middle of a save, when there are some checkpoints.
        until(lambda: len(list(killed.glob("epoch=*.ckpt"))) >= 3 and any(killed.glob(".ckpt-*.tmp")), child)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    newest = last_verified(killed)
    assert newest is not None
    epochs = int(ckpt.load(newest)["epoch"]) + 3
    flip_a_bit(Path(newest))
    before = last_verified(killed)
    assert before is not None and before != newest

    for directory in (killed, whole):
        job = trainer(directory, AsyncCkptIO(), epochs, save_last=True)
        job.fit(Tiny(ballast), data(), ckpt_path=last_verified(directory))
    assert_equal(ckpt.load(killed / f"epoch={epochs - 1}.ckpt"), ckpt.load(whole / f"epoch={epochs - 1}.ckpt"))
    assert not list(killed.glob(".ckpt-*.tmp")), "the leftover of the killed process is removed by a later save"


def until(condition: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    """Waits for a condition that a process brings about."""
    while not condition():
        assert child.poll() is None, child.communicate()[1].decode()
        time.sleep(0.001)


def test_fabric_saves_and_loads(tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", plugins=[CkptIO()])
    model = torch.nn.Linear(3, 2)
    fabric.save(tmp_path / "model.ckpt", {"model": model, "step": 5})
    assert ckpt.verify(tmp_path / "model.ckpt").integrity == "full"
    other = {"model": torch.nn.Linear(3, 2), "step": 0}
    fabric.load(tmp_path / "model.ckpt", other)
    assert other["step"] == 5 and torch.equal(other["model"].weight, model.weight)  # type: ignore[attr-defined]


def test_the_plug_in_serves_both_of_lightnings_packages() -> None:
    import pytorch_lightning

    kinds: tuple[Any, ...] = (pytorch_lightning.Trainer, Trainer)
    for kind in kinds:
        plugin = AsyncCkptIO()
        job = kind(plugins=[plugin], accelerator="cpu", logger=False, enable_checkpointing=False)
        assert job.strategy.checkpoint_io is plugin


# Loading


def test_a_refusal_names_the_global_and_what_to_do(tmp_path: Path) -> None:
    # Lightning's issue 20450: with the default of `weights_only`, a resume fails, and by another library's message.
    trainer(tmp_path, CkptIO(), 1).fit(Tiny(paths=Namespace(root="x")), data())
    job = trainer(tmp_path, CkptIO(), 2)
    with pytest.raises(ckpt.NeedsTrustError, match=r"'argparse\.Namespace'.*add_safe_globals.*weights_only=False"):
        job.fit(Tiny(), data(), ckpt_path=tmp_path / "epoch=0.ckpt")
    with pytest.raises(ckpt.NeedsTrustError, match=r"'argparse\.Namespace'.*add_safe_globals.*weights_only=False"):
        last_verified(tmp_path)


def test_an_object_that_pytorch_was_told_is_safe_is_loaded_by_default(tmp_path: Path) -> None:
    trainer(tmp_path, CkptIO(), 1).fit(Tiny(paths=Namespace(root="x")), data())
    with torch.serialization.safe_globals([Namespace]):
        path = last_verified(tmp_path)
        trainer(tmp_path, CkptIO(), 2).fit(Tiny(), data(), ckpt_path=path)
        assert CkptIO().load_checkpoint(tmp_path / "epoch=0.ckpt")["hyper_parameters"]["paths"] == Namespace(root="x")
    assert (tmp_path / "epoch=1.ckpt").exists()


def test_who_trusts_a_checkpoint_loads_it_whole(tmp_path: Path) -> None:
    trainer(tmp_path, CkptIO(), 1).fit(Tiny(paths=Namespace(root="x")), data())
    path = last_verified(tmp_path, weights_only=False)
    assert path == str(tmp_path / "epoch=0.ckpt")
    trainer(tmp_path, CkptIO(), 2).fit(Tiny(), data(), ckpt_path=path, weights_only=False)
    assert (tmp_path / "epoch=1.ckpt").exists()


@pytest.mark.parametrize("weights_only", [None, True, False])
@pytest.mark.parametrize("value", ["plain", Namespace(a=1)])
def test_a_flipped_bit_is_never_loaded(weights_only: bool | None, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    CkptIO().save_checkpoint({**state(1), "value": value}, path)
    flip_a_bit(path)
    expected = ckpt.CorruptedError
    if isinstance(value, Namespace) and weights_only is not False:
        # It isn't even looked at before it is trusted.
        expected = ckpt.NeedsTrustError  # type: ignore[assignment]
    with pytest.raises(expected):
        CkptIO().load_checkpoint(path, weights_only=weights_only)


@pytest.mark.parametrize("weights_only", [None, False])
@pytest.mark.parametrize(
    "map_location", [None, "cpu", torch.device("cpu"), {"cpu": "cpu"}, lambda storage, location: storage]
)
def test_every_kind_of_map_location_is_taken(weights_only: bool | None, map_location: Any, tmp_path: Path) -> None:
    CkptIO().save_checkpoint(state(3), tmp_path / "a.ckpt")
    loaded = CkptIO().load_checkpoint(tmp_path / "a.ckpt", map_location, weights_only)
    assert torch.equal(loaded["state_dict"]["w"], state(3)["state_dict"]["w"])


def test_a_missing_checkpoint_is_a_missing_file(tmp_path: Path) -> None:
    for weights_only in (None, False):
        with pytest.raises(FileNotFoundError):
            CkptIO().load_checkpoint(tmp_path / "none.ckpt", weights_only=weights_only)


# Saving


class Watcher:
    """A process that notes each size that a file is seen to have (-1 where it is missing), until it is asked."""

    CODE = """
import json, os, sys, threading
stop, sizes = threading.Event(), set()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
ready = False
while not stop.is_set():
    for _ in range(500):
        try:
            sizes.add(os.stat(sys.argv[1]).st_size)
        except FileNotFoundError:
            sizes.add(-1)
    if not ready:
        ready = not print("ready", flush=True)
print(json.dumps(list(sizes)))
"""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-S", "-c", self.CODE, str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout and self._process.stdout.readline() == "ready\n"

    def sizes(self) -> set[int]:
        return set(json.loads(self._process.communicate()[0].splitlines()[-1]))


@BOTH
def test_only_whole_files_are_ever_seen_where_the_temporary_directory_is_elsewhere(
    plugin: type[CkptIO], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lightning's own saver writes into the directory for temporary files and moves the file from there: onto another
    # file system that is no rename, and 2,024 different sizes were seen at the checkpoint's name.
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or os.stat(elsewhere).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setattr("tempfile.tempdir", None)
    path, io = tmp_path / "last.ckpt", plugin()
    io.save_checkpoint(state(0, 8_000_000), path)
    io.teardown()
    whole = {path.stat().st_size}
    watcher = Watcher(path)
    try:
        for step in range(1, 4):
            io.save_checkpoint(state(step, 8_000_000 + step * 100_000), path)
            io.teardown()
            whole.add(path.stat().st_size)
    finally:
        seen = watcher.sizes()
    assert len(whole) == 4 and seen <= whole and len(seen) > 1


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path, io = tmp_path / "a.ckpt", CkptIO()
    io.save_checkpoint(state(1), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="no_such_option"):
        io.save_checkpoint(state(2), path, {"no_such_option": 1})
    with pytest.raises((AttributeError, TypeError), match="lock"):
        io.save_checkpoint({**state(2), "lock": threading.Lock()}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.ckpt"]


@BOTH
def test_a_disk_that_takes_no_more_costs_the_new_file_and_not_the_old_one(plugin: type[CkptIO], tmp_path: Path) -> None:
    path, io = tmp_path / "last.ckpt", plugin()
    io.save_checkpoint(state(1), path)
    io.teardown()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*last\.ckpt"):
            io.save_checkpoint(state(2, 1_000_000), path)
            io.teardown()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["last.ckpt"] and ckpt.load(path)["global_step"] == 1


def test_storage_options_are_arguments_of_save(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.ckpt"
    CkptIO().save_checkpoint(state(1), path, {"done_marker": True, "metadata": {"run": "7"}})
    assert sorted(os.listdir(path.parent)) == ["a.ckpt", "a.ckpt.done"]
    CkptIO().remove_checkpoint(path)
    assert os.listdir(path.parent) == []


def test_a_url_is_refused_before_anything_is_done() -> None:
    for call in (
        lambda: CkptIO().save_checkpoint(state(1), "s3://bucket/a.ckpt"),
        lambda: CkptIO().load_checkpoint("s3://bucket/a.ckpt"),
        lambda: CkptIO().remove_checkpoint("s3://bucket/a.ckpt"),
    ):
        with pytest.raises(ValueError, match="URL"):
            call()


def test_removing_takes_directories_and_links_and_nothing_at_all(tmp_path: Path) -> None:
    io = CkptIO()
    (tmp_path / "sharded.ckpt/shards").mkdir(parents=True)
    io.save_checkpoint(state(1), tmp_path / "a.ckpt")
    os.symlink("a.ckpt", tmp_path / "last.ckpt")
    for name in ("sharded.ckpt", "last.ckpt", "none.ckpt"):
        io.remove_checkpoint(tmp_path / name)
    assert os.listdir(tmp_path) == ["a.ckpt"]


@BOTH
def test_a_link_to_the_last_checkpoint_is_replaced_and_not_what_it_leads_to(
    plugin: type[CkptIO], tmp_path: Path
) -> None:
    trainer(tmp_path, plugin(), 2, save_last="link").fit(Tiny(), data())
    assert os.path.islink(tmp_path / "last.ckpt")
    assert last_verified(tmp_path) == str(tmp_path / "epoch=1.ckpt")
    before = (tmp_path / "epoch=1.ckpt").read_bytes()
    plugin_of_the_next_run = plugin()
    plugin_of_the_next_run.save_checkpoint(state(99), tmp_path / "last.ckpt")
    plugin_of_the_next_run.teardown()
    assert not os.path.islink(tmp_path / "last.ckpt")
    assert (tmp_path / "epoch=1.ckpt").read_bytes() == before
    assert last_verified(tmp_path) == str(tmp_path / "last.ckpt")


@BOTH
def test_while_a_link_is_replaced_its_name_is_never_free(plugin: type[CkptIO], tmp_path: Path) -> None:
    good, link = tmp_path / "epoch=1.ckpt", tmp_path / "last.ckpt"
    CkptIO().save_checkpoint(state(1), good)
    link.symlink_to(good.name)
    seen = []
    io = plugin()
    io.save_checkpoint(state(2), link, storage_options={"progress": lambda _: seen.append(last_verified(tmp_path))})
    io.teardown()
    assert seen and set(seen) == {str(good)} and not link.is_symlink()
    # A save that fails leaves the link.
    link.unlink()
    link.symlink_to(good.name)
    with pytest.raises(ValueError, match="level"):
        io.save_checkpoint(state(3), link, storage_options={"level": "none"})
        io.teardown()
    assert link.is_symlink() and os.path.samefile(link, good)


def test_a_link_to_itself_is_neither_saved_through_nor_resumed_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Lightning's issue 21110.
    path = tmp_path / "last.ckpt"
    os.symlink("last.ckpt", path)
    CkptIO().save_checkpoint(state(1), tmp_path / "a.ckpt")
    assert last_verified(tmp_path) == str(tmp_path / "a.ckpt")
    assert "last.ckpt: unreadable" in caplog.text
    CkptIO().save_checkpoint(state(2), path)
    assert last_verified(tmp_path) == str(path)


# In the background


def test_what_changes_after_the_call_is_not_in_the_file(gate: Gate, tmp_path: Path) -> None:
    io, checkpoint = AsyncCkptIO(), {**state(1), "best": {"a.ckpt": 0.5}}
    io.save_checkpoint(checkpoint, tmp_path / "a.ckpt", gate.options)
    checkpoint["state_dict"]["w"].fill_(-1)
    checkpoint["best"]["a.ckpt"] = 0.1
    gate.open()
    io.teardown()
    loaded = ckpt.load(tmp_path / "a.ckpt")
    assert torch.equal(loaded["state_dict"]["w"], torch.ones(1000)) and loaded["best"] == {"a.ckpt": 0.5}


def test_a_waiting_save_is_not_overwritten_by_a_later_one(gate: Gate, tmp_path: Path) -> None:
    # As NeMo's cache did, which wrote the first state three times.
    io = AsyncCkptIO(max_in_flight=3)
    for step in range(9):
        io.save_checkpoint(state(step), tmp_path / f"{step}.ckpt", gate.options if step == 0 else None)
        if step == 2:
            gate.open()
    io.teardown()
    assert [ckpt.load(tmp_path / f"{step}.ckpt")["state_dict"]["w"][0].item() for step in range(9)] == list(range(9))


def test_no_more_saves_than_allowed_are_in_flight(gate: Gate, tmp_path: Path) -> None:
    io = AsyncCkptIO(max_in_flight=2)
    io.save_checkpoint(state(0), tmp_path / "0.ckpt", gate.options)
    io.save_checkpoint(state(1), tmp_path / "1.ckpt")
    third = threading.Thread(target=io.save_checkpoint, args=(state(2), tmp_path / "2.ckpt"))
    third.start()
    third.join(0.2)
    assert third.is_alive()
    gate.open()
    third.join()
    io.teardown()
    assert len(os.listdir(tmp_path)) == 3
    with pytest.raises(ValueError, match="max_in_flight is 0"):
        AsyncCkptIO(max_in_flight=0)


def test_saves_that_do_not_overlap_hold_one_copy_of_the_state(tmp_path: Path) -> None:
    io = AsyncCkptIO(max_in_flight=3)
    for step in range(4):
        io.save_checkpoint(state(step), tmp_path / "a.ckpt")
        assert io._background is not None
        io._background.drain()
    assert io._background is not None
    stagings = [io._background._free.get() for _ in range(3)]
    assert sum(bool(staging._memory) for staging in stagings) == 1


def test_a_checkpoint_is_removed_only_when_the_newer_one_is_durable(gate: Gate, tmp_path: Path) -> None:
    # Lightning's issue 14035: the old one was deleted while the new one waited.
    io = AsyncCkptIO()
    io.save_checkpoint(state(1), tmp_path / "1.ckpt")
    io.save_checkpoint(state(2), tmp_path / "2.ckpt", gate.options)
    io.remove_checkpoint(tmp_path / "1.ckpt")
    assert gate.reached.wait(60)
    assert ckpt.verify(tmp_path / "1.ckpt") and not (tmp_path / "2.ckpt").exists()
    gate.open()
    io.teardown()
    assert os.listdir(tmp_path) == ["2.ckpt"]


def test_a_checkpoint_that_is_removed_while_it_waits_does_not_come_back(gate: Gate, tmp_path: Path) -> None:
    # Lightning's issue 14035, the other way round.
    io = AsyncCkptIO()
    io.save_checkpoint(state(1), tmp_path / "1.ckpt", gate.options)
    io.save_checkpoint(state(2), tmp_path / "2.ckpt")
    io.remove_checkpoint(tmp_path / "1.ckpt")
    gate.open()
    io.teardown()
    assert os.listdir(tmp_path) == ["2.ckpt"]


def test_removals_and_saves_of_a_training_end_with_the_files_that_lightning_counts(tmp_path: Path) -> None:
    job = trainer(tmp_path, AsyncCkptIO(max_in_flight=1), 8, save_top_k=1, save_last=True)
    job.fit(Tiny(500_000), data())
    assert sorted(os.listdir(tmp_path)) == ["epoch=7.ckpt", "last.ckpt"]
    assert all(ckpt.verify(path) for path in tmp_path.iterdir())


def block(directory: Path) -> None:
    """Makes saves into a directory fail: a file takes its place."""
    directory.write_bytes(b"")


def test_a_failure_is_raised_by_the_next_call_and_the_last_good_checkpoint_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    io = AsyncCkptIO(max_in_flight=1)
    io.save_checkpoint(state(1), tmp_path / "1.ckpt")
    block(tmp_path / "blocked")
    io.save_checkpoint(state(2), tmp_path / "blocked/2.ckpt")
    with pytest.raises(OSError, match="blocked"):
        # It waits for the one before, and so is sure to hear of it.
        io.save_checkpoint(state(3), tmp_path / "3.ckpt")
    assert "blocked/2.ckpt failed" in caplog.text
    io.remove_checkpoint(tmp_path / "1.ckpt")
    io.teardown()
    assert "1.ckpt was to be removed, and is kept" in caplog.text
    assert last_verified(tmp_path) == str(tmp_path / "1.ckpt")


def test_a_removal_that_was_put_off_is_made_up_for_by_the_next_good_save(tmp_path: Path) -> None:
    io = AsyncCkptIO(max_in_flight=1)
    for step in (1, 2):
        io.save_checkpoint(state(step), tmp_path / f"{step}.ckpt")
    block(tmp_path / "blocked")
    io.save_checkpoint(state(3), tmp_path / "blocked/3.ckpt")
    with pytest.raises(OSError):
        io.load_checkpoint(tmp_path / "2.ckpt")
    io.remove_checkpoint(tmp_path / "1.ckpt")
    io.remove_checkpoint(tmp_path / "2.ckpt")
    io.save_checkpoint(state(4), tmp_path / "2.ckpt")
    io.teardown()
    assert sorted(os.listdir(tmp_path)) == ["2.ckpt", "blocked"]
    assert ckpt.load(tmp_path / "2.ckpt")["global_step"] == 4


class Break(Callback):
    """Takes the directory away in the second epoch."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            trainer.strategy.checkpoint_io._background.drain()
            shutil.rmtree(self.directory)
            block(self.directory)


@pytest.mark.parametrize("epochs", [2, 6])
def test_a_training_whose_background_save_fails_does_not_end_well(epochs: int, tmp_path: Path) -> None:
    # As long as nobody saves again, Lightning's is heard of only when all is over; the last one must be, too.
    job = trainer(tmp_path / "run", AsyncCkptIO(), epochs, Break(tmp_path / "run"))
    with pytest.raises(OSError, match="run"):
        job.fit(Tiny(), data())


def test_loading_waits_for_what_is_being_saved(gate: Gate, tmp_path: Path) -> None:
    io = AsyncCkptIO()
    io.save_checkpoint(state(1), tmp_path / "a.ckpt", gate.options)
    threading.Timer(0.1, gate.open).start()
    assert io.load_checkpoint(tmp_path / "a.ckpt")["global_step"] == 1
    io.teardown()


def test_what_cannot_be_pickled_is_refused_at_once(tmp_path: Path) -> None:
    io = AsyncCkptIO(max_in_flight=1)
    with pytest.raises(TypeError, match="lock"):
        io.save_checkpoint({"lock": threading.Lock()}, tmp_path / "a.ckpt")
    io.save_checkpoint(state(1), tmp_path / "a.ckpt")
    io.teardown()
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_the_plug_in_travels_to_the_processes_that_lightning_spawns(tmp_path: Path) -> None:
    io = pickle.loads(pickle.dumps(AsyncCkptIO(done_marker=True)))
    io.save_checkpoint(state(1), tmp_path / "a.ckpt")
    io.teardown()
    assert sorted(os.listdir(tmp_path)) == ["a.ckpt", "a.ckpt.done"]


def test_a_process_that_ends_without_teardown_has_saved(tmp_path: Path) -> None:
    code = (
        "import torch, sys; from ckpt.lightning import AsyncCkptIO\n"
        "AsyncCkptIO().save_checkpoint({'w': torch.ones(3_000_000), 'global_step': 4}, sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.ckpt"], check=True)
    assert ckpt.load(tmp_path / "a.ckpt")["global_step"] == 4


# The newest good one


def test_without_checkpoints_the_training_begins_anew(tmp_path: Path) -> None:
    assert last_verified(tmp_path) is None
    assert last_verified(tmp_path / "none") is None


def test_what_is_damaged_is_skipped_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in range(1, 6):
        CkptIO().save_checkpoint(state(step), tmp_path / f"{step}.ckpt")
    flip_a_bit(tmp_path / "5.ckpt")
    os.truncate(tmp_path / "4.ckpt", 3000)
    (tmp_path / "3.ckpt").write_bytes(b"")
    os.symlink("nowhere", tmp_path / "last.ckpt")
    with caplog.at_level(logging.WARNING, "ckpt"):
        assert last_verified(tmp_path) == str(tmp_path / "2.ckpt")
    for name in ("5.ckpt", "4.ckpt", "3.ckpt", "last.ckpt"):
        assert f"skipped: {tmp_path / name}: " in caplog.text


def test_damage_is_seen_in_what_needs_trust_too(tmp_path: Path) -> None:
    for step in (1, 2):
        CkptIO().save_checkpoint({**state(step), "value": Namespace(a=1)}, tmp_path / f"{step}.ckpt")
    flip_a_bit(tmp_path / "2.ckpt")
    assert last_verified(tmp_path, weights_only=False) == str(tmp_path / "1.ckpt")
    with pytest.raises(ckpt.NeedsTrustError):
        last_verified(tmp_path)


def test_where_none_is_good_it_says_so_instead_of_beginning_anew(tmp_path: Path) -> None:
    CkptIO().save_checkpoint(state(1), tmp_path / "1.ckpt")
    flip_a_bit(tmp_path / "1.ckpt")
    with pytest.raises(ckpt.CorruptedError, match=r"none of 1 checkpoints is good: .*1\.ckpt"):
        last_verified(tmp_path)


def test_the_newest_is_the_one_with_the_highest_step_whatever_the_clock_says(tmp_path: Path) -> None:
    # Written by ckpt, and by Lightning itself (which leaves the step in the structure alone).
    for step in (5, 9, 7):
        CkptIO().save_checkpoint(state(step), tmp_path / f"{step}.ckpt")
    torch.save(state(11), tmp_path / "11.ckpt")
    for age, step in enumerate((11, 9, 7, 5)):
        os.utime(tmp_path / f"{step}.ckpt", (1000 + age, 1000 + age))
    assert last_verified(tmp_path) == str(tmp_path / "11.ckpt")
    (tmp_path / "11.ckpt").unlink()
    assert last_verified(tmp_path) == str(tmp_path / "9.ckpt")


def test_where_a_step_is_missing_the_clock_decides(tmp_path: Path) -> None:
    CkptIO().save_checkpoint(state(5), tmp_path / "5.ckpt")
    torch.save({"w": torch.ones(2)}, tmp_path / "other.ckpt")
    os.utime(tmp_path / "5.ckpt", (1000, 1000))
    assert last_verified(tmp_path) == str(tmp_path / "other.ckpt")
    os.utime(tmp_path / "other.ckpt", (900, 900))
    assert last_verified(tmp_path) == str(tmp_path / "5.ckpt")


def test_all_ranks_resume_from_what_rank_0_decided(tmp_path: Path) -> None:
    # Lightning's issue 19932: "last" was another checkpoint for each rank.
    for rank, steps in enumerate([(1, 2), (1, 2, 3)]):
        for step in steps:
            CkptIO().save_checkpoint(state(step), tmp_path / f"{rank}" / f"{step}.ckpt")
    script = tmp_path / "ranks.py"
    script.write_text(
        "import sys, torch.distributed as dist\n"
        "from ckpt.lightning import last_verified\n"
        "dist.init_process_group('gloo')\n"
        "found = last_verified(f'{sys.argv[1]}/{dist.get_rank()}')\n"
        "open(f'{sys.argv[1]}/found-{dist.get_rank()}', 'w').write(found)\n"
        "dist.destroy_process_group()\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, script, tmp_path], check=True, capture_output=True, timeout=300)
    assert {(tmp_path / f"found-{rank}").read_text() for rank in (0, 1)} == {str(tmp_path / "0/2.ckpt")}
