"""What is known of a pipeline, as its state file has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..records import Record, known


@dataclass(frozen=True)
class Fingerprint(Record):
    """What tells one state of a file from another: by it is seen whether the source of a pipeline has changed."""

    path: str
    """Where it is, as it was named. A relative path counts from the directory of the state file."""
    bytes: int
    """Its size; of a directory, that of all its files."""
    modified: str
    """When it was last modified, as ISO 8601 has it."""
    digest: str
    """Algorithm and digits."""


@dataclass(frozen=True)
class FileRecord(Record):
    """A file, or a directory of files, that a stage read or left: as it was when the stage was done."""

    path: str
    """Where it is, as it was named. A relative path counts from the directory of the state file."""
    bytes: int
    """Its size; of a directory, that of all its files."""
    modified: str
    """When it was last modified, as ISO 8601 has it."""
    digest: str
    """Algorithm and digits: the digest of its bytes, or the id of the proof that it carries."""
    proven: bool = False
    """Whether the digest is the id of its proof."""
    files: int | None = None
    """How many files it holds, where it is a directory."""
    lifetime: str = "keep"
    """How long it is needed: ``keep``, ``until_completed`` or ``until_consumed``."""
    removed: str | None = None
    """When the pipeline removed it, because it wasn't needed any more."""

    def __repr__(self) -> str:
        kept = "" if self.lifetime == "keep" else f", {self.lifetime}"
        gone = "" if self.removed is None else f", removed {self.removed}"
        return f"FileRecord({self.path!r}, {self.bytes} bytes, {self.digest}{kept}{gone})"


@dataclass(frozen=True)
class Edit(Record):
    """An output that was changed by hand before its stage was approved."""

    path: str
    before: str
    """The digest that it had when the stage was done."""
    after: str
    """The digest that it had when it was approved, and is to have from then on."""


@dataclass(frozen=True)
class Review(Record):
    """The review of a stage."""

    requested: str
    """Since when it is waited for."""
    approved: str | None = None
    """When the stage was approved."""
    by: str | None = None
    """Who approved it."""
    note: str | None = None
    """What they said about it."""
    edits: tuple[Edit, ...] = ()
    """The outputs that were changed between the stage's end and its approval."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> Review:
        """Makes the record of a dict."""
        edits = tuple(Edit(**known(Edit, edit)) for edit in record.get("edits", ()))
        return cls(**{**known(cls, record), "edits": edits})


@dataclass(frozen=True)
class StageRecord(Record):
    """What is known of one stage."""

    name: str
    status: str
    """``not_started``, ``in_progress``, ``awaiting_review``, ``completed`` or ``failed``."""
    started: str | None = None
    """When the last attempt was begun, as ISO 8601 has it."""
    finished: str | None = None
    """When that ended, well or not."""
    seconds: float = 0.0
    """How long it took."""
    attempts: int = 0
    """How often it was begun."""
    inputs: tuple[FileRecord, ...] = ()
    """What it read."""
    outputs: tuple[FileRecord, ...] = ()
    """What it left."""
    values: dict[str, Any] = field(default_factory=dict)
    """What it came to beside files, by name."""
    error: str | None = None
    """Why the last attempt failed."""
    cost: dict[str, float] = field(default_factory=dict)
    """What it cost, by what is counted."""
    config: str | None = None
    """The digest of the configuration that it was done with."""
    command: tuple[str, ...] | None = None
    """The command that did it, where one did."""
    review: Review | None = None
    """What became of its review, where it asks for one."""
    checkpoint: str | None = None
    """The name of the checkpoint that it became, in the directory beside the state file."""

    @property
    def is_complete(self) -> bool:
        """Whether it is done, and approved where it asks for a review."""
        return self.status == "completed"

    def __repr__(self) -> str:
        outputs = [output.path for output in self.outputs]
        error = f", error={self.error!r}" if self.error is not None else ""
        return f"StageRecord({self.name!r}, {self.status}, {self.seconds:.3f} s, outputs={outputs!r}{error})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> StageRecord:
        """Makes the record of a dict."""
        command, review = record.get("command"), record.get("review")
        made = {
            "inputs": tuple(FileRecord(**known(FileRecord, one)) for one in record.get("inputs", ())),
            "outputs": tuple(FileRecord(**known(FileRecord, one)) for one in record.get("outputs", ())),
            "command": None if command is None else tuple(command),
            "review": None if review is None else Review.of(review),
        }
        return cls(**{**known(cls, record), **made})


@dataclass(frozen=True)
class PipelineState(Record):
    """What is known of a pipeline: what its state file holds."""

    schema: str
    digest: str
    """The digest of the rest."""
    name: str
    status: str
    """``not_started``, ``in_progress``, ``paused``, ``completed`` or ``failed``."""
    created: str
    """When the pipeline was begun, as ISO 8601 has it."""
    updated: str
    """When this was written."""
    source: Fingerprint | None = None
    """What it was begun with, where it was told."""
    config: str | None = None
    """The digest of its configuration, where it was told one."""
    stages_complete: tuple[str, ...] = ()
    """The names of the stages that are done, in the order of the pipeline."""
    stages: tuple[StageRecord, ...] = ()
    """All stages, in their order."""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    """The fields of a state file without a version, as existing pipelines keep it, that this one was made from."""

    def __getitem__(self, name: str) -> StageRecord:
        """Returns what is known of a stage.

        Raises:
            KeyError: There is no stage of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def __repr__(self) -> str:
        stages = {stage.name: stage.status for stage in self.stages}
        return f"PipelineState({self.name!r}, {self.status}, stages={stages!r})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> PipelineState:
        """Makes the record of the dict that it has in JSON."""
        source = record.get("source")
        made = {
            "source": None if source is None else Fingerprint(**known(Fingerprint, source)),
            "stages_complete": tuple(record.get("stages_complete", ())),
            "stages": tuple(StageRecord.of(stage) for stage in record.get("stages", ())),
        }
        return cls(**{**known(cls, record), **made})


