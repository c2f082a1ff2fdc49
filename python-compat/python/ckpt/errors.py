"""What goes wrong.

Damage and misfit are `CheckpointError`s. What the system said is an `OSError` with its number (a missing file is a
`FileNotFoundError`), and a mistake of the caller is a `ValueError`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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


class PipelinePaused(Exception):
    """A pipeline waits until somebody has looked at a stage, and approved it.

    Args:
        state_file: The state file of the pipeline.
        stage: The stage that waits.
    """

    def __init__(self, state_file: str | os.PathLike[str], stage: str) -> None:
        super().__init__(state_file, stage)
        self.state_file = state_file
        self.stage = stage

    def __str__(self) -> str:
        return f"{os.fspath(self.state_file)}: '{self.stage}' waits for its review: approve it, and run this again"


class MergeError(Exception):
    """Pairs of feature files couldn't be merged; all others are done.

    Its text has how many, and why the first.

    Args:
        results: In the order of the pairs, what became of each: a `ckpt.features.Merged`, or the exception.
    """

    def __init__(self, results: Sequence[Any]) -> None:
        super().__init__(results)
        self.results = tuple(results)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """Why those failed that did, in the order of the pairs."""
        return tuple(result for result in self.results if isinstance(result, Exception))

    def __str__(self) -> str:
        errors = self.errors
        if not errors:
            return "no pair failed"
        path = getattr(errors[0], "checkpoint_path", None)
        first = f"{path}: {errors[0]}" if path is not None else str(errors[0])
        return f"{len(errors)} of {len(self.results)} pairs failed, the first because of {first}"


def _again(
    kind: type[CheckpointError], path: Any, error_type: ErrorType, message: str, finding: Any
) -> CheckpointError:
    if kind is CheckpointError:
        return kind(path, error_type, message, finding)
    return kind(path, message, finding)  # type: ignore[arg-type]
