#!/usr/bin/env python3
"""Compares saving and loading from the side of a PyTorch user, and says what the binding costs.

Run it on a quiet machine, once `./dev python` has installed the package:

    python benches/compare/python.py [--rounds 7] [--dir FOLDER] [--json FILE] [--only PART]

The states, the folders and the order are those of save.py. Everybody gets the same `state_dict` and ends with a durable
file: `ckpt.save` as it is called by default (it also reads the file back and verifies it), `ckpt.save(validate=False)`,
which does what the peers do, `torch.save` and `safetensors.torch.save_file` with the fsync that they leave out, and
`torch.distributed.checkpoint.save`. `load` is into memory of one's own, `into` into tensors that are there already.
The same work by the Rust half, in its own process and on the same bytes, shows what the binding costs. What the machine
can do at most is in the same table: direct writes of as many bytes, and a copy from memory to memory.

`fresh` loads in a process that has just started, as one does that resumes; the other loads come after many in one process,
whose memory is used again. `async` is the time for which the training is held by a save in the background, and the time
until that is durable.
A number in a table is a median; a ratio is the median of the rounds' ratios.
"""

import argparse
import importlib
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import safetensors.torch
import torch

import ckpt
from common import (
    Ours, best, build, interleave, machine, make_cached, measure_parts, median_ratio, print_rows, rows, say_aims,
    timed, write_json,
)
from save import CORES, RAW, STATES, Files, peers, sync, touch, with_threads

OURS = {".safetensors": "ckpt.save, .safetensors", ".pt": "ckpt.save, .pt"}
RUST = {suffix: f"in Rust, {suffix}" for suffix in OURS}
LOAD = {".safetensors": "ckpt.load, .safetensors", ".pt": "ckpt.load, .pt"}
COPY = "limit: copy of memory"
PARTS = (*STATES, *(f"load-{name}" for name in STATES), "fresh", "into", "async")
# The peers, with the fsync that makes what they write durable.
DURABLE = ("safetensors + fsync", "torch.save + fsync", "distributed.checkpoint")


def savers(ours, files, name, state, threads):
    """Returns what is timed when a state is saved."""
    size = sum(tensor.nbytes for tensor in state.values())

    def our(path, **more):
        ckpt.save(state, path, threads=threads, **more)

    def in_rust(path):
        return ours.ask("save", path, state=name)["seconds"]

    table = {RAW: lambda: files.time(
        ".raw", lambda path: ours.ask("write-direct", path, threads=4, bytes=size)["seconds"])}
    for suffix, title in OURS.items():
        table[title] = lambda suffix=suffix: files.time(suffix, lambda path: our(path, validate=False))
        table[f"{title}, validated"] = lambda suffix=suffix: files.time(suffix, our)
        table[RUST[suffix]] = lambda suffix=suffix: files.time(suffix, in_rust)
    others = peers(state)
    for peer, count in itertools.product(DURABLE, (1, CORES)):
        suffix, save = others[peer]
        table[f"{peer}, {count} thr"] = lambda suffix=suffix, save=save, count=count: with_threads(
            count, lambda: files.time(suffix, lambda path: (save(path), None)[1]))
    return table


def fastest(seconds, name):
    return best(seconds, [f"{name}, {threads} thr" for threads in (1, CORES)])


def aim_of_binding(seconds, name, suffix, title):
    cost = median_ratio(seconds[title], seconds[RUST[suffix]]) - 1
    return f"{name}: what the binding costs, {suffix}", cost, "≤", 0.05


def aims_of_saving(seconds, name):
    aims = {"safetensors + fsync": 2, "torch.save + fsync": 2} if name == "small" else {
        "safetensors + fsync": 1.5, "torch.save + fsync": 3, "distributed.checkpoint": 3}
    for suffix, title in OURS.items():
        for peer, aim in aims.items():
            ratio = median_ratio(fastest(seconds, peer), seconds[title])
            yield f"{name}: {peer}'s time / {title}", ratio, "≥", aim
        yield aim_of_binding(seconds, name, suffix, title)
    for peer in aims:
        yield f"{name}: {peer}'s time / the limit's", median_ratio(fastest(seconds, peer), seconds[RAW]), "is", "the most"


def measure_saving(ours, folder, options, name):
    state = STATES[name]()
    size = sum(tensor.nbytes for tensor in state.values())
    table = savers(ours, Files(folder), name, state, options.threads)
    seconds = interleave(table, options.rounds, lambda: touch(size))
    title = f"{name}, saved from Python"
    return {title: list(rows(seconds, OURS[".safetensors"], "warm", size))}, list(aims_of_saving(seconds, name))


