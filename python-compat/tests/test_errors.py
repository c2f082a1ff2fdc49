"""What goes wrong, and as which exception: the package's own, the system's, or `ValueError`."""

from __future__ import annotations

import errno
import os
import pathlib
import pickle
import resource
import signal
import subprocess
import sys

import pytest
import torch

import ckpt

SUFFIXES = (".pt", ".safetensors")
NO_ROOM = (errno.EFBIG, errno.ENOSPC)


@pytest.fixture(params=SUFFIXES)
def old(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkpoint that is there already, with its marker."""
    path = tmp_path / f"model{request.param}"
    ckpt.save({"w": torch.ones(10), "step": 1}, path, done_marker=True)
    return path


def assert_untouched(path: pathlib.Path) -> None:
    assert ckpt.load(path)["step"] == 1
    assert ckpt.verify(path, require_done_marker=True)
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, f"{path.name}.done"]


def test_the_text_of_an_error_is_its_type_and_its_message() -> None:
    error = ckpt.CheckpointError("a.pt", "corrupted", "the file is empty")
    assert str(error) == "corrupted: the file is empty"
    assert (error.checkpoint_path, error.error_type, error.message) == ("a.pt", "corrupted", "the file is empty")
    assert ckpt.CheckpointError.__bases__ == (Exception,)
    assert issubclass(ckpt.NeedsTrustError, ckpt.IncompatibleError)


@pytest.mark.parametrize(
    "error",
    [
        ckpt.CheckpointError("a.pt", "incompatible", "b"),
        ckpt.CorruptedError(pathlib.Path("a.pt"), "b", {"code": "empty"}),
        ckpt.IncompatibleError(None, "b"),
        ckpt.NeedsTrustError("a.pt", "b"),
    ],
)
def test_errors_travel_between_processes(error: ckpt.CheckpointError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_a_damaged_file_is_corrupted_and_says_where(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "empty.pt"
    path.write_bytes(b"")
    with pytest.raises(ckpt.CorruptedError, match=r"^corrupted: ") as caught:
        ckpt.load(path)
    assert (caught.value.checkpoint_path, caught.value.error_type) == (str(path), "corrupted")
    assert str(path) not in caught.value.message
    assert caught.value.finding is not None
    assert caught.value.finding["code"] == "empty"


def test_a_file_that_fits_nothing_is_incompatible(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "page.pt"
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ckpt.IncompatibleError):
        ckpt.load(path)


def test_a_missing_file_is_a_file_not_found_error(tmp_path: pathlib.Path) -> None:
    for call in (ckpt.load, ckpt.info, lambda path: ckpt.load_into(path, {"w": torch.ones(1)})):
        with pytest.raises(FileNotFoundError) as caught:
            call(tmp_path / "none.pt")
        assert caught.value.errno == errno.ENOENT
        assert str(tmp_path / "none.pt") in str(caught.value)


def test_a_missing_folder_is_a_file_not_found_error(tmp_path: pathlib.Path) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(FileNotFoundError):
            ckpt.save({"w": torch.ones(1)}, tmp_path / "none" / f"a{suffix}")


def test_a_directory_is_no_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.pt").mkdir()
    with pytest.raises((OSError, ValueError)):
        ckpt.save({"w": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises((OSError, ValueError)):
        ckpt.load(tmp_path / "a.pt")


AS_NOBODY = """
import os, sys
import ckpt
path = sys.argv[1]
os.setgid(65534); os.setuid(65534)
for work in (lambda: ckpt.save({"step": 2}, path), lambda: ckpt.load(path)):
    try:
        work()
    except PermissionError as error:
        print(error.errno, error.filename is not None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_refusal_is_a_permission_error_for_somebody_else(old: pathlib.Path) -> None:
    for folder in (old.parent, *old.parent.parents[:2]):
        folder.chmod(0o755)
    old.chmod(0o600)
    command = [sys.executable, "-c", AS_NOBODY, str(old)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown == f"{errno.EACCES} True\n" * 2
    assert_untouched(old)


def test_no_room_is_an_os_error_and_the_old_file_stays(old: pathlib.Path) -> None:
    # What a full disk does to a write, without a disk to fill.
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, most))
    values = [{"w": torch.zeros(1 << 20), "step": 2}]
    if old.suffix == ".pt":
        # By way of PyTorch's own serializer.
        values.append({**values[0], "place": pathlib.PurePosixPath("a")})
    try:
        for value in values:
            with pytest.raises(OSError) as caught:
                ckpt.save(value, old, done_marker=True)
            assert caught.value.errno in NO_ROOM
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        signal.signal(signal.SIGXFSZ, before)
    assert_untouched(old)


def test_what_cannot_be_saved_leaves_the_old_file(old: pathlib.Path) -> None:
    refused = lambda: None  # noqa: E731
    error = ValueError if old.suffix == ".safetensors" else Exception
    with pytest.raises(error):
        ckpt.save({"step": 2, "f": refused}, old)
    with pytest.raises(ValueError, match=r"(?i)exist|replace|overwrit"):
        ckpt.save({"step": 2}, old, overwrite=False)
    assert_untouched(old)


def test_mistakes_are_value_errors(tmp_path: pathlib.Path) -> None:
    value = {"w": torch.ones(1)}
    for options in (
        {"format": "npz"}, {"level": "deep"}, {"algorithm": "md5"}, {"position": "step:x"},
        {"metadata": {"ckpt.proof": "mine"}},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            ckpt.save(value, tmp_path / "a.safetensors", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\.safetensors"):
        ckpt.save(value, tmp_path / "a.npz")
    with pytest.raises(TypeError):
        ckpt.save(value, 3)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_paths_that_are_no_text_work(tmp_path: pathlib.Path) -> None:
    path = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.safetensors"))
    saved = ckpt.save({"w": torch.ones(1)}, path)
    assert saved.path == path
    assert ckpt.load(path)["w"].item() == 1
    assert ckpt.verify(path)


KILLED = """
import sys, torch, ckpt
value = {"w": torch.ones(64 << 20, dtype=torch.uint8), "step": 2}
print("saving", flush=True)
while True:
    ckpt.save(value, sys.argv[1])
"""


def test_a_killed_save_leaves_the_old_file_or_the_new_one(old: pathlib.Path) -> None:
    for delay in (0.0, 0.02, 0.05, 0.1):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(old)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "saving\n"
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.kill()
        child.wait()
        assert ckpt.verify(old)
        assert ckpt.load(old)["step"] in (1, 2)
    # The next save removes what the killed ones left.
    ckpt.save({"w": torch.ones(10), "step": 1}, old, done_marker=True)
    assert_untouched(old)
