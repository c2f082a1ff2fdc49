"""`ckpt.compat.get_checkpoint_info`, and completion markers."""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import ckpt
from ckpt import compat
from ckpt.compat import create_done_marker, get_checkpoint_info, has_done_marker, remove_done_marker
from compat_files import bytes_read, huge_file, names, torch_file

NOTHING = {"version": "unknown", "status": "unknown", "size_bytes": 0, "is_valid_zip": False, "has_done_marker": False}


def facts(path: Any) -> dict[str, Any]:
    info = get_checkpoint_info(path)
    assert set(NOTHING) <= set(info)
    return {key: info[key] for key in NOTHING}


def test_a_good_file_says_what_it_is(tmp_path: Path) -> None:
    path = compat.atomic_save({"data": torch.ones(3)}, tmp_path / "a.pt")
    assert facts(path) == {
        "version": "1.0",
        "status": "complete",
        "size_bytes": path.stat().st_size,
        "is_valid_zip": True,
        "has_done_marker": True,
    }
    more = get_checkpoint_info(str(path))
    assert (more["format"], more["tensors"], more["read_only"], more["error"]) == ("torch-zip", 1, False, "")


def test_a_file_without_version_is_0_x(tmp_path: Path) -> None:
    info = facts(torch_file(tmp_path / "old.pt", {"data": torch.ones(3)}))
    assert (info["version"], info["status"], info["is_valid_zip"]) == ("0.x", "unknown", True)


def test_a_version_that_is_a_number_is_given_as_text(tmp_path: Path) -> None:
    assert facts(torch_file(tmp_path / "n.pt", {"version": 2, "status": "x"}))["version"] == "2"


def test_what_is_no_checkpoint_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    assert facts(tmp_path / "empty.pt") == NOTHING
    assert facts(tmp_path / "nope.pt") == NOTHING
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert facts(tmp_path / "text.pt") == {**NOTHING, "size_bytes": 13}
    listed = facts(torch_file(tmp_path / "list.pt", [1]))
    assert (listed["version"], listed["status"], listed["is_valid_zip"]) == ("unknown", "unknown", True)


def test_a_pickle_that_needs_trust_is_looked_at_and_not_executed(tmp_path: Path) -> None:
    value = {"data": 1, "args": argparse.Namespace(a=1), "version": "1.3", "status": "in_progress"}
    info = facts(torch_file(tmp_path / "args.pt", value))
    assert (info["version"], info["status"]) == ("1.3", "in_progress")


def test_other_formats_are_looked_at_as_well(tmp_path: Path) -> None:
    torch.save({"data": 1, "version": "1.2"}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    ckpt.save({"data": torch.ones(3)}, tmp_path / "a.safetensors")
    assert (facts(tmp_path / "old.pt")["version"], facts(tmp_path / "old.pt")["is_valid_zip"]) == ("1.2", False)
    assert get_checkpoint_info(tmp_path / "a.safetensors")["format"] == "safetensors"


def test_of_4_gib_next_to_nothing_is_read(tmp_path: Path) -> None:
    path = huge_file(tmp_path / "huge.pt", version="1.0", status="complete")
    assert bytes_read(lambda: get_checkpoint_info(path)) < 1 << 20
    info = facts(path)
    assert (info["version"], info["status"], info["size_bytes"]) == ("1.0", "complete", path.stat().st_size)


def test_it_never_raises_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    (tmp_path / "dangling.pt").symlink_to("nowhere")
    nasty: list[Any] = [tmp_path, *tmp_path.iterdir(), "/dev/zero", "/proc/self/mem", "", "a\0b", "x" * 5000]
    nasty += [None, 3, 4.5, object(), b"bytes.pt", ["list"], tmp_path / "a" / "b"]
    for path in nasty:
        info = get_checkpoint_info(path)
        assert info["version"] == "unknown" and info["is_valid_zip"] is False, path
        assert info["error"], path


def test_it_never_raises_whatever_is_in_the_file(tmp_path: Path) -> None:
    chance = random.Random(20260301)
    whole = torch_file(tmp_path / "good.pt", {"data": [1, 2.5, "x"], "version": "1.0"}).read_bytes()
    path = tmp_path / "fuzz.pt"
    for _ in range(600):
        data = bytearray(whole if chance.random() < 0.8 else chance.randbytes(chance.randrange(400)))
        for _ in range(chance.randrange(6)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data) :]
        path.write_bytes(data)
        assert facts(path)["size_bytes"] == len(data)


@pytest.mark.parametrize("name", ["model.pt", "checkpoint.tar.pt", "no-suffix", ".hidden"])
def test_the_marker_is_the_whole_name_and_done(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    # PyTorch writes no file whose name begins with a dot.
    torch_file(tmp_path / "x.pt").rename(path)
    assert has_done_marker(path) is False
    create_done_marker(path)
    assert names(tmp_path) == sorted([name, f"{name}.done"])
    assert has_done_marker(path) is True and has_done_marker(str(path)) is True
    remove_done_marker(path)
    assert names(tmp_path) == [name]
    remove_done_marker(path)


def test_an_empty_marker_of_others_counts(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "a.pt")
    (tmp_path / "a.pt.done").touch()
    assert has_done_marker(path) and compat.validate_checkpoint(path) == (True, "")
    create_done_marker(path)
    assert json.loads((tmp_path / "a.pt.done").read_text()) == {"bytes": path.stat().st_size}


def test_a_marker_names_size_and_proof(tmp_path: Path) -> None:
    saved = ckpt.save({"data": torch.ones(3)}, tmp_path / "a.pt")
    create_done_marker(saved.path)
    assert json.loads((tmp_path / "a.pt.done").read_text()) == {"bytes": saved.bytes, "proof": saved.proof}


def test_no_marker_vouches_for_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_done_marker(tmp_path / "nope.pt")
    assert names(tmp_path) == [] and has_done_marker(tmp_path / "nope.pt") is False


def test_a_marker_is_seen_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "real" / "model.pt")
    compat.atomic_save({"data": 1}, link)
    assert link.is_symlink() and has_done_marker(link) and has_done_marker(tmp_path / "real" / "model.pt")
    remove_done_marker(link)
    assert not has_done_marker(link) and names(tmp_path / "real") == ["model.pt"]
    create_done_marker(link)
    assert names(tmp_path / "real") == ["model.pt", "model.pt.done"]


def test_the_marker_is_asked_for_without_reading_the_checkpoint(tmp_path: Path) -> None:
    path = huge_file(tmp_path / "huge.pt")
    create_done_marker(path)
    assert bytes_read(lambda: has_done_marker(path)) < 4096