def files_to_load(folder, state):
    """Writes the files that everybody loads."""
    paths = {name: folder / name for name in ("ckpt.safetensors", "ckpt.pt", "torch.pt", "peer.safetensors")}
    for name in ("ckpt.safetensors", "ckpt.pt"):
        ckpt.save(state, paths[name], validate=False)
    torch.save(state, paths["torch.pt"])
    safetensors.torch.save_file(state, paths["peer.safetensors"])
    for path in paths.values():
        sync(path)
    return paths


def seconds_of(work):
    """Returns a function that times work and gives its result back before the next."""
    return lambda: timed(lambda: (work(), None)[1])[0]


def loaders(ours, paths, size):
    """Returns what is timed when a state is loaded into memory of one's own."""
    def safe_load():
        return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(paths["peer.safetensors"]).items()}

    table = {
        LOAD[".safetensors"]: seconds_of(lambda: ckpt.load(paths["ckpt.safetensors"])),
        LOAD[".pt"]: seconds_of(lambda: ckpt.load(paths["ckpt.pt"])),
        "ckpt.load, torch.save's file": seconds_of(lambda: ckpt.load(paths["torch.pt"])),
        RUST[".safetensors"]: lambda: ours.time("load", paths["ckpt.safetensors"]),
        RUST[".pt"]: lambda: ours.time("load", paths["ckpt.pt"]),
        COPY: lambda: ours.ask("copy", paths["ckpt.pt"], threads=CORES, bytes=size)["seconds"],
    }
    for threads in (1, CORES):
        table[f"torch.load, {threads} thr"] = lambda threads=threads: with_threads(
            threads, seconds_of(lambda: torch.load(paths["torch.pt"], weights_only=True)))
        table[f"safetensors + clone, {threads} thr"] = lambda threads=threads: with_threads(
            threads, seconds_of(safe_load))
    return table


def aims_of_loading(seconds, name):
    for suffix, title in LOAD.items():
        ratio = median_ratio(fastest(seconds, "torch.load"), seconds[title])
        yield f"load, {name}: torch.load's time / {title}", ratio, "≥", 2
        yield aim_of_binding(seconds, f"load, {name}", suffix, title)
    limit = median_ratio(fastest(seconds, "torch.load"), seconds[COPY])
    yield f"load, {name}: torch.load's time / a copy's", limit, "is", "the most"


def measure_loading(ours, folder, options, name):
    state = STATES[name]()
    size = sum(tensor.nbytes for tensor in state.values())
    paths = files_to_load(folder, state)
    del state
    table = loaders(ours, paths, size)
    seconds = interleave(table, options.rounds, lambda: (touch(size), [make_cached(path) for path in paths.values()]))
    title = f"{name}, loaded from Python, cached"
    return {title: list(rows(seconds, LOAD[".safetensors"], "cached", size))}, list(aims_of_loading(seconds, name))


# Loads a file and says how long that took; the packages are there before.
FRESH = """
import sys, time
import torch, ckpt
path, program, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
start = time.perf_counter()
state = ckpt.load(path) if program == "ckpt" else torch.load(path, weights_only=True)
print(time.perf_counter() - start)
"""


