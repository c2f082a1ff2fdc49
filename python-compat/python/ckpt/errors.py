"""What goes wrong.

Damage and misfit are `CheckpointError`s. What the system said is an `OSError` with its number (a missing file is a
`FileNotFoundError`), and a mistake of the caller is a `ValueError`.
"""

from __future__ import annotations

import os
from typing import Any, Literal

ErrorType = Literal["corrupted", "incompatible"]


class CheckpointError(Exception):
    """A checkpoint can't be used.

    Its text is ``"{error_type}: {message}"``.

    Args:
        checkpoint_path: The checkpoint; ``None`` where the error isn't about one.
        error_type: ``"corrupted"`` (the bytes are damaged) or ``"incompatible"`` (the bytes are fine, and this reader
            or this model can't use them).
        message: What is wrong, and where.
        finding: The finding of the check, as in a report: ``code``, ``level``, ``verdict``, ``message``, ``at``.

    >>> error = CheckpointError("step-100.pt", "corrupted", "the file is empty")
    >>> str(error)
    'corrupted: the file is empty'
    """

    def __init__(
        self,
        checkpoint_path: str | os.PathLike[str] | None,
        error_type: ErrorType,
        message: str,
        finding: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(checkpoint_path, error_type, message)
        self.checkpoint_path = checkpoint_path
        self.error_type = error_type
        self.message = message
        self.finding = finding

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes: a subclass is made again by what it takes.
        return (_again, (type(self), self.checkpoint_path, self.error_type, self.message, self.finding))


class CorruptedError(CheckpointError):
    """The bytes are damaged: nobody can use them. Walk back to an older checkpoint, or copy the file again."""

    def __init__(
        self, checkpoint_path: str | os.PathLike[str] | None, message: str, finding: dict[str, Any] | None = None
    ) -> None:
        super().__init__(checkpoint_path, "corrupted", message, finding)


class IncompatibleError(CheckpointError):
    """The bytes are fine, and of no use here: another version, another model, or a value that needs trust."""

    def __init__(
        self, checkpoint_path: str | os.PathLike[str] | None, message: str, finding: dict[str, Any] | None = None
    ) -> None:
        super().__init__(checkpoint_path, "incompatible", message, finding)


class NeedsTrustError(IncompatibleError):
    """Only who trusts the file may load it: its pickle would call what isn't on the list of safe names.

    The message names the first such global. Allow it by name (``allowed_globals=[...]``: it is then taken as data), or
    execute the pickle (``trusted=True``) if you know who wrote the file.
    """


def _again(
    kind: type[CheckpointError], path: Any, error_type: ErrorType, message: str, finding: Any
) -> CheckpointError:
    if kind is CheckpointError:
        return kind(path, error_type, message, finding)
    return kind(path, message, finding)  # type: ignore[arg-type]
