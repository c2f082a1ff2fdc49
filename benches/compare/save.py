#!/usr/bin/env python3
"""Compares saving and loading by ckpt with other programs, and with what the machine can do at most.

Run it on a quiet machine, with a Python that has torch and safetensors (requirements-dev.txt):

    python benches/compare/save.py [--rounds 7] [--dir FOLDER] [--json FILE] [--only PART]

Three states, of random numbers: `uniform`, 1 GiB in 64 tensors of float32; `gpt2`, the parameters of a
GPT-2 in bfloat16 with Adam's moments in float32, many of them small; `small`, 10,000 tensors of 4 KiB.
Every contender saves every state once a round, in rotating order, each time under a new name in the
same folder; the file is removed outside of the timing. Peers run at one thread and at all, and the
better of the two counts; each is shown as its users call it, and with the fsync that makes it durable.

Memory that was never touched is slow behind a hypervisor that takes back idle pages. Therefore twice
the state's size is touched and freed before each timing ("warm memory"); the same table without that is
shown as well ("cold memory").

Each part runs in a process of its own. Loading is into memory of one's own, from a file that is in the page
cache, and from one that isn't.
A number in a table is a median; a ratio is the median of the rounds' ratios.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp

from common import (
    Ours, best, build, interleave, machine, make_cached, make_cold, measure_parts, median_ratio, print_rows, rows,
    say_aims, timed, write_json,
)

CORES = os.cpu_count()
OURS = "ckpt, .safetensors"
OURS_TORCH = "ckpt, .pt"
RAW = "limit: direct writes"
SHAPES_OF_A_LAYER = [(768,), (768,), (768, 2304), (2304,), (768, 768), (768,), (768,), (768,), (768, 3072), (3072,),
                     (3072, 768), (768,)]


def uniform():
    torch.manual_seed(0)
    return {f"layer.{i}": torch.randn(4 << 20) for i in range(64)}


def gpt2():
    """Weights, and two moments of each: 12 layers, embeddings, the last norm."""
    torch.manual_seed(0)
    shapes = {f"h.{layer}.{i}": shape for layer in range(12) for i, shape in enumerate(SHAPES_OF_A_LAYER)}
    shapes |= {"wte": (50257, 768), "wpe": (1024, 768), "ln_f.weight": (768,), "ln_f.bias": (768,)}
    state = {f"model.{name}": torch.randn(shape).to(torch.bfloat16) for name, shape in shapes.items()}
    for moment in ("exp_avg", "exp_avg_sq"):
        state |= {f"optimizer.{name}.{moment}": torch.randn(shape) for name, shape in shapes.items()}
    return state


def small():
    torch.manual_seed(0)
    return {f"tensor.{i}": torch.randn(1024) for i in range(10_000)}


STATES = {"uniform": uniform, "gpt2": gpt2, "small": small}
PARTS = (*STATES, "load", "peak")


class Files:
    """New names in one folder, whose files go when the timing is over."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    def time(self, suffix, save):
        """Returns the seconds that `save` takes; it is given a path, and returns seconds or nothing."""
        path = self.folder / f"state-{next(self.numbers)}{suffix}"
        seconds, own = timed(lambda: save(path))
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        # What freeing the file leaves to do is nobody else's time.
        os.sync()
        return own or seconds


