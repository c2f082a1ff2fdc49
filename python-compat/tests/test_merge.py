"""`ckpt.merge` and `merge_all`, held against a straightforward version in PyTorch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ckpt
from ckpt.features import Merged
from compat_files import flipped, names, offset_of

CORPUS = Path(__file__).parents[2].resolve() / "../shared/corpus/broadinstitute+virnucpro-broad/tests/data"

KILLS = 8

Rows = torch.Tensor


def as_tensor(rows: Rows) -> Any:
    return rows


def as_tensors(rows: Rows) -> Any:
    return [row.clone() for row in rows]


def as_views(rows: Rows) -> Any:
    """Rows that share one storage, which has more than them."""
    return list(torch.cat((rows, -rows), dim=1)[:, : rows.shape[1]])


def as_maps(rows: Rows) -> Any:
    return [{"mean_representation": row.tolist()} for row in rows]


def as_maps_of_tensors(rows: Rows) -> Any:
    return [{"label": str(n), "mean_representation": row.clone()} for n, row in enumerate(rows)]


FORMS = [as_tensor, as_tensors, as_views, as_maps, as_maps_of_tensors]


def feature_file(
    path: Path, ids: list[str], rows: Rows, form: Callable[[Rows], Any] = as_tensor, key: str = "ids"
) -> Path:
    """Writes a feature file with the real `torch.save`."""
    torch.save({key: ids, "data": form(rows)}, path)
    return path


def rows_of(data: Any) -> list[torch.Tensor]:
    """Takes the rows of any form apart, as scripts do."""
    rows = []
    for row in data:
        value = row["mean_representation"] if isinstance(row, dict) else row
        rows.append(value if isinstance(value, torch.Tensor) else torch.tensor(value))
    return rows


def by_torch(a: Path, b: Path) -> tuple[list[str], torch.Tensor]:
    """The straightforward version: both loaded, a dict by id, cat and stack."""
    loaded = [torch.load(path) for path in (a, b)]
    ids, other = (next(value[key] for key in ("ids", "nucleotide", "proteins") if key in value) for value in loaded)
    second = dict(zip(other, rows_of(loaded[1]["data"]), strict=True))
    both = [(id, row) for id, row in zip(ids, rows_of(loaded[0]["data"]), strict=True) if id in second]
    return [id for id, _ in both], torch.stack([torch.cat((row, second[id]), dim=-1) for id, row in both])


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    is_alike = one.dtype == other.dtype and one.shape == other.shape
    return is_alike and torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def some_ids(count: int, seed: int) -> list[str]:
    ids = [f"sequence_{n}|ümläut" for n in range(count)]
    random.Random(seed).shuffle(ids)
    return ids


@pytest.mark.parametrize("one", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_any_two_forms_give_the_bits_of_the_straightforward_version(
    one: Callable[[Rows], Any], other: Callable[[Rows], Any], tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 12, generator=generator)
    rows[3, 2], rows[5, 1], rows[7, 0] = float("nan"), float("-inf"), -0.0
    ids = some_ids(40, 1)
    a = feature_file(tmp_path / "a.pt", ids[:30], rows[:30, :5], one, "nucleotide")
    b = feature_file(tmp_path / "b.pt", some_ids(40, 2)[5:], rows[5:, 5:], other, "proteins")
    merged = ckpt.merge(a, b, tmp_path / "merged.pt")
    expected_ids, expected = by_torch(a, b)
    loaded = torch.load(tmp_path / "merged.pt")
    assert list(loaded) == ["ids", "data"] and loaded["ids"] == expected_ids
    assert same_bits(loaded["data"], expected)
    assert (merged.rows, merged.width, merged.width_a, merged.width_b, merged.dtype) == (
        len(expected_ids),
        12,
        5,
        7,
        "f32",
    )
    other_ids = set(some_ids(40, 2)[5:])
    assert merged.only_in_a == tuple(id for id in ids[:30] if id not in other_ids)
    assert merged.only_in_b == tuple(id for id in some_ids(40, 2)[5:] if id not in ids[:30])
    assert merged.outcome == "merged" and merged.bytes == (tmp_path / "merged.pt").stat().st_size
    assert ckpt.verify(tmp_path / "merged.pt", level="load").integrity == "full"
    assert names(tmp_path) == ["a.pt", "b.pt", "merged.pt"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_dtypes_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    rows = torch.arange(24).reshape(4, 6).to(dtype)
    a = feature_file(tmp_path / "a.pt", list("abcd"), rows, as_tensors)
    b = feature_file(tmp_path / "b.pt", list("dcba"), rows + 1)
    ckpt.merge(a, b, tmp_path / "m.pt")
    assert same_bits(torch.load(tmp_path / "m.pt")["data"], by_torch(a, b)[1])


def test_dtypes_that_differ_are_incompatible(tmp_path: Path) -> None:
    a = feature_file(tmp_path / "a.pt", ["x"], torch.ones(1, 2))
    b = feature_file(tmp_path / "b.pt", ["x"], torch.ones(1, 2, dtype=torch.float16))
    with pytest.raises(ckpt.IncompatibleError, match="f16"):
        ckpt.merge(a, b, tmp_path / "m.pt")
    assert names(tmp_path) == ["a.pt", "b.pt"]


def test_an_empty_match_is_an_empty_output(tmp_path: Path) -> None:
    a = feature_file(tmp_path / "a.pt", ["x", "y"], torch.ones(2, 3))
    b = feature_file(tmp_path / "b.pt", ["z"], torch.ones(1, 4), as_maps)
    merged = ckpt.merge(a, b, tmp_path / "m.pt")
    loaded = torch.load(tmp_path / "m.pt")
    assert loaded["ids"] == [] and loaded["data"].shape == (0, 7) and loaded["data"].dtype == torch.float32
    assert (merged.rows, merged.width, merged.only_in_a, merged.only_in_b) == (0, 7, ("x", "y"), ("z",))
    assert ckpt.verify(tmp_path / "m.pt").is_valid


def test_unmatched_ids_are_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    a = feature_file(tmp_path / "a.pt", ["x", "y"], torch.ones(2, 3))
    b = feature_file(tmp_path / "b.pt", ["x"], torch.ones(1, 3))
    with pytest.raises(ckpt.IncompatibleError, match="y"):
        ckpt.merge(a, b, tmp_path / "m.pt", refuse_unmatched=True)
    assert names(tmp_path) == ["a.pt", "b.pt"]
    assert ckpt.merge(a, a, tmp_path / "m.pt", refuse_unmatched=True).rows == 2


def test_the_last_row_of_an_id_counts_at_the_place_of_the_first(tmp_path: Path) -> None:
    """As in a dict."""
    a = feature_file(tmp_path / "a.pt", ["x", "y", "x"], torch.arange(6.0).reshape(3, 2))
    b = feature_file(tmp_path / "b.pt", ["y", "x", "y"], torch.arange(10.0, 16.0).reshape(3, 2))
    merged = ckpt.merge(a, b, tmp_path / "m.pt")
    loaded = torch.load(tmp_path / "m.pt")
    assert loaded["ids"] == ["x", "y"]
    assert loaded["data"].tolist() == [[4, 5, 12, 13], [2, 3, 14, 15]]
    assert (merged.duplicates_in_a, merged.duplicates_in_b) == (("x",), ("y",))


def test_safetensors_go_in_and_out(tmp_path: Path) -> None:
    ids = some_ids(10, 3)
    value = {"ids": ids, "data": torch.randn(10, 4)}
    ckpt.save(value, tmp_path / "a.safetensors")
    b = feature_file(tmp_path / "b.pt", ids[::-1], torch.randn(10, 2), as_maps)
    ckpt.merge(tmp_path / "a.safetensors", b, tmp_path / "m.safetensors")
    loaded = ckpt.load(tmp_path / "m.safetensors")
    torch.save(value, tmp_path / "a.pt")
    expected_ids, expected = by_torch(tmp_path / "a.pt", b)
    assert loaded["ids"] == expected_ids and same_bits(loaded["data"], expected)


def test_keys_can_be_named_and_what_could_be_either_is_refused(tmp_path: Path) -> None:
    a = tmp_path / "a.pt"
    torch.save({"names": ["x"], "labels": ["y"], "vectors": torch.ones(1, 2)}, a)
    b = feature_file(tmp_path / "b.pt", ["x"], torch.zeros(1, 3))
    with pytest.raises(ValueError, match="'names', 'labels' could each be the ids: name the one that is"):
        ckpt.merge(a, b, tmp_path / "m.pt")
    merged = ckpt.merge(a, b, tmp_path / "m.pt", ids_key=["names", "ids"], data_key=["vectors", "data"])
    assert (merged.rows, merged.width) == (1, 5)


def test_a_finished_output_is_left_as_it_is_and_any_other_is_redone(tmp_path: Path) -> None:
    ids = some_ids(20, 4)
    a = feature_file(tmp_path / "a.pt", ids, torch.randn(20, 30))
    b = feature_file(tmp_path / "b.pt", ids, torch.randn(20, 3), as_maps)
    out = tmp_path / "m.pt"
    first = ckpt.merge(a, b, out)
    before = out.stat()
    again = ckpt.merge(a, b, out)
    assert again.outcome == "skipped" and out.stat().st_mtime_ns == before.st_mtime_ns
    assert (again.rows, again.proof, again.only_in_a) == (first.rows, first.proof, first.only_in_a)
    # Damaged: made anew.
    data = torch.load(out)["data"]
    flipped(out, offset_of(out, data) + 7, out)
    assert ckpt.merge(a, b, out).outcome == "merged"
    assert ckpt.verify(out).is_valid and same_bits(torch.load(out)["data"], data)
    # Of another input: made anew.
    feature_file(a, ids, torch.randn(20, 30))
    assert ckpt.merge(a, b, out).outcome == "merged"
    assert same_bits(torch.load(out)["data"], by_torch(a, b)[1])
    # Somebody else's file: made anew.
    torch.save({"ids": [], "data": torch.ones(3)}, out)
    assert ckpt.merge(a, b, out).outcome == "merged"
    assert ckpt.merge(a, b, out, redo=True).outcome == "merged"


def test_what_goes_wrong_is_said_in_the_exceptions_of_the_package(tmp_path: Path) -> None:
    a = feature_file(tmp_path / "a.pt", ["x"], torch.randn(1, 300))
    b = feature_file(tmp_path / "b.pt", ["x"], torch.randn(1, 3))
    out = tmp_path / "m.pt"
    with pytest.raises(FileNotFoundError) as missing:
        ckpt.merge(a, tmp_path / "none.pt", out)
    assert missing.value.filename == str(tmp_path / "none.pt")
    damaged = flipped(a, offset_of(a, torch.load(a)["data"]), tmp_path / "damaged.pt")
    with pytest.raises(ckpt.CorruptedError) as corrupted:
        ckpt.merge(damaged, b, out)
    assert corrupted.value.checkpoint_path == str(damaged)
    for content in ([1, 2], {"ids": ["x"]}, {"ids": ["x", "y"], "data": torch.ones(1, 2)}, {"data": torch.ones(1)}):
        torch.save(content, tmp_path / "odd.pt")
        with pytest.raises(ckpt.IncompatibleError):
            ckpt.merge(tmp_path / "odd.pt", b, out)
    with pytest.raises(ValueError, match="format"):
        ckpt.merge(a, b, out, format="parquet")
    with pytest.raises(ValueError, match="level"):
        ckpt.merge(a, b, out, level="deep")
    assert not out.exists()


def test_the_record_reads_well_and_is_plain_json(tmp_path: Path) -> None:
    a = feature_file(tmp_path / "a.pt", ["x", "y"], torch.ones(2, 3))
    b = feature_file(tmp_path / "b.pt", ["x"], torch.ones(1, 2))
    heard: list[int] = []
    merged = ckpt.merge(a, b, tmp_path / "m.pt", done_marker=True, progress=heard.append)
    assert repr(merged) == f"Merged('{tmp_path}/m.pt', merged, 1 x 5 f32, 1 only in a, 0 only in b)"
    assert merged.to_dict()["path"] == str(tmp_path / "m.pt") and merged.to_dict()["only_in_a"] == ["y"]
    assert sum(heard) > 0
    assert (tmp_path / "m.pt.done").exists()


def pairs_of(place: Path, count: int, rows: int = 30) -> list[tuple[Path, Path, Path]]:
    pairs = []
    for n in range(count):
        ids = some_ids(rows, n)
        a = feature_file(place / f"a{n}.pt", ids, torch.randn(rows, 8), FORMS[n % len(FORMS)])
        b = feature_file(place / f"b{n}.pt", ids[::-1][: rows - n], torch.randn(rows - n, 4), as_maps)
        pairs.append((a, b, place / f"m{n}.pt"))
    return pairs


def test_many_pairs_are_merged_at_once_and_told_of_in_their_order(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, 7)
    merged = ckpt.merge_all(pairs, jobs=3)
    assert [one.path for one in merged] == [out for _, _, out in pairs]
    for a, b, out in pairs:
        assert same_bits(torch.load(out)["data"], by_torch(a, b)[1])
    assert [one.outcome for one in ckpt.merge_all(pairs)] == ["skipped"] * 7
    assert ckpt.merge_all([]) == []


def test_a_pair_that_fails_stops_none_of_the_others(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, 5)
    pairs[1][0].write_bytes(b"<html>no such page</html>")
    pairs[3][1].unlink()
    with pytest.raises(ckpt.MergeError, match=r"2 of 5 pairs failed, the first because of .*a1\.pt") as error:
        ckpt.merge_all(pairs)
    results = error.value.results
    assert [type(result).__name__ for result in results] == [
        "Merged",
        "IncompatibleError",
        "Merged",
        "FileNotFoundError",
        "Merged",
    ]
    assert error.value.errors == (results[1], results[3])
    assert isinstance(results[0], Merged) and results[0].path == pairs[0][2]
    assert [out.exists() for _, _, out in pairs] == [True, False, True, False, True]


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus isn't at {CORPUS}")
def test_the_real_files_give_what_their_pipeline_made_of_them(tmp_path: Path) -> None:
    expected = sorted(CORPUS.rglob("output_1_merged.pt"))
    assert len(expected) == 5
    for number, merged in enumerate(expected):
        stem = merged.parent.name.removesuffix("_merged")
        places = [merged.parent] + [merged.parents[1] / f"{stem}_{kind}" for kind in ("nucleotide", "protein")]
        a, b = (
            next(file for place in places for file in place.glob(f"output_1_{kind}.pt"))
            for kind in ("DNABERT_S", "ESM")
        )
        out = tmp_path / f"{number}.pt"
        ckpt.merge(a, b, out)
        # By this package and not by pickle: they are somebody else's files.
        wanted = ckpt.load(merged)
        loaded = torch.load(out)
        assert list(loaded) == list(wanted) and loaded["ids"] == wanted["ids"]
        assert loaded["data"].shape[1] == 3328 and same_bits(loaded["data"], wanted["data"])


_MERGING = """
import pathlib, sys
import ckpt
place = pathlib.Path(sys.argv[1])
pairs = [(a, a.with_name(a.name.replace("a", "b")), a.with_name(a.name.replace("a", "m"))) for a in place.glob("a*.pt")]
print("begun", flush=True)
ckpt.merge_all(pairs, jobs=2)
"""


def test_killed_at_any_moment_it_loses_the_pairs_in_flight_at_most(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, 12, rows=2000)
    chance = random.Random(7)
    env = {**os.environ, "PYTHONPATH": str(Path(ckpt.__file__).parents[1])}
    done: set[Path] = set()
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _MERGING, tmp_path], env=env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.wait()
        there = {out for _, _, out in pairs if out.exists()}
        assert done <= there
        # Whatever has its name is whole.
        assert all(report.is_valid for report in ckpt.verify_all(list(there), level="load")) or not there
        done = there
    kept = {out: out.stat().st_mtime_ns for out in done}
    merged = ckpt.merge_all(pairs)
    assert {one.path for one in merged if one.outcome == "skipped"} == done
    assert all(out.stat().st_mtime_ns == time_ns for out, time_ns in kept.items())
    for a, b, out in pairs:
        assert same_bits(torch.load(out)["data"], by_torch(a, b)[1])
    # To the byte as an uninterrupted one, and nothing of the killed ones is left.
    bytes_of = {out: out.read_bytes() for _, _, out in pairs}
    ckpt.merge_all(pairs, redo=True)
    assert {out: out.read_bytes() for _, _, out in pairs} == bytes_of
    assert names(tmp_path) == sorted(path.name for pair in pairs for path in pair)


_INTERRUPTED = """
import pathlib, signal, sys
import ckpt
signal.signal(signal.SIGINT, signal.default_int_handler)
place = pathlib.Path(sys.argv[1])
pairs = [(place / "a0.pt", place / "b0.pt", place / f"m{n}.pt") for n in range(2000)]
def progress(count):
    global told
    if not told:
        told = True
        print("writing", flush=True)
told = False
try:
    ckpt.merge_all(pairs, jobs=1, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_is_heard_while_pairs_are_merged(tmp_path: Path) -> None:
    pairs_of(tmp_path, 1)
    child = subprocess.Popen([sys.executable, "-c", _INTERRUPTED, tmp_path], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert child.wait() in (0, -signal.SIGINT)
    assert 0 < len(list(tmp_path.glob("m*.pt"))) < 2000
