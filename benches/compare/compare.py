#!/usr/bin/env python3
"""Compares `ckpt verify` with other programs, and with what the machine can do at most.

Run it on a quiet machine, with a Python that has torch (requirements-dev.txt):

    python benches/compare/compare.py [--rounds 7] [--dir FOLDER] [--json FILE]

It builds ckpt, writes a 1 GiB checkpoint (64 tensors of random float32) with `torch.save`, and times
every contender in every round, in rotating order, cached and cold. A number in the table is a median;
a ratio is the median of the rounds' ratios, so that a slow minute of the machine hits both sides.
Peers run inside this process or, where they are programs of their own, as such; ckpt runs inside one
process of its own (`ours.rs`). "Cold" is what `posix_fadvise(DONTNEED)` leaves, checked with cachestat:
only the system's cache is cold then, not one of a device or a hypervisor. Of the two direct reads, the
first is the same I/O as ckpt's, into buffers in turn; the second reads into one buffer over and over,
which is faster behind a hypervisor only as long as nobody looks at what was read.
"""

import argparse
import ctypes
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
SMALL_FILES = 10_000
OURS = "ckpt verify --level load"


class Ours:
    """The Rust half: one process, a line in for a line out."""

    def __init__(self, program, threads):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.threads = threads

    def time(self, task, path, threads=None):
        request = {"task": task, "path": str(path), "threads": threads or self.threads}
        self.process.stdin.write(json.dumps(request) + "\n")
        answer = json.loads(self.process.stdout.readline())
        if task.startswith("verify") and answer["said"] != "valid":
            sys.exit(f"{task}: ckpt says '{answer['said']}' of a file that torch.save wrote")
        if answer["bytes"] != path.stat().st_size:
            sys.exit(f"{task}: ckpt saw {answer['bytes']} bytes of {path.stat().st_size}")
        return answer["seconds"]


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def testzip(path):
    with zipfile.ZipFile(path) as archive:
        seconds, damaged = timed(archive.testzip)
    assert damaged is None
    return seconds


def torch_load(path, threads):
    torch.set_num_threads(threads)
    seconds, state = timed(lambda: torch.load(path, weights_only=True, map_location="cpu"))
    assert len(state) == 64
    return seconds


def command(*words):
    run = lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return timed(run)[0]


def build():
    """Builds ckpt and the Rust half, and returns the folder of the programs."""
    cargo = ["cargo", "build", "--quiet", "--release", "--bin", "ckpt", "--example", "compare"]
    subprocess.run(cargo, cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--no-deps", "--format-version=1"]
    described = subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True).stdout
    return Path(json.loads(described)["target_directory"]) / "release"


