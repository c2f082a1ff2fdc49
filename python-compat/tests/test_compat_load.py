"""The three functions of `ckpt.compat` that load."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ckpt
from ckpt import compat
from ckpt.compat import (
    CheckpointError,
    load_checkpoint_safe,
    load_checkpoint_with_validation,
    load_with_compatibility,
    validate_checkpoint,
)
from compat_files import Payload, contents, flipped, names, offset_of, torch_file

Load = Callable[..., Any]
LOADERS: list[Load] = [load_checkpoint_with_validation, load_checkpoint_safe, load_with_compatibility]
each_loader = pytest.mark.parametrize("load", LOADERS)


@dataclasses.dataclass
class Settings:
    rate: float
    tags: list[str]


def refusal(load: Load, path: Path, **arguments: Any) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        load(path, **arguments)
    error = raised.value
    assert str(error) == f"{error.error_type}: {error.message}"
    assert not error.message.startswith(("corrupted:", "incompatible:")), "the kind is said once"
    assert error.checkpoint_path == path
    return error


@each_loader
@pytest.mark.parametrize("skip_validation", [False, True])
def test_what_torch_save_wrote_is_loaded(tmp_path: Path, load: Load, skip_validation: bool) -> None:
    value: dict[str, Any] = {
        "data": torch.randn(10, 5),
        "version": "1.0",
        "status": "complete",
        "names": ["a", ("b", 1.5)],
    }
    loaded = load(torch_file(tmp_path / "a.pt", value), skip_validation=skip_validation)
    assert torch.equal(loaded.pop("data"), value.pop("data")) and loaded == value


@each_loader
@pytest.mark.parametrize("skip_validation", [False, True])
@pytest.mark.parametrize("version", ["2.0", "5.0", "10.1", "2", 2, 3.0])
def test_a_newer_major_version_is_incompatible_also_without_validation(
    tmp_path: Path, load: Load, skip_validation: bool, version: Any
) -> None:
    path = torch_file(tmp_path / "new.pt", {"data": torch.ones(2), "version": version})
    error = refusal(load, path, skip_validation=skip_validation)
    assert error.error_type == "incompatible"
    assert "upgrade" in error.message and str(version) in error.message


@each_loader
def test_a_newer_version_is_refused_before_its_pickle_is_executed(tmp_path: Path, load: Load) -> None:
    value = {"data": 1, "version": "2.0", "payload": Payload(tmp_path / "executed")}
    path = torch_file(tmp_path / "new.pt", value)
    assert "upgrade" in refusal(load, path, skip_validation=True, trusted=True).message
    assert names(tmp_path) == ["new.pt"]


@each_loader
@pytest.mark.parametrize("version", ["1.0", "1.7", "1"])
def test_version_1_is_loaded(tmp_path: Path, load: Load, version: str) -> None:
    assert load(torch_file(tmp_path / "a.pt", {"data": 1, "version": version}))["version"] == version


@each_loader
@pytest.mark.parametrize("skip_validation", [False, True])
@pytest.mark.parametrize("fields", [{}, {"version": "0.x"}, {"version": "0.9"}])
def test_a_file_of_before_1_0_loads_read_only(
    tmp_path: Path, load: Load, skip_validation: bool, fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = torch_file(tmp_path / "old.pt", {"data": [1], **fields})
    before, written = contents(tmp_path), path.stat().st_mtime_ns
    with caplog.at_level(logging.WARNING, "ckpt.compat"):
        loaded = load(path, skip_validation=skip_validation)
    assert loaded == {"data": [1], **fields} and type(loaded) is dict, "nothing was added"
    assert "read-only" in caplog.text
    assert (contents(tmp_path), path.stat().st_mtime_ns) == (before, written), "no version, no marker"
    assert compat.get_checkpoint_info(path)["read_only"] is True


def test_a_read_only_checkpoint_becomes_one_of_today_when_it_is_saved_anew(tmp_path: Path) -> None:
    old = load_with_compatibility(torch_file(tmp_path / "old.pt", {"data": torch.ones(2)}))
    assert old.get("version", "0.x") == "0.x"
    new = load_with_compatibility(compat.atomic_save(old, tmp_path / "new.pt"))
    assert (new["version"], new["status"]) == ("1.0", "complete")
    assert compat.get_checkpoint_info(tmp_path / "new.pt")["read_only"] is False


@each_loader
@pytest.mark.parametrize("skip_validation", [False, True])
def test_a_missing_file_is_corrupted(tmp_path: Path, load: Load, skip_validation: bool) -> None:
    error = refusal(load, tmp_path / "nope.pt", skip_validation=skip_validation)
    assert (error.error_type, error.message) == ("corrupted", "file does not exist")


@each_loader
def test_what_validation_refuses_is_refused_for_the_same_reason(tmp_path: Path, load: Load) -> None:
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.pt").write_text("no checkpoint")
    torch_file(tmp_path / "list.pt", [1])
    torch_file(tmp_path / "keys.pt", {"k": 1})
    for name in names(tmp_path):
        error = refusal(load, tmp_path / name)
        assert validate_checkpoint(tmp_path / name) == (False, str(error))


@pytest.mark.parametrize("load", [load_checkpoint_with_validation, load_checkpoint_safe])
def test_keys_can_be_required(tmp_path: Path, load: Load) -> None:
    path = torch_file(tmp_path / "k.pt", {"k": 1, "version": "1.0"})
    assert load(path, required_keys=["k"])["k"] == 1
    error = refusal(load, path, required_keys=["k", "other"])
    assert error.error_type == "incompatible" and "missing required keys ['other']" in error.message
    assert load(path, skip_validation=True)["k"] == 1
    assert "missing" in refusal(load, path).message, "'data' is required by default"


def test_skipping_validation_loads_what_is_no_dict(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "list.pt", [1, 2])
    assert [load(path, skip_validation=True) for load in LOADERS] == [[1, 2]] * 3


def test_loading_and_validating_agree_on_every_changed_byte(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "good.pt", {"data": torch.arange(6.0)})
    disagreements = []
    for at in range(0, path.stat().st_size, 3):
        damaged = flipped(path, at, tmp_path / "damaged.pt")
        valid, message = validate_checkpoint(damaged)
        try:
            load_checkpoint_safe(damaged)
            loaded = ""
        except CheckpointError as error:
            loaded = error.error_type
        if (valid, compat.distinguish_error_type(message) if message else "") != (not loaded, loaded):
            disagreements.append((at, message, loaded))
    assert disagreements == []


@each_loader
def test_a_changed_byte_is_corrupted_which_torch_load_hands_out(tmp_path: Path, load: Load) -> None:
    data = torch.arange(100.0)
    path = torch_file(tmp_path / "good.pt", {"data": data})
    damaged = flipped(path, offset_of(path, data) + 40, tmp_path / "damaged.pt")
    assert not torch.equal(torch.load(damaged)["data"], data)
    assert refusal(load, damaged).error_type == "corrupted"
    assert refusal(load, damaged, trusted=True).error_type == "corrupted"


@each_loader
@pytest.mark.parametrize("skip_validation", [False, True])
def test_objects_need_trust_and_the_refusal_says_which_and_how(
    tmp_path: Path, load: Load, skip_validation: bool
) -> None:
    witness = tmp_path / "executed"
    path = torch_file(tmp_path / "evil.pt", {"data": 1, "payload": Payload(witness)})
    error = refusal(load, path, skip_validation=skip_validation)
    assert isinstance(error, ckpt.NeedsTrustError) and error.error_type == "incompatible"
    assert "posix.mkdir" in error.message
    assert "trusted=True" in error.message and "allowed_globals" in error.message
    assert not witness.exists()
    load(path, skip_validation=skip_validation, trusted=True)
    assert witness.exists(), "trusting is executing"


@each_loader
def test_trusted_objects_come_back_as_they_were(tmp_path: Path, load: Load) -> None:
    value: dict[str, Any] = {
        "data": np.arange(6).reshape(2, 3),
        "settings": Settings(0.1, ["a"]),
        "args": argparse.Namespace(seed=1),
        "when": datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc),
    }
    path = compat.atomic_save(value, tmp_path / "objects.pt")
    loaded = load(path, trusted=True)
    assert np.array_equal(loaded.pop("data"), value.pop("data"))
    assert loaded == {**value, "version": "1.0", "status": "complete"}
    assert load(torch_file(tmp_path / "theirs.pt", {"data": 1, **value}), trusted=True)["args"].seed == 1


def test_a_global_can_be_allowed_by_name_as_the_refusal_says(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "args.pt", {"data": torch.ones(2), "args": argparse.Namespace(seed=7)})
    assert validate_checkpoint(path) == (True, "")
    allowed = load_checkpoint_safe(path, allowed_globals=["argparse.Namespace"])
    assert torch.equal(allowed["data"], torch.ones(2))


def test_a_class_that_is_gone_is_incompatible_and_not_corrupted(tmp_path: Path, monkeypatch: Any) -> None:
    path = torch_file(tmp_path / "gone.pt", {"data": 1, "settings": Settings(0.1, [])})
    monkeypatch.delattr(f"{__name__}.Settings")
    error = refusal(load_checkpoint_safe, path, trusted=True)
    assert error.error_type == "incompatible" and "Settings" in error.message


def test_an_unfinished_checkpoint_is_loaded_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = torch_file(tmp_path / "a.pt", {"data": 1, "version": "1.0", "status": "in_progress"})
    with caplog.at_level(logging.WARNING):
        load_checkpoint_with_validation(path, logger_instance=logging.getLogger("mine"))
    [record] = caplog.records
    assert record.name == "mine" and "isn't finished" in record.getMessage()


def test_safe_values_beyond_plain_ones_are_loaded_without_trust(tmp_path: Path) -> None:
    sparse = torch.eye(3).to_sparse()
    path = compat.atomic_save({"data": sparse}, tmp_path / "sparse.pt")
    assert torch.equal(load_checkpoint_safe(path)["data"].to_dense(), torch.eye(3))
