"""`ckpt.features`: extraction in shards, by workers that are killed, and one file of them all."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

import ckpt
from ckpt import features
from ckpt.features import Extraction, ShardWriter, aggregate, manifest, todo
from ckpt.features._extraction import _together
from compat_files import flipped, names, offset_of

KILLS = 12

MODEL = {"name": "toy", "dtype": "float32", "packing": True}

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ckpt.__file__).parents[1])}


def some_ids(count: int) -> list[str]:
    return [f"sequence_{n}|ümläut" for n in range(count)]


def row_of(id: str, width: int = 6) -> torch.Tensor:
    """What the model makes of an id: the same each time."""
    return torch.randn(width, generator=torch.Generator().manual_seed(hash_of(id)))


def hash_of(id: str) -> int:
    return sum(byte * 31**n for n, byte in enumerate(id.encode())) % (1 << 31)


def rows_of(ids: list[str]) -> torch.Tensor:
    return torch.stack([row_of(id) for id in ids])


def opened(directory: Path, ids: list[str], **options: Any) -> Extraction:
    return Extraction(directory, ids=ids, model=options.pop("model", MODEL), **options)


def push_all(writer: ShardWriter, ids: list[str], batch: int = 5) -> None:
    for at in range(0, len(ids), batch):
        writer.push(ids[at : at + batch], rows_of(ids[at : at + batch]))


def shards_of(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory)) for path in directory.glob("shard_*/batch_*") if path.suffix != ".done"
    )


def test_shards_hold_ids_and_rows_and_any_reader_takes_them(tmp_path: Path) -> None:
    ids = some_ids(23)
    extraction = opened(tmp_path / "x", ids, rows=10, format="torch")
    assert repr(extraction) == f"Extraction('{tmp_path}/x', rank 0 of 1)" and extraction.directory == tmp_path / "x"
    with extraction.writer() as writer:
        push_all(writer, ids, batch=4)
    # A batch is never split: a shard has 10 rows, or as many as the batch has that fills it.
    assert shards_of(tmp_path / "x") == ["shard_0/batch_0.pt", "shard_0/batch_1.pt"]
    parts = [torch.load(tmp_path / "x" / "shard_0" / f"batch_{n}.pt") for n in range(2)]
    assert [len(part["ids"]) for part in parts] == [12, 11]
    assert parts[0]["ids"] + parts[1]["ids"] == ids
    assert torch.equal(torch.cat([part["data"] for part in parts]), rows_of(ids))
    assert (tmp_path / "x" / "shard_0" / "batch_0.pt.done").exists()
    reports = ckpt.verify_all(tmp_path / "x")
    assert all(report.is_valid for report in reports) and {"full"} <= {report.integrity for report in reports}
    summary = writer.summary
    assert summary is not None and (summary.rank, summary.shards, summary.rows) == (0, 2, 23)


def test_safetensors_readers_find_the_rows(tmp_path: Path) -> None:
    ids = some_ids(4)
    with opened(tmp_path, ids).writer() as writer:
        push_all(writer, ids)
    path = tmp_path / "shard_0" / "batch_0.safetensors"
    with safetensors.safe_open(str(path), "pt") as file:
        assert torch.equal(file.get_tensor("data"), rows_of(ids))
    assert ckpt.load(path)["ids"] == ids


def test_what_lies_together_is_not_copied_before_it_is_pushed() -> None:
    rows = torch.arange(24.0).reshape(4, 6)
    for part in (rows, rows[1:3], torch.nn.Parameter(rows)):
        assert _together(part).data_ptr() == part.data_ptr()
    array = rows.numpy()
    assert np.shares_memory(_together(array), array) and np.shares_memory(_together(array[2:]), array)
    assert _together(array[:, ::2]).flags.c_contiguous and _together(rows.T).is_contiguous()


def test_tensors_and_arrays_of_any_make_are_taken(tmp_path: Path) -> None:
    rows = torch.arange(24.0).reshape(4, 6)
    kinds: list[Any] = [
        rows,
        rows.numpy(),
        torch.stack((rows, -rows))[1],  # a part of a storage
        rows.T.contiguous().T,  # gaps
        np.asfortranarray(rows.numpy()),
        rows.numpy()[::-1],
        rows.numpy().astype(">f4"),
        rows.clone().requires_grad_(),
        torch.nn.Parameter(rows.clone()),
    ]
    ids = some_ids(4 * len(kinds))
    with opened(tmp_path, ids, format="torch").writer() as writer:
        for number, kind in enumerate(kinds):
            writer.push(ids[4 * number : 4 * number + 4], kind)
    data = torch.load(tmp_path / "shard_0" / "batch_0.pt")["data"]
    plain = [
        torch.from_numpy(np.array(kind.detach() if hasattr(kind, "detach") else kind, dtype="<f4")) for kind in kinds
    ]
    assert torch.equal(data, torch.cat(plain))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8])
def test_dtypes_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    rows = torch.arange(12).reshape(4, 3).to(dtype)
    ids = some_ids(4)
    with opened(tmp_path, ids).writer() as writer:
        writer.push(ids, rows)
    aggregate(tmp_path, tmp_path / "out.pt", ids=ids)
    loaded = torch.load(tmp_path / "out.pt")["data"]
    assert loaded.dtype == dtype and torch.equal(loaded, rows)


def test_rows_may_be_changed_once_they_were_pushed(tmp_path: Path) -> None:
    ids, rows = some_ids(2), torch.ones(1, 3)
    with opened(tmp_path, ids).writer() as writer:
        writer.push(ids[:1], rows)
        rows.zero_()
        writer.push(ids[1:], rows)
    assert ckpt.load(tmp_path / "shard_0" / "batch_0.safetensors")["data"].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_what_cannot_be_pushed_is_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    ids = some_ids(3)
    with opened(tmp_path, ids).writer() as writer:
        for rows in ([[1.0]], 3, "abc", None):
            with pytest.raises(TypeError, match="rows are a tensor or a NumPy array"):
                writer.push(ids[:1], rows)
        with pytest.raises(TypeError, match="object"):
            writer.push(ids[:1], np.array([[None]]))
        with pytest.raises(ValueError):
            writer.push(ids, torch.ones(2, 4))
        writer.push(ids[:1], torch.ones(1, 4))
        for rows in (torch.ones(1, 5), torch.ones(1, 4, dtype=torch.float16)):
            with pytest.raises(ValueError):
                writer.push(ids[1:2], rows)
        writer.push(ids[1:], torch.ones(2, 4))
    assert writer.summary is not None and writer.summary.rows == 3
    with pytest.raises(ValueError, match="closed"):
        writer.push(ids, torch.ones(3, 4))


def test_what_is_in_a_shard_that_verifies_is_not_to_do_again(tmp_path: Path) -> None:
    ids = some_ids(20)
    extraction = opened(tmp_path, ids, rows=5)
    assert extraction.todo().ids == ids
    writer = extraction.writer()
    push_all(writer, ids[:13])
    writer.flush()
    writer.push(ids[13:14], rows_of(ids[13:14]))
    writer.close()  # without the row that is in no shard
    left = extraction.todo()
    assert (left.ids, left.done, left.shards, left.rows) == (ids[13:], 13, 3, 13)
    assert left.places == list(range(13, 20))
    assert repr(left) == "Todo(7 ids, 13 done in 3 shards, 0 set aside)"
    halves = [left.for_rank(rank, 2) for rank in range(2)]
    assert sorted(halves[0] + halves[1]) == sorted(ids[13:]) and not set(halves[0]) & set(halves[1])
    with pytest.raises(ValueError, match="no rank 2 of 2"):
        left.for_rank(2, 2)
    # From anywhere, and changing nothing.
    assert todo(tmp_path, ids) == left
    with pytest.raises(FileNotFoundError):
        todo(tmp_path / "none", ids)


def test_a_damaged_shard_is_set_aside_and_only_its_ids_are_to_do_again(tmp_path: Path) -> None:
    ids = some_ids(15)
    extraction = opened(tmp_path, ids, rows=5)
    with extraction.writer() as writer:
        push_all(writer, ids)
    path = tmp_path / "shard_0" / "batch_1.safetensors"
    flipped(path, offset_of(path, rows_of(ids[5:10])) + 3, path)
    [found] = todo(tmp_path, ids).set_aside
    assert found.moved_to is None and path.exists()
    left = extraction.todo()
    assert left.ids == ids[5:10]
    [aside] = left.set_aside
    assert aside.shard == "shard_0/batch_1.safetensors" and aside.finding.verdict == "corrupted"
    assert aside.moved_to is not None and "corrupt" in aside.moved_to and not path.exists()
    with extraction.writer() as writer:
        push_all(writer, left.ids)
    assert extraction.todo().ids == []
    aggregate(tmp_path, tmp_path / "out.pt", ids=ids)
    assert torch.equal(torch.load(tmp_path / "out.pt")["data"], rows_of(ids))


def test_another_model_or_input_is_incompatible_and_is_named(tmp_path: Path) -> None:
    ids = some_ids(3)
    opened(tmp_path, ids)
    opened(tmp_path, ids, model={"packing": True, "dtype": "float32", "name": "toy"})
    with pytest.raises(ckpt.IncompatibleError, match=r"dtype.*float16.*float32|dtype.*float32.*float16"):
        opened(tmp_path, ids, model={**MODEL, "dtype": "float16"})
    with pytest.raises(ckpt.IncompatibleError):
        opened(tmp_path, ids[::-1])
    with pytest.raises(TypeError, match="the model can't be written as JSON"):
        opened(tmp_path, ids, model={"layers": {1, 2}})
    with pytest.raises(ValueError, match="ids, or input_file"):
        Extraction(tmp_path, model=MODEL)
    for options in ({"rank": 2, "world_size": 2}, {"format": "parquet"}, {"seconds": -1.0}, {"level": "deep"}):
        with pytest.raises(ValueError):
            opened(tmp_path / "other", ids, **options)


def test_an_input_file_stands_for_its_ids(tmp_path: Path) -> None:
    source, ids = tmp_path / "ids.txt", some_ids(3)
    source.write_text("\n".join(ids))
    extraction = Extraction(tmp_path / "x", input_file=source, model=MODEL, seconds=timedelta(minutes=1))
    assert extraction.todo(ids).ids == ids
    with pytest.raises(ValueError, match="say which ids"):
        extraction.todo()
    source.write_text("others")
    with pytest.raises(ckpt.IncompatibleError):
        Extraction(tmp_path / "x", input_file=source, model=MODEL)
    with pytest.raises(FileNotFoundError):
        Extraction(tmp_path / "y", input_file=tmp_path / "none", model=MODEL)


def test_a_batch_that_comes_in_parts_is_one(tmp_path: Path) -> None:
    ids = some_ids(12)
    with opened(tmp_path, ids, rows=3).writer() as writer:
        with writer.batch():
            for id in ids[:7]:
                writer.push([id], rows_of([id]))
            writer.tick()
        writer.push(ids[7:], rows_of(ids[7:]))
    assert [len(ckpt.load(tmp_path / shard)["ids"]) for shard in shards_of(tmp_path)] == [7, 5]


def test_what_was_pushed_before_an_error_is_saved_and_the_rank_is_not_done(tmp_path: Path) -> None:
    ids = some_ids(6)
    extraction = opened(tmp_path, ids)
    with pytest.raises(LookupError), extraction.writer() as writer:
        writer.push(ids[:2], rows_of(ids[:2]))
        raise LookupError("the model can't")
    assert extraction.todo().ids == ids[2:] and not extraction.manifest().is_finished
    with pytest.raises(KeyboardInterrupt), extraction.writer() as writer:
        writer.push(ids[2:4], rows_of(ids[2:4]))
        raise KeyboardInterrupt
    assert extraction.todo().ids == ids[2:]


def test_a_shard_that_cannot_be_saved_is_an_error_that_is_not_missed(tmp_path: Path) -> None:
    ids = some_ids(4)
    extraction = opened(tmp_path / "x", ids, rows=1)
    writer = extraction.writer()
    writer.push(ids[:1], rows_of(ids[:1]))
    writer.flush()
    # The place of the next shard is taken by a directory.
    (tmp_path / "x" / "shard_0" / "batch_1.safetensors").mkdir()
    with pytest.raises(ValueError, match="the shard isn't saved, and its ids are still to do"):
        for id in ids[1:]:
            writer.push([id], rows_of([id]))
        writer.finish()
    writer.close()
    assert extraction.todo().done == 1


def test_ranks_work_at_once_and_the_manifest_has_all_of_them(tmp_path: Path) -> None:
    ids = some_ids(30)
    ranks = [opened(tmp_path, ids, rank=rank, world_size=3, rows=4) for rank in range(3)]
    writers = [extraction.writer() for extraction in ranks[:2]]
    with pytest.raises(ValueError, match="rank"):
        ranks[0].writer()
    for extraction, writer in zip(ranks, writers, strict=False):
        push_all(writer, extraction.todo().for_rank(extraction.rank, 3))
        writer.flush()
    assert writers[0].finish().rows == 10
    found = manifest(tmp_path)
    assert found == ranks[0].manifest()
    assert (found.world_size, found.rows, found.absent, found.is_finished) == (3, 20, (2,), False)
    assert [(rank.rank, rank.rows, rank.finished) for rank in found.ranks] == [(0, 10, True), (1, 10, False)]
    assert found.extraction.model["config"] == MODEL and found.extraction.input["count"] == 30
    assert found.extraction.id == ranks[0].id and f"{found.shards} shards, 20 rows" in repr(found)
    assert found.stalled(timedelta(hours=1)) == []
    time.sleep(0.01)
    assert [stalled.rank for stalled in found.stalled(0.001)] == [1, 2]
    writers[1].finish()
    # As many workers as there are now.
    alone = opened(tmp_path, ids, rank=0, world_size=1)
    left = alone.todo()
    assert len(left.ids) == 10 and left.for_rank(0, 1) == left.ids
    with alone.writer() as writer:
        push_all(writer, left.ids)
    assert alone.todo().ids == [] and alone.manifest().is_finished
    with pytest.raises(FileNotFoundError):
        manifest(tmp_path / "none")


def test_one_file_of_all_shards_in_the_order_of_the_ids(tmp_path: Path) -> None:
    ids = some_ids(25)
    for rank in range(2):
        extraction = opened(tmp_path / "x", ids, rank=rank, world_size=2, rows=4)
        with extraction.writer() as writer:
            push_all(writer, extraction.todo().for_rank(rank, 2)[::-1], batch=3)
    heard: list[int] = []
    out = tmp_path / "out.pt"
    made = aggregate(tmp_path / "x", out, ids=ids, done_marker=True, progress=heard.append)
    loaded = torch.load(out)
    assert loaded["ids"] == ids and torch.equal(loaded["data"], rows_of(ids))
    assert (made.path, made.rows, made.missing, made.duplicates, made.damaged) == (out, 25, 0, 0, ())
    assert sum(heard) > 0 and (tmp_path / "out.pt.done").exists() and ckpt.verify(out).integrity == "full"
    assert repr(made) == f"Aggregated('{out}', 25 rows of {made.shards} shards)"
    # Merged like any other.
    assert ckpt.merge(out, tmp_path / "x" / "shard_0" / "batch_0.safetensors", tmp_path / "m.pt").width == 12
    some = aggregate(tmp_path / "x", tmp_path / "some.safetensors", ids=ids[::3])
    assert ckpt.load(tmp_path / "some.safetensors")["ids"] == ids[::3] and some.unlisted == 25 - len(ids[::3])
    everything = aggregate(tmp_path / "x", tmp_path / "all.pt")
    assert everything.rows == 25 and sorted(torch.load(tmp_path / "all.pt")["ids"]) == sorted(ids)


def test_missing_and_duplicate_ids_are_reported(tmp_path: Path) -> None:
    ids = some_ids(10)
    extraction = opened(tmp_path / "x", ids, rows=2)
    with extraction.writer() as writer:
        writer.push(ids[:4], rows_of(ids[:4]))
        writer.push(ids[2:6], rows_of(ids[2:6]) + torch.tensor([[0.0]] * 3 + [[1.0]]))
        writer.push(ids[5:6], rows_of(ids[5:6]))
    out = tmp_path / "out.pt"
    with pytest.raises(ckpt.IncompatibleError, match=r"4 ids have no row .* 'sequence_6\|ümläut'"):
        aggregate(tmp_path / "x", out, ids=ids)
    assert not out.exists()
    made = aggregate(tmp_path / "x", out, ids=ids, allow_missing=True)
    assert (made.rows, made.missing, made.missing_ids) == (6, 4, tuple(ids[6:]))
    assert (made.duplicates, made.duplicate_ids) == (3, tuple(ids[2:4] + ids[5:6]))
    assert (made.differing, made.differing_ids) == (1, (ids[5],))
    assert "4 missing, 3 duplicates, 1 differing" in repr(made)
    assert torch.load(out)["ids"] == ids[:6]
    with pytest.raises(FileNotFoundError):
        aggregate(tmp_path / "none", out)


_EXTRACTING = """
import pathlib, sys
import torch
sys.path.append(sys.argv[4])
from test_features import opened, push_all, some_ids
directory, rank, world = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
ids = some_ids(400)
extraction = opened(directory, ids, rank=rank, world_size=world, rows=10, durable=rank == 0)
print("begun", flush=True)
with extraction.writer() as writer:
    push_all(writer, extraction.todo().for_rank(rank, world), batch=3)
