"""`ckpt.pipeline`: stages, of which none is done twice."""

from __future__ import annotations

import json
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
from ckpt.compat import PipelineCheckpoint, save_checkpoint
from ckpt.pipeline import EXIT_PAUSED, Pipeline, PipelinePaused, Stage, StageRun, read
from compat_files import flipped, names, offset_of

KILLS = 30

STAGES = ["extract", "merge", "predict"]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ckpt.__file__).parents[1])}


def writes(name: str, text: str, **options: Any) -> Callable[[StageRun], None]:
    """Makes the work of a stage that leaves a text."""

    def work(stage: StageRun) -> None:
        stage.output(name, **options).write_text(text)

    return work


def run_all(state_file: Path, **options: Any) -> list[str]:
    """Runs three stages, each of which leaves a file."""
    with Pipeline(state_file, STAGES, **options) as pipeline:
        return [pipeline.run(stage, writes(f"{stage}.txt", f"what {stage} left")) for stage in STAGES]


def test_each_stage_is_done_once_and_its_state_is_for_people_and_scripts(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"

    def extract(stage: StageRun) -> None:
        assert stage.name == "extract"
        rows = stage.output("rows.pt", lifetime="until_consumed")
        assert rows == tmp_path / "rows.pt"
        ckpt.save({"rows": torch.ones(3, 4)}, rows)
        stage.value("rows", 3)
        stage.value("widths", (4, {"half": 2.5}))
        stage.cost("gpu_hours", 0.25)

    def merge(stage: StageRun) -> None:
        rows = ckpt.load(stage.input("rows.pt"))["rows"]
        stage.output(tmp_path / "sum.txt").write_text(str(rows.sum().item()))

    with Pipeline(state_file, ["extract", "merge"], metadata={"who": "a test"}) as pipeline:
        assert (pipeline.next, pipeline.status, pipeline.notices) == ("extract", "not_started", ())
        assert pipeline.run("extract", extract) == "done"
        assert pipeline.is_complete("extract") and not pipeline.is_complete("merge")
        assert (pipeline.next, pipeline.status) == ("merge", "in_progress")
        assert pipeline.run("merge", merge) == "done"
        assert pipeline.run("extract", extract) == "skipped"
        assert (pipeline.next, pipeline.status) == (None, "completed")
        state = pipeline.state
    assert read(state_file) == state
    assert json.loads(state_file.read_text())["stages_complete"] == ["extract", "merge"]
    assert state.stages_complete == ("extract", "merge") and state.metadata == {"who": "a test"}
    extracted = state["extract"]
    assert extracted.is_complete and extracted.attempts == 1 and extracted.seconds > 0
    assert extracted.values == {"rows": 3, "widths": [4, {"half": 2.5}]} and extracted.cost == {"gpu_hours": 0.25}
    [output] = extracted.outputs
    assert (output.path, output.bytes, output.proven) == ("rows.pt", (tmp_path / "rows.pt").stat().st_size, True)
    assert output.lifetime == "until_consumed"
    [read_by_merge] = state["merge"].inputs
    assert read_by_merge.digest == output.digest
    assert repr(state) == "PipelineState('pipeline', completed, stages={'extract': 'completed', 'merge': 'completed'})"
    assert repr(extracted).startswith("StageRecord('extract', completed, ") and "rows.pt" in repr(extracted)
    with pytest.raises(KeyError):
        state["predict"]
    # Another process, later.
    with Pipeline(state_file, ["extract", "merge"]) as pipeline:
        assert [pipeline.run("extract", extract), pipeline.run("merge", merge)] == ["skipped", "skipped"]


def test_a_finished_stage_is_a_checkpoint_as_a_training_step_is(tmp_path: Path) -> None:
    run_all(tmp_path / "work.json")
    listed = [path for path in (tmp_path / "work.stages").rglob("step-*") if path.is_dir()]
    assert len(listed) == 3
    reports = ckpt.verify_all(tmp_path / "work.stages")
    assert reports and all(report.is_valid for report in reports)


def test_it_goes_on_with_the_first_stage_whose_output_is_gone_or_changed(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    assert run_all(state_file) == ["done", "done", "done"]
    assert run_all(state_file) == ["skipped", "skipped", "skipped"]
    (tmp_path / "merge.txt").write_text("another text")
    with Pipeline(state_file, STAGES) as pipeline:
        assert pipeline.next == "merge"
        [notice] = pipeline.notices
        assert notice.notice == "redo" and notice.details["stage"] == "merge" and "merge.txt" in str(notice)
        assert pipeline.run("extract", writes("extract.txt", "")) == "skipped"
        with pytest.raises(ValueError, match="'predict' comes behind 'merge'"):
            pipeline.run("predict", writes("predict.txt", ""))
    assert run_all(state_file) == ["skipped", "done", "done"]
    (tmp_path / "predict.txt").unlink()
    assert run_all(state_file) == ["skipped", "skipped", "done"]


def test_a_change_that_only_a_whole_look_finds(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    rows = torch.arange(3000.0)

    def work(stage: StageRun) -> None:
        ckpt.save({"rows": rows}, stage.output("rows.pt"))

    with Pipeline(state_file, ["extract"]) as pipeline:
        pipeline.run("extract", work)
    path = tmp_path / "rows.pt"
    before = path.stat()
    flipped(path, offset_of(path, rows) + 100, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for level, next_one in (("size", None), ("load", "extract")):
        with Pipeline(state_file, ["extract"], level=level) as pipeline:
            assert pipeline.next == next_one


def test_what_a_stage_raises_is_why_it_failed(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"

    def fails(stage: StageRun) -> None:
        raise LookupError("no such sequence")

    with Pipeline(state_file, STAGES) as pipeline:
        with pytest.raises(LookupError, match="no such sequence"):
            pipeline.run("extract", fails)
        assert pipeline.status == "failed"
        record = pipeline.state["extract"]
        assert (record.status, record.error, record.attempts) == ("failed", "LookupError: no such sequence", 1)
        assert "error='LookupError: no such sequence'" in repr(record)
        stage = pipeline.begin("extract")
        assert stage is not None
        with pytest.raises(KeyboardInterrupt), stage:
            raise KeyboardInterrupt
        assert pipeline.state["extract"].error == "KeyboardInterrupt"
        # An output that isn't there at the end.
        with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
            pipeline.run("extract", lambda stage: stage.output("nothing.pt"))
        assert pipeline.state["extract"].status == "failed" and pipeline.state["extract"].attempts == 3
        assert pipeline.run("extract", writes("extract.txt", "well")) == "done"
        assert pipeline.state["extract"].error is None


def test_a_stage_can_be_ended_by_hand(tmp_path: Path) -> None:
    with Pipeline(tmp_path / "pipeline.json", STAGES) as pipeline:
        stage = pipeline.begin("extract")
        assert stage is not None and repr(stage) == "StageRun('extract', at work)"
        with stage:
            stage.fail("it isn't to be")
        assert repr(stage) == "StageRun('extract', over)"
        assert pipeline.state["extract"].error == "it isn't to be"
        with pytest.raises(ValueError, match="over"):
            stage.value("x", 1)
        with pytest.raises(ValueError, match="over"):
            stage.complete()
        stage = pipeline.begin("extract")
        assert stage is not None
        stage.complete()
        assert pipeline.is_complete("extract") and pipeline.begin("extract") is None
        pipeline.mark_complete("merge")
        pipeline.mark_complete("merge")
        assert pipeline.state.stages_complete == ("extract", "merge")


def test_a_stage_that_nobody_ended_is_done_anew(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    with Pipeline(state_file, STAGES) as pipeline:
        assert pipeline.begin("extract") is not None
    with Pipeline(state_file, STAGES) as pipeline:
        assert pipeline.next == "extract" and pipeline.state["extract"].status == "in_progress"
        assert pipeline.run("extract", writes("extract.txt", "x")) == "done"
        assert pipeline.state["extract"].attempts == 2


def test_values_are_what_json_can_hold(tmp_path: Path) -> None:
    with Pipeline(tmp_path / "pipeline.json", STAGES) as pipeline:
        stage = pipeline.begin("extract")
        assert stage is not None
        with stage:
            stage.value("big", 1 << 60)
            stage.value("text", "ümläut")
            stage.value("none", None)
            with pytest.raises(TypeError, match="the value 'rows' can't be written as JSON"):
                stage.value("rows", torch.ones(2))
            with pytest.raises(ValueError, match="loss"):
                stage.value("loss", float("nan"))
            with pytest.raises(ValueError, match="lifetime"):
                stage.output("x", lifetime="for_ever")  # type: ignore[arg-type]
            with pytest.raises(FileNotFoundError):
                stage.input("gone.pt")
        assert pipeline.state["extract"].values == {"big": 1 << 60, "text": "ümläut", "none": None}


def test_a_stale_source_or_configuration_is_refused_restarted_or_resumed(tmp_path: Path) -> None:
    state_file, source = tmp_path / "pipeline.json", tmp_path / "input.fa"
    source.write_text(">a\nACGT\n")
    options: dict[str, Any] = {"source": source, "config": {"width": 768, "packing": True}}
    assert run_all(state_file, **options) == ["done"] * 3
    assert run_all(state_file, source=source, config={"packing": True, "width": 768}) == ["skipped"] * 3
    os.utime(source)
    assert run_all(state_file, **options) == ["skipped"] * 3
    with pytest.raises(ckpt.IncompatibleError, match="configuration"):
        run_all(state_file, source=source, config={"packing": False, "width": 768})
    source.write_text(">a\nACGA\n")
    with pytest.raises(ckpt.IncompatibleError, match=r"input\.fa") as error:
        run_all(state_file, **options)
    assert error.value.error_type == "incompatible"
    assert run_all(state_file, on_stale="resume", **options) == ["skipped"] * 3
    source.write_text(">a\nACGAC\n")
    with Pipeline(state_file, STAGES, on_stale="restart", **options) as pipeline:
        assert pipeline.next == "extract"
        assert [notice.notice for notice in pipeline.notices] == ["stale"]
    assert run_all(state_file, on_stale="restart", **options) == ["done"] * 3
    assert run_all(state_file, force_restart=True, **options) == ["done"] * 3
    with pytest.raises(ValueError, match="on_stale"):
        Pipeline(state_file, STAGES, on_stale="ignore")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config can't be written as JSON"):
        Pipeline(state_file, STAGES, config={"a": {1, 2}})


def test_a_damaged_state_is_kept_aside_and_a_later_one_refused(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    run_all(state_file)
    whole = state_file.read_bytes()
    state_file.write_bytes(whole.replace(b"extract", b"extracT"))
    with pytest.raises(ckpt.CorruptedError):
        read(state_file)
    with Pipeline(state_file, STAGES) as pipeline:
        assert pipeline.next == "extract"
        assert pipeline.notices[0].notice == "set_aside"
        aside = Path(pipeline.notices[0].details["path"])
    assert aside.name.startswith("pipeline.json.corrupt-") and b"extracT" in aside.read_bytes()
    state_file.write_bytes(whole.replace(b"ckpt.pipeline/1", b"ckpt.pipeline/9"))
    for opens in (lambda: Pipeline(state_file, STAGES), lambda: read(state_file)):
        with pytest.raises(ckpt.IncompatibleError, match="upgrade"):
            opens()
    assert b"ckpt.pipeline/9" in state_file.read_bytes()
    assert read(tmp_path / "none.json") is None


def test_the_file_of_an_existing_pipeline_is_taken_over(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline_checkpoint.json"
    save_checkpoint(PipelineCheckpoint("film.mkv", stages_complete=["extract"]), tmp_path)
    before = state_file.read_bytes()
    with Pipeline(state_file, STAGES) as pipeline:
        assert pipeline.next == "merge" and pipeline.is_complete("extract")
        assert [notice.notice for notice in pipeline.notices] == ["migrated"]
        assert state_file.read_bytes() == before
        pipeline.run("merge", writes("merge.txt", "x"))
        assert pipeline.state.fields["source_file"] == "film.mkv"
    state = read(state_file)
    assert state is not None and state.stages_complete == ("extract", "merge")


def test_a_review_pauses_the_pipeline_and_an_edit_is_noted(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    stages = ["extract", Stage("draft", review=True), "publish"]

    def publish(stage: StageRun) -> None:
        stage.output("published.txt").write_text(stage.input("draft.txt").read_text())

    with Pipeline(state_file, stages) as pipeline:
        assert pipeline.run("extract", writes("extract.txt", "x")) == "done"
        assert pipeline.run("draft", writes("draft.txt", "a draft")) == "awaiting_review"
        assert (pipeline.status, pipeline.awaiting_review, pipeline.next) == ("paused", "draft", None)
        with pytest.raises(PipelinePaused, match="'draft' waits for its review") as paused:
            pipeline.run("publish", publish)
        assert paused.value.stage == "draft" and EXIT_PAUSED == 4
    # The process has ended; so does the next one, until somebody has looked at it.
    with Pipeline(state_file, stages) as pipeline:
        assert pipeline.run("extract", writes("extract.txt", "y")) == "skipped"
        assert pipeline.run("draft", writes("draft.txt", "another")) == "awaiting_review"
        with pytest.raises(PipelinePaused):
            pipeline.begin("publish")
        with pytest.raises(ValueError, match="doesn't wait"):
            pipeline.approve("extract")
    (tmp_path / "draft.txt").write_text("an edited draft")
    with Pipeline(state_file, stages) as pipeline:
        [edit] = pipeline.approve("draft", by="Ada", note="shorter")
        assert edit.path == "draft.txt" and edit.before != edit.after
        review = pipeline.state["draft"].review
        assert review is not None and (review.by, review.note, review.edits) == ("Ada", "shorter", (edit,))
        assert review.approved is not None and review.approved >= review.requested
    with Pipeline(state_file, stages) as pipeline:
        assert pipeline.run("draft", writes("draft.txt", "lost")) == "skipped"
        assert pipeline.run("publish", publish) == "done"
    assert (tmp_path / "published.txt").read_text() == "an edited draft"


def test_a_review_without_an_edit(tmp_path: Path) -> None:
    with Pipeline(tmp_path / "pipeline.json", [Stage("draft", review=True)]) as pipeline:
        pipeline.run("draft", writes("draft.txt", "x"))
        assert pipeline.approve("draft") == () and pipeline.status == "completed"


def test_a_reset_has_a_stage_and_all_later_ones_done_anew(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    run_all(state_file)
    with Pipeline(state_file, STAGES) as pipeline:
        pipeline.reset("merge")
        assert pipeline.next == "merge" and (tmp_path / "merge.txt").exists()
        with pytest.raises(ValueError, match="'nothing'"):
            pipeline.reset("nothing")
    assert run_all(state_file) == ["skipped", "done", "done"]


def test_files_go_by_their_lifetime_planned_first(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"

    def merge(stage: StageRun) -> None:
        stage.input("rows.txt")
        stage.output("log.txt", lifetime="until_completed").write_text("x" * 7)
        stage.output("merged.txt").write_text("m")

    with Pipeline(state_file, ["extract", "merge", "predict"]) as pipeline:
        pipeline.run("extract", writes("rows.txt", "r" * 100, lifetime="until_consumed"))
        assert pipeline.plan_cleanup().removals == ()
        pipeline.run("merge", merge)
        plan = pipeline.plan_cleanup()
        assert [entry.path for entry in plan.removals] == ["rows.txt"] and plan.freed_bytes == 100
        assert repr(plan) == "CleanupPlan(3 files, removals=['rows.txt'], 100 bytes)"
        assert "remove rows.txt (extract, 100 bytes): consumed" in str(plan)
        assert {entry.path: entry.reason["reason"] for entry in plan.files} == {
            "rows.txt": "consumed",
            "log.txt": "not_completed",
            "merged.txt": "kept",
        }
        assert (tmp_path / "rows.txt").exists()
        assert pipeline.clean_up(plan) == (tmp_path / "rows.txt",)
        assert not (tmp_path / "rows.txt").exists()
        # What was removed so is nothing that is missing.
        assert pipeline.next == "predict"
        pipeline.run("predict", writes("predicted.txt", "p"))
        assert pipeline.clean_up() == (tmp_path / "log.txt",)
        assert pipeline.clean_up() == ()
    with Pipeline(state_file, STAGES) as pipeline:
        assert pipeline.next is None
        assert pipeline.state["extract"].outputs[0].removed is not None


_HOLDING = """
import sys
from ckpt.pipeline import Pipeline
with Pipeline(sys.argv[1], ["extract"], holder="the night job"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_has_ended_or_is_killed(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    for ends in (lambda child: child.stdin.close(), lambda child: child.kill()):
        child = subprocess.Popen(
            [sys.executable, "-c", _HOLDING, state_file],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"{child.pid}.*the night job|the night job.*{child.pid}"):
            Pipeline(state_file, ["extract"])
        assert read(state_file) is None
        ends(child)
        child.wait()
        Pipeline(state_file, ["extract"]).close()
    one = Pipeline(state_file, ["extract"])
    with pytest.raises(ValueError, match="at work"):
        Pipeline(state_file, ["extract"])
    one.close()
    one.close()
    with pytest.raises(ValueError, match="closed"):
        one.run("extract", writes("x.txt", "x"))


def test_a_forked_process_leaves_the_lease_alone(tmp_path: Path) -> None:
    state_file = tmp_path / "pipeline.json"
    pipeline = Pipeline(state_file, STAGES)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pipeline.begin("extract")
        except ValueError as error:
            code = 0 if "is process" in str(error) else 2
        pipeline.close()
        del pipeline
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(ValueError, match="at work"):
        Pipeline(state_file, STAGES)
    assert pipeline.run("extract", writes("extract.txt", "x")) == "done"
    pipeline.close()


def test_stages_need_names_of_their_own(tmp_path: Path) -> None:
    for stages in (["a", "a"], [""]):
        with pytest.raises(ValueError):
            Pipeline(tmp_path / "pipeline.json", stages)
    pipeline = Pipeline(tmp_path / "pipeline.json", ["a"])
    with pytest.raises(ValueError, match="there is no stage 'b'"):
        pipeline.run("b", writes("b.txt", ""))
    assert repr(pipeline) == f"Pipeline('{tmp_path}/pipeline.json')"
    pipeline.close()


def test_inputs_and_outputs_that_are_described_are_looked_at(tmp_path: Path) -> None:
    state_file, source = tmp_path / "pipeline.json", tmp_path / "in.txt"
    source.write_text("one")

    def ran(outputs: tuple[str, ...]) -> str:
        def work(stage: StageRun) -> None:
            for output in outputs:
                stage.output(output).write_text(stage.input(source).read_text())

        with Pipeline(state_file, [Stage("copy", inputs=(source,), outputs=outputs)]) as pipeline:
            return pipeline.run("copy", work)

    assert [ran(("out.txt",)), ran(("out.txt",))] == ["done", "skipped"]
    source.write_text("two")
    assert [ran(("out.txt",)), (tmp_path / "out.txt").read_text()] == ["done", "two"]
    assert [ran(("out.txt", "more.txt")), ran(("out.txt", "more.txt"))] == ["done", "skipped"]


_WORKING = """
import hashlib, pathlib, sys, time
import ckpt
from ckpt.pipeline import Pipeline
place = pathlib.Path(sys.argv[1])
LAST = 19

def work(number):
    def work(stage):
        before = stage.input(f"{number - 1}.txt").read_text() if number else "seed"
        with (place / "log").open("a") as log:
            log.write(f"{number:02}\\n")
        text = before
        for _ in range(20):
            text = hashlib.sha256(text.encode()).hexdigest()
            time.sleep(0.0005)
        out = stage.output(f"{number}.txt", lifetime="until_completed" if number < LAST else "keep")
        out.write_text(text)
        stage.value("digits", len(text))
    return work

print("begun", flush=True)
with Pipeline(place / "pipeline.json", [f"stage-{n}" for n in range(LAST + 1)]) as pipeline:
    for n in range(LAST + 1):
        pipeline.run(f"stage-{n}", work(n))
    pipeline.clean_up()
print("done", flush=True)
"""


def work_in(place: Path) -> subprocess.Popen[str]:
    place.mkdir(exist_ok=True)
    command = [sys.executable, "-c", _WORKING, str(place)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def test_killed_at_any_moment_it_comes_to_the_same_end_and_does_no_finished_stage_twice(tmp_path: Path) -> None:
    chance, killed = random.Random(22), tmp_path / "killed"
    complete: tuple[str, ...] = ()
    kills = 0
    while kills < KILLS:
        process = work_in(killed)
        time.sleep(chance.random() * 0.06)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            break
        kills += 1
        state = read(killed / "pipeline.json") if (killed / "pipeline.json").exists() else None
        now = state.stages_complete if state is not None else ()
        assert now[: len(complete)] == complete
        complete = now
    process = work_in(killed)
    assert process.stdout is not None and process.stdout.read() == "done\n"
    assert process.wait() == 0 and kills > 5
    whole = work_in(tmp_path / "whole")
    assert whole.stdout is not None and whole.stdout.read() == "done\n"
    whole.wait()
    state = read(killed / "pipeline.json")
    assert state is not None and state.status == "completed"
    # Each attempt began to work once at most; none began after its stage was written down as done.
    begun = (killed / "log").read_text().split()
    assert begun == sorted(begun)
    for n, stage in enumerate(state.stages):
        assert 1 <= begun.count(f"{n:02}") <= stage.attempts
    outputs = [path for path in names(killed) if path.endswith(".txt")]
    assert outputs == [path for path in names(tmp_path / "whole") if path.endswith(".txt")] == ["19.txt"]
    assert (killed / "19.txt").read_bytes() == (tmp_path / "whole" / "19.txt").read_bytes()
    assert not [path for path in killed.rglob("*") if path.name.startswith(".ckpt-")]


_INTERRUPTED = """
import signal, sys
from ckpt.pipeline import Pipeline
signal.signal(signal.SIGINT, signal.default_int_handler)
with Pipeline(sys.argv[1], ["extract"]) as pipeline:
    try:
        with pipeline.begin("extract") as stage:
            print("reading", flush=True)
            stage.input(sys.argv[2])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_is_heard_while_a_large_file_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        # Nothing but a hole: a hundred seconds of hashing, and no room on the disk.
        file.truncate(1 << 40)
    child = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, tmp_path / "pipeline.json", large],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "reading\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    child.wait(30)
