"""What the two comparisons share: the Rust half, rounds, ratios, tables."""

import ctypes
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


class Ours:
    """The Rust half: one process, a line in for a line out."""

    def __init__(self, program, threads):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.threads = threads

    def ask(self, task, path, threads=None, **more):
        """Has one thing done, and returns the answer."""
        request = {"task": task, "path": str(path), "threads": threads or self.threads, **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{task}: the Rust half stopped")
        return json.loads(line)

    def time(self, task, path, threads=None, **more):
        """Has one thing done with a file that is there, and returns the seconds."""
        answer = self.ask(task, path, threads, **more)
        if task.startswith("verify") and answer["said"] != "valid":
            sys.exit(f"{task}: ckpt says '{answer['said']}' of {path}")
        if answer["bytes"] != path.stat().st_size:
            sys.exit(f"{task}: ckpt saw {answer['bytes']} bytes of {path.stat().st_size}")
        return answer["seconds"]


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


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


def interleave(table, rounds, prepare=lambda: None):
    """Times everything once a round, the first round uncounted, in an order that is shuffled each time: nothing
    has the same neighbours in every round."""
    names = list(table)
    seconds = {name: [] for name in names}
    for number in range(rounds + 1):
        random.Random(number).shuffle(names)
        for name in names:
            prepare()
            measured = table[name]()
            if number > 0:
                seconds[name].append(measured)
    return seconds


def median_ratio(above, below):
    """Returns the median of the rounds' ratios: a slow minute of the machine hits both sides."""
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


def machine():
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def best(seconds, names):
    """Returns the times of whichever of the contenders has the lowest median."""
    return min((seconds[name] for name in names), key=statistics.median)


def say_aims(aims):
    """Prints aims, `(what, value, sign, bound)`, and returns them for the JSON."""
    reached = [dict(zip(("aim", "value", "sign", "bound"), aim)) for aim in aims]
    print()
    for aim in reached:
        print(f"{aim['aim']:58} {aim['value']:8.4f}   aim {aim['sign']} {aim['bound']}")
    return reached


def measure_parts(script, parts, options, programs, more=()):
    """Measures every part in a process of its own, one after the other, and gathers their tables and aims.

    What a process has freed makes its next allocations faster than those of one that has just begun, as
    a resumed training has: torch.load is up to ten times as fast into memory that it had before.
    """
    tables, reached = {}, []
    for part in parts:
        target = programs / f"{Path(script).stem}-{part}.json"
        command = [sys.executable, script, "--only", part, "--json", target, "--rounds", str(options.rounds),
                   "--threads", str(options.threads), *(["--dir", options.dir] if options.dir else []), *more]
        subprocess.run(command, check=True)
        document = json.loads(target.read_text())
        target.unlink()
        tables |= document["tables"]
        reached += document["aims"]
    return tables, reached


def write_json(place, result):
    place.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nAs JSON: {place}")
