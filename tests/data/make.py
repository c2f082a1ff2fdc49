#!/usr/bin/env python3
"""Make the small fixtures of this folder with the real PyTorch and safetensors.

They are as small as the writers allow, so that a test can try every change of every byte.
Made with torch 2.13.0, safetensors 0.8.0 and the huggingface_hub of transformers 5.23.0; run it again only to add a file.
"""

from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

HERE = Path(__file__).parent


def state() -> dict:
    """Two tensors that differ in every byte, and plain values."""
    return {
        "weight": torch.tensor([[1.5, -2.25], [3.125, 4.75]]),
        "bias": torch.tensor([258, -772], dtype=torch.int64),
        "epoch": 3,
        "name": "small",
    }


def main() -> None:
    torch.save(state(), HERE / "small.pt")
    torch.save(state(), HERE / "small.legacy.pt", _use_new_zipfile_serialization=False)
    tensors = {key: value for key, value in state().items() if isinstance(value, torch.Tensor)}
    save_file(tensors, HERE / "small.safetensors", metadata={"format": "pt"})
    save_torch_state_dict(tensors, HERE / "sharded", max_shard_size=16)


if __name__ == "__main__":
    main()
