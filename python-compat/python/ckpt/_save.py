"""Saving one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import _native
from ._options import PathLike, position_text
from .records import Saved


def save(
    value: Any,
    path: PathLike,
    *,
    format: str | None = None,
    validate: bool = True,
    level: str = "load",
    durable: bool = True,
    done_marker: bool = False,
    overwrite: bool = True,
    replace_link: bool = False,
    algorithm: str = "crc64-nvme",
    position: int | str | None = None,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Saved:
    """Saves a value: atomically, durably, verified, and with the proof of its contents inside.

    The file is written beside its destination, synced, read back from the device and verified, and only then renamed.
    Whatever happens meanwhile, at `path` is the old file whole or the new one whole. Tensors are read where they are,
    without a copy; don't change them before `save` returns, and above
    all don't resize their storages, which would free the memory that is read.

    Args:
        value: A ``state_dict``, or any nesting of dicts, lists, plain values and tensors. A ``.pt`` takes everything
            that `torch.save` takes: what no safe reader knows is pickled, and must be trusted to be loaded again. In
            a ``.safetensors``, NumPy arrays have up to 1 MiB each.
        path: Where. ``.safetensors``, or ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` for PyTorch's ZIP archive, which
            `torch.load` reads.
        format: ``"safetensors"``, ``"torch"`` or ``"torch-flat"``. Default: as the extension says.
        validate: Whether the file is read back and verified before it takes its name.
        level: How deep: ``"size"``, ``"container"`` or ``"load"``. What must be trusted is verified by its bytes alone.
        durable: Whether to return only when the file would survive a loss of power.
        done_marker: Whether to make a completion marker (``NAME.done``).
        overwrite: Whether an existing file is replaced; otherwise that is an error.
        replace_link: Whether a link at `path` is replaced itself, and what it leads to stays. Otherwise it is followed.
        algorithm: What the proof's digests are computed with: ``"crc64-nvme"`` or ``"blake3"``.
        position: Where in the work this is: a step's number, or the name of a stage.
        metadata: Texts of your own, which stand in the file.
        threads: How many threads write. Default: 8; they wait for the device most of the time.
        progress: Hears, from any thread, how many further bytes were written.

    Raises:
        ValueError: The format can't hold a value; the message has the keys that lead to it.
        OSError: The destination can't be written, or the disk is full. The old file is as it was.
        CheckpointError: What was written couldn't be read back as it was. The old file is as it was.
        KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second. The old file is as it was, unless the
            new one had just taken its place.

    >>> import ckpt, torch, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "step-100.pt"
    >>> saved = ckpt.save({"model": {"w": torch.ones(2, 3)}, "step": 100}, path, position=100)
    >>> saved.validated, torch.load(path)["step"]
    ('load', 100)
    """
    arguments = {
        "format": format,
        "validate": validate,
        "level": level,
        "durable": durable,
        "done_marker": done_marker,
        "overwrite": overwrite,
        "replace_link": replace_link,
        "algorithm": algorithm,
        "position": position_text(position),
        "metadata": dict(metadata or {}),
        "threads": threads,
        "progress": progress,
    }
    try:
        return Saved.of(_native.save(value, path, arguments))
    except _native.Unfit as unfit:
        where, what = unfit.args
        if format not in (None, "torch") or (format is None and str(path).lower().endswith(".safetensors")):
            place = f"'{where}' is" if where else "it is"
            raise ValueError(f"{place} {what}: only a .pt holds that, through PyTorch's own serializer") from None
    from ._pickled import pickled

    data, storages = pickled(value)
    return Saved.of(_native.save_pickled(data, storages, path, arguments))
