"""`torch.distributed.checkpoint` through ckpt, with the real PyTorch: one process, four ranks, two, and killed ones."""

from __future__ import annotations

import json
import logging
import os
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner  # noqa: E402

import ckpt  # noqa: E402
import ckpt.dcp  # noqa: E402

warnings.filterwarnings("ignore", module="torch")

RANKS = Path(__file__).with_name("dcp_ranks.py")


class Settings:
    """A class of somebody's own, which only a pickle can make."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and other.rate == self.rate


def state(seed: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(64, 32, generator=generator)
    return {
        "model": {f"w{number}": torch.randn(100 + number, 37, generator=generator) for number in range(5)},
        "large": torch.randn(2_500_000, generator=generator),
        "bf16": torch.randn(7, generator=generator).to(torch.bfloat16),
        "f8": torch.randn(9, generator=generator).to(torch.float8_e4m3fn),
        "flags": torch.tensor([True, False]),
        "strided": torch.randn(10, 20, generator=generator).t(),
        "view": torch.arange(100)[10:20],
        "scalar": torch.tensor(3.5),
        "count": torch.tensor(seed),
        "empty": torch.empty(0, 3),
        "tied": [shared, shared],
        "step": seed,
        "config": {"lr": 0.1, "names": ["a", "b"], "none": None},
    }


def blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: blank(one) for key, one in value.items()}
    if isinstance(value, list):
        return [blank(one) for one in value]
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) else None


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, torch.Tensor):
        is_equal = left.dtype == right.dtype and left.shape == right.shape
        return is_equal and torch.equal(left.flatten().view(torch.uint8), right.flatten().view(torch.uint8)) \
            if left.dim() else is_equal and left.item() == right.item()
    return bool(left == right)


def loaded(path: Path, seed: int = 1, **options: Any) -> dict[str, Any]:
    made = blank(state(seed))
    ckpt.dcp.load(made, path, **options)
    return made


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    ckpt.dcp.save(state(), tmp_path / "step-1", position=1)
    return tmp_path / "step-1"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may have more than a megabyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


# What is saved is what is loaded.


def test_everything_comes_back_to_the_bit(saved: Path) -> None:
    assert same(state(), loaded(saved))
    assert names(saved) == [".metadata", ".metadata.seal", "__0_0.distcp"]
    ckpt.dcp.verify(saved)


def test_pytorch_reads_what_we_write(saved: Path) -> None:
    made = blank(state())
    dcp.load(made, storage_reader=dcp.FileSystemReader(saved))
    assert same(state(), made)


def test_we_read_what_pytorch_writes(tmp_path: Path) -> None:
    dcp.save(state(), storage_writer=dcp.FileSystemWriter(tmp_path / "theirs"))
    assert same(state(), loaded(tmp_path / "theirs"))
    ckpt.dcp.verify(tmp_path / "theirs")


def test_pytorchs_own_calls_take_writer_and_reader(tmp_path: Path) -> None:
    dcp.save(state(), storage_writer=ckpt.dcp.Writer(tmp_path / "other"), checkpoint_id=tmp_path / "step-1")
    dcp.async_save(state(2), storage_writer=ckpt.dcp.Writer(tmp_path / "step-2")).result()
    made = blank(state())
    dcp.load(made, storage_reader=ckpt.dcp.Reader(tmp_path / "step-2"))
    assert same(state(2), made) and names(tmp_path) == ["step-1", "step-2"]


def test_every_item_carries_a_proof_with_its_position(saved: Path) -> None:
    metadata = dcp.FileSystemReader(saved).read_metadata()
    for info in metadata.storage_data.values():
        assert info.__dict__["ckpt_proof"].startswith("crc64-nvme:")
    for name in ("large", "scalar", "bf16"):
        info = next(info for index, info in metadata.storage_data.items() if index.fqn == name)
        part = (saved / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
        (saved.parent / "item.pt").write_bytes(part)
        report = ckpt.verify(saved.parent / "item.pt")
        assert (report.verdict, report.integrity) == ("valid", "full")


def test_a_part_of_a_tensor_is_loaded_where_only_it_is_wanted(saved: Path) -> None:
    made = {"large": torch.zeros(2_500_000), "model": {"w3": torch.zeros(103, 37)}}
    ckpt.dcp.load(made, saved)
    assert torch.equal(made["large"], state()["large"]) and torch.equal(made["model"]["w3"], state()["model"]["w3"])


# What must not happen: facts of DCP and of checkpoint managers.


def test_a_write_error_fails_the_save_and_nothing_has_the_name(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(OSError, match="rank 0"):
        ckpt.dcp.save(state(), tmp_path / "step-1", threads=8)
    assert names(tmp_path) == []


@pytest.mark.parametrize("writer", [ckpt.dcp.Writer, dcp.FileSystemWriter])
def test_a_checkpoint_is_never_written_into_again(tmp_path: Path, writer: Any) -> None:
    path = tmp_path / "step-1"
    dcp.save(state(1), storage_writer=writer(path))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint is written into again"):
        ckpt.dcp.save(state(2), path)
    assert contents(tmp_path) == before


def test_a_save_that_fails_before_its_end_leaves_the_old_one_as_it_was(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(saved.parent)

    def fail(*_: object) -> bytes:
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr("ckpt.dcp._metadata.dump", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        ckpt.dcp.save(state(2), saved.with_name("step-2"))
    assert contents(saved.parent) == before


def test_a_missing_item_is_never_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ckpt.dcp.Writer._write
    monkeypatch.setattr(ckpt.dcp.Writer, "_write", lambda *args: write(*args)[:-2])
    with pytest.raises(RuntimeError, match=r"no rank has written .* 2 items are missing"):
        ckpt.dcp.save(state(), tmp_path / "step-1")
    assert names(tmp_path) == []


def test_a_shard_of_another_save_is_found(saved: Path) -> None:
    other = saved.with_name("step-2")
    ckpt.dcp.save(state(2), other, position=1)
    shutil.copy(other / "__0_0.distcp", saved / "__0_0.distcp")
    with pytest.raises(ckpt.CorruptedError, match="another save"):
        loaded(saved)
    # Nothing is damaged: which of the two is meant is for people to say.
    with pytest.raises(ckpt.IncompatibleError, match="another save"):
        ckpt.dcp.verify(saved)


def flip(shard: Path, metadata: Any) -> None:
    info = max(metadata.storage_data.values(), key=lambda info: info.length)
    with shard.open("r+b") as file:
        file.seek(info.offset + info.length // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


DAMAGE = {
    "flipped": flip,
    "cut": lambda shard, _: os.truncate(shard, shard.stat().st_size - 5000),
    "empty": lambda shard, _: os.truncate(shard, 0),
    "zeros": lambda shard, _: shard.write_bytes(bytes(shard.stat().st_size)),
    "missing": lambda shard, _: shard.unlink(),
}


@pytest.mark.parametrize("writer", [ckpt.dcp.Writer, dcp.FileSystemWriter])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_an_exception_that_names_the_item(tmp_path: Path, writer: Any, damage: str) -> None:
    dcp.save(state(), storage_writer=writer(tmp_path / "step-1"))
    metadata = dcp.FileSystemReader(tmp_path / "step-1").read_metadata()
    DAMAGE[damage](tmp_path / "step-1/__0_0.distcp", metadata)
    with pytest.raises(ckpt.CorruptedError, match=r"'[a-z0-9.]+'.* __0_0.distcp") as caught:
        loaded(tmp_path / "step-1")
    assert isinstance(caught.value, Exception) and "rank 0" in str(caught.value)
    with pytest.raises(ckpt.CorruptedError):
        ckpt.dcp.verify(tmp_path / "step-1")


def test_no_bit_of_the_metadata_flips_unseen(saved: Path) -> None:
    path = saved / ".metadata"
    good = path.read_bytes()
    for at in range(0, len(good), 53):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ckpt.CorruptedError):
            ckpt.dcp.verify(saved)
    for cut in (good[:-1], b""):
        path.write_bytes(cut)
        with pytest.raises(ckpt.CorruptedError):
            loaded(saved)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        loaded(saved)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_nothing_in_the_metadata_is_executed(saved: Path) -> None:
    sprung = saved.parent / "sprung"
    (saved / ".metadata.seal").unlink()
    (saved / ".metadata").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ckpt.IncompatibleError, match=r"posix\.mkdir"):
        loaded(saved)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["../step-2/__0_0.distcp", "/etc/passwd", "..", ""])
def test_the_metadata_leads_nowhere_else(saved: Path, name: str) -> None:
    metadata = dcp.FileSystemReader(saved).read_metadata()
    for info in metadata.storage_data.values():
        info.relative_path = name
    (saved / ".metadata.seal").unlink()
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ckpt.CorruptedError, match="no item"):
        loaded(saved)


@pytest.mark.parametrize("writer", [ckpt.dcp.Writer, dcp.FileSystemWriter])
def test_an_object_is_refused_by_name_until_it_is_trusted(tmp_path: Path, writer: Any) -> None:
    path, sprung = tmp_path / "step-1", tmp_path / "sprung"
    dcp.save({"w": torch.ones(3), "settings": Settings(0.5), "trap": Trap(sprung)}, storage_writer=writer(path))
    for name in ("settings", "trap"):
        for verify in (True, False):
            with pytest.raises(ckpt.NeedsTrustError, match=r"Settings|mkdir"):
                ckpt.dcp.load({"w": torch.zeros(3), name: None}, path, verify=verify)
    assert not sprung.exists()
    made = {"w": torch.zeros(3), "settings": None}
    ckpt.dcp.load(made, path, trusted=True)
    assert made["settings"] == Settings(0.5)
    ckpt.dcp.verify(path)


def test_a_value_that_is_no_archive_is_never_handed_on(tmp_path: Path) -> None:
    # Sound safetensors for one reader, and a pickle for another: its length's first byte begins the pickle.
    from ckpt.dcp._read import _require_safe

    path = tmp_path / "value.safetensors"
    ckpt.save({"w": torch.ones(3)}, path)
    report = ckpt.verify(path)
    assert report.is_valid
    with pytest.raises(ckpt.NeedsTrustError, match="no archive of PyTorch"):
        _require_safe(path, report)


def test_another_dtype_is_refused_and_nothing_touched(saved: Path) -> None:
    made = {"large": torch.zeros(2_500_000, dtype=torch.float64), "bf16": torch.zeros(7, dtype=torch.bfloat16)}
    with pytest.raises(ckpt.IncompatibleError, match=r"'large'.* torch.float32, and the target torch.float64"):
        ckpt.dcp.load(made, saved)
    assert not made["bf16"].any()
    ckpt.dcp.load(made, saved, cast=True)
    assert torch.equal(made["large"], state()["large"].double())


def test_pytorch_raises_what_no_except_exception_catches_and_we_do_not(saved: Path) -> None:
    (saved / "__0_0.distcp").unlink()
    with pytest.raises(CheckpointException) as bare:
        dcp.load(blank(state()), storage_reader=ckpt.dcp.Reader(saved))
    assert not isinstance(bare.value, Exception)
    assert isinstance(bare.value.failures[0][0], ckpt.CorruptedError)
    with pytest.raises(ckpt.CorruptedError):
        loaded(saved)


# In the background.


def test_a_background_save_has_the_values_of_its_call(tmp_path: Path) -> None:
    values = state()
    future = ckpt.dcp.async_save(values, tmp_path / "step-1")
    values["large"].zero_()
    values["step"] = 2
    future.result()
    assert same(state(), loaded(tmp_path / "step-1"))


def test_a_failed_background_save_is_heard_of(
    tmp_path: Path, full_disk: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "ckpt.dcp")
    asked = ckpt.dcp.async_save(state(), tmp_path / "step-1")
    assert isinstance(asked.exception(), OSError)
    asked = ckpt.dcp.async_save(state(), tmp_path / "step-1")
    with pytest.raises(OSError):
        asked.result()
    unasked = ckpt.dcp.async_save(state(), tmp_path / "step-2")
    with pytest.raises(OSError, match="rank 0"):
        ckpt.dcp.async_save(state(), tmp_path / "step-3")
    assert unasked.done() and "a checkpoint wasn't saved" in caplog.text
    assert names(tmp_path) == []


def test_background_saves_come_one_after_the_other(tmp_path: Path) -> None:
    writer = ckpt.dcp.Writer(tmp_path / "none")
    futures = [
        dcp.async_save(state(step), storage_writer=writer, checkpoint_id=tmp_path / f"step-{step}") for step in (1, 2)
    ]
    futures.append(ckpt.dcp.async_save(state(3), tmp_path / "step-3"))
    for future in futures:
        future.result()
    assert names(tmp_path) == ["step-1", "step-2", "step-3"]
    for step in (1, 2, 3):
        assert same(state(step), loaded(tmp_path / f"step-{step}"))


# What can't be had is refused.


def test_who_does_not_coordinate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nobody to commit"):
        dcp.save(state(), storage_writer=ckpt.dcp.Writer(tmp_path / "step-1"), use_collectives=False)
    assert names(tmp_path) == []


def test_a_cached_plan_is_refused_and_not_followed(tmp_path: Path) -> None:
    ckpt.dcp.save(state(1), tmp_path / "step-1", planner=DefaultSavePlanner(enable_plan_caching=True))
    before = contents(tmp_path)
    with pytest.raises(RuntimeError, match="enable_plan_caching"):
        ckpt.dcp.save(state(1), tmp_path / "step-2", planner=DefaultSavePlanner(enable_plan_caching=True))
    assert contents(tmp_path) == before


# From where to go on.


def test_the_newest_sound_checkpoint_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ckpt.dcp.last_verified(tmp_path / "none") is None
    for step in (9, 10, 100):
        ckpt.dcp.save(state(step), tmp_path / f"step-{step}")
    os.truncate(tmp_path / "step-100/__0_0.distcp", 1000)
    (tmp_path / "step-200").mkdir()
    (tmp_path / "step-200/__0_0.distcp").write_bytes(b"unfinished")
    # Written last, and not the newest.
    os.utime(tmp_path / "step-9/.metadata")
    assert ckpt.dcp.last_verified(tmp_path) == tmp_path / "step-10"
    assert "step-100 is passed over" in caplog.text
    for step in (9, 10):
        os.truncate(tmp_path / f"step-{step}/__0_0.distcp", 1000)
    with pytest.raises(ckpt.CorruptedError, match="none of them can be used"):
        ckpt.dcp.last_verified(tmp_path)


# Ranks.


def environment(**more: str) -> dict[str, str]:
    paths = [str(Path(ckpt.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **more}


def run(ranks: int, case: str, root: Path) -> list[dict[str, Any]]:
    """Runs a case with torchrun, and returns what each rank found."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    log = root / "log.json"
    with log.open("w") as out:
        started = subprocess.Popen(
            [*command, str(RANKS), case, str(root)],
            env=environment(), stdout=out, stderr=out, start_new_session=True,
        )
        try:
            code = started.wait(timeout=300)
        finally:
            if started.poll() is None:
                # With the ranks, which torchrun wouldn't end.
                os.killpg(started.pid, signal.SIGKILL)
    assert code == 0, log.read_text()[-4000:]
    return [json.loads((root / f"{case}-{rank}.json").read_text()) for rank in range(ranks)]


