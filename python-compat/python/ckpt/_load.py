"""Loading one file."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import _native
from ._options import PathLike, words
from .errors import IncompatibleError, NeedsTrustError


def load(
    path: PathLike,
    *,
    map_location: Any = None,
    tensors: str | Iterable[str] | None = None,
    required_keys: str | Iterable[str] | None = None,
    verify: bool = True,
    allowed_globals: Iterable[str] = (),
    trusted: bool = False,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Any:
    """Loads a checkpoint: a safetensors file, or one that `torch.save` or `ckpt.save` wrote.

    Every byte that has a checksum is held against it while it is read. Nothing is executed.

    Args:
        path: The file.
        map_location: Where tensors go: a device. Default: they are on the CPU, wherever they were saved from.
        tensors: Load only these, by name or pattern. Each is also required.
        required_keys: What the checkpoint must have; looked at before any tensor is read.
        verify: Whether bytes are held against their checksums.
        allowed_globals: Globals accepted in a pickle by name (``"module.name"``), as data.
        trusted: Executes the pickle, as ``torch.load(weights_only=False)`` does, once every byte was verified. Only
            for files whose writer you trust.
        threads: How many threads read.
        progress: Hears, from any thread, how many further bytes were read.

    Raises:
        CorruptedError: The bytes are damaged; the message says what and where.
        IncompatibleError: The bytes are fine, and of no use here.
        NeedsTrustError: The file holds objects that only a pickle can make; the message names the first.
        OSError: The file can't be read.
    """
    allowed = words(allowed_globals)
    arguments = {
        "tensors": words(tensors),
        "required_keys": words(required_keys),
        "verify": verify,
        "allowed_globals": allowed,
        "threads": threads,
        "progress": progress,
    }
    if trusted:
        return _trusted(path, verify, map_location)
    try:
        value = _native.load(path, arguments)
    except _native.Unfit as unfit:
        value = _by_torch(path, str(unfit.args[1]), verify, allowed)
    except IncompatibleError as error:
        if (error.finding or {}).get("code") != "needs-trust":
            raise
        raise NeedsTrustError(error.checkpoint_path, f"{error.message}; {_REMEDY}", error.finding) from None
    return value if map_location is None else moved(value, map_location)


_REMEDY = "allow it by name with allowed_globals, or pass trusted=True if you trust who wrote the file"


def load_into(
    path: PathLike,
    targets: Mapping[str, Any],
    *,
    strict: bool = True,
    prefix: str = "",
    verify: bool = True,
    threads: int | None = None,
) -> None:
    """Fills tensors that are there already, as those of ``model.state_dict()``, without a second copy.

    Names, dtypes and shapes are held against the checkpoint first: where any differs, nothing is touched.

    Args:
        path: The file.
        targets: Tensors by name. A module counts as its ``state_dict()``.
        strict: Whether each target must be in the file. Tensors of the file that aren't among the targets are left
            there in any case.
        prefix: What the names begin with in the file: ``"model."``.
        verify: Whether bytes are held against their checksums.
        threads: How many threads read.

    Raises:
        CheckpointError: As `load`. Where damage was found after the first bytes were written, the message says that
            the targets are partly overwritten.
        ValueError: A target isn't a tensor.
    """
    import torch

    if isinstance(targets, torch.nn.Module):
        targets = targets.state_dict()
    wanted = {f"{prefix}{name}": _tensor(name, value) for name, value in targets.items()}
    if not strict:
        from ._verify import info

        there = {tensor.name for tensor in info(path).tensors}
        wanted = {name: tensor for name, tensor in wanted.items() if name in there}
    # Others (on a GPU, strided) are filled from a buffer, when all bytes have passed.
    straight = {name: tensor for name, tensor in wanted.items() if _is_plain(tensor)}
    apart = {name: torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format)
             for name, tensor in wanted.items() if name not in straight}
    arguments = {
        "tensors": [],
        "required_keys": [],
        "verify": verify,
        "allowed_globals": [],
        "threads": threads,
        "progress": None,
    }
    _native.load_into(path, list({**straight, **apart}.items()), arguments)
    with torch.no_grad():
        for name, buffer in apart.items():
            wanted[name].copy_(buffer)


def _tensor(name: str, value: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        raise ValueError(f"'{name}' is no tensor, and can't be filled: {type(value).__name__}")
    return value.detach()


def _is_plain(tensor: Any) -> bool:
    return bool(tensor.device.type == "cpu" and tensor.is_contiguous())


def moved(value: Any, device: Any) -> Any:
    """Brings the tensors of a value to a device; what several places share stays shared."""
    import torch

    made: dict[int, Any] = {}

    def move(item: Any) -> Any:
        if id(item) not in made:
            made[id(item)] = (moved_one(item), item)
        return made[id(item)][0]

    def moved_one(item: Any) -> Any:
        if isinstance(item, torch.nn.Parameter):
            return torch.nn.Parameter(item.detach().to(device), item.requires_grad)
        if isinstance(item, torch.Tensor):
            return item.to(device)
        if isinstance(item, dict):
            for key in item:
                item[key] = move(item[key])
            return item
        if type(item) is list:
            item[:] = [move(one) for one in item]
            return item
        return tuple(move(one) for one in item) if type(item) is tuple else item

    return move(value)


def _by_torch(path: PathLike, what: str, verify: bool, allowed_globals: list[str]) -> Any:
    """Loads what only PyTorch can make of a safe file, once every byte was verified.

    What the caller allowed by name is imported, and made by PyTorch's safe reader.
    """
    _checked(path, verify)
    import torch

    try:
        with torch.serialization.safe_globals([_named(name) for name in allowed_globals]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise IncompatibleError(path, f"it holds {what}, and PyTorch's safe reader says: {error}") from error


def _named(name: str) -> Any:
    """Returns the class or function of a name (``"module.name"``)."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _trusted(path: PathLike, verify: bool, map_location: Any) -> Any:
    _checked(path, verify)
    import torch

    return torch.load(path, map_location=map_location if map_location is not None else "cpu", weights_only=False)


def _checked(path: PathLike, verify: bool) -> None:
    """Holds every byte against its checksum. That the pickle needs trust is no damage."""
    if verify:
        from ._verify import require_valid
        from ._verify import verify as check

        report = check(path, level="load")
        reason = report.reason
        if reason is None or (reason.verdict == "incompatible" and reason.level == "load"):
            return
        require_valid(report)