def sync(path):
    """What makes a new file durable: itself, and the name in its folder."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def with_threads(threads, work):
    torch.set_num_threads(threads)
    return work()


def peers(state):
    """Returns who else saves, by name: the suffix and a function of a path."""
    crc = torch.serialization.set_crc32_options

    def torch_save(path, with_crc=True):
        crc(with_crc)
        torch.save(state, path)
        crc(True)

    def distributed(path, durable):
        writer = dcp.FileSystemWriter(path, sync_files=durable)
        dcp.save(state, storage_writer=writer, no_dist=True)

    def safe(path):
        safetensors.torch.save_file(state, path)

    def synced(save):
        return lambda path: (save(path), sync(path))

    return {
        "safetensors": (".safetensors", safe),
        "safetensors + fsync": (".safetensors", synced(safe)),
        "torch.save": (".pt", torch_save),
        "torch.save + fsync": (".pt", synced(torch_save)),
        "torch.save without CRC + fsync": (".pt", synced(lambda path: torch_save(path, False))),
        "distributed.checkpoint, no fsync": ("", lambda path: distributed(path, False)),
        "distributed.checkpoint": ("", lambda path: distributed(path, True)),
    }


def savers(ours, files, name, state, size):
    """Returns what is timed when a state is saved."""
    def our(path, **more):
        return ours.ask("save", path, state=name, **more)["seconds"]

    table = {
        OURS: lambda: files.time(".safetensors", our),
        OURS_TORCH: lambda: files.time(".pt", our),
        "ckpt, .safetensors, BLAKE3": lambda: files.time(
            ".safetensors", lambda path: our(path, algorithm="blake3")),
        "ckpt, .safetensors, validated": lambda: files.time(
            ".safetensors", lambda path: our(path, validate=True)),
        RAW: lambda: files.time(
            ".raw", lambda path: ours.ask("write-direct", path, threads=4, bytes=size)["seconds"]),
        "limit: copy of memory": lambda: ours.ask("copy", files.folder, threads=CORES, bytes=size)["seconds"],
    }
    for peer, (suffix, save) in peers(state).items():
        for threads in (1, CORES):
            table[f"{peer}, {threads} thr"] = lambda suffix=suffix, save=save, threads=threads: with_threads(
                threads, lambda: files.time(suffix, lambda path: (save(path), None)[1]))
    if shutil.which("fio"):
        table["limit: fio"] = lambda: files.time(".fio", lambda path: fio(path, size))
    return table


def fio(path, size):
    """Writes as fio does by default, directly, and returns the seconds that it says."""
    words = ["fio", "--name=write", f"--filename={path}", f"--size={size // 4096 * 4096}", "--rw=write", "--bs=4M",
             "--direct=1", "--ioengine=libaio", "--iodepth=8", "--end_fsync=1", "--output-format=terse"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return int(said.split(";")[48]) / 1e3


def touch(size):
    """Touches and frees memory, so that the next to allocate some gets pages that the machine has."""
    numpy.ones(2 * size // 8)


def aims_of_saving(seconds, title):
    def peer(name):
        return best(seconds, [f"{name}, {threads} thr" for threads in (1, CORES)])

    yield f"{title}: limit's time / ours", median_ratio(seconds[RAW], seconds[OURS]), "≥", 0.95
    yield f"{title}: limit's time / ours, .pt", median_ratio(seconds[RAW], seconds[OURS_TORCH]), "≥", 0.95
    for name, aim in (("safetensors + fsync", 1.5), ("torch.save + fsync", 3), ("distributed.checkpoint", 3)):
        yield f"{title}: {name}'s time / ours", median_ratio(peer(name), seconds[OURS]), "≥", aim
    fastest = median_ratio(peer("torch.save without CRC + fsync"), seconds[OURS])
    yield f"{title}: torch.save without CRC's time / ours", fastest, "≥", 1
    validated = seconds["ckpt, .safetensors, validated"]
    extra = median_ratio(validated, seconds[OURS]) - 1
    yield f"{title}: validation's time / the save's", extra, "≤", 1.1


def aims_of_small(seconds):
    names = [f"{name} + fsync, {threads} thr" for name in ("safetensors", "torch.save") for threads in (1, CORES)]
    peer = best(seconds, names)
    for name in (OURS, OURS_TORCH):
        yield f"10,000 small tensors: better peer's time / {name}", median_ratio(peer, seconds[name]), "≥", 2


def loaders(ours, paths):
    """Returns what is timed when a state is loaded into memory of one's own."""
    def torch_load(path, threads):
        return with_threads(threads, lambda: timed(lambda: torch.load(path, weights_only=True))[0])

    def safe_load(path, threads):
        def load():
            return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}
        return with_threads(threads, lambda: timed(load)[0])

    table = {
        OURS: lambda: ours.time("load", paths["ckpt.safetensors"]),
        OURS_TORCH: lambda: ours.time("load", paths["ckpt.pt"]),
        "ckpt, torch.save's file": lambda: ours.time("load", paths["torch.pt"]),
        "ckpt verify, .safetensors": lambda: ours.time("verify-load", paths["ckpt.safetensors"]),
        "ckpt verify, .pt": lambda: ours.time("verify-load", paths["ckpt.pt"]),
        "zipfile.testzip": lambda: testzip(paths["torch.pt"]),
        "limit: direct read": lambda: ours.time("read-direct", paths["torch.pt"]),
    }
    for threads in (1, CORES):
        table[f"torch.load, {threads} thr"] = lambda threads=threads: torch_load(paths["torch.pt"], threads)
        table[f"safetensors + clone, {threads} thr"] = lambda threads=threads: safe_load(
            paths["peer.safetensors"], threads)
    return table


def testzip(path):
    import zipfile
    with zipfile.ZipFile(path) as archive:
        return timed(archive.testzip)[0]