print("done", flush=True)
"""


def extract_in(directory: Path, rank: int, world: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _EXTRACTING, str(directory), str(rank), str(world), str(Path(__file__).parent)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def test_killed_at_any_moment_no_row_is_lost_that_was_saved_and_the_file_is_the_same(tmp_path: Path) -> None:
    ids, killed = some_ids(400), tmp_path / "killed"
    chance, done = random.Random(23), 0
    for round in range(KILLS // 2):
        # Two workers, then three: of any number may be gone on with.
        workers = [extract_in(killed, rank, 2 + round % 2) for rank in range(2)]
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline() == "begun\n"
        for worker in workers:
            time.sleep(chance.random() * 0.05)
            worker.kill()
        for worker in workers:
            worker.wait()
        now = todo(killed, ids)
        # A killed worker leaves no damaged shard behind, and what was saved stays.
        assert now.set_aside == () and now.done >= done
        done = now.done
    assert done > 0
    last = extract_in(killed, 0, 1)
    assert last.stdout is not None and last.stdout.read() == "begun\ndone\n"
    assert last.wait() == 0 and todo(killed, ids).ids == []
    whole = extract_in(tmp_path / "whole", 0, 1)
    whole.wait()
    outs = [tmp_path / f"{name}.pt" for name in ("killed", "whole")]
    for out in outs:
        made = aggregate(tmp_path / out.stem, out, ids=ids)
        assert (made.rows, made.missing, made.differing) == (400, 0, 0)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert torch.equal(torch.load(outs[0])["data"], rows_of(ids))
    assert not [path for path in killed.rglob("*") if path.name.startswith(".ckpt-")]


_INTERRUPTED = """
import pathlib, signal, sys, threading
import ckpt, torch
from ckpt.features import Extraction
signal.signal(signal.SIGINT, signal.default_int_handler)
ids = [str(n) for n in range(1 << 20)]
rows = torch.zeros(64, 1 << 18)
with Extraction(sys.argv[1], ids=ids, model=1, rows=64).writer() as writer:
    try:
        print("pushing", flush=True)
        for at in range(0, len(ids), 64):
            writer.push(ids[at:at + 64], rows)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        writer.close()
"""


def test_ctrl_c_is_heard_while_a_push_waits_for_the_disk(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, tmp_path], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "pushing\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert child.wait(60) in (0, -signal.SIGINT)


def test_a_forked_process_has_no_writer(tmp_path: Path) -> None:
    ids = some_ids(2)
    writer = opened(tmp_path, ids).writer()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            writer.push(ids, rows_of(ids))
        except ValueError as error:
            code = 0 if "process" in str(error) else 2
        writer.close()
        del writer
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    writer.push(ids, rows_of(ids))
    assert writer.finish().rows == 2


def test_it_is_all_in_the_package() -> None:
    assert all(hasattr(features, name) for name in features.__all__)
    assert ckpt.merge is features.merge and {"features", "merge", "merge_all", "pipeline"} <= set(ckpt.__all__)
    assert names(Path(ckpt.__file__).parent / "features")
