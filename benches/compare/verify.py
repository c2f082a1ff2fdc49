#!/usr/bin/env python3
"""Compares `ckpt verify` with other programs, and with what the machine can do at most.

Run it on a quiet machine, with a Python that has torch (requirements-dev.txt):

    python benches/compare/verify.py [--rounds 7] [--dir FOLDER] [--json FILE]

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
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

from common import (
    Ours, build, command, interleave, machine, make_cached, make_cold, median_ratio, print_rows, rows,
    say_aims, timed, write_json,
)

SMALL_FILES = 10_000
OURS = "ckpt verify --level load"


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
    return interleave(table, rounds)


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
    reached = say_aims(aims(cached, cold, small))
    result = {"schema": "ckpt.compare/1", "machine": machine(), "rounds": options.rounds,
              "threads": options.threads, "tables": table, "aims": reached}
    write_json(options.json or programs / "compare-verify.json", result)


if __name__ == "__main__":
    main()