def load_fresh(path, program, threads):
    command = [sys.executable, "-c", FRESH, str(path), program, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_fresh(ours, folder, options):
    """Times the loading in a process that has just started."""
    del ours
    state = STATES["uniform"]()
    size = sum(tensor.nbytes for tensor in state.values())
    paths = files_to_load(folder, state)
    del state
    table = {title: lambda suffix=suffix: load_fresh(paths[f"ckpt{suffix}"], "ckpt", CORES)
             for suffix, title in LOAD.items()}
    for threads in (1, CORES):
        table[f"torch.load, {threads} thr"] = lambda threads=threads: load_fresh(paths["torch.pt"], "torch", threads)
    seconds = interleave(table, options.rounds, lambda: (touch(size), [make_cached(path) for path in paths.values()]))
    aims = [(f"fresh: torch.load's time / {title}", median_ratio(fastest(seconds, "torch.load"), seconds[title]), "≥", 2)
            for title in LOAD.values()]
    return {"uniform, loaded in a new process, cached": list(rows(seconds, LOAD[".safetensors"], "cached", size))}, aims


def copy_into(targets, state):
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(state[name])


def measure_into(ours, folder, options):
    """Times the loading into tensors that are there already, as a model's."""
    del ours
    state = STATES["uniform"]()
    size = sum(tensor.nbytes for tensor in state.values())
    paths = files_to_load(folder, state)
    into = "ckpt.load_into, .safetensors"
    table = {
        into: seconds_of(lambda: ckpt.load_into(paths["ckpt.safetensors"], state)),
        "ckpt.load_into, .pt": seconds_of(lambda: ckpt.load_into(paths["ckpt.pt"], state)),
        "torch.load + copy": seconds_of(lambda: copy_into(state, torch.load(paths["torch.pt"]))),
        "torch.load, mapped + copy": seconds_of(lambda: copy_into(state, torch.load(paths["torch.pt"], mmap=True))),
        "safetensors + copy": seconds_of(
            lambda: copy_into(state, safetensors.torch.load_file(paths["peer.safetensors"]))),
    }
    seconds = interleave(table, options.rounds, lambda: [make_cached(path) for path in paths.values()])
    others = best(seconds, [name for name in table if not name.startswith("ckpt")])
    aims = [(f"into: the fastest other's time / {into}", median_ratio(others, seconds[into]), "≥", 1)]
    return {"uniform, loaded into tensors": list(rows(seconds, into, "cached", size))}, aims


def save_async(manager, state, steps):
    """Returns the time for which `save_async` holds its caller, and the time until the checkpoint is durable."""
    start = time.perf_counter()
    ticket = manager.save_async(next(steps), state)
    held = time.perf_counter() - start
    ticket.wait()
    return held, time.perf_counter() - start


def measure_async(ours, folder, options):
    """Times for how long a save in the background holds the training loop, and how long it takes in all."""
    background = importlib.import_module("async")
    state = STATES["uniform"]()
    size = sum(tensor.nbytes for tensor in state.values())
    background.prepare_torch(folder)
    others = background.working_peers(folder, (1,), with_processes=False)
    files, steps, ours_name = background.Files(folder), itertools.count(1), "ckpt.Manager.save_async"
    with ckpt.Manager(folder / "run", keep_last=1, validate=False, expect_change=False) as manager:
        table = {ours_name: lambda: save_async(manager, state, steps)}
        # The one limit is that of the stall, the other that of the time until it is durable.
        table["limits"] = lambda: (
            ours.ask("copy-state", folder, state="uniform", copiers=CORES)["seconds"],
            files.use(lambda path: ours.ask("write-direct", path, threads=4, bytes=size)["seconds"]))
        for name, peer in others.items():
            table[name] = lambda peer=peer: files.use(lambda path: peer.save(state, path))
        pairs = interleave(table, options.rounds)
    tables, aims = {}, []
    for place, (title, what, aim) in enumerate((("how long the loop is held", "stall", 2),
                                                ("from the call until it is durable", "time until durable", 3))):
        seconds = background.part_of(pairs, place)
        tables[f"uniform, {title}"] = list(rows(seconds, ours_name, "staged", size))
        peer = best(seconds, others)
        aims += [(f"async: the fastest peer's {what} / ours", median_ratio(peer, seconds[ours_name]), "≥", aim),
                 (f"async: the fastest peer's {what} / the limit's", median_ratio(peer, seconds["limits"]), "is", "the most")]
    return tables, aims


def measure(options, programs):
    """Measures one part, prints its tables, and returns them and the aims with what was reached."""
    ours = Ours(programs / "examples" / "compare", options.threads)
    part = options.only
    with tempfile.TemporaryDirectory(dir=options.dir or programs, prefix="compare-") as place:
        folder = Path(place)
        if part in STATES:
            tables, aims = measure_saving(ours, folder, options, part)
        elif part == "fresh":
            tables, aims = measure_fresh(ours, folder, options)
        elif part == "into":
            tables, aims = measure_into(ours, folder, options)
        elif part == "async":
            tables, aims = measure_async(ours, folder, options)
        else:
            tables, aims = measure_loading(ours, folder, options, part.removeprefix("load-"))
    for title, table in tables.items():
        print_rows(title, table)
    return tables, say_aims(aims)


def arguments():
    parser = argparse.ArgumentParser(description="Compares saving and loading from Python with other programs.")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--threads", type=int, default=8, help="ckpt's (default: 8)")
    parser.add_argument("--dir", type=Path, help="where the files go: a disk (default: Cargo's target)")
    parser.add_argument("--json", type=Path, help="where the tables go as JSON (default: Cargo's target)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    return parser.parse_args()


def main():
    options = arguments()
    programs = build()
    parts = PARTS
    if not hasattr(ckpt, "Manager"):
        print("skipped: async (this ckpt has no Manager)")
        parts = PARTS[:-1]
    if options.only:
        tables, reached = measure(options, programs)
    else:
        tables, reached = measure_parts(__file__, parts, options, programs)
    result = {"schema": "ckpt.compare/1", "machine": machine(), "rounds": options.rounds,
              "threads": options.threads, "tables": tables, "aims": reached}
    write_json(options.json or programs / "compare-python.json", result)


if __name__ == "__main__":
    main()
