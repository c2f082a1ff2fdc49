"""`ckpt.verify`, `verify_all` and `info`: verdicts, reports as records, and Ctrl-C."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch

import ckpt

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"
SUFFIXES = (".pt", ".safetensors")


def flipped(path: pathlib.Path, place: int) -> pathlib.Path:
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    return path


@pytest.mark.parametrize(
    ("name", "verdict", "code"),
    [("valid", "valid", None), ("corrupted", "corrupted", "checksum-mismatch"),
     ("incompatible", "incompatible", "needs-trust")],
)  # fmt: skip
def test_the_samples_are_what_they_are_called(name: str, verdict: str, code: str | None) -> None:
    report = ckpt.verify(SAMPLES / f"{name}.pt")
    assert (report.verdict, report.reason and report.reason.code) == (verdict, code)
    assert bool(report) is report.is_valid is (verdict == "valid")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_bit_is_found_that_the_peers_load_without_a_word(suffix: str, tmp_path: pathlib.Path) -> None:
    import safetensors.torch

    path = tmp_path / f"flipped{suffix}"
    ckpt.save({"w": torch.zeros(10_000)}, path)
    data = path.read_bytes().index(bytes(40_000))
    flipped(path, data + 20_000)
    peer = torch.load(path) if suffix == ".pt" else safetensors.torch.load_file(path)
    assert peer["w"].abs().sum() > 0
    report = ckpt.verify(path)
    assert (report.verdict, report.passed, report.level) == ("corrupted", "container", "load")
    assert report.reason is not None
    assert report.reason.at["tensor"] == "w"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 1, 100, 20_000])
def test_a_short_file_is_corrupted(suffix: str, kept: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / f"short{suffix}"
    ckpt.save({"w": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    report = ckpt.verify(path)
    assert not report
    assert report.verdict == "corrupted" or kept == 1  # one byte is no sign of any format


def test_levels_and_required_keys(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt"
    ckpt.save({"model": {"w": torch.ones(2, 3)}}, path)
    for level in ("size", "container", "load", "keys"):
        assert ckpt.verify(path, level=level).passed == level
    assert ckpt.verify(path, required_keys="model.w:f32[2,*]").passed == "keys"
    report = ckpt.verify(path, required_keys=["model.*", "head.w"])
    assert (report.verdict, report.passed) == ("incompatible", "load")
    assert "head.w" in str(report)
    with pytest.raises(ValueError, match="'deep' is no level: size, container, load, keys"):
        ckpt.verify(path, level="deep")
    with pytest.raises(ValueError, match="no shape"):
        ckpt.verify(path, required_keys="model.w:f32[2")


def test_markers(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt"
    ckpt.save({"w": torch.ones(2)}, path)
    assert ckpt.verify(path)
    assert ckpt.verify(path, require_done_marker=True).reason.code == "marker-missing"  # type: ignore[union-attr]
    ckpt.save({"w": torch.ones(2)}, path, done_marker=True)
    assert ckpt.verify(path, require_done_marker=True)
    assert json.loads((tmp_path / "model.pt.done").read_text())["bytes"] == path.stat().st_size
    assert ckpt.info(path).marker


def test_what_is_missing_or_unreadable_is_a_report_and_no_exception(tmp_path: pathlib.Path) -> None:
    assert ckpt.verify(tmp_path / "none.pt").reason.code == "missing"  # type: ignore[union-attr]
    (tmp_path / "pipe.pt").mkdir()
    assert not ckpt.verify(tmp_path / "pipe.pt")


def test_pickles_are_never_executed(tmp_path: pathlib.Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    torch.save({"a": Bomb()}, tmp_path / "bomb.pt")
    assert ckpt.verify(tmp_path / "bomb.pt").verdict == "incompatible"
    with pytest.raises(ckpt.NeedsTrustError, match="mkdir"):
        ckpt.load(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


def test_many_at_once_come_in_order(tmp_path: pathlib.Path) -> None:
    for number in range(20):
        ckpt.save({"w": torch.full((100,), float(number))}, tmp_path / f"{number:02}.safetensors", durable=False)
    flipped(tmp_path / "07.safetensors", 4096)
    heard: list[ckpt.Report] = []
    reports = ckpt.verify_all(tmp_path, on_report=heard.append)
    assert [report.path.name for report in reports] == [f"{number:02}.safetensors" for number in range(20)]
    assert heard == reports
    assert [report.path.name for report in reports if not report] == ["07.safetensors"]
    assert ckpt.verify_all([tmp_path / "03.safetensors"])[0].is_valid

    def fails(report: ckpt.Report) -> None:
        raise LookupError(report.path.name)

    with pytest.raises(LookupError, match=r"00\.safetensors"):
        ckpt.verify_all(tmp_path, on_report=fails)


def test_records_are_readable_and_are_their_json(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.safetensors"
    saved = ckpt.save({"w": torch.ones(2, 3)}, path, position="merge", metadata={"who": "me"})
    report, info = ckpt.verify(path), ckpt.info(path)
    for record in (saved, report, info):
        assert json.loads(json.dumps(record.to_dict()))["path"] == str(path)
        assert type(record).__name__ in repr(record)
    assert (info.format, info.metadata["who"], info.bytes) == ("safetensors", "me", path.stat().st_size)
    assert info.tensors == (ckpt.TensorInfo("w", "f32", (2, 3), 24),)
    assert str(report) == f"{path}: valid (level load, integrity full)"
    with pytest.raises(AttributeError):
        report.verdict = "valid"  # type: ignore[misc]


def test_info_costs_the_header_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "large.safetensors"
    ckpt.save({"w": torch.zeros(1 << 20)}, path)
    flipped(path, 3 << 20)  # in the data, which nobody looks at
    assert ckpt.info(path).tensors[0].shape == (1 << 20,)
    with pytest.raises(FileNotFoundError):
        ckpt.info(tmp_path / "none.pt")


def test_an_archive_that_was_packed_anew_is_still_verified(tmp_path: pathlib.Path) -> None:
    path, packed = tmp_path / "model.pt", tmp_path / "packed.pt"
    torch.save({"w": torch.ones(1000)}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as anew:
        for name in archive.namelist():
            anew.writestr(name, archive.read(name))
    assert ckpt.verify(packed).verdict in ("valid", "incompatible")


INTERRUPTED = """
import pathlib, signal, sys, threading, time
import ckpt

