"""The checkpoint of a pipeline: a dataclass that says which stages are complete, as JSON in the pipeline's directory.

For scripts that have such a dataclass already. `ckpt.pipeline` knows more: whether the outputs of a stage are still
what they were, whether the source has changed, and who else is at work.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from .. import _native
from .._options import PathLike
from ._log import LOGGER

CHECKPOINT_FILENAME = "pipeline_checkpoint.json"
"""The name of the file in the pipeline's directory."""

_Checkpoint = TypeVar("_Checkpoint")


@dataclass
class PipelineCheckpoint:
    """What a pipeline has done so far. Add your own fields in a subclass that is a dataclass, too.

    ``source_file`` comes first, then your own fields, with a default or without; ``stages_complete`` goes by its name.
    Fields hold what JSON can: texts, numbers, booleans, ``None``, lists, dicts with texts as keys. A path is written as
    its text, a tuple as a list.

    >>> import pathlib, tempfile
    >>> @dataclass
    ... class TrailerCheckpoint(PipelineCheckpoint):
    ...     vibe: str
    ...     keyframes: int | None = None
    >>> work_dir = pathlib.Path(tempfile.mkdtemp())
    >>> checkpoint = TrailerCheckpoint.load_checkpoint(work_dir) or TrailerCheckpoint("film.mkv", "action")
    >>> if not checkpoint.is_stage_complete("extract"):
    ...     checkpoint.keyframes = 120
    ...     checkpoint.mark_stage_complete("extract")
    ...     save_checkpoint(checkpoint, work_dir)
    >>> load_checkpoint(work_dir, cls=TrailerCheckpoint)
    TrailerCheckpoint(source_file='film.mkv', stages_complete=['extract'], vibe='action', keyframes=120)
    """

    source_file: str
    """What the pipeline works on. That it is the same at a resume, the script looks at."""
    # By its name alone, so that a subclass may have fields without a default.
    stages_complete: list[str] = field(default_factory=list, kw_only=True)
    """The names of the stages that are complete, in the order in which they were completed."""

    def is_stage_complete(self, stage: str) -> bool:
        """Returns whether a stage was marked as complete."""
        return stage in self.stages_complete

    def mark_stage_complete(self, stage: str) -> None:
        """Marks a stage as complete; twice is as once. It is on the disk when `save_checkpoint` has returned."""
        if stage not in self.stages_complete:
            self.stages_complete.append(stage)

    @classmethod
    def load_checkpoint(cls: type[_Checkpoint], work_dir: PathLike) -> _Checkpoint | None:
        """Loads the checkpoint of a directory as one of this class: see `ckpt.compat.load_checkpoint`."""
        return load_checkpoint(work_dir, cls)

    def save_checkpoint(self, work_dir: PathLike) -> None:
        """Saves the checkpoint: see `ckpt.compat.save_checkpoint`."""
        save_checkpoint(self, work_dir)


@overload
def load_checkpoint(work_dir: PathLike) -> PipelineCheckpoint | None: ...
@overload
def load_checkpoint(work_dir: PathLike, cls: type[_Checkpoint]) -> _Checkpoint | None: ...
def load_checkpoint(work_dir: PathLike, cls: type[Any] = PipelineCheckpoint) -> Any:
    """Loads ``pipeline_checkpoint.json`` of a directory.

    Args:
        work_dir: The pipeline's directory.
        cls: The dataclass that the fields are of.

    Returns:
        The checkpoint; ``None`` where there is none, and where the file is damaged or its fields aren't those of the
        class: a warning in the log ``ckpt.compat`` says so then. The file stays as it is until the next save.

    Raises:
        OSError: The file is there and can't be read, which says nothing of what is in it.
        TypeError: The class is no dataclass.
    """
    _require_dataclass(cls)
    path = Path(work_dir) / CHECKPOINT_FILENAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return cls(**_fields(content))
    except (ValueError, TypeError, RecursionError) as error:
        LOGGER.warning("%s: it is no checkpoint of a %s, and isn't used: %s", path, cls.__name__, error)
        return None


def save_checkpoint(checkpoint: Any, work_dir: PathLike) -> None:
    """Writes a checkpoint to ``pipeline_checkpoint.json`` of a directory: atomically, and durably.

    At any moment, the file is the old one whole or the new one whole. What a killed process left behind beside it is
    removed.

    Args:
        checkpoint: A `PipelineCheckpoint`, or another dataclass.
        work_dir: The pipeline's directory, which must be there.

    Raises:
        OSError: It can't be written. The file is what it was.
        TypeError: A field holds what JSON can't, or the class is no dataclass. The file is what it was.
    """
    _require_dataclass(type(checkpoint))
    text = json.dumps(asdict(checkpoint), indent=2, default=_as_text)
    _native.write_file(Path(work_dir) / CHECKPOINT_FILENAME, f"{text}\n".encode())


def _fields(content: bytes) -> dict[str, Any]:
    """Returns the fields in a file, those looked at that every checkpoint has.

    Raises:
        ValueError: It isn't the JSON of one.
    """
    read = json.loads(content)
    if not isinstance(read, dict):
        raise ValueError(f"it is a JSON {type(read).__name__}, and no object with fields")
    if not isinstance(read.get("source_file", ""), str):
        raise ValueError("'source_file' is no text")
    stages = read.get("stages_complete", [])
    if not (isinstance(stages, list) and all(isinstance(stage, str) for stage in stages)):
        raise ValueError("'stages_complete' is no list of texts")
    return read


def _require_dataclass(cls: type[Any]) -> None:
    """Refuses a class whose fields would be lost without a word."""
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is no dataclass")
    known = {entry.name for entry in fields(cls)}
    lost = [name for name in vars(cls).get("__annotations__", {}) if name not in known]
    if lost and "__dataclass_fields__" not in vars(cls):
        raise TypeError(f"'{lost[0]}' of {cls.__name__} is no field: put @dataclass before the class")


def _as_text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    raise TypeError(f"{value!r} can't be written as JSON: it is a {type(value).__name__}")
