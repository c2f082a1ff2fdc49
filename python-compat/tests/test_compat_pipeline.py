"""`pipeline_checkpoint.json`, as existing pipelines use it."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import ckpt
from ckpt import compat
from ckpt.compat import CHECKPOINT_FILENAME, PipelineCheckpoint, load_checkpoint, save_checkpoint
from compat_files import names

KILLS = 10


@dataclass
class TrailerCheckpoint(PipelineCheckpoint):
    """The fields of a pipeline in the field: one without a default, others with one."""

    vibe: str
    proxy_path: str | None = None
    keyframes: int | None = None
    scores: dict[str, float] = field(default_factory=dict)


def test_source_file_and_the_own_fields_come_first_and_the_stages_are_empty() -> None:
    checkpoint = TrailerCheckpoint("film.mkv", "action", keyframes=3)
    assert (checkpoint.source_file, checkpoint.vibe, checkpoint.keyframes) == ("film.mkv", "action", 3)
    assert checkpoint.stages_complete == []
    assert checkpoint.stages_complete is not TrailerCheckpoint("film.mkv", "action").stages_complete
    assert PipelineCheckpoint(source_file="a", stages_complete=["x"]).is_stage_complete("x")
    with pytest.raises(TypeError, match="vibe"):
        TrailerCheckpoint("film.mkv")  # type: ignore[call-arg]


def test_marking_a_stage_twice_is_as_marking_it_once() -> None:
    checkpoint = PipelineCheckpoint("film.mkv")
    for stage in ("extract", "merge", "extract"):
        checkpoint.mark_stage_complete(stage)
    assert checkpoint.stages_complete == ["extract", "merge"]
    assert checkpoint.is_stage_complete("merge") and not checkpoint.is_stage_complete("predict")


def test_what_was_saved_is_loaded_by_the_class_and_by_the_function(tmp_path: Path) -> None:
    checkpoint = TrailerCheckpoint("film ümläut.mkv", "action", "p.mp4", scores={"a": 0.1, "b": 1e300})
    checkpoint.mark_stage_complete("extract")
    save_checkpoint(checkpoint, tmp_path)
    assert TrailerCheckpoint.load_checkpoint(tmp_path) == checkpoint
    assert load_checkpoint(tmp_path, cls=TrailerCheckpoint) == checkpoint
    assert load_checkpoint(str(tmp_path), TrailerCheckpoint) == checkpoint
    checkpoint.mark_stage_complete("merge")
    checkpoint.save_checkpoint(tmp_path)
    loaded = TrailerCheckpoint.load_checkpoint(tmp_path)
    assert type(loaded) is TrailerCheckpoint and loaded == checkpoint
    assert names(tmp_path) == [CHECKPOINT_FILENAME]


def test_the_file_is_json_that_scripts_read(tmp_path: Path) -> None:
    save_checkpoint(TrailerCheckpoint("film.mkv", "action", stages_complete=["extract"]), tmp_path)
    assert json.loads((tmp_path / "pipeline_checkpoint.json").read_text()) == {
        "source_file": "film.mkv",
        "stages_complete": ["extract"],
        "vibe": "action",
        "proxy_path": None,
        "keyframes": None,
        "scores": {},
    }


def test_a_file_of_the_pipelines_own_former_code_is_loaded(tmp_path: Path) -> None:
    content = {"source_file": "f", "vibe": "v", "stages_complete": ["proxy", "keyframes"], "keyframes": 7}
    (tmp_path / CHECKPOINT_FILENAME).write_text(json.dumps(content, indent=2))
    loaded = TrailerCheckpoint.load_checkpoint(tmp_path)
    assert loaded == TrailerCheckpoint("f", "v", keyframes=7, stages_complete=["proxy", "keyframes"])


def test_a_dataclass_of_the_pipelines_own_will_do(tmp_path: Path) -> None:
    @dataclass
    class Own:
        source_file: str
        vibe: str
        stages_complete: list[str] = field(default_factory=list)

    save_checkpoint(Own("f", "v", ["x"]), tmp_path)
    assert load_checkpoint(tmp_path, cls=Own) == Own("f", "v", ["x"])


def test_a_path_is_written_as_its_text_and_a_tuple_as_a_list(tmp_path: Path) -> None:
    save_checkpoint(TrailerCheckpoint(tmp_path / "film.mkv", ("a", "b")), tmp_path)  # type: ignore[arg-type]
    loaded = TrailerCheckpoint.load_checkpoint(tmp_path)
    assert loaded is not None and (loaded.source_file, loaded.vibe) == (str(tmp_path / "film.mkv"), ["a", "b"])


def test_a_file_name_that_is_no_text_comes_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"film-\xff.mkv")
    save_checkpoint(PipelineCheckpoint(name), tmp_path)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None and os.fsencode(loaded.source_file) == b"film-\xff.mkv"


def test_without_a_file_there_is_no_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "file").touch()
    assert load_checkpoint(tmp_path / "file") is None
    assert caplog.records == [] and names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "char 0"),
        (b'{"source_file": "f", "stages_comp', "char"),
        (b'{"source_file": "\xff"}', "decode"),
        (b"\0" * 300, "char 0"),
        (b"[" * 200_000, "recursion"),
        (b'["source_file"]', "list"),
        (b"null", "NoneType"),
        (b'{"stages_complete": []}', "source_file"),
        (b'{"source_file": 3}', "source_file"),
        (b'{"source_file": "f", "stages_complete": "extract"}', "stages_complete"),
        (b'{"source_file": "f", "stages_complete": [1]}', "stages_complete"),
        (b'{"source_file": "f", "another": 1}', "another"),
    ],
)
def test_a_file_that_is_damaged_or_does_not_fit_is_no_checkpoint(
    tmp_path: Path, content: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / CHECKPOINT_FILENAME
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "ckpt.compat"):
        assert load_checkpoint(tmp_path) is None
    assert str(path) in caplog.text and why in caplog.text
    assert path.read_bytes() == content and names(tmp_path) == [CHECKPOINT_FILENAME]
    # And the next save has it whole again.
    save_checkpoint(PipelineCheckpoint("f"), tmp_path)
    assert load_checkpoint(tmp_path) == PipelineCheckpoint("f")


def test_every_cut_of_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(TrailerCheckpoint("f", "v", stages_complete=["a"]), tmp_path)
    path = tmp_path / CHECKPOINT_FILENAME
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last byte is the end of the line
        path.write_bytes(whole[:length])
        if whole[:length].strip().endswith(b"\n}"):
            continue
        assert TrailerCheckpoint.load_checkpoint(tmp_path) is None, whole[:length]


def test_what_the_class_itself_refuses_does_not_fit(tmp_path: Path) -> None:
    @dataclass
    class Strict(PipelineCheckpoint):
        count: int = 0

        def __post_init__(self) -> None:
            if self.count < 0:
                raise ValueError("count is below 0")

    (tmp_path / CHECKPOINT_FILENAME).write_text('{"source_file": "f", "count": -1}')
    assert Strict.load_checkpoint(tmp_path) is None


def test_a_file_that_cannot_be_read_is_an_error_and_no_new_start(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILENAME).mkdir()
    with pytest.raises(IsADirectoryError):
        load_checkpoint(tmp_path)


def test_what_cannot_be_saved_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(TrailerCheckpoint("f", "v"), tmp_path)
    before = (tmp_path / CHECKPOINT_FILENAME).read_bytes()
    with pytest.raises(TypeError, match="can't be written as JSON: it is a set"):
        save_checkpoint(TrailerCheckpoint("f", {1, 2}), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        save_checkpoint(TrailerCheckpoint("f", "v"), tmp_path / "nowhere")
    with pytest.raises(TypeError, match="no dataclass"):
        save_checkpoint({"source_file": "f"}, tmp_path)
    assert (tmp_path / CHECKPOINT_FILENAME).read_bytes() == before and names(tmp_path) == [CHECKPOINT_FILENAME]


def test_fields_that_would_be_lost_for_want_of_a_decorator_are_refused(tmp_path: Path) -> None:
    class Forgotten(PipelineCheckpoint):
        vibe: str = "v"

    with pytest.raises(TypeError, match="'vibe' of Forgotten is no field: put @dataclass"):
        save_checkpoint(Forgotten("f"), tmp_path)
    with pytest.raises(TypeError, match="put @dataclass"):
        Forgotten.load_checkpoint(tmp_path)
    assert names(tmp_path) == []


def test_it_is_all_in_the_package() -> None:
    assert {"PipelineCheckpoint", "load_checkpoint", "save_checkpoint", "CHECKPOINT_FILENAME"} <= set(compat.__all__)
    assert [entry.name for entry in dataclasses.fields(PipelineCheckpoint)] == ["source_file", "stages_complete"]


_STAGES = """
import sys
from ckpt.compat import PipelineCheckpoint
work_dir = sys.argv[1]
checkpoint = PipelineCheckpoint.load_checkpoint(work_dir) or PipelineCheckpoint("f" * 100_000)
print(len(checkpoint.stages_complete), flush=True)
while True:
    checkpoint.mark_stage_complete(f"stage-{len(checkpoint.stages_complete)}")
    checkpoint.save_checkpoint(work_dir)
    print(len(checkpoint.stages_complete), flush=True)
