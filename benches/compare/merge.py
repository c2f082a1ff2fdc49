#!/usr/bin/env python3
"""Compares merges of embeddings by ckpt with PyTorch, and with what the machine can do at most.

Run it on a quiet machine, with a Python that has torch (requirements-dev.txt):

    python benches/compare/merge.py [--rounds 5] [--dir FOLDER] [--json FILE] [--only FORM] [--pairs 40] [--ids 5000]

40 pairs of files, each of 5,000 ids: 768 float32 a row in the first, 2,560 in the second, whose ids are in another order.
Three forms: `tensor`, `data` is one tensor; `tensors`, a list of tensors; `maps`, a list of maps of lists of floats. Each
contender merges all pairs once a round, in an order that is shuffled; outputs are removed outside of the timing.

PyTorch's way is the straightforward one: load both, a dictionary by id, `cat`, `stack`, `torch.save`; in as many processes as
there are cores, kept from round to round. It is shown as it is and with the fsync that makes its files durable, as those of
ckpt always are. ckpt merges two pairs a core at once, as it does by default; it reads what it wrote back from the device, and is
shown without that as well. The limit reads the same inputs and writes as many bytes, as many pairs at once, and does nothing
else; once with the outputs read back, and once without.

Inputs are in the page cache, as after an extraction; of the form `tensor` they are also read from the device. A number in a
table is a median; a ratio is the median of the rounds' ratios.
"""

import argparse
import multiprocessing
import os
import random
import tempfile
from pathlib import Path

import torch

from common import (
    Ours, build, interleave, machine, make_cached, make_cold, measure_parts, median_ratio, print_rows, rows, say_aims,
    timed, write_json,
)

CORES = os.cpu_count()
WIDTHS = {"a": 768, "b": 2560}
OURS = "ckpt"
UNVALIDATED = "ckpt, not read back"
RAW = "limit: raw reads and writes"
RAW_BACK = "limit: the same, read back"
THEIRS = "PyTorch"
DURABLE = "PyTorch + fsync"
FORMS = ("tensor", "tensors", "maps")
# How much faster than PyTorch is aimed at.
AIMS = {"tensor": 2, "tensors": 5, "maps": 5}
OF_THE_LIMIT = 0.7
PEAK_MIB = 1024


def make(place):
    """Writes one input."""
    folder, form, part, number, count = place
    generator = torch.Generator().manual_seed(2 * number + (part == "b"))
    data = torch.randn(count, WIDTHS[part], generator=generator)
    names = [f"sequence-{number}-chunk-{row}" for row in range(count)]
    if part == "b":
        random.Random(number).shuffle(names)
    if form == "tensors":
        data = [row.clone() for row in data]
    elif form == "maps":
        data = [{"label": name, "mean_representation": row.tolist()} for name, row in zip(names, data)]
    key = "nucleotide" if part == "a" else "proteins"
    torch.save({key: names, "data": data}, folder / f"{part}-{number}.pt")


def by_id(path):
    features = torch.load(path, weights_only=True)
    names = features["nucleotide"] if "nucleotide" in features else features["proteins"]
    def row(value):
        return torch.tensor(value["mean_representation"]) if isinstance(value, dict) else value
    return {name: row(value) for name, value in zip(names, features["data"])}