def test_four_ranks_save_and_fewer_load(tmp_path: Path) -> None:
    for found in run(4, "save", tmp_path):
        for refused in (found["again"], found["again_bare"]):
            assert "no checkpoint is written into again" in refused["text"]
        assert found["again"]["kind"] == "ValueError"
        # Rank 2's disk has failed, and every rank knows.
        assert found["disk"]["kind"] == "OSError" and "rank 2" in found["disk"]["text"]
        assert found["after_disk"] == ["step-1"]
        assert found["last"] == str(tmp_path / "step-4") and found["loaded"]
    shards = [name for name in names(tmp_path / "step-1") if name.endswith(".distcp")]
    assert shards == [f"__{rank}_0.distcp" for rank in range(4)]
    for ranks in (2, 1):
        for found in run(ranks, "load", tmp_path):
            assert found["step-1"] and found["step-4"] and found["torch-5"] and found["by_torch"]
            assert found["dtype"]["kind"] == "IncompatibleError"
            assert found["last"] in (str(tmp_path / "torch-5"), str(tmp_path / "step-4"))


def test_a_killed_rank_leaves_the_old_checkpoint_and_no_new_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "3"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(RANKS), "killed", str(tmp_path)],
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **place),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(3)
    ]
    ended = [rank.wait(timeout=300) for rank in ranks]
    assert ended[2] == -signal.SIGKILL
    for rank in (0, 1):
        found = json.loads((tmp_path / f"killed-{rank}.json").read_text())
        assert found["save"]["kind"] is not None, "a save without one of its ranks can't succeed"
    there = [path for path in tmp_path.iterdir() if not path.name.endswith(".json")]
    assert [path.name for path in there if not path.name.startswith(".ckpt-")] == ["step-1"]
    ckpt.dcp.verify(tmp_path / "step-1")
    ckpt.dcp.save(state(2), tmp_path / "step-2")
    assert [name for name in names(tmp_path) if not name.endswith(".json")] == ["step-1", "step-2"]


KILLED_COORDINATOR = """
import os, signal, sys
import torch, ckpt.dcp
from ckpt.dcp import _metadata
_metadata.dump = lambda _: os.kill(os.getpid(), signal.SIGKILL)
ckpt.dcp.save({"w": torch.ones(100_000)}, sys.argv[1])
"""


def test_what_a_killed_job_leaves_is_removed_by_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "step-1"
    done = subprocess.run(
        [sys.executable, "-c", KILLED_COORDINATOR, str(path)], env=environment(), capture_output=True, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".ckpt-") and (left / "__0_0.distcp").exists()
    assert ckpt.dcp.last_verified(tmp_path) is None
    ckpt.dcp.save(state(), path)
    assert names(tmp_path) == ["step-1"]


def test_a_process_of_its_own_saves_in_the_background(tmp_path: Path) -> None:
    (found,) = run(1, "process", tmp_path)
    assert found["last"] == str(tmp_path / "step-2")
    for step in (1, 2):
        ckpt.dcp.verify(tmp_path / f"step-{step}")
