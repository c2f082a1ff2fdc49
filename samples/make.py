"""Make the sample checkpoints of this folder with the real PyTorch.

    python samples/make.py            write them
    python samples/make.py --check    compare them with the committed ones, byte for byte

- ``valid.pt``: a training state (model, AdamW, scheduler, epoch, step, version). `ckpt verify`
  calls it valid.
- ``corrupted.pt``: a copy of it with one bit flipped inside a weight. ``torch.load`` reads it
  without a word; `ckpt verify` finds the checksum that doesn't match.
- ``incompatible.pt``: a sound file whose pickle asks for ``argparse.Namespace``, as training
  scripts that save their arguments write it. PyTorch's safe reader refuses it, and so does
  `ckpt verify`: intact, but it needs trust.

The bytes depend on PyTorch's version only (2.13.0): every number is set, not computed.
"""

from __future__ import annotations

import argparse
import math
import pickle
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
LIMIT_BYTES = 20_000
STEP = 1200
NAMES = ("valid.pt", "corrupted.pt", "incompatible.pt")


def model() -> torch.nn.Module:
    """Return a small classifier with a batch norm, so that there are buffers too."""
    return torch.nn.Sequential(
        torch.nn.Linear(16, 32),
        torch.nn.BatchNorm1d(32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 4),
    )


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a nested state in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def settle(state: dict[str, Any]) -> None:
    """Give every tensor exact values, the same on every machine."""
    with torch.no_grad():
        for index, tensor in enumerate(tensors(state)):
            numbers = torch.arange(1, tensor.numel() + 1).add(index).remainder(64).div(64)
            # The scalars are counters: the optimizer's steps, the batches seen.
            tensor.copy_(numbers.reshape(tensor.shape) if tensor.dim() else torch.tensor(STEP))


def training_state() -> dict[str, Any]:
    """Return what a training loop saves, after one step."""
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10)
    net(torch.ones(8, 16)).sum().backward()
    optimizer.step()
    scheduler.step()
    state = {
        "version": "1.0",
        "status": "complete",
        "epoch": 3,
        "step": STEP,
        "loss": 0.25,
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    settle(state)
    return state


def flip_a_bit(path: Path, copy: Path) -> None:
    """Write a copy with one bit flipped in the middle of the first layer's weight."""
    weight = torch.load(path, weights_only=True)["model"]["0.weight"]
    data = bytearray(path.read_bytes())
    place = data.index(weight.numpy().tobytes()) + weight.nbytes // 2
    data[place] ^= 0x10
    copy.write_bytes(data)


def prove(folder: Path) -> None:
    """Raise unless PyTorch says of the samples what the documentation says."""
    sizes = [(folder / name).stat().st_size for name in NAMES]
    check(max(sizes) < LIMIT_BYTES, f"samples stay under {LIMIT_BYTES} bytes: {sizes}")
    valid = tensors(torch.load(folder / "valid.pt", weights_only=True))
    # The point of the sample: this loads, though a weight is another one.
    corrupted = tensors(torch.load(folder / "corrupted.pt", weights_only=True))
    changed = sum(int((a != b).sum()) for a, b in zip(valid, corrupted, strict=True))
    check(changed == 1, f"one number differs: {changed}")
    try:
        torch.load(folder / "incompatible.pt", weights_only=True)
    except pickle.UnpicklingError as error:
        check("argparse.Namespace" in str(error), str(error))
    else:
        check(False, "PyTorch's safe reader refuses incompatible.pt")


def check(holds: bool, fact: str) -> None:
    """Raise unless a fact holds; unlike `assert`, with -O too."""
    if not holds:
        raise SystemExit(f"samples: this does not hold: {fact}")


def make(folder: Path) -> None:
    """Write the three samples into a folder."""
    valid, corrupted, incompatible = (folder / name for name in NAMES)
    torch.save(training_state(), valid)
    flip_a_bit(valid, corrupted)
    script = argparse.Namespace(lr=0.001, batch_size=32, resume=False, tau=math.tau)
    torch.save({"args": script, "model": training_state()["model"]}, incompatible)
    prove(folder)


def compare(folder: Path) -> list[str]:
    """Return the names whose committed bytes are others than those in a folder."""
    return [n for n in NAMES if (folder / n).read_bytes() != (HERE / n).read_bytes()]


def main() -> None:
    """Write the samples, or compare them."""
    parser = argparse.ArgumentParser(description="Make the sample checkpoints.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if not parser.parse_args().check:
        make(HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        others = compare(Path(folder))
    if others:
        sys.exit(f"samples: not as {Path(__file__).name} makes them: {', '.join(others)}")


if __name__ == "__main__":
    main()
