"""A run's checkpoints, one call after the other: what is saved, listed, resumed from, skipped and removed."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import torch

import ckpt


def state_at(step: int) -> dict[str, Any]:
    """A state that is another one at each step."""
    weights = torch.arange(2000, dtype=torch.float32) + step
    return {"model": {"w": weights, "b": weights[:8].to(torch.bfloat16)}, "step": step, "names": ["a", ("b", None)]}


def check(state: dict[str, Any], step: int) -> None:
    """Holds a state that was loaded against the one that was saved."""
    expected = state_at(step)
    assert torch.equal(state["model"]["w"], expected["model"]["w"])
    assert torch.equal(state["model"]["b"], expected["model"]["b"])
    assert (state["step"], state["names"]) == (step, expected["names"])


def save(run: Path, *steps: int, **options: Any) -> list[ckpt.Committed]:
    with ckpt.Manager(run, **options) as manager:
        return [manager.save(step, state_at(step)) for step in steps]


def file_of(run: Path, step: int) -> Path:
    return run / "main" / f"step-{step:010}" / "state.safetensors"


def test_a_run_without_checkpoints_has_nothing_to_resume_from(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path / "run") as manager:
        assert manager.resume() is None
        assert manager.latest() is None
        assert manager.list() == []
    assert not (tmp_path / "run").exists()


def test_what_is_saved_is_resumed_from(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path) as manager:
        committed = manager.save(
            7, state_at(7), metrics={"loss": torch.tensor(0.5), "bad": float("nan")},
            metadata={"host": "a7"}, artifacts={"notes.txt": b"three"},
        )  # fmt: skip
        assert (committed.id, committed.step, committed.notices, committed.retries) == ("step-0000000007", 7, (), 0)
        assert committed.state.validated == "load"
        assert (committed.path / "notes.txt").read_bytes() == b"three"
    resumed = ckpt.Manager(tmp_path).resume()
    assert resumed is not None
    check(resumed.state, 7)
    assert (resumed.step, resumed.id, resumed.path) == (7, committed.id, committed.path)
    # What isn't finite is never the best, and no JSON.
    assert resumed.metrics == {"loss": 0.5}
    assert resumed.manifest.metadata == {"host": "a7"}
    assert [artifact.name for artifact in resumed.manifest.artifacts] == ["state.safetensors", "notes.txt"]
    assert ckpt.verify(committed.path)


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_each_format_holds_the_same(tmp_path: Path, format: str) -> None:
    save(tmp_path, 3, format=format)
    resumed = ckpt.Manager(tmp_path).resume()
    assert resumed is not None
    check(resumed.state, 3)
    if format == "torch":
        check(torch.load(resumed.path / "state.pt", weights_only=True), 3)


def test_a_resumed_state_goes_to_the_device_asked_for(tmp_path: Path) -> None:
    save(tmp_path, 1)
    resumed = ckpt.Manager(tmp_path).resume(map_location="meta")
    assert resumed is not None and resumed.state["model"]["w"].device.type == "meta"


def damage_by_truncation(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)


def damage_by_a_flipped_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)


def damage_by_removal(path: Path) -> None:
    path.unlink()


def damage_by_a_lost_manifest(path: Path) -> None:
    (path.parent / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage", [damage_by_truncation, damage_by_a_flipped_bit, damage_by_removal, damage_by_a_lost_manifest]
)
def test_peers_resume_from_a_damaged_checkpoint_and_we_walk_back(tmp_path: Path, damage: Any) -> None:
    save(tmp_path, 1, 2, 3)
    damage(file_of(tmp_path, 3))
    manager = ckpt.Manager(tmp_path)
    latest, resumed = manager.latest(), manager.resume()
    assert latest is not None and resumed is not None
    assert latest.step == resumed.step == 2
    check(resumed.state, 2)
    assert [skipped.id for skipped in resumed.skipped] == ["step-0000000003"]
    assert resumed.skipped[0].finding.verdict == "corrupted"
    assert "step-0000000003: corrupted" in str(resumed.skipped[0])


def test_several_damaged_ones_are_each_named(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    damage_by_truncation(file_of(tmp_path, 3))
    damage_by_a_flipped_bit(file_of(tmp_path, 2))
    resumed = ckpt.Manager(tmp_path).resume()
    assert resumed is not None and resumed.step == 1
    assert [skipped.id for skipped in resumed.skipped] == ["step-0000000003", "step-0000000002"]


def test_what_is_unfinished_is_no_checkpoint(tmp_path: Path) -> None:
    """Hugging Face's Trainer resumes from the highest number, finished or not."""
    save(tmp_path, 1)
    unfinished = tmp_path / "main" / "step-0000000009"
    unfinished.mkdir()
    (unfinished / "state.safetensors").write_bytes(file_of(tmp_path, 1).read_bytes()[:1000])
    resumed = ckpt.Manager(tmp_path).resume()
    assert resumed is not None and resumed.step == 1
    listed = ckpt.Manager(tmp_path).list()
    assert [(one.step, one.is_whole) for one in listed] == [(1, True), (9, False)]


