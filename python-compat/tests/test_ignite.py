"""The plug-in for Ignite, with the real Ignite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint

import ckpt
from ckpt.ignite import CkptSaver, last_verified


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def job() -> tuple[Engine, dict[str, Any]]:
    """Returns a training of a linear model, and all that is to be saved of it."""
    torch.manual_seed(7)
    model = torch.nn.Linear(32, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(engine: Engine, batch: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss)

    trainer = Engine(step)
    return trainer, {"model": model, "optimizer": optimizer, "trainer": trainer}


def batches() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(4, 32, generator=generator) for _ in range(5)]


def train(directory: Path, epochs: int, n_saved: int = 2, crash_at: int | None = None) -> dict[str, Any]:
    """Trains from the newest good checkpoint on, and returns what was trained."""
    trainer, to_save = job()
    saver = CkptSaver(directory, engine=trainer, require_empty=False)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(to_save, saver, n_saved=n_saved))
    newest = last_verified(directory)
    if newest is not None:
        Checkpoint.load_objects(to_save, ckpt.load(newest))

    @trainer.on(Events.EPOCH_STARTED)
    def crash() -> None:
        if trainer.state.epoch == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.run(batches(), max_epochs=epochs)
    return {"model": to_save["model"].state_dict(), "optimizer": to_save["optimizer"].state_dict()}


def test_what_the_handler_saves_is_proven_and_says_what_it_is(tmp_path: Path) -> None:
    train(tmp_path, 4)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_15.pt", "checkpoint_20.pt"]
    for path in tmp_path.iterdir():
        report = ckpt.verify(path)
        assert report and report.integrity == "full", report
    with zipfile.ZipFile(tmp_path / "checkpoint_20.pt") as archive:
        assert json.loads(archive.read("archive/ckpt/metadata")) == {
            "ignite.basename": "checkpoint",
            "ignite.priority": "20",
        }
        assert b" step:20 " in archive.read("archive/ckpt/proof")


def test_ignite_opens_what_was_saved(tmp_path: Path) -> None:
    trained = train(tmp_path, 2)
    trainer, to_load = job()
    saver = CkptSaver(tmp_path, engine=trainer, require_empty=False)
    handler = Checkpoint(to_load, saver, filename_pattern="{name}_{global_step}.{ext}")
    handler.reload_objects(to_load, global_step=10)
    assert trainer.state.iteration == 10
    assert torch.equal(to_load["model"].weight, trained["model"]["weight"])


def test_a_killed_training_resumes_and_ends_as_if_it_never_stopped(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import test_ignite\n"
        "test_ignite.train(Path(sys.argv[1]), 6, crash_at=5)"
    )
    child = subprocess.run([sys.executable, "-c", code, killed, Path(__file__).parent])
    assert child.returncode == -signal.SIGKILL
    assert sorted(os.listdir(killed)) == ["checkpoint_15.pt", "checkpoint_20.pt"]
    flip_a_bit(killed / "checkpoint_20.pt")
    assert last_verified(killed) == str(killed / "checkpoint_15.pt")
    torch.testing.assert_close(train(killed, 6), train(whole, 6), rtol=0, atol=0)


def test_the_only_checkpoint_is_there_until_the_next_one_is_durable(tmp_path: Path) -> None:
    # Ignite asks for the removal first: with one checkpoint to keep, a crash during the save left nothing.
    seen = []

    class Saver(CkptSaver):
        def __call__(self, *arguments: Any) -> None:
            seen.append(sorted(os.listdir(tmp_path)))
            super().__call__(*arguments)

    trainer, to_save = job()
    trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(to_save, Saver(tmp_path), n_saved=1))
    trainer.run(batches(), max_epochs=3)
    assert seen == [[], ["checkpoint_5.pt"], ["checkpoint_10.pt"]]
    assert os.listdir(tmp_path) == ["checkpoint_15.pt"]


def test_a_failed_save_costs_no_checkpoint_and_the_next_one_makes_up_for_it(tmp_path: Path) -> None:
    trainer, to_save = job()
    lock: list[Any] = []

    class Extra:
        def state_dict(self) -> dict[str, Any]:
            return {"extra": list(lock)}

    saver = CkptSaver(tmp_path, done_marker=True)
    handler = Checkpoint({**to_save, "extra": Extra()}, saver, n_saved=1)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    trainer.run(batches(), max_epochs=1)
    lock.append(threading.Lock())
    # Not a `TypeError`: that is what Ignite takes for a handler that knows no metadata, and calls again.
    with pytest.raises(ValueError, match=r"checkpoint_10\.pt: it can't be saved: .*lock"):
        trainer.run(batches(), max_epochs=2)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_5.pt", "checkpoint_5.pt.done"]
    lock.clear()
    trainer.state.iteration = 15
    handler(trainer)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_15.pt", "checkpoint_15.pt.done"]


def test_a_checkpoint_of_the_same_name_is_replaced_and_not_removed(tmp_path: Path) -> None:
    trainer, to_save = job()
    handler = Checkpoint(to_save, CkptSaver(tmp_path, engine=trainer), n_saved=1, filename_pattern="last.pt")
    trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    trainer.run(batches(), max_epochs=3)
    assert os.listdir(tmp_path) == ["last.pt"]
    assert ckpt.load(tmp_path / "last.pt")["trainer"]["iteration"] == 15


def test_scores_decide_what_is_kept_and_the_position_what_is_newest(tmp_path: Path) -> None:
    trainer, to_save = job()
    scores = iter([0.5, 0.9, 0.7, 0.1])
    handler = Checkpoint(
        {"model": to_save["model"]},
        CkptSaver(tmp_path, engine=trainer),
        n_saved=2,
        score_name="accuracy",
        score_function=lambda _: next(scores),
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    trainer.run(batches(), max_epochs=4)
    names = ["model_accuracy=0.7000.pt", "model_accuracy=0.9000.pt"]
    assert sorted(os.listdir(tmp_path)) == names
    for age, name in enumerate(names):
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    assert last_verified(tmp_path) == str(tmp_path / names[0])


def test_without_positions_the_time_decides(tmp_path: Path) -> None:
    saver = CkptSaver(tmp_path)
    for age, name in enumerate(["b.pt", "a.pt"]):
        saver({"w": torch.ones(3)}, name)
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    assert last_verified(tmp_path) == str(tmp_path / "a.pt")
    assert last_verified(tmp_path, pattern="b*.pt") == str(tmp_path / "b.pt")
    assert last_verified(tmp_path / "none") is None


def test_another_rank_than_the_one_that_saves_touches_nothing(tmp_path: Path) -> None:
    saver = CkptSaver(tmp_path, save_on_rank=1)
    saver({"w": torch.ones(3)}, "a.pt", {})
    (tmp_path / "b.pt").write_bytes(b"")
    saver.remove("b.pt")
    saver({"w": torch.ones(3)}, "a.pt", {})
    assert os.listdir(tmp_path) == ["b.pt"]


def test_a_directory_that_holds_checkpoints_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    CkptSaver(tmp_path)({"w": torch.ones(3)}, "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt"):
        CkptSaver(tmp_path)
    CkptSaver(tmp_path, require_empty=False)


def test_what_needs_trust_ends_the_search_and_says_what_to_do(tmp_path: Path) -> None:
    saver = CkptSaver(tmp_path)
    for name in ("a.pt", "b.pt"):
        saver({"w": torch.ones(3), "where": Path("x")}, name)
    with pytest.raises(ckpt.NeedsTrustError, match=r"'pathlib.*PosixPath'.*add_safe_globals.*trusted=True"):
        last_verified(tmp_path)
    newest = last_verified(tmp_path, trusted=True)
    assert newest is not None and ckpt.load(newest, trusted=True)["where"] == Path("x")
