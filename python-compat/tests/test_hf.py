"""The parts for Hugging Face's Trainer, against the real one."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import ckpt  # noqa: E402
import ckpt.hf  # noqa: E402
from ckpt import _native  # noqa: E402

# The tests fork: a child of a process whose OpenMP threads run would wait for them for ever.
torch.set_num_threads(1)

STEPS = 6


def model() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def data() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(0, 32, (12,), generator=generator) for _ in range(48)]
    return [{"input_ids": row, "labels": row} for row in rows]


class Atomic(ckpt.hf.CkptTrainerMixin, transformers.Trainer):
    """The Trainer of a user."""


def trainer(run: Path, kind: Any = Atomic, **options: Any) -> Any:
    callbacks = options.pop("callbacks", None)
    options = {"max_steps": STEPS, "save_steps": 1, "save_total_limit": None, **options}
    args = transformers.TrainingArguments(
        str(run),
        per_device_train_batch_size=4,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        **options,
    )
    rows = data()
    return kind(model(), args, train_dataset=rows, eval_dataset=rows[:8], callbacks=callbacks)


def steps(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in run.glob("checkpoint-*"))


def leftovers(run: Path) -> list[str]:
    return [path.name for path in run.iterdir() if path.name.endswith(".tmp")]


def weights(of: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in of.model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def flip(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that nothing happened to, and its final weights."""
    run = tmp_path_factory.mktemp("finished")
    done = trainer(run)
    done.train()
    return run, weights(done)


