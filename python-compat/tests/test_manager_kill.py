"""A training loop is killed again and again, and comes to the same weights, bit for bit."""

from __future__ import annotations

import random
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import ckpt
import manager_loop

KILLS = 10


def begin(run: Path, **options: Any) -> tuple[BaseProcess, Connection]:
    here, there = manager_loop.processes.Pipe()
    process = manager_loop.processes.Process(target=manager_loop.train, args=(run, there, options))
    process.start()
    there.close()
    return process, here


def hear(connection: Connection, word: str) -> Any:
    """Waits for a word of the training's."""
    while True:
        assert connection.poll(120), "the training says nothing"
        heard, value = connection.recv()
        if heard == word:
            return value


def the_uninterrupted_one() -> Any:
    here, there = manager_loop.processes.Pipe()
    process = manager_loop.processes.Process(target=manager_loop.uninterrupted, args=(there,))
    process.start()
    assert here.poll(120)
    end = here.recv()
    process.join()
    return end


def test_killed_at_any_moment_the_training_comes_to_the_same_end(tmp_path: Path) -> None:
    chance = random.Random(20)
    begun = []
    for _ in range(KILLS):
        process, connection = begin(tmp_path)
        begun.append(hear(connection, "resumed"))
        # Enough for a save to be durable: some steps are never lost, and others are.
        for _ in range(chance.randint(manager_loop.SAVE_EVERY + manager_loop.LEAD + 1, 30)):
            hear(connection, "step")
        # Somewhere in a step, a copy, a write, a rename, a removal.
        time.sleep(chance.random() * 0.03)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    # It did get on, and it did lose steps.
    assert begun == sorted(begun) and 0 < begun[-1] < manager_loop.STEPS - 10
    process, connection = begin(tmp_path)
    losses, weights = hear(connection, "done")
    process.join()
    assert process.exitcode == 0
    expected_losses, expected_weights = the_uninterrupted_one()
    assert losses == expected_losses
    assert weights == expected_weights
    # No leftovers of those that were killed.
    assert all(listed.is_whole for listed in ckpt.Manager(tmp_path).list())
    assert {path.name.split("-")[0] for path in (tmp_path / "main").iterdir()} <= {"step", "lock"}


def test_on_sigterm_it_saves_a_last_time_and_asks_to_be_started_again(tmp_path: Path) -> None:
    """Hugging Face's Trainer writes a marker during its save on SIGTERM, and nothing reads it."""
    process, connection = begin(tmp_path, signals=True)
    hear(connection, "step")
    process.terminate()
    last = hear(connection, "ended")
    process.join(60)
    assert process.exitcode == ckpt.EXIT_REQUEUE == 75
    latest = ckpt.Manager(tmp_path).latest()
    assert latest is not None and latest.step == last
    process, connection = begin(tmp_path, signals=True)
    assert hear(connection, "resumed") == last
    losses, weights = hear(connection, "done")
    process.join(60)
    assert process.exitcode == 0
    assert (losses, weights) == the_uninterrupted_one()


def test_without_signals_sigterm_ends_it_as_ever(tmp_path: Path) -> None:
    process, connection = begin(tmp_path)
    hear(connection, "step")
    process.terminate()
    process.join(60)
    assert process.exitcode == -signal.SIGTERM
