"""Four processes of a job resume from the same checkpoint, or none does."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

import ckpt

RANKS = 4

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torch", "torch.distributed", "ckpt"])


def rank(number: int, store: Path, runs: list[Path], options: dict[str, Any], answers: Any) -> None:
    """One process of the job: says from where it resumed, or why not."""
    torch.set_num_threads(1)
    timeout = timedelta(seconds=20)
    files = dist.FileStore(str(store), RANKS)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=files, rank=number, world_size=RANKS, timeout=timeout)
    together: Any = options.pop("together", True)
    if together == "group":
        together = dist.new_group([3, 2, 1, 0], timeout=timeout, use_local_synchronization=False)
    if number in options.pop("gone", ()):
        os._exit(0)
    try:
        resumed = ckpt.Manager(runs[number]).resume(together=together, **options)
        answer = None if resumed is None else (resumed.step, resumed.state["x"], [one.id for one in resumed.skipped])
        answers.put((number, "resumed", answer))
    except Exception as error:
        traceback.print_exc()
        answers.put((number, type(error).__name__, str(error)))
    finally:
        dist.destroy_process_group()


def job(tmp_path: Path, runs: list[Path], **options: Any) -> dict[int, list[Any]]:
    """Runs a job, and returns what its processes say."""
    answers = processes.Queue()
    store = tmp_path / "store"
    begin = [
        processes.Process(target=rank, args=(number, store, runs, dict(options), answers)) for number in range(RANKS)
    ]
    for process in begin:
        process.start()
    gone = len(options.get("gone", ()))
    said = {number: rest for number, *rest in (answers.get(timeout=120) for _ in range(RANKS - gone))}
    for process in begin:
        process.join(60)
    return said


def run_with(path: Path, *steps: int) -> Path:
    with ckpt.Manager(path) as manager:
        for step in steps:
            manager.save(step, {"x": step * 10})
    return path


def truncate(run: Path, step: int) -> None:
    path = run / "main" / f"step-{step:010}" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize("together", [True, "group"])
def test_all_walk_back_to_the_same(tmp_path: Path, together: Any) -> None:
    """Lightning's `ckpt_path="last"` restores another state on each rank."""
    run = run_with(tmp_path / "run", 1, 2, 3)
    truncate(run, 3)
    said = job(tmp_path, [run] * RANKS, together=together)
    assert list(said.values()) == [["resumed", (2, 20, ["step-0000000003"])]] * RANKS


def test_where_nothing_was_saved_all_begin(tmp_path: Path) -> None:
    said = job(tmp_path, [tmp_path / "run"] * RANKS)
    assert list(said.values()) == [["resumed", None]] * RANKS


def test_where_one_cannot_load_it_none_resumes(tmp_path: Path) -> None:
    """Each has a copy of the run on a disk of its own, and one of them is damaged."""
    runs = [run_with(tmp_path / f"run-{number}", 1) for number in range(RANKS)]
    for run in runs[1:]:
        shutil.rmtree(run)
        shutil.copytree(runs[0], run)
    truncate(runs[2], 1)
    said = job(tmp_path, runs)
    assert said[2][0] == "CorruptedError"
    for number in (0, 1, 3):
        assert said[number][0] == "ValueError" and "another process of the job can't load it" in said[number][1]


def test_where_the_first_finds_none_of_use_all_say_why(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", 1, 2)
    said = job(tmp_path, [run] * RANKS, required_keys=["another"])
    assert {kind for kind, _ in said.values()} == {"IncompatibleError"}
    assert all("another" in message for _, message in said.values())
    assert "the process of rank 0 can't resume" in said[1][1]


def test_a_process_that_is_gone_is_an_error_of_the_others(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", 1)
    said = job(tmp_path, [run] * RANKS, gone=(0,))
    assert sorted(said) == [1, 2, 3]
    # What torch.distributed itself raises: it knows best what to say.
    assert {kind for kind, _ in said.values()} <= {"RuntimeError", "DistBackendError", "DistNetworkError"}


class Alone:
    """A job of one process, without torch.distributed."""

    rank = 0

    def __init__(self) -> None:
        self.calls: list[str] = []

    def broadcast(self, message: bytes) -> bytes:
        self.calls.append("broadcast")
        return message

    def all_agree(self, yes: bool) -> bool:
        self.calls.append("all_agree")
        return yes


def test_an_exchange_of_ones_own_does(tmp_path: Path) -> None:
    run, alone = run_with(tmp_path / "run", 1), Alone()
    resumed = ckpt.Manager(run).resume(together=alone)
    assert resumed is not None and resumed.step == 1
    assert alone.calls == ["broadcast", "all_agree"]


def test_what_an_exchange_raises_is_raised(tmp_path: Path) -> None:
    class Broken(Alone):
        def all_agree(self, yes: bool) -> bool:
            raise TimeoutError("nobody answers")

    with pytest.raises(TimeoutError, match="nobody answers"):
        ckpt.Manager(run_with(tmp_path / "run", 1)).resume(together=Broken())
