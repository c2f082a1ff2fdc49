"""Saves in the background: what they write, who waits for whom, and that a failure can't be missed."""

from __future__ import annotations

import errno
import faulthandler
import gc
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import ckpt

WEIGHTS = 300_000
NOBODY = 65534
"""The user that has no files: a number that Linux keeps for it."""


class Gate:
    """Holds the thread that saves, when it tells of a step, until it is opened."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.events: list[tuple[str, int | None]] = []

    def __call__(self, event: ckpt.Event) -> None:
        self.events.append((event.kind, event.step))
        if (event.kind, event.step) == ("saved", self.step):
            self.reached.set()
            assert self.opened.wait(60)


def weights(step: int) -> dict[str, Any]:
    return {"w": torch.full((WEIGHTS,), float(step)), "step": step}


def steps_of(run: Path) -> list[int]:
    return [listed.step for listed in ckpt.Manager(run).list()]


@contextmanager
def no_room() -> Iterator[None]:
    """Has no file grow beyond some 100 kB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("played", [False, True], ids=["host", "played device"])
def test_what_changes_after_the_call_is_not_in_the_file(tmp_path: Path, played: bool) -> None:
    """`dcp.async_save` wrote later values of CPU tensors; an async cache wrote the first save's again."""
    whole = torch.arange(WEIGHTS, dtype=torch.float32)
    half = torch.arange(WEIGHTS).to(torch.bfloat16)
    matrix = torch.arange(WEIGHTS).reshape(-1, 100)
    state: dict[str, Any] = {
        "whole": whole,
        "part": whole[10:20],
        "half": half,
        "turned": matrix.t(),
        "strided": matrix[::3, 5],
        "empty": torch.empty(0),
        "nested": [{"step": 1}],
    }
    expected = {name: state[name].clone() for name in ("whole", "part", "half", "turned", "strided")}
    with ckpt.Manager(tmp_path) as manager:
        manager.prepare(state, _played=played)
        for step in (1, 2):
            ticket = manager.save_async(step, state, _played=played)
            for tensor in (whole, half, matrix):
                tensor.add_(1)
            state["nested"][0]["step"] += 1
            committed = ticket.wait()
            assert committed is not None and committed.step == step and committed.notices == ()
            loaded = ckpt.load(committed.path / "state.safetensors")
            for name, tensor in expected.items():
                assert torch.equal(loaded[name], tensor), name
                tensor.add_(1)
            assert loaded["nested"] == [{"step": step}]
            assert loaded["empty"].shape == (0,)
            # Views of one storage stay views.
            loaded["whole"][10] = -1
            assert loaded["part"][0] == -1


def test_a_tied_weight_is_saved_once(tmp_path: Path) -> None:
    tied = torch.zeros(WEIGHTS)
    with ckpt.Manager(tmp_path) as manager:
        committed = manager.save_async(1, {"embed": tied, "head": tied}).wait()
    assert committed is not None and committed.state.bytes < 5 * WEIGHTS


def test_a_second_save_waits(tmp_path: Path) -> None:
    gate = Gate(1)
    with ckpt.Manager(tmp_path, on_event=gate) as manager:
        manager.save_async(1, weights(1))
        assert gate.reached.wait(60)
        threading.Thread(target=gate.opened.set).start()
        second = manager.save_async(2, weights(2))
        # It was taken when the first was over.
        assert gate.opened.is_set()
        assert second.wait() is not None and second.outcome == "saved"
    assert steps_of(tmp_path) == [1, 2]


def test_a_second_save_is_left_out(tmp_path: Path) -> None:
    gate = Gate(1)
    with ckpt.Manager(tmp_path, when_busy="skip", every_steps=1, on_event=gate) as manager:
        assert manager.should_save(1)
        first = manager.save_async(1, weights(1))
        assert gate.reached.wait(60) and not first.is_done and "on its way" in repr(first)
        second = manager.save_async(2, weights(2))
        assert second.wait() is None and second.outcome == "skipped" and second.is_done
        gate.opened.set()
        assert first.wait() is not None
    assert gate.events == [("saved", 1), ("skipped", 2)]
    assert steps_of(tmp_path) == [1]


def test_a_queued_save_gives_way_to_a_newer_one(tmp_path: Path) -> None:
    gate = Gate(1)
    with ckpt.Manager(tmp_path, when_busy="replace", on_event=gate) as manager:
        manager.save_async(1, weights(1))
        assert gate.reached.wait(60)
        second, third = manager.save_async(2, weights(2)), manager.save_async(3, weights(3))
        assert second.wait() is None and second.outcome == "replaced"
        gate.opened.set()
        assert third.wait() is not None
    assert steps_of(tmp_path) == [1, 3]


def test_a_save_waits_for_what_is_in_flight_and_goes_on_from_it(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path) as manager:
        manager.save_async(1, weights(1))
        manager.save(2, weights(2))
        resumed = manager.resume()
    assert resumed is not None and (resumed.step, resumed.manifest.parent) == (2, "step-0000000001")


