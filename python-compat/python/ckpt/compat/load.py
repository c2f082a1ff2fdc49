"""Loading with the checks that scripts expect."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from .._load import load
from .._options import PathLike
from ..errors import CheckpointError, CorruptedError, IncompatibleError, NeedsTrustError
from ..records import Finding
from ._log import LOGGER
from .validate import distinguish_error_type, message_of, missing_keys, outside, top_of
from .version import refuse_newer, say_version, version_of


def load_checkpoint_with_validation(
    path: PathLike,
    required_keys: Iterable[str] | None = None,
    skip_validation: bool = False,
    logger_instance: logging.Logger | None = None,
    *,
    trusted: bool = False,
    allowed_globals: Iterable[str] = (),
) -> Any:
    """Loads a checkpoint that is good: every byte that has a checksum is held against it while it is read.

    What `validate_checkpoint` refuses is refused here, for the same reason. Tensors are on the CPU.

    Args:
        path: The checkpoint.
        required_keys: The keys that its dict must have. Default: ``["data"]``.
        skip_validation: Leaves out checksums, keys and completion marker. The version is looked at all the same.
        logger_instance: Where to log. Default: the logger ``ckpt.compat``.
        trusted: Executes the pickle. Only for files whose writer you trust.
        allowed_globals: Globals accepted in the pickle by name (``"module.name"``), as data.

    Raises:
        CheckpointError: ``corrupted`` or ``incompatible``; see `ckpt.compat`. A major version above 1 is incompatible,
            also without validation.
        NeedsTrustError: It holds objects that only a pickle can make; the message names the first, and the remedy.
    """
    log = logger_instance or LOGGER
    try:
        value = _load(path, required_keys, skip_validation, trusted, allowed_globals)
    except CheckpointError as error:
        log.error("%s: %s", path, error)
        raise
    say_version(path, version_of(value), log)
    if isinstance(value, dict) and value.get("status") == "in_progress":
        log.warning("%s: it says of itself that it isn't finished", path)
    return value


def load_checkpoint_safe(
    path: PathLike,
    skip_validation: bool = False,
    required_keys: Iterable[str] | None = None,
    *,
    trusted: bool = False,
    allowed_globals: Iterable[str] = (),
) -> Any:
    """As `load_checkpoint_with_validation`, with its arguments in another order."""
    return load_checkpoint_with_validation(
        path, required_keys, skip_validation, trusted=trusted, allowed_globals=allowed_globals
    )


def load_with_compatibility(
    path: PathLike,
    skip_validation: bool = False,
    logger_instance: logging.Logger | None = None,
    *,
    trusted: bool = False,
    allowed_globals: Iterable[str] = (),
) -> Any:
    """As `load_checkpoint_with_validation`, for a checkpoint of any version: one without `version` is ``0.x``.

    A ``0.x`` loads read-only: a warning says so, and neither the file nor what is loaded gets a version.
    """
    return load_checkpoint_with_validation(
        path, None, skip_validation, logger_instance, trusted=trusted, allowed_globals=allowed_globals
    )


def _load(
    path: PathLike,
    required_keys: Iterable[str] | None,
    skip_validation: bool,
    trusted: bool,
    allowed_globals: Iterable[str],
) -> Any:
    if not skip_validation:
        _refuse(path, outside(path, skip_load=False))
    try:
        # Before anything of another version is loaded, let alone executed.
        top = top_of(path)
        refuse_newer(path, top["version"] if top else None)
        value = load(path, verify=not skip_validation, trusted=trusted, allowed_globals=allowed_globals)
    except MemoryError:
        raise
    except NeedsTrustError as error:
        raise NeedsTrustError(path, error.message, error.finding) from error
    except CheckpointError as error:
        _refuse(path, _in_known_words(error))
        raise
    except FileNotFoundError as error:
        raise CorruptedError(path, "file does not exist") from error
    except OSError as error:
        raise CorruptedError(path, f"file cannot be read: {error}") from error
    except Exception as error:
        # PyTorch says so where a trusted pickle asks for what isn't here.
        raise IncompatibleError(path, f"torch.load failed - {error}") from error
    # A trusted pickle can make a dict whose version no safe reader sees.
    refuse_newer(path, version_of(value))
    if not skip_validation:
        _refuse(path, missing_keys(value.keys() if isinstance(value, dict) else None, required_keys))
    return value


def _refuse(path: PathLike, message: str) -> None:
    """Raises a message of `validate_checkpoint`; an empty one says that all is well."""
    if message:
        kind = IncompatibleError if distinguish_error_type(message) == "incompatible" else CorruptedError
        raise kind(path, message.split(": ", 1)[1])


def _in_known_words(error: CheckpointError) -> str:
    """Returns what `validate_checkpoint` would have said."""
    return str(error) if error.finding is None else message_of(Finding(**error.finding))
