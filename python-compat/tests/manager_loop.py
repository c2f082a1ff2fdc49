"""A small training loop in a process of its own, which the tests kill.

Everything that makes two runs differ is in it: dropout, AdamW, a schedule, a sampler that shuffles, noise of NumPy's.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy
import torch

import ckpt
from ckpt import training

BATCH = 8
STEPS = 450
SAVE_EVERY = 7
LEAD = 10
"""How many steps the training is ahead of a save in flight at most: the steps take no time here, and a save does."""

# The modules are imported once, by a process that is nobody's training: a real process is begun in milliseconds.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torch", "numpy", "ckpt", "ckpt.training"])


class ShufflingSampler:
    """Shuffles the data anew in each epoch, and knows where in it the training is."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.generator = torch.Generator().manual_seed(7)
        self.order: list[int] = []

    def next_batch(self) -> list[int]:
        if len(self.order) < BATCH:
            self.order = torch.randperm(self.size, generator=self.generator).tolist()
        batch, self.order = self.order[:BATCH], self.order[BATCH:]
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order = state["order"]
        self.generator.set_state(state["generator"])


class Training:
    """All that changes from step to step."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        random.seed(1)
        numpy.random.seed(1)
        self.inputs = torch.randn(100, 16)
        self.targets = self.inputs.sum(1, keepdim=True).sin()
        self.model = torch.nn.Sequential(
            torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(64, 1)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2, weight_decay=0.1)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)
        self.sampler = ShufflingSampler(len(self.inputs))
        self.losses: list[float] = []

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "sampler": self.sampler,
        }

    def state(self) -> dict[str, Any]:
        return training.capture(**self.parts, losses=self.losses)

    def restore(self, state: dict[str, Any]) -> None:
        training.restore(state, **self.parts)
        self.losses = state["losses"]

    def step(self) -> None:
        batch = self.sampler.next_batch()
        noise = torch.from_numpy(numpy.random.normal(0, 0.01, (BATCH, 16))).float() + random.gauss(0, 0.01)
        loss = (self.model(self.inputs[batch] + noise) - self.targets[batch]).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.losses.append(loss.item())

    def end(self) -> tuple[list[float], list[bytes]]:
        """What is compared, bit for bit."""
        return self.losses, [tensor.numpy().tobytes() for tensor in self.model.state_dict().values()]


def uninterrupted(connection: Connection) -> None:
    """Trains without a break, and saves nothing."""
    loop = Training()
    for _ in range(STEPS):
        loop.step()
    connection.send(loop.end())


def train(run: Path, connection: Connection, options: dict[str, Any]) -> None:
    """Trains, saves in the background, and goes on from what is there. Tells of each step, and of the end.

    It takes as many steps as it is told to, and waits to be told of more: how fast it is doesn't say how far it comes.
    """
    loop = Training()
    with ckpt.Manager(run, every_steps=SAVE_EVERY, keep_last=3, **options) as manager:
        resumed = manager.resume()
        if resumed is not None:
            loop.restore(resumed.state)
        connection.send(("resumed", len(loop.losses)))
        ticket, granted = None, 0
        while (step := len(loop.losses)) < STEPS:
            if granted == 0:
                granted = connection.recv()
            granted -= 1
            loop.step()
            step += 1
            due = manager.should_save(step)
            if due is not None and due.is_final:
                manager.save(step, loop.state())
                connection.send(("ended", step))
                manager.finish()
                sys.exit(ckpt.EXIT_REQUEUE)
            if due is not None:
                ticket = manager.save_async(step, loop.state(), metrics={"loss": loop.losses[-1]})
            if ticket is not None and step >= ticket.step + LEAD:
                ticket.wait()
            connection.send(("step", step))
        manager.save(STEPS, loop.state())
    connection.send(("done", loop.end()))
