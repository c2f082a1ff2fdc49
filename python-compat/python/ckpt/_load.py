"""Loading one file."""

from __future__ import annotations

import importlib
import os
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
        map_location: Where tensors go: a device, or its name. Tensors that share memory share it there too. Default:
            they are on the CPU, wherever they were saved from.
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
        KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second.
        ValueError: `trusted` with `tensors` or `required_keys`; or `map_location` is no device: what `torch.load` takes
            beside one says where a tensor was.

    >>> import ckpt, torch, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "step-100.pt"
    >>> saved = ckpt.save({"model": {"w": torch.ones(2, 3)}, "step": 100}, path)
    >>> ckpt.load(path, tensors="model.*")["model"]["w"].shape
    torch.Size([2, 3])
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
        if arguments["tensors"] or arguments["required_keys"]:
            raise ValueError("with trusted=True the whole file is loaded: tensors and required_keys can't be asked for")
        return _trusted(path, verify, map_location)
    try:
        return _native.load(path, arguments, device_of(map_location))
    except _native.Unfit as unfit:
        return _by_torch(path, str(unfit.args[1]), verify, map_location, allowed)
    except IncompatibleError as error:
        if (error.finding or {}).get("code") != "needs-trust":
            raise
        raise NeedsTrustError(error.checkpoint_path, f"{error.message}; {_REMEDY}", error.finding) from None


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
        KeyboardInterrupt: Ctrl-C came. The targets may be partly overwritten.
    """
    import torch

    if isinstance(targets, torch.nn.Module):
        targets = targets.state_dict()
    wanted = {f"{prefix}{name}": _tensor(name, value) for name, value in targets.items()}
    if not strict:
        from ._verify import info

        there = {tensor.name for tensor in info(path).tensors}
        wanted = {name: tensor for name, tensor in wanted.items() if name in there}
    # Others (on a GPU, strided, tied to one of the first) are filled from a buffer, when all bytes have passed.
    straight = _apart_from_each_other(wanted)
    apart = {
        name: torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format)
        for name, tensor in wanted.items()
        if name not in straight
    }
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


def _apart_from_each_other(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those that can be filled where they are, at the same time: of several that share bytes, the first."""
    found: dict[str, Any] = {}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: int(item[1].data_ptr())):
        if is_plain_memory(tensor) and (tensor.nbytes == 0 or tensor.data_ptr() >= end):
            found[name] = tensor
            end = max(end, tensor.data_ptr() + tensor.nbytes)
    return found


def is_plain_memory(tensor: Any) -> bool:
    """Returns whether a tensor's elements are the bytes of its memory, in order, on the host."""
    is_turned = tensor.is_conj() or tensor.is_neg()
    return bool(tensor.device.type == "cpu" and tensor.is_contiguous() and not is_turned)


def device_of(map_location: Any) -> Any:
    """Returns a device; ``None`` for the CPU, where everything is anyway."""
    if map_location is None:
        return None
    import torch

    if not isinstance(map_location, (str, int, torch.device)):
        kind = type(map_location).__name__
        raise ValueError(f"map_location is a device or its name, and no {kind}: all tensors come from the CPU")
    device = torch.device(map_location)
    return None if device.type == "cpu" else device


def _by_torch(path: PathLike, what: str, verify: bool, map_location: Any, allowed_globals: list[str]) -> Any:
    """Loads what only PyTorch can make of a safe file, once every byte was verified.

    What the caller allowed by name is imported, and made by PyTorch's safe reader.
    """
    _checked(path, verify)
    import torch

    try:
        # What was registered before stays: PyTorch would forget it at the end of the block.
        known = torch.serialization.get_safe_globals()
        allowed = [one for one in map(_named, allowed_globals) if one not in known]
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location=device_of(map_location) or "cpu", weights_only=True)
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

        # A missing file isn't a damaged one.
        os.stat(path)
        # Level `container` reads the structure alone; every tensor's bytes are read at level `load`. What only trust
        # or PyTorch itself can judge is no damage.
        report = check(path, level="load")
        if report.verdict != "incompatible":
            require_valid(report)
