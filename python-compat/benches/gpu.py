"""Saves in the background from a GPU: how long the training loop is held, and whether what is saved is right.

    python benches/gpu.py --gib 4 runs/bench

Prints a table of the times, and the checks; ends with 1 where one fails. With ``--device cpu`` the host takes the part
of the device: its times say nothing, and its checks hold the same code, but for streams and pinned memory.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

import ckpt

T = TypeVar("T")

TENSOR_BYTES = 64 << 20
"""The size of each tensor of the state that is timed: about that of a layer."""


class Bench:
    """What all parts need."""

    def __init__(self, device: str, directory: Path, saves: int) -> None:
        self.device = torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        self.directory = directory
        self.saves = saves

    def manager(self, name: str) -> ckpt.Manager:
        shutil.rmtree(self.directory / name, ignore_errors=True)
        return ckpt.Manager(self.directory / name, keep_last=1, expect_change=False)

    def save_async(self, manager: ckpt.Manager, step: int, state: Any) -> ckpt.Ticket:
        return manager.save_async(step, state, _played=not self.is_cuda)

    def settle(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def stream(self) -> Any:
        """Another stream than the default one, as the current one."""
        return torch.cuda.stream(torch.cuda.Stream(self.device)) if self.is_cuda else nullcontext()  # type: ignore[no-untyped-call]


def timed(bench: Bench, work: Callable[[], T]) -> tuple[float, T]:
    """Returns how long a call takes, in milliseconds, from a device at rest on; and what it returns."""
    bench.settle()
    begin = time.perf_counter()
    result = work()
    return (time.perf_counter() - begin) * 1000, result


def measure(bench: Bench, gib: float) -> Iterator[tuple[str, float, float]]:
    """Returns what, how long it held the loop at first, and how long on average later, in milliseconds."""
    count = max(1, round(gib * (1 << 30) / TENSOR_BYTES))
    state = {f"w{number}": torch.randn(TENSOR_BYTES // 4, device=bench.device) for number in range(count)}
    peer = [timed(bench, lambda: {name: tensor.cpu() for name, tensor in state.items()})[0] for _ in range(bench.saves)]
    yield "a copy by .cpu()", peer[0], statistics.median(peer[1:])
    held, durable = [], []
    with bench.manager("timed") as manager:
        for step in range(bench.saves):
            milliseconds, ticket = timed(bench, partial(bench.save_async, manager, step, state))
            held.append(milliseconds)
            durable.append(milliseconds + timed(bench, ticket.wait)[0])
    yield "save_async, until it returns", held[0], statistics.median(held[1:])
    yield "save_async, until it is durable", durable[0], statistics.median(durable[1:])
    with bench.manager("prepared") as manager:
        manager.prepare(state, _played=not bench.is_cuda)
        yield "save_async after prepare", timed(bench, lambda: bench.save_async(manager, 1, state))[0], float("nan")


def states(bench: Bench) -> Iterator[tuple[str, dict[str, Any]]]:
    """Returns states that are laid out in different ways."""
    device = bench.device
    whole = torch.arange(1 << 20, device=device, dtype=torch.float32)
    yield "float32", {"w": whole.clone()}
    yield "bfloat16", {"w": whole.to(torch.bfloat16)}
    yield "float8", {"w": whole.to(torch.float8_e4m3fn)}
    yield "not contiguous", {"w": whole.clone().reshape(1024, 1024).t()[::3, 1:]}
    yield "views of one storage", {"w": whole[100:200], "whole": whole}
    yield "on the device and on the host", {"w": whole.clone(), "host": torch.arange(100), "empty": whole[:0].clone()}


def saved(bench: Bench, name: str, state: dict[str, Any], then: Callable[[], object]) -> Any:
    """Saves a state in the background, does something else at once, and returns what was saved."""
    with bench.manager(name) as manager:
        ticket = bench.save_async(manager, 1, state)
        then()
        committed = ticket.wait()
        assert committed is not None
        return ckpt.load(committed.path / "state.safetensors")


def is_same(saved: Any, expected: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(saved[name].float(), tensor.float()) for name, tensor in expected.items())


def checks(bench: Bench) -> Iterator[tuple[str, bool]]:
    """Returns what was checked, and whether it holds."""
    for what, state in states(bench):
        expected = {name: tensor.cpu().clone() for name, tensor in state.items()}

        def change(state: dict[str, Any] = state) -> None:
            for tensor in state.values():
                tensor.copy_(torch.full_like(tensor, 3, dtype=torch.float32))

        yield (
            f"{what}: what changes after the call isn't in the file",
            is_same(saved(bench, "check", state, change), expected),
        )
    for what, stream in (("the default stream", nullcontext()), ("another stream", bench.stream())):
        with stream:
            yield f"what {what} was given before the call is in the file", waits(bench)


def waits(bench: Bench) -> bool:
    """Whether the copy comes after work that takes a while, and before what follows."""
    weights = torch.zeros(1 << 20, device=bench.device)
    size = 8192 if bench.is_cuda else 256
    slow = torch.eye(size, device=bench.device)
    for _ in range(50):
        slow = slow @ slow
    weights.add_(slow[0, 0])
    copy = saved(bench, "check", {"w": weights}, lambda: weights.add_(1))
    return bool((copy["w"] == 1).all())


def main() -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where it is saved: on the device that is meant")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--gib", type=float, default=1.0, help="the size of the state that is timed")
    parser.add_argument("--saves", type=int, default=5)
    given = parser.parse_args()
    bench = Bench(given.device, given.directory, given.saves)
    name = torch.cuda.get_device_name(bench.device) if bench.is_cuda else "the host, which takes the part of a device"
    print(f"{name}; PyTorch {torch.__version__}; {given.gib} GiB; {given.saves} saves\n")
    print(f"| {'in ms':<33} | {'first':>8} | {'later':>8} |\n|{'-' * 35}|{'-' * 9}:|{'-' * 9}:|")
    for what, first, later in measure(bench, given.gib):
        print(f"| {what:<33} | {first:8.1f} | {later:8.1f} |")
    print()
    results = list(checks(bench))
    for what, holds in results:
        print(f"{'ok    ' if holds else 'FAILED'} {what}")
    return 0 if all(holds for _, holds in results) else 1


if __name__ == "__main__":
    sys.exit(main())
