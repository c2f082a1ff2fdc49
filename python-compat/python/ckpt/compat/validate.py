"""Whether checkpoints are good, as scripts ask for it: a flag and a message."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, TypeVar

from .. import _native
from .._options import PathLike
from .._verify import verify
from ..errors import ErrorType, IncompatibleError
from ..records import Finding
from ._log import LOGGER
from .failed import log_failed_checkpoint
from .version import too_new

AnyPath = TypeVar("AnyPath", bound=PathLike)

DEFAULT_KEYS = ["data"]
"""The keys that are required where the caller names none."""

_TRUST = "needs-trust"
_ARCHIVES = {"torch-zip", "torch-script", "torch-export", "zip", "npz"}
_NO_CHECKPOINT = {"foreign-format", "unknown-format", "pickle-invalid"}


def validate_checkpoint(
    path: PathLike,
    required_keys: Iterable[str] | None = None,
    skip_load: bool = False,
    logger_instance: logging.Logger | None = None,
    log_failures: bool = False,
) -> tuple[bool, str]:
    """Checks a checkpoint: presence, size, the ZIP archive, every byte that has a checksum, and the keys.

    Nothing of it is executed. A pickle that needs trust is judged by its bytes, which is logged as a warning.

    Args:
        path: The checkpoint.
        required_keys: The keys that its dict must have. Default: ``["data"]``.
        skip_load: Looks at presence, size, completion marker and the end of the archive only, at a cost that doesn't
            grow with the file.
        logger_instance: Where to log. Default: the logger ``ckpt.compat``.
        log_failures: Whether a failure is appended to ``failed_checkpoints.txt`` beside the checkpoint.

    Returns:
        Whether it passed, and why not: ``""``, or a message that begins with ``corrupted:`` or ``incompatible:``.
    """
    log = logger_instance or LOGGER
    message = outside(path, skip_load) or ("" if skip_load else _inside(path, required_keys, log))
    if not message:
        log.debug("%s: valid", path)
        return True, ""
    log.error("%s: %s", path, message)
    if log_failures:
        log_failed_checkpoint(path, message)
    return False, message


def validate_checkpoint_batch(
    paths: Iterable[AnyPath],
    required_keys: Iterable[str] | None = None,
    skip_load: bool = False,
    logger_instance: logging.Logger | None = None,
) -> tuple[list[AnyPath], list[tuple[AnyPath, str]]]:
    """Checks several checkpoints, as `validate_checkpoint` does each, in order.

    Returns:
        The paths of the valid ones, and path and message of each other one.
    """
    log = logger_instance or LOGGER
    keys = None if required_keys is None else list(required_keys)
    valid: list[AnyPath] = []
    failed: list[tuple[AnyPath, str]] = []
    for path in paths:
        is_valid, message = validate_checkpoint(path, keys, skip_load, log)
        if is_valid:
            valid.append(path)
        else:
            failed.append((path, message))
    log.info("%d checkpoints are valid, %d failed", len(valid), len(failed))
    return valid, failed


def distinguish_error_type(message: str) -> ErrorType:
    """Returns what a message of `validate_checkpoint` says: ``"corrupted"`` or ``"incompatible"``.

    A message of another kind counts as corrupted.
    """
    return "incompatible" if message.startswith("incompatible:") else "corrupted"


def outside(path: PathLike, skip_load: bool = True) -> str:
    """Judges a checkpoint from outside: presence, size, completion marker, the end of the archive.

    Args:
        path: The checkpoint.
        skip_load: Whether a file that is no archive is only recognised, instead of checked as a whole.

    Returns:
        ``""``, or the message.
    """
    reason = verify(path, skip_contents=True).reason
    if reason is not None:
        return message_of(reason)
    if _native.is_zip(path):
        return ""
    report = verify(path, level="container" if skip_load else "load")
    reason = report.reason
    if reason is None:
        # A sound checkpoint of another format is no damage: nobody should delete it for that.
        return f"incompatible: not a valid ZIP archive: a sound checkpoint of the format {report.format}, for ckpt.load"
    if reason.verdict == "incompatible" and report.format in _ARCHIVES:
        return message_of(reason)
    return f"corrupted: not a valid ZIP archive: {reason.message}"


def _inside(path: PathLike, required_keys: Iterable[str] | None, log: logging.Logger) -> str:
    """Judges what the archive holds: every byte, the version, the keys."""
    report = verify(path, level="load")
    grave = [finding for finding in report.findings if finding.verdict == report.verdict != "valid"]
    needs_trust = any(finding.code == _TRUST for finding in grave)
    reason = next((finding for finding in grave if not _is_excused(finding, needs_trust)), None)
    if reason is not None:
        return message_of(reason)
    for finding in grave:
        if finding.code == _TRUST:
            log.warning("%s: judged by its bytes alone, nothing was executed: %s", path, finding.message)
    top = top_of(path)
    if top is None:
        log.warning("%s: only who executes the pickle knows its keys: they weren't looked at", path)
        return ""
    newer = too_new(top["version"])
    return message_of(newer) if newer else missing_keys(top["keys"] if top["is_dict"] else None, required_keys)


def _is_excused(finding: Finding, needs_trust: bool) -> bool:
    """Returns whether a finding is none against the file.

    Of a pickle that needs trust, what a safe reader makes of it says nothing: only its bytes count.
    """
    return needs_trust and finding.verdict == "incompatible" and finding.level == "load"


def top_of(path: PathLike) -> dict[str, Any] | None:
    """Reads the top of a checkpoint: ``is_dict``, ``keys``, ``version``, ``status``. No tensor is read.

    Returns:
        The fields; ``None`` where only executing the pickle would tell, as with objects that refer to each other.

    Raises:
        CheckpointError: Its structure is damaged, or of no use.
    """
    try:
        top: dict[str, Any] = _native.describe(path)
    except IncompatibleError as error:
        if (error.finding or {}).get("code") == _TRUST:
            return None
        raise
    return top


def missing_keys(keys: Iterable[object] | None, required_keys: Iterable[str] | None) -> str:
    """Holds the keys of a checkpoint against those that are required.

    Args:
        keys: The keys that are there; ``None`` where it is no dict.
        required_keys: Those that must be. Default: ``["data"]``.

    Returns:
        ``""``, or the message.
    """
    if keys is None:
        return "incompatible: not a dict: what was saved has no keys"
    there = set(keys)
    wanted = DEFAULT_KEYS if required_keys is None else required_keys
    missing = [key for key in wanted if key not in there]
    if not missing:
        return ""
    return f"incompatible: missing required keys {missing}; there are {sorted(map(str, there))}"


def message_of(finding: Finding) -> str:
    """Returns a finding in the words that scripts know."""
    if finding.code == "missing":
        return "corrupted: file does not exist"
    if finding.code == "empty":
        return "corrupted: file is 0 bytes"
    text = finding.message + "".join(f", {name} {value}" for name, value in finding.at.items())
    if finding.verdict == "unreadable":
        # Scripts know two words, and take what they don't know for this one.
        return f"corrupted: {text}"
    if finding.code in _NO_CHECKPOINT:
        # Sound bytes of something else are as good as none to who wants a checkpoint: it is to be made again.
        return f"corrupted: torch.load failed - {text}"
    if finding.level == "load":
        return f"{finding.verdict}: load failed - {text}"
    return f"{finding.verdict}: {text}"
