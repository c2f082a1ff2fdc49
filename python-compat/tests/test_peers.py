"""What was seen to go wrong with other savers, and where it is shown that it doesn't go wrong here."""

from __future__ import annotations

import ast
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint import state_dict_saver  # noqa: E402
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions  # noqa: E402

import ckpt.dcp  # noqa: E402

TESTS = Path(__file__).parent

SHOWN_BY = {
    # Lightning.
    "a checkpoint is moved to its name in parts where the temporary directory is elsewhere": [
        "test_lightning.py::test_only_whole_files_are_ever_seen_where_the_temporary_directory_is_elsewhere"
    ],
    # Any of them.
    "a flipped bit is loaded without a word": [
        "test_verify.py::test_a_flipped_bit_is_found_that_the_peers_load_without_a_word",
        "test_save_load.py::test_what_is_damaged_is_told_and_where",
        "test_lightning.py::test_a_flipped_bit_is_never_loaded",
        "test_dcp.py::test_damage_is_an_exception_that_names_the_item",
    ],
    # Hugging Face's Trainer.
    "a checkpoint that was cut off by a signal is resumed from": [
        "test_hf.py::test_transformers_35782_a_damaged_or_unfinished_newest_is_skipped",
        "test_hf.py::test_a_save_after_sigterm_is_whole",
    ],
    # torch.distributed.checkpoint.
    "a save into a directory that holds a checkpoint, killed on the way, is loaded as a mix of both": [
        "test_dcp.py::test_a_checkpoint_is_never_written_into_again",
        "test_dcp.py::test_a_killed_rank_leaves_the_old_checkpoint_and_no_new_one",
        "test_dcp.py::test_a_shard_of_another_save_is_found",
    ],
    "a save into a directory that holds a checkpoint, failing on the way, is loaded as the old one": [
        "test_dcp.py::test_a_checkpoint_is_never_written_into_again",
        "test_dcp.py::test_a_save_that_fails_before_its_end_leaves_the_old_one_as_it_was",
    ],
    "damage raises what no `except Exception` catches": [
        "test_dcp.py::test_damage_is_an_exception_that_names_the_item",
        "test_dcp.py::test_pytorch_raises_what_no_except_exception_catches_and_we_do_not",
    ],
    "a file is synced before its last bytes are written": [
        "test_peers.py::test_no_byte_is_written_after_the_sync_that_makes_it_durable"
    ],
    "a thread that fails to write fails no save": [
        "test_dcp.py::test_a_write_error_fails_the_save_and_nothing_has_the_name",
        "test_dcp.py::test_four_ranks_save_and_fewer_load",
        "test_dcp.py::test_a_missing_item_is_never_committed",
    ],
    "a number without dimensions comes back as another": [
        "test_save_load.py::test_tensors_of_every_form_come_back_as_they_were",
        "test_dcp.py::test_everything_comes_back_to_the_bit",
    ],
    "a value that is no tensor makes the file unreadable": [
        "test_save_load.py::test_plain_values_come_back_as_they_were",
        "test_dcp.py::test_everything_comes_back_to_the_bit",
    ],
    "tied tensors are refused": [
        "test_save_load.py::test_tied_weights_stay_tied_and_are_stored_once",
        "test_dcp.py::test_everything_comes_back_to_the_bit",
    ],
    "a copy for the background that fails is no error": [
        "test_peers.py::test_a_failed_copy_is_an_error_of_the_call",
        "test_peers.py::test_a_copy_that_fails_in_the_background_is_heard_of",
    ],
    "a failure in the background that nobody asks for is silent": [
        "test_dcp.py::test_a_failed_background_save_is_heard_of",
    ],
    "a missing, empty or short shard is a bare error of the system, and nothing verifies": [
        "test_dcp.py::test_damage_is_an_exception_that_names_the_item",
    ],
    "what is loaded is unpickled": [
        "test_dcp.py::test_nothing_in_the_metadata_is_executed",
        "test_dcp.py::test_an_object_is_refused_by_name_until_it_is_trusted",
    ],
    "another dtype is cast without a word": [
        "test_dcp.py::test_another_dtype_is_refused_and_nothing_touched",
    ],
}
"""The tests by what they show not to happen."""


@pytest.mark.parametrize("hole", SHOWN_BY)
def test_each_fault_of_the_peers_has_its_test(hole: str) -> None:
    for name in SHOWN_BY[hole]:
        file, _, test = name.partition("::")
        functions = [node.name for node in ast.parse((TESTS / file).read_text()).body if hasattr(node, "name")]
        assert test in functions, f"{name} is gone: what shows now that this doesn't happen: {hole}?"


SAVE = """
import sys, torch, ckpt.dcp, torch.distributed.checkpoint as dcp
state = {"w": torch.ones(1000), "step": 3, "names": ["a"]}
if sys.argv[1] == "ckpt":
    ckpt.dcp.save(state, sys.argv[2])
else:
    dcp.save(state, storage_writer=dcp.FileSystemWriter(sys.argv[2]))
"""

WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate")
SYNCS = ("fsync", "fdatasync")
RENAMES = ("rename", "renameat", "renameat2")