def make_model(path):
    torch.manual_seed(0)
    torch.save({f"layer.{i}": torch.randn(4 << 20) for i in range(64)}, path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def make_small_files(folder):
    content = Path(folder.parent / "small.pt")
    torch.save({"weight": torch.zeros(4)}, content)
    for i in range(SMALL_FILES):
        place = folder / f"run-{i // 100}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(content, place / f"step-{i % 100}.pt")


def resident_share(file):
    """Returns how much of a file is in the page cache, from 0 to 1, or None before Linux 6.5."""
    cachestat = 451
    span = (ctypes.c_uint64 * 2)(0, 0)
    counts = (ctypes.c_uint64 * 5)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(cachestat, file.fileno(), span, counts, 0) != 0:
        return None
    return counts[0] * os.sysconf("SC_PAGE_SIZE") / os.fstat(file.fileno()).st_size


def make_cached(path):
    with open(path, "rb", buffering=0) as file:
        # Twice: a page may have gone missing while the first pass ran.
        for _ in range(2):
            file.seek(0)
            while file.read(1 << 20):
                pass
        share = resident_share(file)
    if share is not None and share < 0.99:
        sys.exit(f"only {share:.0%} of {path} stay cached: too little memory")


def make_cold(path):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        share = resident_share(file)
    if share is not None and share > 0.01:
        sys.exit(f"{share:.0%} of {path} can't be pushed out of the page cache: use --dir on a disk")


def contenders(ours, path, state):
    """Returns what is timed on one file, by name: functions that return seconds."""
    cores = os.cpu_count()
    table = {
        OURS: lambda: ours.time("verify-load", path),
        "ckpt's scan alone": lambda: ours.time("scan", path),
        "zipfile.testzip": lambda: testzip(path),
        "torch.load, 1 thread": lambda: torch_load(path, 1),
        f"torch.load, {cores} threads": lambda: torch_load(path, cores),
    }
    if shutil.which("unzip"):
        table["unzip -t"] = lambda: command("unzip", "-tqq", str(path))
    if state == "cached":
        table["limit: copy of the page cache"] = lambda: ours.time("read-cached", path)
        table["limit: CRC-32 of memory"] = lambda: ours.time("crc", path)
        table["ckpt verify --level container"] = lambda: ours.time("verify-container", path)
    else:
        table["limit: direct read"] = lambda: ours.time("read-direct", path)
        table["limit: direct read, one buffer"] = lambda: ours.time("read-direct-in-place", path)
    return table


def interleave(table, rounds, prepare):
    """Times everything once a round, the first round uncounted, in an order that rotates."""
    names = list(table)
    seconds = {name: [] for name in names}
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            prepare()
            measured = table[name]()
            if number > 0:
                seconds[name].append(measured)
    return seconds


def median_ratio(above, below):
    return statistics.median(a / b for a, b in zip(above, below))


def rows(seconds, baseline, state, size):
    for name, times in seconds.items():
        median = statistics.median(times)
        yield {
            "name": name,
            "state": state,
            "seconds": times,
            "median_s": median,
            "best_s": min(times),
            "gb_per_s": size / median / 1e9 if size else None,
            "times_ours": median_ratio(times, seconds[baseline]),
        }


def print_rows(title, table):
    print(f"\n{title}\n{'':34} {'median':>10} {'best':>10} {'GB/s':>7} {'time / ours':>12}")
    for row in sorted(table, key=lambda row: row["median_s"]):
        speed = f"{row['gb_per_s']:7.2f}" if row["gb_per_s"] else " " * 7
        times = f"{row['median_s'] * 1e3:7.1f} ms {row['best_s'] * 1e3:7.1f} ms"
        print(f"{row['name']:34} {times} {speed} {row['times_ours']:12.3g}")


def aims(cached, cold, small):
    container = "ckpt verify --level container"
    yield "cached: testzip's time / ours", median_ratio(cached["zipfile.testzip"], cached[OURS]), "≥", 4
    yield "cold: testzip's time / ours", median_ratio(cold["zipfile.testzip"], cold[OURS]), "≥", 1.5
    yield "cold: direct read's time / ours", median_ratio(cold["limit: direct read"], cold[OURS]), "≥", 0.9
    yield "container's time / load's", median_ratio(cached[container], cached[OURS]), "<", 0.01
    yield "10,000 small files: time / find's", median_ratio(small["ckpt"], small["find"]), "≤", 2


def measure_small_files(folder, programs, rounds):
    ckpt = str(programs / "ckpt")
    table = {
        "ckpt": lambda: command(ckpt, "verify", "--skip-checkpoint-validation", str(folder)),
        "find": lambda: command("find", str(folder), "-size", "+0"),
    }
    return interleave(table, rounds, lambda: None)


def machine():
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def arguments():
    parser = argparse.ArgumentParser(description="Compares ckpt verify with other programs.")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="ckpt's (default: one a core)")
    parser.add_argument("--dir", type=Path, help="where the files go: a disk (default: Cargo's target)")
    parser.add_argument("--json", type=Path, help="where the table goes as JSON (default: Cargo's target)")
    return parser.parse_args()


def main():
    options = arguments()
    programs = build()
    ours = Ours(programs / "examples" / "compare", options.threads)
    if not shutil.which("unzip"):
        print("skipped: unzip -t (unzip isn't installed)")
    with tempfile.TemporaryDirectory(dir=options.dir or programs, prefix="compare-") as folder:
        model = Path(folder) / "model.pt"
        make_model(model)
        size = model.stat().st_size
        cached = interleave(contenders(ours, model, "cached"), options.rounds, lambda: make_cached(model))
        cold = interleave(contenders(ours, model, "cold"), options.rounds, lambda: make_cold(model))
        make_small_files(Path(folder) / "runs")
        small = measure_small_files(Path(folder) / "runs", programs, options.rounds)
    table = {
        "1 GiB, cached": list(rows(cached, OURS, "cached", size)),
        "1 GiB, cold": list(rows(cold, OURS, "cold", size)),
        f"{SMALL_FILES:,} small files, presence only": list(rows(small, "ckpt", "cached", None)),
    }
    for title, part in table.items():
        print_rows(title, part)
    reached = [dict(zip(("aim", "value", "sign", "bound"), aim)) for aim in aims(cached, cold, small)]
    print()
    for aim in reached:
        print(f"{aim['aim']:34} {aim['value']:8.4f}   aim {aim['sign']} {aim['bound']}")
    result = {"schema": "ckpt.compare/1", "machine": machine(), "rounds": options.rounds,
              "threads": options.threads, "tables": table, "aims": reached}
    place = options.json or programs / "compare.json"
    place.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nAs JSON: {place}")


if __name__ == "__main__":
    main()
