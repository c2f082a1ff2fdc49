"""The version of a checkpoint's layout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .. import _native
from .._options import PathLike
from ..errors import IncompatibleError
from ..records import Finding

CHECKPOINT_VERSION = "1.0"
"""What `atomic_save` writes where the caller gives no version."""

NO_VERSION = "0.x"
"""What a checkpoint without a version counts as."""


def too_new(version: str | None) -> Finding | None:
    """Judges a version by the rules of ``ckpt verify --compat``.

    Returns:
        ``None``, or what speaks against it: its major number is above the known one, or it is no version.
    """
    finding = _native.check_version(version)
    return None if finding is None else Finding(**finding)


def refuse_newer(path: PathLike, version: str | None) -> None:
    """Refuses a version that isn't known here.

    Raises:
        IncompatibleError: It is newer, or no version; the message says what to upgrade.
    """
    finding = too_new(version)
    if finding is not None:
        raise IncompatibleError(path, finding.message, finding.to_dict())


def is_read_only(version: str | None) -> bool:
    """Returns whether a checkpoint of this version is of before 1.0, and only to be read."""
    return version is None or version.split(".")[0].strip() == "0"


def say_version(path: PathLike, version: str | None, log: logging.Logger) -> None:
    """Logs which version is loaded; of one before 1.0 that it is only read."""
    if is_read_only(version):
        log.warning(
            "%s: version %s, from before 1.0: loaded read-only, the file stays as it is", path, version or NO_VERSION
        )
    else:
        log.info("%s: version %s", path, version)


def version_of(value: Any) -> str | None:
    """Returns the version that a loaded checkpoint says it has, as text; ``None`` where it says nothing of use."""
    version = value.get("version") if isinstance(value, Mapping) else None
    is_said = isinstance(version, (str, int, float)) and not isinstance(version, bool) and version != ""
    return str(version) if is_said else None