def readers():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    return [name for name in ((task / "comm").read_text().strip() for task in tasks) if name.startswith("ckpt-")]

reading = threading.Event()

def progress(count):
    # Called on a thread that reads: it goes on slowly from here, so that the check is far from its end.
    if not reading.is_set():
        reading.set()
        print("reading", flush=True)
    time.sleep(0.05)

signal.signal(signal.SIGINT, signal.default_int_handler)
began = time.monotonic()
try:
    getattr(ckpt, sys.argv[1])(sys.argv[2], progress=progress, threads=1)
except KeyboardInterrupt:
    heard = time.monotonic()
    while readers():
        if time.monotonic() > heard + 20:
            sys.exit("still reading")
        time.sleep(0.01)
    print("interrupted")
else:
    print("done")
"""


@pytest.mark.parametrize("function", ["verify", "verify_all", "load"])
def test_ctrl_c_ends_long_reading_and_its_threads(function: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "long.safetensors"
    # Hundreds of windows, each of which takes a while: half a minute at the least, if nothing ended it.
    ckpt.save({"w": torch.zeros(1 << 30, dtype=torch.uint8)}, path, validate=False, durable=False)
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, function, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "reading\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.stdout.read() == "interrupted\n"
    assert child.wait() == 0


SEALING = """
import signal, sys, threading, time
import ckpt
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("reading", flush=True)
    ckpt.seal(sys.argv[1], threads=1)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_long_sealing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"of no format")
    # Nothing but holes, which take no room; to read them all takes minutes.
    os.truncate(path, 1 << 40)
    child = subprocess.Popen([sys.executable, "-c", SEALING, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "reading\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    assert child.stdout.read() == "interrupted\n"
    # Not before the thread that reads has ended, too: the process would wait for it otherwise.
    assert child.wait() == 0
    assert os.listdir(tmp_path) == ["long.txt"]


def test_who_is_told_of_bytes_and_fails_stops_nothing(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    ckpt.save({"w": torch.ones(10)}, path)
    unheard: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: unheard.append(error.exc_value))

    def fails(count: int) -> None:
        raise LookupError("nobody listens")

    assert ckpt.verify(path, progress=fails)
    assert [type(error) for error in unheard] == [LookupError] * len(unheard)
    assert unheard