def test_old_ones_go_only_when_the_new_one_is_durable(tmp_path: Path) -> None:
    """Lightning's async saver removes the old checkpoint before the queued one is written."""
    left: list[list[int]] = []

    def look(event: ckpt.Event) -> None:
        if event.kind == "saved":
            left.append(steps_of(tmp_path))

    with ckpt.Manager(tmp_path, keep_last=1, on_event=look) as manager:
        for step in range(1, 6):
            manager.save_async(step, weights(step))
    assert left == [[1], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert steps_of(tmp_path) == [5]


def test_a_failure_stops_every_later_call(tmp_path: Path) -> None:
    """`dcp.async_save` prints nothing of a failure whose future nobody reads."""
    manager = ckpt.Manager(tmp_path)
    manager.save(1, weights(1))
    with no_room():
        ticket = manager.save_async(2, weights(2))
        with pytest.raises(OSError, match="step-0000000002") as caught:
            ticket.wait()
    assert caught.value.errno is not None
    with pytest.raises(OSError):
        ticket.outcome  # noqa: B018
    for call in (manager.save, manager.save_async):
        with pytest.raises(OSError, match="step-0000000002 isn't saved"):
            call(3, weights(3))
    with pytest.raises(OSError, match="step-0000000002 isn't saved"):
        manager.finish()
    assert [path.name for path in (tmp_path / "main").iterdir() if "0000000002" in path.name] == []


def test_a_step_whose_save_failed_is_never_the_latest(tmp_path: Path) -> None:
    """Orbax's `latest_step()` returned a step whose background commit had failed; the restart died."""
    with pytest.raises(OSError), ckpt.Manager(tmp_path, on_failure="go-on") as manager:
        manager.save_async(1, weights(1)).wait()
        with no_room(), pytest.raises(OSError):
            manager.save_async(2, weights(2)).wait()
        latest = manager.latest()
        assert latest is not None and latest.step == 1
        # And the next save is as any: Orbax's crashed as it removed the missing one.
        assert manager.save_async(3, weights(3)).wait() is not None
        assert [listed.step for listed in manager.list()] == [1, 3]


def test_nobody_asks_and_the_end_of_the_block_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match="step-0000000001 isn't saved"), no_room(), ckpt.Manager(tmp_path) as manager:
        manager.save_async(1, weights(1))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].name == "ckpt" and "step-0000000001 isn't saved" in caplog.text


def test_an_error_on_its_way_is_not_hidden_by_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), no_room(), ckpt.Manager(tmp_path) as manager:
        manager.save_async(1, weights(1))
        raise ZeroDivisionError
    assert "saves failed, and nobody has asked" in caplog.text


def test_a_manager_that_is_dropped_logs_what_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = ckpt.Manager(tmp_path)
    with no_room():
        manager.save_async(1, weights(1))
        del manager
        gc.collect()
    assert "saves failed, and nobody has asked" in caplog.text


def test_a_manager_that_is_dropped_waits_for_what_is_under_way(tmp_path: Path) -> None:
    manager = ckpt.Manager(tmp_path)
    manager.save_async(1, weights(1))
    del manager
    gc.collect()
    assert steps_of(tmp_path) == [1]


def test_a_directory_that_is_no_more_is_an_error_that_names_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    manager = ckpt.Manager(run, attempts=1)
    manager.save(1, weights(1))
    (run / "main").rename(tmp_path / "elsewhere")
    (run / "main").write_bytes(b"in the way")
    with pytest.raises(OSError, match="run/main"):
        manager.save_async(2, weights(2)).wait()
    with pytest.raises(OSError):
        manager.finish()