def test_where_none_is_good_beginning_anew_is_for_the_caller_to_decide(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    for step in (1, 2):
        damage_by_truncation(file_of(tmp_path, step))
    with pytest.raises(ckpt.CorruptedError, match="none of them can be used") as caught:
        ckpt.Manager(tmp_path).resume()
    # PyTorch's `CheckpointException` is none: `except Exception` misses it.
    assert isinstance(caught.value, Exception)


def test_an_incompatible_newest_is_an_error_that_names_the_next_good_one(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path) as manager:
        manager.save(1, state_at(1))
        manager.save(2, {"another": torch.zeros(3)})
    manager = ckpt.Manager(tmp_path)
    with pytest.raises(ckpt.IncompatibleError, match=r"next good one is step-0000000001") as caught:
        manager.resume(required_keys=["model.*"])
    assert caught.value.error_type == "incompatible"
    resumed = manager.resume(required_keys="model.*", force=True)
    assert resumed is not None and resumed.step == 1
    assert resumed.skipped[0].finding.verdict == "incompatible"


def test_a_step_reached_again_begins_a_generation_and_overwrites_nothing(tmp_path: Path) -> None:
    """`dcp.save` to an id that holds a checkpoint, killed, leaves a mix of both that loads."""
    save(tmp_path, 10, 20)
    before = file_of(tmp_path, 20).read_bytes()
    damage_by_a_flipped_bit(file_of(tmp_path, 20))
    damaged = file_of(tmp_path, 20).read_bytes()
    with ckpt.Manager(tmp_path) as manager:
        resumed = manager.resume()
        assert resumed is not None and resumed.step == 10
        again = manager.save(20, state_at(20))
    assert again.id == "step-0000000020-g1"
    assert "a new generation begins" in again.notices[0]
    assert file_of(tmp_path, 20).read_bytes() == damaged != before
    resumed = ckpt.Manager(tmp_path).resume()
    assert resumed is not None and resumed.id == again.id and resumed.manifest.parent == "step-0000000010"


def test_the_last_ones_the_best_and_one_of_every_so_many_stay(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path, keep_last=2, keep_best="loss:min", keep_every=[40, "1000d"]) as manager:
        for step in range(10, 110, 10):
            manager.save(step, state_at(step), metrics={"loss": abs(step - 70)})
        steps = [listed.step for listed in manager.list()]
    assert steps == [10, 40, 70, 80, 90, 100]


def test_the_order_is_that_of_steps_whatever_the_times_of_files_are(tmp_path: Path) -> None:
    """Hugging Face's Trainer rotates by the time of files: a copied run lost its newest checkpoint."""
    with ckpt.Manager(tmp_path, keep_last=2) as manager:
        manager.save(1, state_at(1))
        manager.save(2, state_at(2))
        os.utime(file_of(tmp_path, 2).parent, (0, 0))
        os.utime(file_of(tmp_path, 2), (0, 0))
        manager.save(3, state_at(3))
        assert [listed.step for listed in manager.list()] == [2, 3]


def test_a_damaged_one_takes_nobodys_place(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path, keep_last=2) as manager:
        manager.save(1, state_at(1))
        manager.save(2, state_at(2))
        damage_by_truncation(file_of(tmp_path, 2))
        manager.save(3, state_at(3))
        # "The last two" are the last two that the work could go on from.
        assert [listed.step for listed in manager.list()] == [1, 2, 3]


def test_nothing_goes_before_the_new_one_is_there(tmp_path: Path) -> None:
    """Ignite and Accelerate remove the oldest first: with one kept, a failing save leaves none."""
    with ckpt.Manager(tmp_path, keep_last=1) as manager:
        manager.save(1, state_at(1))
        with pytest.raises(ValueError, match=r"manifest\.json"):
            manager.save(2, state_at(2), artifacts={"manifest.json": b"mine"})
        resumed = manager.resume()
        assert resumed is not None and resumed.step == 1


def test_a_plan_says_why_and_touches_nothing(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    with ckpt.Manager(tmp_path) as manager:
        manager.pin("step-0000000001", "what the paper was made with")
        plan = manager.plan(keep_last=1)
        assert [decision.action for decision in plan.decisions] == ["keep", "remove", "keep"]
        assert [decision.id for decision in plan.removals] == ["step-0000000002"]
        assert plan.freed_bytes == plan.decisions[1].bytes > 0
        assert "keep step-0000000001 (good" in str(plan) and "pinned" in str(plan)
        assert len(manager.list()) == 3
        assert manager.prune(plan) == ("step-0000000002",)
        assert manager.prune(manager.plan(keep_last=1)) == ()
        listed = manager.list()
        assert [(one.step, one.pinned) for one in listed] == [(1, "what the paper was made with"), (3, None)]
        assert manager.unpin("step-0000000001") and not manager.unpin("step-0000000001")
        assert manager.prune(manager.plan(keep_last=1)) == ("step-0000000001",)


def test_a_policy_that_would_remove_by_mistake_is_refused(tmp_path: Path) -> None:
    for options in ({"keep_last": 0}, {"keep_best": "loss"}, {"keep_every": "often"}, {"keep_within": -1.0}):
        with pytest.raises(ValueError):
            ckpt.Manager(tmp_path, **options)
    save(tmp_path, 1, 2)
    with ckpt.Manager(tmp_path) as manager:
        with pytest.raises(ValueError, match="say what is to be kept"):
            manager.prune()
        with pytest.raises(ValueError, match="no good checkpoint has a value of 'vall_oss'"):
            manager.plan(keep_best="vall_oss:min:1")
        assert len(manager.list()) == 2


@pytest.mark.parametrize(
    "option",
    [
        {"when_busy": "hurry"}, {"on_failure": "ignore"}, {"every_steps": 0}, {"every_seconds": 0.0}, {"format": "h5"},
        {"signals": {"SIGINT": "save"}}, {"signals": {"SIGTERM": "stop"}}, {"level": "deep"}, {"algorithm": "md5"},
        {"margin": float("nan")},
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ckpt.Manager(tmp_path, **option)


def test_a_value_that_no_state_holds_is_named_with_the_remedy(tmp_path: Path) -> None:
    import numpy

    values: list[Any] = [object(), Path, numpy.array([object()])]
    with ckpt.Manager(tmp_path, every_steps=1) as manager:
        calls: list[Any] = [manager.save, manager.save_async]
        for step, (value, call) in enumerate(itertools.product(values, calls), 1):
            # The one before was due and failed: that is its answer.
            assert manager.should_save(step)
            with pytest.raises(ValueError, match=r"'optimizer\.lr' is .*\.item\(\).*\.tolist\(\)"):
                call(step, {"optimizer": {"lr": value}})
        with pytest.raises(ValueError, match=r"'optimizer\.lr' is"):
            manager.prepare({"optimizer": {"lr": values[0]}})
        assert manager.list() == []


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path) as first, ckpt.Manager(tmp_path) as second:
        first.save(1, state_at(1))
        # Reading goes on beside it.
        resumed = second.resume()
        assert resumed is not None and resumed.step == 1
        with pytest.raises((OSError, ValueError), match=r"another|lock"):
            second.save(2, state_at(2))
        first.finish()
        assert second.save(2, state_at(2)).step == 2


def test_a_manager_that_has_finished_says_so(tmp_path: Path) -> None:
    manager = ckpt.Manager(tmp_path)
    manager.save(1, state_at(1))
    manager.finish()
    manager.finish()
    with pytest.raises(ValueError, match="the manager has finished"):
        manager.save(2, state_at(2))


def test_a_manager_is_not_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(ckpt.Manager(tmp_path))


def test_a_save_is_due_by_steps(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path, every_steps=5) as manager:
        due = []
        for step in range(1, 16):
            if why := manager.should_save(step):
                assert (why.why, why.is_final, why.seconds_left) == ("every 5 steps", False, None)
                due.append(step)
                manager.save(step, state_at(step))
        assert due == [5, 10, 15]
        assert manager.ending is None and manager.time_left is None


def test_a_save_that_was_due_and_left_out_is_due_again(tmp_path: Path) -> None:
    with ckpt.Manager(tmp_path, every_steps=5) as manager:
        assert manager.should_save(5)
        assert not manager.should_save(10)
        manager.skip(5)
        assert manager.should_save(15)


@pytest.mark.parametrize("deadline", [1.0, timedelta(seconds=1), datetime.now(timezone.utc)])
def test_the_last_save_is_due_before_the_deadline(tmp_path: Path, deadline: Any) -> None:
    with ckpt.Manager(tmp_path, deadline=deadline, margin=timedelta(seconds=30)) as manager:
        assert manager.time_left is not None and manager.time_left <= 1.0
        assert manager.ending == "the deadline is near"
        due = manager.should_save(1)
        assert due is not None and due.is_final and due.seconds_left is not None
        manager.save(1, state_at(1))
        assert manager.should_save(2) is None
        manager.end_by(timedelta(days=2))
        assert manager.time_left > 100_000


def test_a_signal_asks_for_a_save_beside_a_handler_that_was_there(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with ckpt.Manager(tmp_path, signals={"SIGUSR1": "save", "SIGUSR2": "save-and-stop"}) as manager:
            assert manager.should_save(1) is None
            os.kill(os.getpid(), signal.SIGUSR1)
            due = manager.should_save(2)
            assert due is not None and (due.why, due.is_final) == ("SIGUSR1 came", False)
            manager.save(2, state_at(2))
            assert manager.ending is None
            os.kill(os.getpid(), signal.SIGUSR2)
            assert manager.ending == "SIGUSR2 came"
            due = manager.should_save(3)
            assert due is not None and due.is_final
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_records_are_readable_and_become_json(tmp_path: Path) -> None:
    events: list[ckpt.Event] = []
    with ckpt.Manager(tmp_path, keep_last=1, on_event=events.append) as manager:
        committed = [manager.save(step, state_at(step), metrics={"loss": 1 / step}) for step in (1, 2, 3)][-1]
        damage_by_a_flipped_bit(committed.path / "state.safetensors")
        manager.save(4, state_at(4))
        damage_by_truncation(file_of(tmp_path, 4))
        listed, plan = manager.list(), manager.plan(keep_last=1)
    assert repr(committed).startswith("Committed(step-0000000003, ")
    assert repr(listed[-1]).startswith("Listed(step-0000000004, ") and "corrupted" in repr(listed[-1])
    assert repr(plan) == "Plan(1 checkpoints, removals=[], 0 bytes)"
    assert [str(event) for event in events[:3:2]] == [
        "step-0000000001 saved: 12112 bytes",
        "1 old checkpoints removed",
    ]
    assert (events[0].kind, events[0].id, events[2].removed) == ("saved", "step-0000000001", ("step-0000000001",))
    save(tmp_path, 5)
    resumed = ckpt.Manager(tmp_path).resume()
    assert resumed is not None and repr(resumed) == f"Resumed(step-0000000005, {str(resumed.path)!r})"
    for record in [committed, *listed, plan, *events, resumed, resumed.manifest]:
        assert json.loads(json.dumps(record.to_dict())) == record.to_dict()
    assert "state" not in resumed.to_dict()


def save_in_child(manager: ckpt.Manager, answers: Any) -> None:
    try:
        manager.save(2, {"x": 1})
    except ValueError as error:
        answers.put(str(error))


def test_a_forked_process_leaves_its_parents_manager_alone(tmp_path: Path) -> None:
    manager = ckpt.Manager(tmp_path, signals=True)
    manager.save_async(1, {"x": 1}).wait()
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=save_in_child, args=(manager, answers))
    child.start()
    assert f"the manager is process {os.getpid()}'s" in answers.get()
    # It ends, though it has a copy of a manager with a thread.
    child.join(30)
    assert child.exitcode == 0
    manager.save(2, {"x": 2})
    manager.finish()


def sleep_long() -> None:
    time.sleep(600)


def test_a_forked_process_can_be_terminated(tmp_path: Path) -> None:
    """The handler of a manager would keep a worker alive that nobody else can end."""
    with ckpt.Manager(tmp_path, signals=True) as manager:
        children = [multiprocessing.get_context("fork").Process(target=sleep_long) for _ in range(20)]
        for child in children:
            child.start()
            # At once: also before it has come to its own code.
            child.terminate()
        deadline = time.monotonic() + 30
        for child in children:
            child.join(max(0.0, deadline - time.monotonic()))
            # Whatever comes of it, nobody waits for it.
            child.kill()
        assert [child.exitcode for child in children] == [-signal.SIGTERM] * len(children)
        assert manager.ending is None


def test_importing_the_package_imports_no_torch() -> None:
    script = "import ckpt, sys; ckpt.Manager; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
