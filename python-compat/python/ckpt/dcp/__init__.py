"""`torch.distributed.checkpoint` through ckpt: many ranks, one checkpoint, committed all at once and proven.

`Writer` and `Reader` go where PyTorch has its own: ``dcp.save(state_dict, storage_writer=ckpt.dcp.Writer(path))``. What
`Writer` writes, PyTorch's `FileSystemReader` reads, and `Reader` reads what PyTorch's `FileSystemWriter` wrote. `save`,
`load` and `async_save` do the same in one call, and raise `Exception`s: PyTorch's own functions raise a
`CheckpointException`, which is none.

>>> import ckpt.dcp, torch, pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "step-100"
>>> _ = ckpt.dcp.save({"w": torch.ones(3), "step": 100}, path)
>>> state = {"w": torch.zeros(3), "step": 0}
>>> ckpt.dcp.load(state, path)
>>> state["w"].tolist(), state["step"]
([1.0, 1.0, 1.0], 100)
"""

from ._calls import async_save, load, save
from ._read import Reader
from ._resume import last_verified, verify
from ._write import Writer

__all__ = ["Reader", "Writer", "async_save", "last_verified", "load", "save", "verify"]
