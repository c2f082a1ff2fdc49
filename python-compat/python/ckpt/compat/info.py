"""What a checkpoint says of itself, at a glance."""

from __future__ import annotations

import os
import stat
from typing import Any

from .. import _native
from .._options import PathLike
from .marker import has_done_marker
from .version import NO_VERSION, is_read_only

UNKNOWN = "unknown"


def get_checkpoint_info(path: PathLike) -> dict[str, Any]:
    """Reads what a checkpoint says of itself. Nothing is executed, and no tensor is read.

    That takes milliseconds on many gigabytes of tensors. What isn't in tensors, such as lists of numbers, is part of
    the structure, which is read. Never raises: what can't be had stays as it is for a file that isn't there.

    Returns:
        A dict of ``version`` (``"0.x"`` where it has none, ``"unknown"`` where that can't be read), ``status``
        (``"unknown"`` where it has none), ``size_bytes``, ``is_valid_zip``, ``has_done_marker``, ``read_only`` (whether
        it is of before 1.0), ``format``, ``tensors`` (their number) and ``error`` (``""``, or what kept it from being
        read).
    """
    info: dict[str, Any] = {
        "version": UNKNOWN,
        "status": UNKNOWN,
        "size_bytes": 0,
        "is_valid_zip": False,
        "has_done_marker": False,
        "read_only": False,
        "format": UNKNOWN,
        "tensors": 0,
        "error": "",
    }
    try:
        _fill(info, path)
    except Exception as error:
        info["error"] = str(error)
    return info


def _fill(info: dict[str, Any], path: PathLike) -> None:
    """Fills in one fact after the other, so that those before a failure stay."""
    info["has_done_marker"] = has_done_marker(path)
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        info["size_bytes"] = status.st_size
        info["is_valid_zip"] = _native.is_zip(path)
    top = _native.describe(path)
    info["format"] = top["format"]
    info["tensors"] = top["tensors"]
    if top["is_dict"] is False:
        info["error"] = "it is no dict, so that it has no version"
        return
    info["version"] = top["version"] or NO_VERSION
    info["status"] = top["status"] or UNKNOWN
    info["read_only"] = is_read_only(top["version"])
