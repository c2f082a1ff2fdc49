#!/usr/bin/env python3
"""Make the small fixtures of this folder with the real PyTorch and safetensors.

They are as small as the writers allow, so that a test can try every change of every byte.
Made with torch 2.13.0, safetensors 0.8.0 and the huggingface_hub of transformers 5.23.0; run it again only to add a file.
"""

import os
import shutil
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file
from torch.distributed.checkpoint import filesystem
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

HERE = Path(__file__).parent


def state() -> dict:
    """Two tensors that differ in every byte, and plain values."""
    return {
        "weight": torch.tensor([[1.5, -2.25], [3.125, 4.75]]),
        "bias": torch.tensor([258, -772], dtype=torch.int64),
        "epoch": 3,
        "name": "small",
    }


def save_distributed(name: str, state: dict, **options) -> None:
    """Save with DCP under a relative name and a fixed id: PyTorch puts both into the metadata."""
    filesystem._generate_uuid = lambda: "00000000-0000-4000-8000-000000000000"
    writer = filesystem.FileSystemWriter(Path("dcp", name), thread_count=options.pop("thread_count", 1))
    dcp.save(state, storage_writer=writer, **options)


def save_as_rank(rank: int) -> None:
    """Save two tensors that two ranks share, by rows and by columns, and what each has whole."""
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29611")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    whole = torch.arange(1, 16, dtype=torch.float32).reshape(3, 5)
    state = {
        "rows": distribute_tensor(whole, mesh, [Shard(0)]),
        "columns": distribute_tensor(whole, mesh, [Shard(1)]),
        "same": torch.tensor([7, 8]),
        "step": 3,
    }
    save_distributed("ranks", state)
    save_distributed("apart", state, use_collectives=False)
    dist.destroy_process_group()


def main() -> None:
    os.chdir(HERE)
    shutil.rmtree("dcp", ignore_errors=True)
    save_distributed("alone", {"model": state()}, no_dist=True, thread_count=2)
    mp.spawn(save_as_rank, nprocs=2)
    torch.save(state(), HERE / "small.pt")
    torch.save(state(), HERE / "small.legacy.pt", _use_new_zipfile_serialization=False)
    tensors = {key: value for key, value in state().items() if isinstance(value, torch.Tensor)}
    save_file(tensors, HERE / "small.safetensors", metadata={"format": "pt"})
    save_torch_state_dict(tensors, HERE / "sharded", max_shard_size=16)


if __name__ == "__main__":
    main()
