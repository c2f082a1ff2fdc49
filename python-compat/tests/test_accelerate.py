"""The part for Hugging Face's accelerate, against the real one."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
accelerate = pytest.importorskip("accelerate")

import ckpt  # noqa: E402
import ckpt.accelerate  # noqa: E402

# The tests fork: a child of a process whose OpenMP threads run would wait for them for ever.
torch.set_num_threads(1)


class Net(torch.nn.Module):  # type: ignore[misc]
    """Two layers that share a weight, with a dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 8)
        self.second = torch.nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, x: Any) -> Any:
        return self.second(self.dropout(torch.relu(self.first(x))))


class Counter:
    """An object of the user's that is saved as well."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


class Job:
    """A training loop over an accelerator."""

    def __init__(self, place: Path, limit: int | None = None, named: bool = False, registered: bool = True) -> None:
        torch.manual_seed(0)
        random.seed(0)
        naming = accelerate.utils.ProjectConfiguration(
            project_dir=str(place), automatic_checkpoint_naming=named, total_limit=limit
        )
        self.accelerator = accelerate.Accelerator(cpu=True, project_config=naming)
        self.model = Net()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)
        self.model, self.optimizer, self.scheduler = self.accelerator.prepare(
            self.model, self.optimizer, self.scheduler
        )
        self.counter = Counter()
        self.accelerator.register_for_checkpointing(self.counter)
        self.registration = ckpt.accelerate.register(self.accelerator) if registered else None

    def train(self, steps: int = 3) -> Job:
        for _ in range(steps):
            loss = self.model(torch.randn(4, 8)).square().mean()
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
            self.counter.count += 1
        return self

    def weights(self) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def killed(work: Callable[[], object]) -> None:
    """Does work in a process of its own, which must end by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# Saving and loading


@pytest.mark.parametrize("safe", [True, False])
def test_a_resumed_loop_ends_with_the_same_weights(tmp_path: Path, safe: bool) -> None:
    job = Job(tmp_path).train()
    assert job.accelerator.save_state(tmp_path / "state", safe_serialization=safe) == tmp_path / "state"
    job.train()
    again = Job(tmp_path)
    again.accelerator.load_state(tmp_path / "state")
    again.train()
    assert same(again.weights(), job.weights()) and again.counter.count == job.counter.count == 6


def test_accelerate_alone_reads_what_was_saved(tmp_path: Path) -> None:
    job = Job(tmp_path).train()
    job.accelerator.save_state(tmp_path / "state")
    job.train()
    again = Job(tmp_path, registered=False)
    again.accelerator.load_state(str(tmp_path / "state"))
    assert same(again.train().weights(), job.weights())


def test_every_file_is_proven(tmp_path: Path) -> None:
    place = Job(tmp_path).train().accelerator.save_state(tmp_path / "state")
    assert ckpt.verify(place / "model.safetensors").integrity == "full"
    files = [path for path in place.iterdir() if path.suffix != ".seal"]
    assert {"model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl"} < {
        path.name for path in files
    }
    for path in files:
        whole = path.read_bytes()
        again = Job(tmp_path)
        before = again.weights()
        for damage in (flip, Path.unlink):
            damage(path)
            with pytest.raises(ckpt.CorruptedError):
                again.accelerator.load_state(place)
            assert same(again.weights(), before), "nothing is loaded of what is damaged"
            path.write_bytes(whole)


def test_what_accelerate_alone_saved_is_checked_as_far_as_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Job(tmp_path, registered=False).train().accelerator.save_state(str(tmp_path / "state"))
    again = Job(tmp_path)
    with caplog.at_level(logging.WARNING, "ckpt.accelerate"):
        again.accelerator.load_state(tmp_path / "state")
    assert "no seals" in caplog.text
    flip(tmp_path / "state" / "optimizer.bin")
    with pytest.raises(ckpt.CorruptedError):
        again.accelerator.load_state(tmp_path / "state")


# Being killed