@pytest.fixture
def nobodys_run() -> Iterator[Path]:
    """A run of a user who may not write everywhere, as root may."""
    with tempfile.TemporaryDirectory() as directory:
        user = os.geteuid()
        if user == 0:
            os.chown(directory, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield Path(directory)
        finally:
            os.seteuid(user)


def test_a_directory_made_unwritable_is_an_error(nobodys_run: Path) -> None:
    manager = ckpt.Manager(nobodys_run)
    manager.save(1, weights(1))
    (nobodys_run / "main").chmod(0o500)
    with pytest.raises(PermissionError, match="main"):
        manager.save_async(2, weights(2)).wait()
    with pytest.raises(PermissionError):
        manager.finish()
    (nobodys_run / "main").chmod(0o700)
    assert steps_of(nobodys_run) == [1]


AT_THE_END = """
import sys, ckpt
from ckpt.manager import Manager
manager = Manager(sys.argv[1])
ticket = manager.save_async(1, {"x": b"x" * 3_000_000})
if sys.argv[2] == "failing":
    import resource
    ticket.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    manager.save_async(2, {"x": b"x" * 3_000_000})
if sys.argv[2] == "raising":
    raise SystemExit(4)
"""


@pytest.mark.parametrize(("how", "code"), [("silent", 0), ("raising", 4), ("failing", 0)])
def test_at_the_end_of_the_process_what_is_under_way_is_waited_for(tmp_path: Path, how: str, code: int) -> None:
    command = [sys.executable, "-c", AT_THE_END, str(tmp_path), how]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code, ended.stderr
    assert steps_of(tmp_path) == [1]
    # Nobody has set up logging, and nobody has asked: it is seen all the same.
    assert ("step-0000000002 isn't saved" in ended.stderr) == (how == "failing")
    assert ("saves failed, and nobody has asked" in ended.stderr) == (how == "failing")


def test_a_failure_is_heard_with_its_error(tmp_path: Path) -> None:
    events: list[ckpt.Event] = []
    with pytest.raises(OSError), no_room(), ckpt.Manager(tmp_path, on_event=events.append) as manager:
        manager.save_async(1, weights(1))
    (event,) = events
    assert (event.kind, event.id, event.step) == ("failed", "step-0000000001", 1)
    assert isinstance(event.error, OSError) and event.error.errno == errno.EFBIG
    assert event.to_dict()["error"] == str(event.error)


def test_a_full_disk_is_tried_again_until_there_is_room(tmp_path: Path) -> None:
    """PyTorch's own message for a full disk is "unexpected pos", and a second attempt there is none."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system of a given size can be mounted here: {mounted.stderr.decode().strip()}")
    events: list[ckpt.Event] = []

    def make_room(event: ckpt.Event) -> None:
        events.append(event)
        if event.kind == "retrying":
            (tmp_path / "ballast").unlink(missing_ok=True)

    try:
        (tmp_path / "ballast").write_bytes(bytes(1_500_000))
        with ckpt.Manager(tmp_path / "run", on_event=make_room) as manager:
            committed = manager.save_async(1, weights(1)).wait()
            assert committed is not None and committed.retries == 1
            assert [event.kind for event in events] == ["retrying", "saved"]
            assert isinstance(events[0].error, OSError) and events[0].error.errno == errno.ENOSPC
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_an_event_hearer_raises_harms_no_save(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def hear(event: ckpt.Event) -> None:
        raise RuntimeError("deaf")

    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        with ckpt.Manager(tmp_path, on_event=hear) as manager:
            assert manager.save_async(1, weights(1)).wait() is not None
    finally:
        sys.unraisablehook = before
    assert [str(one.exc_value) for one in unraisable] == ["deaf"]


def test_a_save_that_saved_nothing_new_is_worth_a_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Steps 90, 110 and 120 of a run were bit-identical, and everything reported success."""
    with ckpt.Manager(tmp_path) as manager:
        manager.save_async(1, {"w": torch.ones(9), "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}})
        saved = manager.save(2, {"w": torch.ones(9), "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}})
    assert any("no tensor changed since step-0000000001" in notice for notice in saved.notices)
    assert any("counts 1 steps" in notice for notice in saved.notices)
    assert "no tensor changed since" in caplog.text
    with ckpt.Manager(tmp_path, expect_change=False, expect_optimizer_steps=False) as manager:
        manager.resume()
        again = [manager.save(step, {"optimizer": {"state": {0: {"step": 1}}}}) for step in (3, 4)]
    assert [saved.notices for saved in again] == [(), ()]


@pytest.mark.parametrize("how", ["save", "save_async", "resume", "finish", "wait"])
def test_other_threads_of_python_go_on_meanwhile(tmp_path: Path, how: str) -> None:
    """What is called waits for a save that goes on when another thread of Python says so."""
    gate = Gate(1)
    manager = ckpt.Manager(tmp_path, on_event=gate)
    ticket = manager.save_async(1, weights(1))
    assert gate.reached.wait(60)
    begin = threading.Event()

    def let_go() -> None:
        begin.wait()
        gate.opened.set()

    other = threading.Thread(target=let_go)
    other.start()
    interval = sys.getswitchinterval()
    # The interpreter is left to the other thread only by what is called; if it isn't, that never returns.
    sys.setswitchinterval(1000)
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        begin.set()
        calls: dict[str, Callable[[], object]] = {
            "save": lambda: manager.save(2, {"x": 2}),
            "save_async": lambda: manager.save_async(2, {"x": 2}),
            "resume": manager.resume,
            "finish": manager.finish,
            "wait": ticket.wait,
        }
        calls[how]()
        assert gate.opened.is_set()
    finally:
        faulthandler.cancel_dump_traceback_later()
        sys.setswitchinterval(interval)
        gate.opened.set()
    other.join()
    manager.finish()


@pytest.mark.parametrize("how", ["wait", "resume", "finish", "block"])
def test_ctrl_c_is_heard_while_a_save_is_waited_for(tmp_path: Path, how: str) -> None:
    gate = Gate(1)
    manager = ckpt.Manager(tmp_path, on_event=gate)
    ticket = manager.save_async(1, weights(1))
    assert gate.reached.wait(60)
    interrupt = threading.Thread(target=lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        interrupt.start()
        if how == "wait":
            ticket.wait()
        elif how == "resume":
            manager.resume()
        elif how == "finish":
            manager.finish()
        else:
            with manager:
                pass
        pytest.fail("nothing was waited for")
    # The save isn't lost.
    interrupt.join()
    gate.opened.set()
    assert ticket.wait() is not None
    manager.finish()
    assert steps_of(tmp_path) == [1]