"""


def test_killed_at_any_moment_it_loses_no_stage_that_was_saved(tmp_path: Path) -> None:
    chance, saved = random.Random(21), 0
    env = {**os.environ, "PYTHONPATH": str(Path(ckpt.__file__).parents[1])}
    for _ in range(KILLS):
        command: list[Any] = [sys.executable, "-c", _STAGES, tmp_path]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        begun = int(process.stdout.readline())
        # At most one more than was told of: the one whose telling was cut off.
        assert saved <= begun <= saved + 1
        for _ in range(chance.randint(1, 20)):
            saved = int(process.stdout.readline())
        time.sleep(chance.random() * 0.01)  # somewhere in a write, a sync, a rename
        process.kill()
        told = process.stdout.read().split()
        saved = int(told[-1]) if told else saved
        assert process.wait() == -signal.SIGKILL
        loaded = load_checkpoint(tmp_path)
        assert loaded is not None and saved <= len(loaded.stages_complete) <= saved + 1
        assert loaded.stages_complete == [f"stage-{n}" for n in range(len(loaded.stages_complete))]
    # No leftovers of those that were killed once there was another save.
    save_checkpoint(PipelineCheckpoint("f"), tmp_path)
    assert names(tmp_path) == [CHECKPOINT_FILENAME]
