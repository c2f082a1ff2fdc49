"""All of a training loop in one state, and back: bit for bit, or not at all."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import ckpt
from ckpt import training

FORMATS = ["safetensors", "torch"]


class Loop:
    """A training loop with everything that the next step may depend on."""

    def __init__(self, seed: int, width: int = 16, lr: float = 1e-2) -> None:
        torch.manual_seed(seed)
        random.seed(seed)
        numpy.random.seed(seed)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(8, width), torch.nn.BatchNorm1d(width), torch.nn.Dropout(0.3), torch.nn.Linear(width, 1)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, amsgrad=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=0.1, total_steps=50)
        self.generator = torch.Generator().manual_seed(seed)
        self.noise = numpy.random.default_rng(seed)
        self.philox = numpy.random.Generator(numpy.random.Philox(seed))
        self.dice = random.Random(seed)

    @property
    def parts(self) -> dict[str, Any]:
        return vars(self)

    def step(self) -> float:
        inputs = torch.randn(4, 8, generator=self.generator) * random.random() + float(numpy.random.normal())
        inputs += float(self.noise.normal() + self.philox.normal()) + self.dice.gauss(0, 1)
        loss = self.model(inputs).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return float(loss.detach())


def through_a_file(state: dict[str, Any], directory: Path, format: str) -> Any:
    with ckpt.Manager(directory, format=format, expect_optimizer_steps=False) as manager:
        manager.save(5, state)
    resumed = ckpt.Manager(directory).resume()
    assert resumed is not None
    return resumed.state


@pytest.mark.parametrize("format", FORMATS)
def test_the_loop_goes_on_bit_for_bit(tmp_path: Path, format: str) -> None:
    first = Loop(1)
    for _ in range(5):
        first.step()
    # The second number of a pair is kept for the next call.
    random.gauss(0, 1)
    numpy.random.normal()
    state = through_a_file(training.capture(**first.parts, progress={"epoch": 3}), tmp_path, format)
    expected = [first.step() for _ in range(10)]
    other = Loop(2)
    other.step()
    training.restore(state, **other.parts)
    assert [other.step() for _ in range(10)] == expected
    for own, others in zip(first.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(own, others)
    assert state["progress"] == {"epoch": 3}


def draws() -> tuple[float, float, float]:
    """The next numbers of the global generators."""
    return random.random(), float(numpy.random.random()), torch.rand(1).item()


def test_capturing_draws_nothing() -> None:
    loop = Loop(1)
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    before = draws()
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    training.capture(**loop.parts)
    assert draws() == before


def everything_of(loop: Loop) -> list[Any]:
    """What a loop does next depends on everything."""
    return [loop.step() for _ in range(3)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state["model"].pop("0.bias"), r"'model' doesn't fit: '0\.bias' is missing"),
        (lambda state: state["model"].update(extra=torch.zeros(1)), "'extra' is of no parameter here"),
        (lambda state: state["model"].update({"0.bias": torch.zeros(3)}), r"has the shape \[3\], and \[16\] is here"),
        (
            lambda state: state["model"].update({"0.bias": torch.zeros(16, dtype=torch.float64)}),
            "is torch.float64, and torch.float32 is here",
        ),
        (lambda state: state["model"].update({"0.bias": 1.0}), "is no tensor, but a float"),
        (lambda state: state.pop("optimizer"), "the state has no 'optimizer': it has dice,"),
        (lambda state: state["optimizer"]["param_groups"][0]["params"].pop(), "groups of"),
        (lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(2)), r"state\.0\.exp_avg"),
        (lambda state: state.update(optimizer=[]), "no optimizer's state"),
        (lambda state: state["noise"]["state"].update(bit_generator="MT19937"), "'noise' doesn't fit"),
        (lambda state: state.update(generator=state["noise"]), "no state of a generator of torch"),
        (lambda state: state["random"].pop("torch"), "'random' doesn't fit"),
    ],
)
def test_what_does_not_fit_changes_nothing(spoil: Any, message: str) -> None:
    first = Loop(1)
    first.step()
    state = training.capture(**first.parts)
    state["model"] = dict(state["model"])
    spoil(state)
    expected = everything_of(Loop(2))
    loop = Loop(2)
    with pytest.raises(ckpt.IncompatibleError, match=message):
        training.restore(state, **loop.parts)
    assert everything_of(loop) == expected


def test_another_width_is_named_whole() -> None:
    state = training.capture(**Loop(1, width=8).parts)
    with pytest.raises(ckpt.IncompatibleError, match=r"and 2 more\. Nothing was restored"):
        training.restore(state, **Loop(1).parts)


def test_a_part_that_refuses_takes_the_others_back() -> None:
    class Picky:
        def state_dict(self) -> dict[str, int]:
            return {"position": 1}

        def load_state_dict(self, state: dict[str, int]) -> None:
            raise RuntimeError("not that one")

    first = Loop(1)
    everything_of(first)
    state = training.capture(**first.parts, sampler=Picky())
    expected = everything_of(Loop(2))
    loop = Loop(2)
    with pytest.raises(RuntimeError, match="not that one"):
        training.restore(state, **loop.parts, sampler=Picky())
    assert everything_of(loop) == expected


def test_a_part_that_holds_no_state_is_refused() -> None:
    state = training.capture(progress={"epoch": 1})
    with pytest.raises(ValueError, match="'progress' can't be restored: a dict holds no state"):
        training.restore(state, progress={})


def test_without_the_generators_they_are_left_alone() -> None:
    model = torch.nn.Linear(2, 2)
    state = training.capture(model=model, random=False)
    assert list(state) == ["model"]
    before = torch.get_rng_state()
    training.restore(state, model=torch.nn.Linear(2, 2), random=False)
    torch.nn.Linear(2, 2)
    assert not torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
@pytest.mark.parametrize("format", FORMATS)
def test_each_generator_of_numpy_goes_on(tmp_path: Path, kind: str, format: str) -> None:
    make = getattr(numpy.random, kind)
    first, second = numpy.random.Generator(make(1)), numpy.random.Generator(make(2))
    first.integers(0, 100, 7, dtype=numpy.int32)
    state = through_a_file(training.capture(noise=first, legacy=numpy.random.RandomState(3)), tmp_path, format)
    legacy = numpy.random.RandomState(4)
    training.restore(state, noise=second, legacy=legacy)
    assert first.normal(size=9).tolist() == second.normal(size=9).tolist()
    assert legacy.normal(size=9).tolist() == numpy.random.RandomState(3).normal(size=9).tolist()