@pytest.fixture
def run(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


# What was written proves itself


@pytest.mark.parametrize("kind", ["mixin", "callback"])
def test_every_file_of_each_checkpoint_is_proven(tmp_path: Path, kind: str) -> None:
    if kind == "mixin":
        trainer(tmp_path, max_steps=2).train()
    else:
        trainer(tmp_path, transformers.Trainer, max_steps=2, callbacks=[ckpt.hf.CkptCallback()]).train()
    assert steps(tmp_path) == [1, 2]
    for step in (1, 2):
        place = tmp_path / f"checkpoint-{step}"
        report = ckpt.verify(place)
        assert report.is_valid and report.integrity == "full", report.findings
        files = [path for path in place.iterdir() if path.suffix != ".seal"]
        assert all(Path(f"{path}.seal").exists() for path in files)
        for path in files:
            whole = path.read_bytes()
            flip(path)
            assert ckpt.verify(place).verdict == "corrupted", path
            path.write_bytes(whole)
        assert ckpt.verify(place).is_valid


def test_the_trainer_itself_reads_what_the_mixin_wrote(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    again = trainer(tmp_path, transformers.Trainer)
    again.train(resume_from_checkpoint=str(finished[0] / "checkpoint-3"))
    assert same(weights(again), finished[1])


# Resuming


def damages() -> dict[str, Callable[[Path], object]]:
    return {
        "model truncated": lambda place: truncate(place / "model.safetensors"),
        "model flipped": lambda place: flip(place / "model.safetensors", 0.9),
        "optimizer flipped": lambda place: flip(place / "optimizer.pt"),
        "random state missing": lambda place: (place / "rng_state.pth").unlink(),
        "configuration flipped": lambda place: flip(place / "config.json"),
        "position flipped": lambda place: flip(place / "trainer_state.json"),
        "position missing": lambda place: (place / "trainer_state.json").unlink(),
        "weights alone": lambda place: [path.unlink() for path in place.iterdir() if path.name != "model.safetensors"],
        "empty": lambda place: [path.unlink() for path in place.iterdir()],
        "cut off after SIGTERM": lambda place: (place / "checkpoint-is-incomplete.txt").write_text("in progress"),
    }


@pytest.mark.parametrize("damage", damages())
def test_transformers_35782_a_damaged_or_unfinished_newest_is_skipped(
    run: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    damages()[damage](run / f"checkpoint-{STEPS}")
    with caplog.at_level(logging.WARNING, "ckpt.hf"):
        assert ckpt.hf.last_verified(run) == str(run / f"checkpoint-{STEPS - 1}")
    assert "skipped" in caplog.text and "corrupted: " in caplog.text and f"checkpoint-{STEPS}" in caplog.text
    found = ckpt.hf.newest_verified(run)
    assert found is not None and [skipped.step for skipped in found.skipped] == [STEPS]
    assert json.loads(json.dumps(found.to_dict()))["step"] == STEPS - 1


def test_several_are_skipped_newest_first(run: Path) -> None:
    for step in (4, 5, 6):
        truncate(run / f"checkpoint-{step}" / "optimizer.pt")
    found = ckpt.hf.newest_verified(run)
    assert found is not None
    assert (found.step, [skipped.step for skipped in found.skipped]) == (3, [6, 5, 4])


def test_an_incompatible_newest_stops_the_walk_unless_forced(run: Path) -> None:
    shutil.rmtree(run / "checkpoint-6")
    shutil.copytree(run / "checkpoint-2", run / "checkpoint-6")
    with pytest.raises(ckpt.IncompatibleError, match=r"checkpoint-5 is the next good one.*force=True"):
        ckpt.hf.last_verified(run)
    assert ckpt.hf.last_verified(run, force=True) == str(run / "checkpoint-5")


def test_where_nothing_is_nothing_is_resumed_from(tmp_path: Path) -> None:
    assert ckpt.hf.last_verified(tmp_path) is None
    assert ckpt.hf.last_verified(tmp_path / "none") is None


def test_where_none_passes_it_does_not_begin_anew_in_silence(run: Path) -> None:
    for step in steps(run):
        truncate(run / f"checkpoint-{step}" / "model.safetensors")
    with pytest.raises(ckpt.CorruptedError, match="none of the 6 checkpoints passes"):
        ckpt.hf.last_verified(run)


def test_true_means_the_newest_verified_one(run: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    flip(run / "checkpoint-6" / "model.safetensors", 0.9)
    again = trainer(run)
    again.train(resume_from_checkpoint=True)
    assert same(weights(again), finished[1])
    assert ckpt.hf.last_verified(run) == str(run / "checkpoint-6"), "the damaged one was written anew"


def test_a_damaged_one_is_never_loaded(run: Path) -> None:
    flip(run / "checkpoint-6" / "model.safetensors", 0.9)
    again = trainer(run)
    before = weights(again)
    with pytest.raises(ckpt.CorruptedError):
        again.train(resume_from_checkpoint=str(run / "checkpoint-6"))
    assert same(weights(again), before)


# Being killed


class DiesWithHalfAFile(Atomic):
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.state.global_step == 4:
            truncate(Path(output_dir, "optimizer.pt"))
            die()


class DiesBeforeItsName(Atomic):
    def _ckpt_commit(self, *args: Any) -> None:
        if self.state.global_step == 4:
            ckpt.hf._trainer.prove(Path(args[1], "checkpoint-4"))
            die()
        super()._ckpt_commit(*args)


class DiesAfterItsName(Atomic):
    def _ckpt_commit(self, *args: Any) -> None:
        super()._ckpt_commit(*args)
        if self.state.global_step == 4:
            die()


class DiesInPlace(transformers.Trainer):
    def _save_rng_state(self, output_dir: str) -> None:
        if self.state.global_step == 4:
            die()
        super()._save_rng_state(output_dir)


@pytest.mark.parametrize("kind", [DiesWithHalfAFile, DiesBeforeItsName, DiesAfterItsName, DiesInPlace])
def test_a_killed_training_goes_on_to_the_same_weights(
    kind: Any, tmp_path: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    callbacks = [ckpt.hf.CkptCallback()] if kind is DiesInPlace else None
    killed(lambda: trainer(tmp_path, kind, callbacks=callbacks).train())
    resumed = ckpt.hf.last_verified(tmp_path)
    assert resumed == str(tmp_path / ("checkpoint-4" if kind is DiesAfterItsName else "checkpoint-3"))
    if kind is not DiesInPlace:
        assert all(ckpt.verify(tmp_path / f"checkpoint-{step}") for step in steps(tmp_path)), "none is there in part"
    again = trainer(tmp_path, Atomic)
    again.train(resume_from_checkpoint=resumed)
    assert same(weights(again), finished[1])
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6] and leftovers(tmp_path) == []
    assert all(ckpt.verify(tmp_path / f"checkpoint-{step}") for step in steps(tmp_path))


# What is kept


class ShufflesTimes(transformers.TrainerCallback):
    """Makes the newest checkpoint look like the oldest, as a restore or a copy does."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for path in Path(args.output_dir).glob("checkpoint-*"):
            age = 1000 * int(path.name.removeprefix("checkpoint-"))
            os.utime(path, (2_000_000_000 - age, 2_000_000_000 - age))


def test_transformers_26961_rotation_goes_by_step_whatever_the_times_say(tmp_path: Path) -> None:
    trainer(tmp_path / "a", save_total_limit=2, callbacks=[ShufflesTimes()]).train()
    assert steps(tmp_path / "a") == [5, 6]
    callbacks = [ShufflesTimes(), ckpt.hf.CkptCallback(keep_last=2)]
    trainer(tmp_path / "b", transformers.Trainer, callbacks=callbacks).train()
    assert steps(tmp_path / "b") == [5, 6]


def test_one_of_every_so_many_stays_as_well(tmp_path: Path) -> None:
    callback = ckpt.hf.CkptCallback(keep_last=1, keep_every=2)
    trainer(tmp_path, transformers.Trainer, max_steps=5, callbacks=[callback]).train()
    assert steps(tmp_path) == [1, 2, 4, 5]


@pytest.mark.parametrize("kind", ["mixin", "callback"])
def test_the_best_one_stays(tmp_path: Path, kind: str) -> None:
    class BestIsSecond(Atomic if kind == "mixin" else transformers.Trainer):  # type: ignore[misc]
        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            return {"eval_loss": abs(self.state.global_step - 2.0)}

    of = trainer(
        tmp_path,
        BestIsSecond,
        eval_strategy="steps",
        eval_steps=1,
        metric_for_best_model="loss",
        greater_is_better=False,
        load_best_model_at_end=True,
        save_total_limit=1 if kind == "mixin" else None,
        callbacks=[ckpt.hf.CkptCallback(keep_last=1)] if kind == "callback" else None,
        max_steps=4,
    )
    seen: list[list[int]] = []
    of.add_callback(Sees(tmp_path, seen))
    of.train()
    assert seen == [[1], [2], [2, 3], [2, 4]]
    assert of.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(tmp_path / "checkpoint-2"), "and not where it was staged"


class Sees(transformers.TrainerCallback):
    def __init__(self, run: Path, seen: list[list[int]]) -> None:
        self.run, self.seen = run, seen

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(steps(self.run))


class WritesBadly:
    """Damages a file of checkpoint 4, as a bad disk does."""

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)  # type: ignore[misc]
        if self.state.global_step == 4:  # type: ignore[attr-defined]
            flip(Path(output_dir, "optimizer.pt"))


class BadAtomic(Atomic, WritesBadly, transformers.Trainer):  # type: ignore[misc]
    pass


class BadPlain(WritesBadly, transformers.Trainer):  # type: ignore[misc]
    pass


def test_a_save_that_fails_keeps_the_old_ones(tmp_path: Path) -> None:
    with pytest.raises(ckpt.CorruptedError, match="optimizer"):
        trainer(tmp_path, BadAtomic, save_total_limit=1).train()
    assert steps(tmp_path) == [3] and leftovers(tmp_path) == []
    assert ckpt.hf.last_verified(tmp_path) == str(tmp_path / "checkpoint-3")


def test_a_save_that_fails_may_be_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Warns(BadAtomic):
        ckpt_on_failure = "warn"

    with caplog.at_level(logging.ERROR, "ckpt.hf"):
        trainer(tmp_path, Warns, save_total_limit=2).train()
    assert steps(tmp_path) == [5, 6] and "checkpoint-4 wasn't saved" in caplog.text


def test_the_callback_removes_nothing_after_a_checkpoint_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ckpt.CorruptedError, match="optimizer"):
        trainer(tmp_path / "a", BadPlain, callbacks=[ckpt.hf.CkptCallback(keep_last=1)]).train()
    assert steps(tmp_path / "a") == [3, 4]
    assert ckpt.hf.last_verified(tmp_path / "a") == str(tmp_path / "a" / "checkpoint-3")
    callback = ckpt.hf.CkptCallback(keep_last=1, on_failure="warn", remove_damaged=True)
    trainer(tmp_path / "b", BadPlain, callbacks=[callback]).train()
    assert steps(tmp_path / "b") == [4, 6], "nobody has verified 4: it isn't known to be damaged"


def test_what_nobody_verified_stays_and_takes_no_place(run: Path) -> None:
    for path in (run / "checkpoint-2").glob("*.seal"):
        path.unlink()
    truncate(run / "checkpoint-5" / "model.safetensors")
    again = trainer(run, save_total_limit=2, max_steps=7)
    again.train(resume_from_checkpoint=str(run / "checkpoint-6"))
    assert steps(run) == [2, 5, 6, 7]


def test_a_limit_of_the_trainer_beside_the_callback_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ckpt.hf"):
        callbacks = [ckpt.hf.CkptCallback()]
        trainer(tmp_path, transformers.Trainer, max_steps=1, save_total_limit=2, callbacks=callbacks).train()
    assert "save_total_limit=2" in caplog.text
    with pytest.raises(ValueError, match="keep_last=0"):
        ckpt.hf.CkptCallback(keep_last=0)


# Several at once


def test_transformers_20988_a_second_writer_of_a_run_is_refused(run: Path) -> None:
    with _native.Place(run), pytest.raises(ValueError, match="another process saves or removes"):
        trainer(run, max_steps=7).train(resume_from_checkpoint=str(run / "checkpoint-6"))
    assert steps(run) == [1, 2, 3, 4, 5, 6]


def test_a_save_after_sigterm_is_whole(tmp_path: Path) -> None:
    from transformers.trainer_jit_checkpoint import CheckpointManager

    of = trainer(tmp_path, max_steps=2, save_strategy="no")
    of.train()
    CheckpointManager(of).execute_jit_checkpoint()
    assert ckpt.hf.last_verified(tmp_path) == str(tmp_path / "checkpoint-2")


def test_transformers_27925_36076_many_processes_have_one_that_renames(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1]
    assert told[0]["error"].startswith("OSError: [Errno 28]"), "one's full disk is an error of both"
    assert told[0]["resumed"] == str(tmp_path / "run" / "checkpoint-2")
    assert steps(tmp_path / "run") == [1, 2, 3, 4] and leftovers(tmp_path / "run") == []
    for step in (1, 2, 3, 4):
        place = tmp_path / "run" / f"checkpoint-{step}"
        assert ckpt.verify(place).is_valid
        assert (place / "rng_state_0.pth.seal").exists() and (place / "rng_state_1.pth.seal").exists()


class FullDisk(Atomic):
    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.state.global_step == 3 and self.args.process_index == 1:
            raise OSError(28, "No space left on device")


def one_of_many(place: Path) -> None:
    """What each process of the job does: train, fail, and go on."""
    run = place / "run"
    try:
        trainer(run, FullDisk, max_steps=4).train()
        error = "none"
    except OSError as failure:
        error = f"{type(failure).__name__}: {failure}"
    resumed = ckpt.hf.last_verified(run)
    again = trainer(run, max_steps=4)
    again.train(resume_from_checkpoint=resumed)
    total = float(sum(tensor.double().sum() for tensor in weights(again).values()))
    told = {"error": error, "resumed": resumed, "total": total}
    (place / f"told-{again.args.process_index}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    one_of_many(Path(sys.argv[1]))
