"""A training loop is killed again and again, and comes to the same weights, bit for bit."""

from __future__ import annotations

import itertools
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
LIVES = range(manager_loop.SAVE_EVERY + manager_loop.LEAD + 1, 31)
"""How many steps a training takes before its death is near: enough for a save to be durable."""
LAST_STEPS = 10
"""In how many steps more it comes, somewhere: some steps are never lost, and others are."""


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
    # However fast it is, it can't come to its end before the last of the kills.
    assert KILLS * (LIVES[-1] + LAST_STEPS) < manager_loop.STEPS
    chance = random.Random(20)
    begun, told = [], []
    for _ in range(KILLS):
        process, connection = begin(tmp_path)
        begun.append(hear(connection, "resumed"))
        steps = chance.choice(LIVES)
        began = time.monotonic()
        connection.send(steps)
        for _ in range(steps):
            hear(connection, "step")
        pace = (time.monotonic() - began) / steps
        connection.send(LAST_STEPS)
        # Somewhere in a step, a copy, a write, a rename, a removal: at this machine's pace, within these steps.
        time.sleep(chance.random() * LAST_STEPS * pace)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        told.append(last_step(connection, begun[-1] + steps))
    # It did get on in each life, and it did lose steps.
    assert begun[0] == 0 and all(later > earlier for earlier, later in itertools.pairwise(begun))
    assert any(step > resumed for step, resumed in zip(told, begun[1:], strict=False))
    process, connection = begin(tmp_path)
    connection.send(manager_loop.STEPS)
    losses, weights = hear(connection, "done")
    process.join()
    assert process.exitcode == 0
    expected_losses, expected_weights = the_uninterrupted_one()
    assert losses == expected_losses
    assert weights == expected_weights
    # No leftovers of those that were killed.
    assert all(listed.is_whole for listed in ckpt.Manager(tmp_path).list())
    assert {path.name.split("-")[0] for path in (tmp_path / "main").iterdir()} <= {"step", "lock"}


def last_step(connection: Connection, step: int) -> int:
    """Returns the last step that a training told of before it was killed."""
    while True:
        try:
            if connection.poll(0):
                step = connection.recv()[1]
                continue
        except (EOFError, ConnectionResetError):
            pass
        return step


def test_on_sigterm_it_saves_a_last_time_and_asks_to_be_started_again(tmp_path: Path) -> None:
    """Hugging Face's Trainer writes a marker during its save on SIGTERM, and nothing reads it."""
    process, connection = begin(tmp_path, signals=True)
    connection.send(1)
    hear(connection, "step")
    # It waits to be told of more steps, and hears the signal before.
    process.terminate()
    connection.send(manager_loop.STEPS)
    last = hear(connection, "ended")
    process.join(60)
    assert process.exitcode == ckpt.EXIT_REQUEUE == 75
    latest = ckpt.Manager(tmp_path).latest()
    assert latest is not None and latest.step == last
    process, connection = begin(tmp_path, signals=True)
    assert hear(connection, "resumed") == last
    connection.send(manager_loop.STEPS)
    losses, weights = hear(connection, "done")
    process.join(60)
    assert process.exitcode == 0
    assert (losses, weights) == the_uninterrupted_one()


def test_without_signals_sigterm_ends_it_as_ever(tmp_path: Path) -> None:
    process, connection = begin(tmp_path)
    connection.send(1)
    hear(connection, "step")
    process.terminate()
    process.join(60)
    assert process.exitcode == -signal.SIGTERM
