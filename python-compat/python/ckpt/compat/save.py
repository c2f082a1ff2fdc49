"""Saving as scripts expect it: one call, and the file is whole, valid, durable and marked as finished."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from .._options import PathLike
from .._save import save
from .validate import missing_keys
from .version import CHECKPOINT_VERSION


def atomic_save(
    checkpoint_dict: Any,
    output_file: PathLike,
    validate_after_save: bool = True,
    skip_validation: bool = False,
) -> Path:
    """Saves a checkpoint as PyTorch's ZIP archive: atomically, durably, validated, and with its completion marker.

    The file is written and validated under a temporary name. Whatever fails, at `output_file` is what was there before,
    or nothing where nothing was.

    Args:
        checkpoint_dict: The checkpoint; it isn't changed. In the file, ``version`` is added where there is none, and
            ``status`` is ``"complete"``. Tensors are written from where they are. Any value that can be pickled may be
            in it: through PyTorch's own serializer, and such a file needs trust to be loaded again.
        output_file: Where. Any name will do but one that ends in ``.safetensors``: readers go by it.
        validate_after_save: Whether the file is read back from the device and must be a dict with the key ``"data"``.
            What needs trust is validated by its bytes alone.
        skip_validation: Leaves validation out, whatever `validate_after_save` says.

    Returns:
        The path.

    Raises:
        RuntimeError: It wasn't saved: a value can't be pickled, the disk is full, or it isn't valid. The cause is the
            exception's ``__cause__``.
    """
    path = Path(output_file)
    validate = validate_after_save and not skip_validation
    try:
        value = _completed(checkpoint_dict)
        message = missing_keys(value.keys() if isinstance(value, dict) else None, None) if validate else ""
        if message:
            raise ValueError(f"validation failed: {message}")
        save(value, path, format="torch", validate=validate, done_marker=True)
    except Exception as error:
        raise RuntimeError(f"{path}: the checkpoint wasn't saved: {error}") from error
    return path


def _completed(checkpoint: Any) -> Any:
    """Returns a shallow copy with the fields that every checkpoint has; what is no dict stays as it is."""
    if not isinstance(checkpoint, dict):
        return checkpoint
    completed = copy.copy(checkpoint)
    completed.setdefault("version", CHECKPOINT_VERSION)
    completed["status"] = "complete"
    return completed
