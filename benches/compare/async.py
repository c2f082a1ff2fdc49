#!/usr/bin/env python3
"""Compares saving in the background by ckpt with torch.distributed.checkpoint.async_save.

Run it on a quiet machine, with a Python that has torch and safetensors (requirements-dev.txt):

    python benches/compare/async.py [--rounds 7] [--dir FOLDER] [--json FILE] [--only PART]

The states are those of save.py. Of each save two times are taken: how long the call holds the training loop,
and how long it takes from the call until the checkpoint is durable. async_save runs in every way that works
without an accelerator: staging anew each time or into memory that is kept, shared or not, in a thread or (with
--processes) in a process; where it stages in a thread of its own, the loop is held until that is done, since the
weights must not change before. The limit of the call is one memcpy of the state into memory that was touched before, by as many
threads.

The part `loop` has a fixed loop of matrix products, and how much longer a step of it takes while a save is in
flight: with a core to spare, and on all cores.

Every contender runs once a round, in an order that is shuffled each time; a number in a table is a median; a
ratio is the median of the rounds' ratios.
"""

import argparse
import itertools
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

from common import (
    Ours, best, build, interleave, machine, measure_parts, median_ratio, print_rows, rows, say_aims, write_json,
)
from save import STATES

CORES = os.cpu_count()
OURS = "ckpt"
LIMIT = "limit: memcpy of the state"
PARTS = (*STATES, "loop")
KINDS = {
    "dcp, thread": ("thread", None),
    "dcp, thread, kept": ("thread", dict(shared=False, own_thread=False)),
    "dcp, thread, kept and shared": ("thread", dict(shared=True, own_thread=False)),
    "dcp, thread, kept, staged apart": ("thread", dict(shared=False, own_thread=True)),
    "dcp, process, kept and shared": ("process", dict(shared=True, own_thread=False)),
}


class Peer:
    """One way to call async_save, with what it keeps from one save to the next."""

    def __init__(self, kind, staging, writers):
        self.kind = AsyncCheckpointerType.PROCESS if kind == "process" else AsyncCheckpointerType.THREAD
        self.writers = writers
        self.stager = staging and DefaultStager(StagingOptions(
            use_pinned_memory=False, use_shared_memory=staging["shared"], use_async_staging=staging["own_thread"],
            use_non_blocking_copy=False))

    def submit(self, state, path):
        """Calls it, and returns how long the loop was held, and what to wait for."""
        torch.set_num_threads(CORES)
        start = time.perf_counter()
        writer = dcp.FileSystemWriter(path, thread_count=self.writers, sync_files=True)
        more = {"async_stager": self.stager} if self.stager else {}
        answer = dcp.async_save(state, storage_writer=writer, async_checkpointer_type=self.kind, no_dist=True, **more)
        if hasattr(answer, "staging_completion"):
            answer.staging_completion.result()
            held = time.perf_counter() - start
            return held, answer.upload_completion
        return time.perf_counter() - start, answer

    def save(self, state, path):
        """Returns how long the loop was held, and how long it took until the checkpoint was durable."""
        start = time.perf_counter()
        held, future = self.submit(state, path)
        future.result()
        return held, time.perf_counter() - start


def prepare_torch(folder):
    """Makes the group of one process that saving in a process of its own asks for."""
    os.environ.setdefault("MASTER_ADDR", "localhost")
    os.environ.setdefault("MASTER_PORT", "0")
    # Otherwise each shared tensor is a file that stays open: 10,000 are more than most shells allow.
    torch.multiprocessing.set_sharing_strategy("file_system")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=0, world_size=1)


def working_peers(folder, threads, with_processes):
    """Returns the ways that work on this machine, with each number of threads that write, and says why the others
    don't."""
    peers = {}
    for (name, (kind, staging)), writers in itertools.product(KINDS.items(), threads):
        name = f"{name}, {writers} thr"
        if kind == "process" and not with_processes:
            print(f"skipped: {name} (only with --processes: it may hang)")
            continue
        place = folder / "probe"
        try:
            peer = Peer(kind, staging, writers)
            peer.save({"w": torch.zeros(4)}, place)
        except Exception as error:
            print(f"skipped: {name} ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})")
        else:
            peers[name] = peer
        shutil.rmtree(place, ignore_errors=True)
    return peers