def merge(work):
    """Merges one pair with PyTorch."""
    folder, number, durable = work
    a, b = by_id(folder / f"a-{number}.pt"), by_id(folder / f"b-{number}.pt")
    names = [name for name in a if name in b]
    merged = torch.stack([torch.cat((a[name], b[name]), dim=-1) for name in names])
    path = folder / f"theirs-{number}.pt"
    torch.save({"ids": names, "data": merged}, path)
    if durable:
        for place in (path, folder):
            descriptor = os.open(place, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def begin():
    """Each process has a core."""
    torch.set_num_threads(1)


def contenders(ours, pool, folder, pairs, size, cached):
    """Returns what is timed. Outputs go when the timing is over."""
    def cleaned(work):
        seconds = work()
        for path in [*folder.glob("ours-*"), *folder.glob("theirs-*"), *folder.glob("raw-*")]:
            path.unlink()
        # What freeing the files leaves to do is nobody else's time.
        os.sync()
        return seconds

    def our(task, **more):
        return cleaned(lambda: ours.ask(task, folder, **more)["seconds"])

    def their(durable):
        work = [(folder, number, durable) for number in range(pairs)]
        return cleaned(lambda: timed(lambda: pool.map(merge, work, chunksize=1))[0])

    return {
        OURS: lambda: our("merge", validate=True),
        UNVALIDATED: lambda: our("merge"),
        RAW: lambda: our("merge-limit", bytes=size, cached=cached),
        RAW_BACK: lambda: our("merge-limit", bytes=size, cached=cached, validate=True),
        THEIRS: lambda: their(False),
        DURABLE: lambda: their(True),
    }


def check(ours, pool, folder):
    """Stops where the two don't merge to the same."""
    ours.ask("merge", folder, validate=True)
    pool.map(merge, [(folder, 0, False)])
    one, other = (torch.load(folder / f"{who}-0.pt", weights_only=True) for who in ("ours", "theirs"))
    if one["ids"] != other["ids"] or not torch.equal(one["data"], other["data"]):
        raise SystemExit("ckpt and PyTorch don't merge to the same")


def aims(seconds, form, state):
    title = f"{form}, {state}"
    for name, limit in ((OURS, RAW_BACK), (UNVALIDATED, RAW)):
        for peer in (THEIRS, DURABLE):
            yield f"{title}: {peer}'s time / {name}'s", median_ratio(seconds[peer], seconds[name]), "≥", AIMS[form]
        if form == "tensor":
            yield f"{title}: its limit's time / {name}'s", median_ratio(seconds[limit], seconds[name]), "≥", OF_THE_LIMIT


def measure(options, programs):
    """Measures one form, prints its tables, and returns them and the aims with what was reached."""
    form, tables, reached = options.only, {}, []
    size = options.pairs * options.ids * sum(WIDTHS.values()) * 4
    with (tempfile.TemporaryDirectory(dir=options.dir or programs, prefix="compare-") as place,
          multiprocessing.get_context("spawn").Pool(CORES, begin) as pool):
        folder = Path(place)
        pool.map(make, [(folder, form, part, number, options.ids)
                        for number in range(options.pairs) for part in WIDTHS], chunksize=1)
        os.sync()
        inputs = sorted(folder.glob("?-*.pt"))
        ours = Ours(programs / "examples" / "compare", options.threads)
        check(ours, pool, folder)
        states = {"cached": make_cached} | ({"cold": make_cold} if form == "tensor" else {})
        for state, ready in states.items():
            prepare = lambda ready=ready: [ready(path) for path in inputs]
            table = contenders(ours, pool, folder, options.pairs, size, state == "cached")
            seconds = interleave(table, options.rounds, prepare)
            tables[f"{form}, {state}"] = list(rows(seconds, OURS, state, size))
            print_rows(f"{form}, {state}: {size / 2**30:.2f} GiB of rows", tables[f"{form}, {state}"])
            reached += aims(seconds, form, state)
        # A process of its own: what another timing left in memory isn't counted.
        peak = Ours(programs / "examples" / "compare", options.threads).ask("merge-peak", folder, validate=True)["bytes"]
        reached.append((f"{form}: peak memory of the process (MiB)", peak / 2**20, "≤", PEAK_MIB))
    return tables, say_aims(reached)


def arguments():
    parser = argparse.ArgumentParser(description="Compares merges of embeddings by ckpt with PyTorch.")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--threads", type=int, default=min(2 * CORES, 8), help="pairs at once (default: two per core)")
    parser.add_argument("--dir", type=Path, help="where the files go: a disk (default: Cargo's target)")
    parser.add_argument("--json", type=Path, help="where the tables go as JSON (default: Cargo's target)")
    parser.add_argument("--only", choices=FORMS, help="one form alone")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of files (default: 40)")
    parser.add_argument("--ids", type=int, default=5000, help="ids in a file (default: 5000)")
    return parser.parse_args()


def main():
    options = arguments()
    programs = build()
    if options.only:
        tables, reached = measure(options, programs)
    else:
        more = ("--pairs", str(options.pairs), "--ids", str(options.ids))
        tables, reached = measure_parts(__file__, FORMS, options, programs, more)
    result = {"schema": "ckpt.compare/1", "machine": machine(), "rounds": options.rounds, "pairs": options.pairs,
              "ids": options.ids, "tables": tables, "aims": reached}
    write_json(options.json or programs / "compare-merge.json", result)


if __name__ == "__main__":
    main()