def aims_of_loading(seconds, state, bound):
    peer = best(seconds, [f"torch.load, {threads} thr" for threads in (1, CORES)])
    for name in (OURS, OURS_TORCH):
        yield f"load, {state}: torch.load's time / {name}", median_ratio(peer, seconds[name]), "≥", bound
    if state == "cached":
        for suffix in (".safetensors", ".pt"):
            ratio = median_ratio(seconds["zipfile.testzip"], seconds[f"ckpt verify, {suffix}"])
            yield f"verify, {state}: testzip's time / ours, {suffix}", ratio, "≥", 4


def measure_saving(ours, folder, rounds, names):
    """Times the saving of each state, in warm memory and in cold."""
    for name in names:
        state = STATES[name]()
        size = sum(tensor.nbytes for tensor in state.values())
        files = Files(folder)
        for memory, prepare in (("warm", lambda: touch(size)), ("cold", lambda: None)):
            seconds = interleave(savers(ours, files, name, state, size), rounds, prepare)
            yield name, memory, size, seconds


def measure_loading(ours, folder, rounds):
    """Times the loading of the uniform state, cached and cold."""
    state = uniform()
    paths = {name: folder / name for name in ("ckpt.safetensors", "ckpt.pt", "torch.pt", "peer.safetensors")}
    for name in ("ckpt.safetensors", "ckpt.pt"):
        ours.ask("save", paths[name], state="uniform")
    torch.save(state, paths["torch.pt"])
    safetensors.torch.save_file(state, paths["peer.safetensors"])
    size = sum(tensor.nbytes for tensor in state.values())
    for path in paths.values():
        sync(path)
    del state

    def prepare(make):
        return lambda: (touch(size), [make(path) for path in paths.values()])

    yield "cached", size, interleave(loaders(ours, paths), rounds, prepare(make_cached))
    yield "cold", size, interleave(loaders(ours, paths), rounds, prepare(make_cold))


def peak_memory(programs, folder):
    """Saves in a process of its own, and yields by how much its memory grew beyond the state, in MiB."""
    for suffix in (".safetensors", ".pt"):
        for validate in (False, True):
            ours = Ours(programs / "examples" / "compare", CORES)
            answer = ours.ask("peak", folder / f"peak{suffix}", state="uniform", validate=validate)
            (folder / f"peak{suffix}").unlink()
            what = "validated" if validate else "not validated"
            yield f"peak memory beyond the state, {suffix}, {what} (MiB)", answer["bytes"] / 2**20, "≤", 64


def arguments():
    parser = argparse.ArgumentParser(description="Compares saving and loading by ckpt with other programs.")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--threads", type=int, default=8, help="ckpt's, when it writes (default: 8)")
    parser.add_argument("--dir", type=Path, help="where the files go: a disk (default: Cargo's target)")
    parser.add_argument("--json", type=Path, help="where the tables go as JSON (default: Cargo's target)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    return parser.parse_args()


def measure(options, programs):
    """Measures one part, prints its tables, and returns them and the aims with what was reached."""
    ours = Ours(programs / "examples" / "compare", options.threads)
    tables, aims = {}, []
    with tempfile.TemporaryDirectory(dir=options.dir or programs, prefix="compare-") as place:
        folder = Path(place)
        if options.only in STATES:
            for name, memory, size, seconds in measure_saving(ours, folder, options.rounds, [options.only]):
                title = f"{name}, saved, {memory} memory"
                tables[title] = list(rows(seconds, OURS, memory, size))
                aims += aims_of_small(seconds) if name == "small" else aims_of_saving(seconds, f"{name}, {memory}")
                print_rows(title, tables[title])
        elif options.only == "load":
            for state, size, seconds in measure_loading(ours, folder, options.rounds):
                title = f"uniform, loaded, {state}"
                tables[title] = list(rows(seconds, OURS, state, size))
                aims += aims_of_loading(seconds, state, 2 if state == "cached" else 1.15)
                print_rows(title, tables[title])
        else:
            aims += peak_memory(programs, folder)
    return tables, say_aims(aims)


def main():
    options = arguments()
    programs = build()
    if not shutil.which("fio") and options.only in (None, *STATES):
        print("skipped: fio (it isn't installed)")
    if options.only:
        tables, reached = measure(options, programs)
    else:
        tables, reached = measure_parts(__file__, PARTS, options, programs)
    result = {"schema": "ckpt.compare/1", "machine": machine(), "rounds": options.rounds,
              "threads": options.threads, "tables": tables, "aims": reached}
    write_json(options.json or programs / "compare-save.json", result)


if __name__ == "__main__":
    main()
