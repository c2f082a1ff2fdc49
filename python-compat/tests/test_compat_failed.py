"""`failed_checkpoints.txt`."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from ckpt.compat import load_failed_checkpoints, log_failed_checkpoint

LOG = "failed_checkpoints.txt"


def test_a_failure_is_one_line_of_path_reason_and_timestamp(tmp_path: Path) -> None:
    log_failed_checkpoint(tmp_path / "a.pt", "corrupted: file is 0 bytes", tmp_path, "2026-01-23T12:00:00Z")
    text = f"{tmp_path}/a.pt|corrupted: file is 0 bytes|2026-01-23T12:00:00Z\n"
    assert (tmp_path / LOG).read_text() == text


def test_the_log_is_beside_the_checkpoint_and_the_time_is_now_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    log_failed_checkpoint(str(tmp_path / "run" / "a.pt"), "r")
    [(_, _, at)] = load_failed_checkpoints(str(tmp_path / "run"))
    assert at.endswith("Z") and datetime.fromisoformat(at.replace("Z", "+00:00")).tzinfo is not None
    log_failed_checkpoint(tmp_path / "run" / "a.pt", "r", checkpoint_dir=tmp_path)
    assert len(load_failed_checkpoints(tmp_path)) == 1


def test_what_was_logged_is_read_back_whatever_is_in_it(tmp_path: Path) -> None:
    entries = [
        ("a|b\n.pt", "reason | with bars\nand lines", "2026-01-23T12:00:00Z"),
        ("back\\slash.pt", "\x1b[31m", "whenever | it was"),
        ("ümläut ☃.pt", "", "t"),
    ]
    for path, reason, at in entries:
        log_failed_checkpoint(path, reason, tmp_path, at)
    assert load_failed_checkpoints(tmp_path) == entries
    lines = (tmp_path / LOG).read_text().splitlines()
    assert [line.count("|") for line in lines] == [2, 2, 2]


def test_the_lines_of_the_original_pipeline_are_read(tmp_path: Path) -> None:
    lines = [
        "checkpoint1.pt|corrupted: 0 bytes|2026-01-23T12:00:00Z",
        "/data/checkpoint2.pt|incompatible: missing keys|2026-01-23T12:05:00.123456",
    ]
    (tmp_path / LOG).write_text("\n".join(lines) + "\n")
    assert load_failed_checkpoints(tmp_path) == [tuple(line.split("|")) for line in lines]


def test_malformed_lines_are_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / LOG).write_bytes(b"garbage\n\na.pt|r|t\nonly|one bar\n||\n\xff\xfe\nb.pt|r|t")
    with caplog.at_level(logging.WARNING, "ckpt.compat"):
        assert load_failed_checkpoints(tmp_path) == [("a.pt", "r", "t"), ("b.pt", "r", "t")]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
    assert "garbage" in caplog.text and "only|one bar" in caplog.text


def test_without_a_log_there_are_no_failures(tmp_path: Path) -> None:
    assert load_failed_checkpoints(tmp_path) == []
    assert load_failed_checkpoints(tmp_path / "nope") == []


def test_a_log_that_cannot_be_had_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / LOG).mkdir()
    with caplog.at_level(logging.WARNING, "ckpt.compat"):
        log_failed_checkpoint(tmp_path / "a.pt", "r")
        assert load_failed_checkpoints(tmp_path) == []
        log_failed_checkpoint(tmp_path / "nowhere" / "a.pt", "r")
    assert len(caplog.records) == 3


def test_processes_that_append_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    script = (
        "import sys; from ckpt.compat import log_failed_checkpoint\n"
        "for n in range(40): log_failed_checkpoint(f'{sys.argv[1]}-{n}.pt', 'r' * 300, sys.argv[2])"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, str(n), str(tmp_path)]) for n in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    logged = load_failed_checkpoints(tmp_path)
    assert sorted(path for path, _, _ in logged) == sorted(f"{w}-{n}.pt" for w in range(4) for n in range(40))
    assert {reason for _, reason, _ in logged} == {"r" * 300}