class Traced:
    """What a process asked of the disk, in order, by the names that the files have in the end."""

    def __init__(self, log: str) -> None:
        self.is_dirty: dict[str, bool] = {}
        """Whether a file was written to after its last sync began."""
        self.dirty_when_named: set[str] = set()
        self.synced_after_naming: set[str] = set()
        """Directories that were synced since they have the newest of their names."""
        unfinished: dict[str, str] = {}
        for line in log.splitlines():
            process, _, rest = line.partition(" ")
            rest = rest.strip()
            if rest.endswith("<unfinished ...>"):
                unfinished[process] = rest.removesuffix("<unfinished ...>")
                # What a sync makes durable is what was written when it began.
                self._sync(unfinished[process])
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
            call = unfinished.pop(process, "") + resumed[1] if resumed else rest
            if resumed is None:
                self._sync(call)
            if not re.search(r"\) += -1 ", call):
                self._write(call)
                self._rename(call)

    def _file(self, call: str, kinds: tuple[str, ...]) -> str | None:
        found = re.match(rf"(?:{'|'.join(kinds)})\(\d+<([^>]*)>", call)
        return found[1] if found else None

    def _write(self, call: str) -> None:
        file = self._file(call, WRITES)
        if file is not None:
            self.is_dirty[file] = True

    def _sync(self, call: str) -> None:
        file = self._file(call, SYNCS)
        if file is not None:
            self.is_dirty[file] = False
            self.synced_after_naming.add(file)

    def _rename(self, call: str) -> None:
        if not call.startswith(tuple(f"{kind}(" for kind in RENAMES)):
            return
        old, new = re.findall(r'"([^"]*)"', call)
        self.synced_after_naming.discard(str(Path(new).parent))
        for file in [file for file in self.is_dirty if file == old or file.startswith(f"{old}/")]:
            name = new + file.removeprefix(old)
            self.is_dirty[name] = self.is_dirty.pop(file)
            if self.is_dirty[name]:
                self.dirty_when_named.add(name)


def traced(saver: str, path: Path) -> Traced:
    """Saves in a process whose calls are noted."""
    if shutil.which("strace") is None:
        pytest.skip("strace isn't installed")
    log = path.parent / "calls"
    calls = ",".join((*WRITES, *SYNCS, *RENAMES))
    tracer = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-e", f"trace={calls}", "-e", "signal=none"]
    ran = subprocess.run(
        [*tracer, sys.executable, "-c", SAVE, saver, str(path)], capture_output=True, text=True, check=False
    )
    if "ptrace" in ran.stderr.lower():
        pytest.skip(f"no process can be traced here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    return Traced(log.read_text())


def test_no_byte_is_written_after_the_sync_that_makes_it_durable(tmp_path: Path) -> None:
    path = tmp_path / "step-1"
    ours = traced("ckpt", path)
    files = {str(file) for file in path.iterdir()}
    assert {Path(file).name for file in files} == {".metadata", ".metadata.seal", "__0_0.distcp"}
    assert files <= ours.is_dirty.keys(), "each was seen to be written"
    assert not ours.dirty_when_named & files and not any(ours.is_dirty[file] for file in files)
    assert str(tmp_path) in ours.synced_after_naming, "the checkpoint's name is durable"

    # PyTorch asks for the sync while the bytes are in a buffer of Python's.
    theirs = traced("torch", tmp_path / "step-2")
    assert str(tmp_path / "step-2/.metadata") in theirs.dirty_when_named


class Uncopied:
    """A value that can't be copied for the background."""

    def __deepcopy__(self, memo: object) -> Any:
        raise RuntimeError("no memory for a copy")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_failed_copy_is_an_error_of_the_call(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no memory for a copy"):
        ckpt.dcp.async_save({"w": torch.ones(3), "bad": Uncopied()}, tmp_path / "step-1")
    assert names(tmp_path) == []
    # It was told, and is of no concern to the next.
    ckpt.dcp.async_save({"w": torch.ones(3)}, tmp_path / "step-1").result()
    ckpt.dcp.verify(tmp_path / "step-1")


def test_a_copy_that_fails_in_the_background_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "ckpt.dcp")
    options = StagingOptions(
        use_pinned_memory=False, use_shared_memory=False, use_async_staging=True, use_non_blocking_copy=False
    )
    # By PyTorch's own call, with its own stager.
    stager = DefaultStager(options)
    response: Any = dcp.async_save(
        {"bad": Uncopied()}, storage_writer=ckpt.dcp.Writer(tmp_path / "step-1"), async_stager=stager
    )
    with pytest.raises(RuntimeError, match="no memory for a copy"):
        response.upload_completion.result()
    stager.close()
    monkeypatch.setattr(state_dict_saver, "DefaultStager", lambda _: DefaultStager(options))
    asked = ckpt.dcp.async_save({"bad": Uncopied()}, tmp_path / "step-1")
    with pytest.raises(RuntimeError, match="no memory for a copy"):
        asked.result()
    # One that nobody asks for is logged, and raised by the next call.
    ckpt.dcp.async_save({"bad": Uncopied()}, tmp_path / "step-1")
    with pytest.raises(RuntimeError, match="no memory for a copy"):
        ckpt.dcp.async_save({"w": torch.ones(3)}, tmp_path / "step-2")
    assert caplog.text.count("a checkpoint wasn't saved: no memory for a copy") == 2
    assert names(tmp_path) == []
