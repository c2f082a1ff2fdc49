"""`ckpt.compat.validate_checkpoint` and its batch."""

from __future__ import annotations

import argparse
import collections
import logging
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import ckpt
from ckpt import compat
from ckpt.compat import distinguish_error_type, validate_checkpoint, validate_checkpoint_batch
from compat_files import Payload, bytes_read, flipped, huge_file, names, offset_of, torch_file


def zipped(path: Path, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return path


def test_the_constants_are_those_that_scripts_know() -> None:
    assert (compat.CHECKPOINT_VERSION, compat.CHECKPOINT_EXIT_CODE) == ("1.0", 3)
    assert compat.CheckpointError is ckpt.CheckpointError


def test_a_good_file_of_torch_save_is_valid(tmp_path: Path) -> None:
    assert validate_checkpoint(torch_file(tmp_path / "good.pt")) == (True, "")
    assert validate_checkpoint(str(tmp_path / "good.pt")) == (True, "")


def test_a_missing_file_is_corrupted(tmp_path: Path) -> None:
    assert validate_checkpoint(tmp_path / "nope.pt") == (False, "corrupted: file does not exist")


def test_a_file_of_0_bytes_is_corrupted(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    assert validate_checkpoint(tmp_path / "empty.pt") == (False, "corrupted: file is 0 bytes")


@pytest.mark.parametrize("data", [b"This is not a ZIP file", bytes(range(256)) * 40, b"PK\x03\x04 and no more"])
@pytest.mark.parametrize("skip_load", [False, True])
def test_what_is_no_zip_archive_is_corrupted(tmp_path: Path, data: bytes, skip_load: bool) -> None:
    (tmp_path / "text.pt").write_bytes(data)
    valid, message = validate_checkpoint(tmp_path / "text.pt", skip_load=skip_load)
    assert not valid and message.startswith("corrupted: not a valid ZIP archive"), message


@pytest.mark.parametrize(
    "records",
    [
        {"data_pkl": b"invalid pickle data"},
        {"archive__data_pkl": b"invalid pickle data", "archive__version": b"3\n"},
        {"notes_txt": b"hello"},
    ],
)
def test_an_archive_that_torch_load_would_refuse_is_corrupted(tmp_path: Path, records: dict[str, bytes]) -> None:
    path = zipped(tmp_path / "other.pt", **records)
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        torch.load(path)
    valid, message = validate_checkpoint(path)
    assert not valid and message.startswith("corrupted: torch.load failed"), message
    assert validate_checkpoint(path, skip_load=True) == (True, "")


@pytest.mark.parametrize("value", [[1, 2], torch.ones(3), "text", argparse.Namespace(data=1)])
def test_what_is_no_dict_is_incompatible(tmp_path: Path, value: Any) -> None:
    valid, message = validate_checkpoint(torch_file(tmp_path / "list.pt", value))
    assert not valid and message.startswith("incompatible: not a dict"), message


def test_missing_keys_are_incompatible_and_named(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "keys.pt", {"version": "1.0", "weights": 1})
    valid, message = validate_checkpoint(path)
    assert not valid and message.startswith("incompatible: missing required keys ['data']"), message
    assert "'weights'" in message
    valid, message = validate_checkpoint(path, ["weights", "a", "b"])
    assert not valid and "['a', 'b']" in message
    assert validate_checkpoint(path, required_keys=["weights"]) == (True, "")
    assert validate_checkpoint(path, required_keys=[]) == (True, "")


def test_required_keys_are_the_exact_keys_of_the_top_and_no_patterns(tmp_path: Path) -> None:
    value = {"model": {"weight": 1}, "layer.*:f32[": 2, "": 3}
    path = torch_file(tmp_path / "names.pt", value)
    assert validate_checkpoint(path, ["layer.*:f32[", "", "model"]) == (True, "")
    for absent in ("model.weight", "mod*", "layer.x"):
        assert not validate_checkpoint(path, [absent])[0], absent


def test_dicts_of_the_standard_library_have_keys(tmp_path: Path) -> None:
    of_lists = collections.defaultdict(list, {"data": [1]})
    for value in (collections.OrderedDict(data=1), collections.Counter(data=1), of_lists):
        path = torch_file(tmp_path / "dict.pt", value)
        assert validate_checkpoint(path) == (True, ""), type(value)
        assert "missing" in validate_checkpoint(path, ["x"])[1]


def test_a_newer_major_version_is_incompatible_as_for_the_command(tmp_path: Path) -> None:
    valid, message = validate_checkpoint(torch_file(tmp_path / "v2.pt", {"data": 1, "version": "2.0"}))
    assert not valid and message.startswith("incompatible:") and "upgrade" in message


def test_a_sound_file_of_another_format_is_not_called_corrupted(tmp_path: Path) -> None:
    torch.save({"data": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    ckpt.save({"data": torch.ones(3)}, tmp_path / "a.safetensors")
    for name in ("old.pt", "a.safetensors"):
        valid, message = validate_checkpoint(tmp_path / name)
        assert not valid and message.startswith("incompatible: not a valid ZIP archive"), message


def test_every_changed_byte_of_a_tensor_is_found_which_torch_load_misses(tmp_path: Path) -> None:
    data = torch.arange(24.0)
    path = torch_file(tmp_path / "good.pt", {"data": data})
    start = offset_of(path, data)
    for at in range(start, start + data.nbytes):
        damaged = flipped(path, at, tmp_path / "damaged.pt")
        torch.load(damaged)
        valid, message = validate_checkpoint(damaged)
        assert not valid and message.startswith("corrupted: "), (at, message)


def test_a_file_that_was_cut_short_is_corrupted(tmp_path: Path) -> None:
    whole = torch_file(tmp_path / "good.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    for length in range(1, len(whole), 7):
        cut.write_bytes(whole[:length])
        valid, message = validate_checkpoint(cut)
        assert not valid and message.startswith("corrupted: "), (length, message)


def test_a_pickle_is_judged_by_its_bytes_and_not_executed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    witness = tmp_path / "executed"
    data = torch.arange(1000.0)
    path = torch_file(tmp_path / "evil.pt", {"data": data, "payload": Payload(witness)})
    with caplog.at_level(logging.WARNING, "ckpt.compat"):
        assert validate_checkpoint(path) == (True, "")
    assert "posix.mkdir" in caplog.text and "bytes alone" in caplog.text
    assert not validate_checkpoint(path, ["absent"])[0]
    damaged = flipped(path, offset_of(path, data) + 5, tmp_path / "damaged.pt")
    assert validate_checkpoint(damaged)[1].startswith("corrupted: ")
    compat.get_checkpoint_info(path)
    validate_checkpoint_batch([path, damaged])
    assert not witness.exists()
    torch.load(path, weights_only=False)
    assert witness.exists(), "the test would see it if it were executed"


def test_a_file_of_another_size_than_its_marker_says_is_corrupted(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "good.pt")
    compat.create_done_marker(path)
    torch_file(path, {"data": torch.ones(1000)})
    for skip_load in (True, False):
        assert validate_checkpoint(path, skip_load=skip_load)[1].startswith("corrupted: ")


def test_skip_load_reads_next_to_nothing_of_4_gib(tmp_path: Path) -> None:
    path = huge_file(tmp_path / "huge.pt")
    assert bytes_read(lambda: validate_checkpoint(path, skip_load=True)) < 1 << 20
    assert validate_checkpoint(path, skip_load=True) == (True, "")


def test_skip_load_looks_at_the_outside_only(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "list.pt", [1, 2])
    assert validate_checkpoint(path, skip_load=True) == (True, "")
    assert not validate_checkpoint(path)[0]


def test_a_pipe_and_a_directory_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", tmp_path):
        for skip_load in (True, False):
            valid, message = validate_checkpoint(path, skip_load=skip_load)
            assert not valid and message.startswith("incompatible: "), message


def test_a_file_that_may_not_be_read_is_a_failure_and_no_exception(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "good.pt")
    path.chmod(0)
    # Root reads everything: the question is asked by somebody else.
    script = (
        "import os, sys; from ckpt import compat\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "print(*compat.validate_checkpoint(sys.argv[1])); print(compat.get_checkpoint_info(sys.argv[1])['version'])\n"
        "try: compat.load_checkpoint_safe(sys.argv[1], skip_validation=True)\n"
        "except compat.CheckpointError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    validated, version, loaded = ran.stdout.splitlines()
    assert validated.startswith("False corrupted: ") and "Permission denied" in validated
    assert version == "unknown"
    assert loaded.startswith("corrupted: ") and "Permission denied" in loaded


def test_failures_are_logged_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    validate_checkpoint(tmp_path / "empty.pt")
    assert names(tmp_path) == ["empty.pt"]
    validate_checkpoint(tmp_path / "empty.pt", log_failures=True)
    [(path, reason, _)] = compat.load_failed_checkpoints(tmp_path)
    assert (path, reason) == (str(tmp_path / "empty.pt"), "corrupted: file is 0 bytes")
    validate_checkpoint(torch_file(tmp_path / "good.pt"), log_failures=True)
    assert len(compat.load_failed_checkpoints(tmp_path)) == 1


def test_the_callers_logger_hears_of_it_and_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        validate_checkpoint(tmp_path / "nope.pt", logger_instance=logging.getLogger("mine"))
    assert {record.name for record in caplog.records} == {"mine"}
    caplog.clear()
    validate_checkpoint(tmp_path / "nope.pt")
    assert {record.name for record in caplog.records} == {"ckpt.compat"}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("corrupted: file is 0 bytes", "corrupted"),
        ("incompatible: missing required keys", "incompatible"),
        ("unknown error", "corrupted"),
        ("it is incompatible: or so", "corrupted"),
        ("", "corrupted"),
    ],
)
def test_the_kind_of_a_message_is_told_by_its_beginning(message: str, kind: str) -> None:
    assert distinguish_error_type(message) == kind


def test_a_batch_gives_back_the_callers_paths_in_order(tmp_path: Path) -> None:
    first, second = torch_file(tmp_path / "b.pt"), str(torch_file(tmp_path / "a.pt"))
    bad, gone = tmp_path / "bad.pt", tmp_path / "gone.pt"
    bad.write_text("no")
    paths: list[str | Path] = [gone, first, bad, second]
    valid, failed = validate_checkpoint_batch(paths, required_keys=(key for key in ["data"]))
    assert valid == [first, second] and valid[0] is first and valid[1] is second
    assert [path for path, _ in failed] == [gone, bad]
    assert [message.split(":")[1] for _, message in failed] == [" file does not exist", " not a valid ZIP archive"]
    assert validate_checkpoint_batch([]) == ([], [])


def test_a_batch_passes_its_arguments_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = torch_file(tmp_path / "list.pt", [1])
    assert validate_checkpoint_batch([path], skip_load=True)[0] == [path]
    assert validate_checkpoint_batch([torch_file(tmp_path / "k.pt", {"k": 1})], ["k"])[1] == []
    with caplog.at_level(logging.INFO):
        validate_checkpoint_batch([path], logger_instance=logging.getLogger("mine"))
    assert {record.name for record in caplog.records} == {"mine"}