@dataclass(frozen=True)
class Notice(Record):
    """What was found when a pipeline was opened, and is worth a word."""

    notice: str
    """What, in a word: ``set_aside``, ``migrated``, ``stale``, ``restarted``, ``adopted``, ``redo``, ``dropped``,
    ``unsure_lease``."""
    message: str
    """What, in a sentence."""
    details: dict[str, Any] = field(default_factory=dict)
    """The rest, as JSON has it: the ``stage``, the ``path``, ``why``."""

    def __str__(self) -> str:
        return self.message

    @classmethod
    def of(cls, record: dict[str, Any]) -> Notice:
        """Makes the record of a dict."""
        details = {name: value for name, value in record.items() if name not in ("notice", "message")}
        return cls(record["notice"], record["message"], details)


@dataclass(frozen=True)
class CleanupEntry(Record):
    """What becomes of one output when a pipeline is cleaned up, and why."""

    stage: str
    """The stage that left it."""
    path: str
    """Where it is, as it was named."""
    bytes: int
    """Its size."""
    remove: bool
    """Whether it goes."""
    reason: dict[str, Any]
    """Why, in a word at ``reason``: ``completed``, ``consumed``; ``kept``, ``needed``, ``not_completed``, ``not_read``,
    ``changed``; and what else is to be said."""

    def __str__(self) -> str:
        action = "remove" if self.remove else "keep"
        return f"{action} {self.path} ({self.stage}, {self.bytes} bytes): {self.reason['reason'].replace('_', ' ')}"


@dataclass(frozen=True)
class CleanupPlan(Record):
    """What may go: decided, and not done. `Pipeline.clean_up` does it."""

    files: tuple[CleanupEntry, ...]
    """The outputs that are there, in the order of the stages."""

    @property
    def removals(self) -> tuple[CleanupEntry, ...]:
        """What goes."""
        return tuple(entry for entry in self.files if entry.remove)

    @property
    def freed_bytes(self) -> int:
        """How many bytes that frees."""
        return sum(entry.bytes for entry in self.removals)

    def __repr__(self) -> str:
        removals = [entry.path for entry in self.removals]
        return f"CleanupPlan({len(self.files)} files, removals={removals!r}, {self.freed_bytes} bytes)"

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self.files)

    @classmethod
    def of(cls, record: dict[str, Any]) -> CleanupPlan:
        """Makes the record of a dict."""
        return cls(tuple(CleanupEntry(**known(CleanupEntry, entry)) for entry in record["files"]))
