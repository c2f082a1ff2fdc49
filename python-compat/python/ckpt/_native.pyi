"""The native half of `ckpt`: for the package alone. What the functions do is said where the package calls them."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = [
    "Unfit",
    "inspect",
    "load",
    "load_into",
    "remove_file",
    "save",
    "save_pickled",
    "verify",
    "verify_all",
    "write_file",
]

_Path = str | os.PathLike[str]

# What `options.rs` takes apart: all keys are there.
_Arguments = Mapping[str, object]

class Unfit(Exception):
    """A value that no state can hold: ``args`` are where it is, and what it is."""

def save(value: object, path: _Path, arguments: _Arguments) -> dict[str, Any]: ...
def save_pickled(
    pickle: bytes, storages: Sequence[object], path: _Path, arguments: _Arguments
) -> dict[str, Any]: ...
def write_file(path: _Path, bytes: bytes) -> None: ...
def remove_file(path: _Path) -> bool: ...
def load(path: _Path, arguments: _Arguments, device: object = None) -> Any: ...
def load_into(path: _Path, tensors: Sequence[tuple[str, object]], arguments: _Arguments) -> None: ...
def verify(path: _Path, arguments: _Arguments) -> dict[str, Any]: ...
def verify_all(
    paths: Sequence[_Path], arguments: _Arguments, hear: Callable[[dict[str, Any]], object]
) -> None: ...
def inspect(path: _Path) -> dict[str, Any]: ...
