"""Copies from accelerators to the host, for saves in the background.

What the native half can't ask CUDA for, PyTorch asks it: pinned memory, and copies on a stream of their own.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch


class Accelerator:
    """A device, with the stream that was current on it when this was made.

    Any other device than CUDA's is played: its copies are ordinary ones.

    Args:
        device: Its name: ``"cuda:0"``.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        self.stream: Any = torch.cuda.current_stream(self.device) if self.is_cuda else None

    def pinned(self, size: int) -> Pinned:
        """Returns memory of the host, filled with zeros, that copies from the device are fast into."""
        return Pinned(size, self.is_cuda)

    def copy(self, copies: list[tuple[Any, int, int, int]]) -> None:
        """Copies, and returns when all bytes are there.

        The copies wait for all that the stream was given before, and not for one another.

        Args:
            copies: From which storage, from which byte on, to which address, how many bytes.
        """
        if not self.is_cuda:
            _copy(copies, self.device)
            return
        side = torch.cuda.Stream(self.device)
        side.wait_stream(self.stream)
        with torch.cuda.stream(side):
            _copy(copies, self.device)
        side.synchronize()


class Pinned:
    """Memory that is page-locked where it is, and so takes no more of it than was asked for.

    PyTorch's own pinned memory is rounded up to a power of two: twice the state, at worst.
    """

    def __init__(self, size: int, is_locked: bool) -> None:
        self.is_locked = False
        self.memory = torch.zeros(size, dtype=torch.uint8, device="cpu").untyped_storage()
        if is_locked and size > 0:
            torch.cuda.check_error(int(_runtime().cudaHostRegister(self.memory.data_ptr(), size, 0)))
            self.is_locked = True

    def data_ptr(self) -> int:
        """Returns the address."""
        return self.memory.data_ptr()

    def nbytes(self) -> int:
        """Returns the length in bytes."""
        return self.memory.nbytes()

    def __del__(self) -> None:
        if self.is_locked:
            _runtime().cudaHostUnregister(self.memory.data_ptr())


def _runtime() -> Any:
    return torch.cuda.cudart()


def _copy(copies: list[tuple[Any, int, int, int]], device: torch.device) -> None:
    for storage, offset, address, size in copies:
        source = torch.empty(0, dtype=torch.uint8, device=device).set_(storage, offset, (size,), (1,))
        target = torch.frombuffer((ctypes.c_char * size).from_address(address), dtype=torch.uint8)
        target.copy_(source, non_blocking=True)
