"""The pipeline that people copy: killed at any moment, it ends with the same files, to the byte."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path

import pytest
import torch

import ckpt
import example_embeddings as example
from ckpt import pipeline

KILLS = 30
OUTPUTS = ("merged.pt", "scores.safetensors", "scores.tsv")


def digests(work: Path) -> dict[str, str]:
    return {name: hashlib.sha256((work / name).read_bytes()).hexdigest() for name in OUTPUTS}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A work directory that nobody disturbed, and how long it took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    # The first time, the process that all are forked from is begun as well.
    assert example.finish(folder / "first") == 0
    began = time.monotonic()
    assert example.finish(folder / "work") == 0
    took = time.monotonic() - began
    assert digests(folder / "first") == digests(folder / "work")
    return folder / "work", took


def test_killed_at_any_moment_it_ends_with_the_same_files(tmp_path: Path, uninterrupted: tuple[Path, float]) -> None:
    expected, took = digests(uninterrupted[0]), uninterrupted[1]
    chance = random.Random(6)
    kills, ended, resumed = 0, 0, 0
    work = tmp_path / "0"
    while kills < KILLS or ended == 0:
        process = example.begin(work)
        process.join(chance.random() * took)
        if process.is_alive():
            process.kill()
        process.join()
        if process.exitcode != 0:
            assert process.exitcode == -9, work.with_suffix(".log").read_text()
            kills += 1
            continue
        assert digests(work) == expected
        resumed += work.with_suffix(".log").read_text().count("skipped")
        ended += 1
        work = tmp_path / str(ended)
    if work.exists():
        assert example.finish(work) == 0
        assert digests(work) == expected
    # It did go on where it was, and didn't begin anew each time.
    assert resumed > 0


def test_what_it_leaves_is_proven_and_what_it_needs_no_more_is_gone(uninterrupted: tuple[Path, float]) -> None:
    work, _ = uninterrupted
    assert {path.name for path in work.glob("*.pt")} == {"merged.pt"}
    for name in ("merged.pt", "scores.safetensors"):
        report = ckpt.verify(work / name)
        assert (report.verdict, report.integrity) == ("valid", "full")
    merged = torch.load(work / "merged.pt")
    assert merged["data"].shape == (len(merged["ids"]), 144)
    state = pipeline.read(work / "pipeline.json")
    assert state is not None and state.status == "completed"
    assert list(state.stages_complete) == ["dna", "codon", "merge", "predict"]
    # Each finished stage is a checkpoint.
    assert all(listed.is_whole for listed in ckpt.Manager(work / "pipeline.stages").list())


def test_it_stops_for_a_review_and_goes_on_with_what_was_edited(
    tmp_path: Path, uninterrupted: tuple[Path, float]
) -> None:
    work = tmp_path / "work"
    assert example.finish(work, "--review") == pipeline.EXIT_PAUSED == 4
    assert not (work / "scores.tsv").exists()
    # Until somebody approves, it stays there.
    assert example.finish(work, "--review") == pipeline.EXIT_PAUSED
    merged = ckpt.load(work / "merged.pt")
    before = pipeline.read(work / "pipeline.json")["merge"].outputs[0].digest
    ckpt.save({"ids": merged["ids"][1:], "data": merged["data"][1:].clone()}, work / "merged.pt")
    names = ["dna", "codon", pipeline.Stage("merge", review=True), "predict"]
    with pipeline.Pipeline(work / "pipeline.json", names, on_stale="resume") as paused:
        (edit,) = paused.approve("merge", by="Ada", note="the first one isn't a gene")
    assert edit.before == before != edit.after
    assert example.finish(work, "--review") == 0
    lines = (uninterrupted[0] / "scores.tsv").read_text().splitlines()
    assert (work / "scores.tsv").read_text().splitlines() == lines[1:]
    review = pipeline.read(work / "pipeline.json")["merge"].review
    assert review.by == "Ada" and [edit.after for edit in review.edits] == [edit.after]