def test_saving_over_a_good_one_and_being_killed_leaves_the_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path).train()
    job.accelerator.save_state(tmp_path / "state")
    good = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    job.train()
    for place in ("accelerate.accelerator.save_custom_state", "ckpt.accelerate._require"):
        with monkeypatch.context() as patch:
            patch.setattr(place, die)
            killed(lambda: job.accelerator.save_state(tmp_path / "state"))
        assert {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir()} == good
    again = Job(tmp_path)
    again.accelerator.load_state(tmp_path / "state")
    assert again.counter.count == 3
    job.accelerator.save_state(tmp_path / "state")
    again.accelerator.load_state(tmp_path / "state")
    assert again.counter.count == 6
    assert names(tmp_path) == [".ckpt-lock", "state"], "and what the killed ones left is gone"


def test_a_killed_save_leaves_nothing_that_accelerate_would_take_for_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path, named=True).train()
    job.accelerator.save_state()
    with monkeypatch.context() as patch:
        patch.setattr("accelerate.accelerator.save_custom_state", die)
        killed(job.accelerator.save_state)
    assert names(tmp_path / "checkpoints") == ["checkpoint_0"]
    alone = Job(tmp_path, named=True, registered=False)
    alone.accelerator.load_state()
    assert alone.counter.count == 3


# What is kept


def test_accelerate_3641_a_save_that_fails_removes_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path, limit=1, named=True).train()
    job.accelerator.save_state()

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("accelerate.accelerator.save_custom_state", fails)
        with pytest.raises(OSError, match="No space left"):
            job.accelerator.save_state()
    assert names(tmp_path / "checkpoints") == ["checkpoint_0"]
    assert job.accelerator.project_configuration.automatic_checkpoint_naming
    job.accelerator.save_state()
    assert names(tmp_path / "checkpoints") == ["checkpoint_1"]


def test_a_save_that_does_not_pass_removes_no_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path, limit=1, named=True).train()
    job.accelerator.save_state()
    seal = ckpt.accelerate.seal_directory

    def damages(place: Path, **options: Any) -> Any:
        os.truncate(place / "optimizer.bin", 100)
        return seal(place, **options)

    with monkeypatch.context() as patch:
        patch.setattr("ckpt.accelerate.seal_directory", damages)
        with pytest.raises(ckpt.CorruptedError, match="optimizer"):
            job.accelerator.save_state()
    assert names(tmp_path / "checkpoints") == ["checkpoint_0"] and names(tmp_path) == [".ckpt-lock", "checkpoints"]


def test_only_good_ones_count_for_the_limit(tmp_path: Path) -> None:
    job = Job(tmp_path, limit=2, named=True).train()
    for _ in range(3):
        job.accelerator.save_state()
    assert names(tmp_path / "checkpoints") == ["checkpoint_1", "checkpoint_2"]
    (tmp_path / "checkpoints" / "checkpoint_2" / "optimizer.bin").unlink()
    job.accelerator.save_state()
    assert names(tmp_path / "checkpoints") == ["checkpoint_1", "checkpoint_2", "checkpoint_3"]
    with pytest.raises(ValueError, match="is there already"):
        job.accelerator.project_configuration.iteration = 1
        job.accelerator.save_state()


# Walking back


def test_without_a_directory_the_newest_that_passes_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = Job(tmp_path, named=True)
    for _ in range(3):
        job.train().accelerator.save_state()
    place = tmp_path / "checkpoints"
    flip(place / "checkpoint_2" / "model.safetensors")
    again = Job(tmp_path, named=True)
    with caplog.at_level(logging.WARNING, "ckpt.accelerate"):
        again.accelerator.load_state()
    assert again.counter.count == 6 and "skipped" in caplog.text and "checkpoint_2" in caplog.text
    assert ckpt.accelerate.last_verified(place) == str(place / "checkpoint_1")
    for step in (0, 1):
        flip(place / f"checkpoint_{step}" / "random_states_0.pkl")
    with pytest.raises(ckpt.CorruptedError, match="none of the 3 checkpoints passes"):
        again.accelerator.load_state()
    shutil.rmtree(place)
    assert ckpt.accelerate.last_verified(place) is None
    with pytest.raises(FileNotFoundError):
        again.accelerator.load_state()


def test_a_registration_can_be_given_up(tmp_path: Path) -> None:
    job = Job(tmp_path).train()
    with pytest.raises(ValueError, match="registered already"):
        ckpt.accelerate.register(job.accelerator)
    assert job.registration is not None
    job.registration.remove()
    job.accelerator.save_state(str(tmp_path / "state"))
    assert not list((tmp_path / "state").glob("*.seal"))
    ckpt.accelerate.register(job.accelerator).remove()
