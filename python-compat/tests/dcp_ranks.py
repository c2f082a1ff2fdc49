"""One rank of a job: what `test_dcp.py` starts several of.

    dcp_ranks.py CASE DIRECTORY

Each rank writes what it found to DIRECTORY/CASE-RANK.json.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import ckpt.dcp

warnings.simplefilter("ignore")


def values(seed: int) -> dict[str, torch.Tensor]:
    """The tensors that a checkpoint holds, whole: the same on every rank."""
    generator = torch.Generator().manual_seed(seed)
    return {
        # Neither divides by 4, nor by 2.
        "rows": torch.randn(1031, 130, generator=generator),
        "columns": torch.randn(6, 37, generator=generator).to(torch.bfloat16),
        "whole": torch.randn(400_001, generator=generator),
        "few": torch.arange(3) * seed,
    }


def state(seed: int, blank: bool = False) -> dict[str, Any]:
    """A state that is spread over the ranks."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    places = {"rows": Shard(0), "columns": Shard(1), "whole": Replicate(), "few": Shard(0)}
    tensors: dict[str, Any] = {
        name: distribute_tensor(torch.zeros_like(value) if blank else value, mesh, [places[name]])
        for name, value in values(seed).items()
    }
    return {"model": tensors, "step": None if blank else seed, "lr": {"group": None if blank else [0.1, seed]}}


def is_same(loaded: dict[str, Any], seed: int) -> bool:
    """Whether a loaded state is, to the bit, the one that was saved."""
    whole = {
        name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in loaded["model"].items()
    }
    tensors = all(torch.equal(whole[name], value) for name, value in values(seed).items())
    return tensors and loaded["step"] == seed and loaded["lr"] == {"group": [0.1, seed]}


def failure(call: Any) -> dict[str, Any]:
    """What a call raises."""
    try:
        call()
    except (Exception, CheckpointException) as error:
        return {"kind": type(error).__name__, "text": str(error), "is_exception": isinstance(error, Exception)}
    return {"kind": None, "text": "", "is_exception": True}


def save(root: Path) -> dict[str, Any]:
    """Four ranks save; each way in which that can fail fails on all of them."""
    found: dict[str, Any] = {}
    ckpt.dcp.save(state(1), root / "step-1", position=1)
    dist.barrier()
    found["again"] = failure(lambda: ckpt.dcp.save(state(2), root / "step-1"))
    found["again_bare"] = failure(lambda: dcp.save(state(2), storage_writer=ckpt.dcp.Writer(root / "step-1")))
    if dist.get_rank() == 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    found["disk"] = failure(lambda: ckpt.dcp.save(state(2), root / "step-2"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    dist.barrier()
    found["after_disk"] = sorted(path.name for path in root.iterdir() if not path.name.endswith(".json"))
    dist.barrier()
    background = [ckpt.dcp.async_save(state(step), root / f"step-{step}") for step in (3, 4)]
    for future in background:
        future.result()
    dist.barrier()
    found["last"] = str(ckpt.dcp.last_verified(root))
    dcp.save(state(5), storage_writer=dcp.FileSystemWriter(root / "torch-5"))
    loaded = state(4, blank=True)
    ckpt.dcp.load(loaded, root / "step-4")
    found["loaded"] = is_same(loaded, 4)
    return found


def load(root: Path) -> dict[str, Any]:
    """Fewer ranks load what four have saved, each by its own reader and by the other's."""
    found: dict[str, Any] = {"last": str(ckpt.dcp.last_verified(root))}
    for name, seed in (("step-1", 1), ("step-4", 4), ("torch-5", 5)):
        loaded = state(seed, blank=True)
        ckpt.dcp.load(loaded, root / name)
        found[name] = is_same(loaded, seed)
    theirs = state(1, blank=True)
    dcp.load(theirs, storage_reader=dcp.FileSystemReader(root / "step-1"))
    found["by_torch"] = is_same(theirs, 1)
    wrong = state(1, blank=True)
    wrong["model"]["rows"] = wrong["model"]["rows"].to(torch.float64)
    found["dtype"] = failure(lambda: ckpt.dcp.load(wrong, root / "step-1"))
    return found


def killed(root: Path) -> dict[str, Any]:
    """A rank is killed while all of them write."""
    ckpt.dcp.save(state(1), root / "step-1")
    write = ckpt.dcp.Writer.write_data

    def die(writer: ckpt.dcp.Writer, plan: Any, planner: Any) -> Any:
        if dist.get_rank() == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(writer, plan, planner)

    ckpt.dcp.Writer.write_data = die  # type: ignore[method-assign]
    return {"save": failure(lambda: ckpt.dcp.save(state(2), root / "step-2"))}


def process(root: Path) -> dict[str, Any]:
    """A process of its own saves."""
    kind = dcp.state_dict_saver.AsyncCheckpointerType.PROCESS
    for step in (1, 2):
        ckpt.dcp.async_save(state(step), root / f"step-{step}", async_checkpointer_type=kind).result()
    return {"last": str(ckpt.dcp.last_verified(root))}


def main() -> None:
    case, root = sys.argv[1], Path(sys.argv[2])
    dist.init_process_group("gloo")
    found = {"save": save, "load": load, "killed": killed, "process": process}[case](root)
    (root / f"{case}-{os.environ['RANK']}.json").write_text(json.dumps(found))
    if case == "killed":
        return
    # Nobody leaves while another still needs it.
    dist.barrier()
    dist.destroy_process_group()
    if case != "process":
        # Threads of Gloo's may outlive the group, and end a process with SIGABRT that takes itself down on its way out.
        os._exit(0)


if __name__ == "__main__":
    main()