class Files:
    """New names in one folder; what has them goes when the timing is over."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    def use(self, work, suffix=""):
        path = self.folder / f"state-{next(self.numbers)}{suffix}"
        result = work(path)
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        os.sync()
        return result


def savers(ours, files, peers, name, state):
    """Returns who is timed: functions that return how long the loop is held, and how long it takes in all."""
    def our(validate):
        def save(path):
            answer = ours.ask("submit", path, state=name, copiers=CORES, validate=validate)
            return answer["seconds"], answer["durable"]
        return lambda: files.use(save, ".safetensors")

    def limit():
        seconds = ours.ask("copy-state", files.folder, state=name, copiers=CORES)["seconds"]
        return seconds, seconds

    table = {OURS: our(False), f"{OURS}, validated": our(True), LIMIT: limit}
    for peer in peers:
        table[peer] = lambda peer=peer: files.use(lambda path: peers[peer].save(state, path))
    return table


def part_of(pairs, place):
    return {name: [pair[place] for pair in times] for name, times in pairs.items()}


def measure_saving(options, ours, folder, name):
    """Times the saves of one state: two tables, and the aims."""
    state = STATES[name]()
    size = sum(tensor.nbytes for tensor in state.values())
    peers = working_peers(folder, sorted({1, CORES}), options.processes)
    pairs = interleave(savers(ours, Files(folder), peers, name, state), options.rounds)
    held, durable = part_of(pairs, 0), part_of(pairs, 1)
    del durable[LIMIT]
    tables = {
        f"{name}: how long the call holds the loop": list(rows(held, OURS, "warm", size)),
        f"{name}: from the call until it is durable": list(rows(durable, OURS, "warm", size)),
    }
    aims = [(f"{name}: the call's time / a memcpy's", median_ratio(held[OURS], held[LIMIT]), "≤", 1.15)]
    if peers:
        aims.append((f"{name}: async_save's call / ours", median_ratio(best(held, peers), held[OURS]), "≥", 2))
        ratio = median_ratio(best(durable, peers), durable[OURS])
        aims.append((f"{name}: async_save until durable / ours", ratio, "≥", 3))
    return tables, aims


class Loop:
    """The fixed loop for the peers, on a number of threads."""

    def __init__(self, threads):
        self.threads = threads
        self.matrix = torch.randn(512, 512)

    def steps(self, until, least):
        """Takes steps until a condition holds; returns the mean time of those that ended before."""
        torch.set_num_threads(self.threads)
        start, taken, seconds = time.perf_counter(), 0, 0.0
        while True:
            for _ in range(4):
                self.matrix @ self.matrix
            if until(taken):
                return seconds / taken if taken else None
            taken += 1
            seconds = time.perf_counter() - start
            if least and taken == least:
                return seconds / taken

    def alone(self):
        self.steps(lambda _: False, 40)
        return self.steps(lambda _: False, 40)

    def saving(self, peer, state, path):
        self.steps(lambda _: False, 40)
        done = threading.Event()
        _, future = peer.submit(state, path)
        future.add_done_callback(lambda _: done.set())
        mean = self.steps(lambda _: done.is_set(), 0)
        future.result()
        return mean


def measure_loop(options, ours, folder, name="uniform"):
    """Times the steps of a loop, alone and while a save is in flight."""
    state, files, peers = STATES[name](), Files(folder), working_peers(folder, [1], options.processes)
    spare = max(1, CORES - 1)
    places = {f"{spare} of {CORES} cores": spare, f"{CORES} of {CORES} cores": CORES}
    table = {}
    for place, workers in places.items():
        loop = Loop(workers)
        table[f"ckpt's loop, {place}, alone"] = lambda workers=workers: ours.ask(
            "step-alone", folder, workers=workers)["seconds"]
        for writers in (2, ours.threads):
            table[f"ckpt's loop, {place}, saving, {writers} thr"] = lambda workers=workers, writers=writers: files.use(
                lambda path: ours.ask("step-saving", path, threads=writers, state=name, workers=workers, copiers=CORES)
                ["seconds"], ".safetensors")
        table[f"torch's loop, {place}, alone"] = loop.alone
        for peer in peers:
            table[f"torch's loop, {place}, {peer}"] = lambda loop=loop, peer=peer: files.use(
                lambda path: loop.saving(peers[peer], state, path))
    seconds = interleave(table, options.rounds)
    title = "a step of a loop while a save is in flight"
    tables, aims = {title: list(rows(seconds, next(iter(table)), "warm", 0))}, []
    for (place, workers), whose in itertools.product(places.items(), ("ckpt's loop", "torch's loop")):
        has_aim = whose.startswith("ckpt") and workers < CORES
        for name in (name for name in table if name.startswith(f"{whose}, {place}") and not name.endswith("alone")):
            ratio = median_ratio(seconds[name], seconds[f"{whose}, {place}, alone"])
            aims.append((f"{name}: a step / alone", ratio, *(("≤", 1.05) if has_aim else ("is", "reported"))))
    return tables, aims


def arguments():
    parser = argparse.ArgumentParser(description="Compares saving in the background by ckpt with async_save.")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--threads", type=int, default=8, help="ckpt's, when it writes (default: 8)")
    parser.add_argument("--dir", type=Path, help="where the files go: a disk (default: Cargo's target)")
    parser.add_argument("--json", type=Path, help="where the tables go as JSON (default: Cargo's target)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--processes", action="store_true", help="async_save in processes as well: it may hang")
    return parser.parse_args()


def measure(options, programs):
    """Measures one part, prints its tables, and returns them and the aims with what was reached."""
    ours = Ours(programs / "examples" / "compare", options.threads)
    with tempfile.TemporaryDirectory(dir=options.dir or programs, prefix="compare-") as place:
        folder = Path(place)
        prepare_torch(folder)
        if options.only == "loop":
            tables, aims = measure_loop(options, ours, folder)
        else:
            tables, aims = measure_saving(options, ours, folder, options.only)
        torch.distributed.destroy_process_group()
    for title, table in tables.items():
        print_rows(title, table)
    return tables, say_aims(aims)


def main():
    options = arguments()
    programs = build()
    more = ["--processes"] if options.processes else []
    if options.only:
        tables, reached = measure(options, programs)
    else:
        tables, reached = measure_parts(__file__, PARTS, options, programs, more)
    result = {"schema": "ckpt.compare/1", "machine": machine(), "rounds": options.rounds,
              "threads": options.threads, "tables": tables, "aims": reached}
    write_json(options.json or programs / "compare-async.json", result)


if __name__ == "__main__":
    main()
