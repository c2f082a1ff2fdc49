"""The facts that functions return: what a check found, what was saved.

Each record is a plain, immutable object with a readable `repr`. `to_dict()` gives it back as the JSON of the command
and of the library has it (``docs/report.md``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any


class Record:
    """What all records have."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as a dict of plain values, ready for `json.dump`."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def known(cls: type[Any], record: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries of a dict that a record has, without those that a later version may have added."""
    names = {entry.name for entry in fields(cls)}
    return {name: value for name, value in record.items() if name in names}


@dataclass(frozen=True)
class Finding(Record):
    """One fact found by a check."""

    code: str
    """What was found, as a word: ``checksum-mismatch``."""
    level: str
    """``size``, ``container``, ``load`` or ``keys``."""
    verdict: str
    """``valid`` (a note), ``corrupted``, ``incompatible`` or ``unreadable``."""
    message: str
    """What, in a sentence."""
    at: dict[str, Any] = field(default_factory=dict)
    """Where: ``file``, ``record``, ``tensor``, ``key``, ``offset`` (in bytes), as far as they are known."""

    def __str__(self) -> str:
        places = "".join(f", {name} {value}" for name, value in self.at.items())
        return f"{self.verdict}: {self.message} (level {self.level}{places})"


@dataclass(frozen=True)
class Report(Record):
    """What one check found out about one checkpoint. It is true in a condition if the checkpoint is valid."""

    schema: str
    path: Path
    format: str
    """What the content is: ``safetensors``, ``torch-zip``, …"""
    verdict: str
    """``valid``, ``corrupted``, ``incompatible`` or ``unreadable``."""
    level: str | None
    """The deepest level that was checked."""
    passed: str | None
    """The deepest level that was passed, all shallower ones included."""
    bytes: int
    """The size of all the checkpoint's files."""
    tensors: int | None
    """The number of tensors, where the check went deep enough to count them."""
    integrity: str
    """How much was held against checksums: ``none``, ``partial`` or ``full``."""
    findings: tuple[Finding, ...]
    elapsed_ms: int

    @property
    def is_valid(self) -> bool:
        """Whether the checkpoint passed everything that was asked for."""
        return self.verdict == "valid"

    @property
    def reason(self) -> Finding | None:
        """The finding that decided the verdict: the first of the gravest. ``None`` where all is well."""
        return next((finding for finding in self.findings if finding.verdict == self.verdict != "valid"), None)

    def __bool__(self) -> bool:
        return self.is_valid

    def __str__(self) -> str:
        return f"{self.path}: {self.reason or f'valid (level {self.passed}, integrity {self.integrity})'}"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Report:
        """Makes a report of the dict that it has in JSON."""
        findings = tuple(Finding(**finding) for finding in record["findings"])
        return cls(**{**record, "path": Path(record["path"]), "findings": findings})


@dataclass(frozen=True)
class TensorInfo(Record):
    """A tensor, without its elements."""

    name: str
    """The keys that lead to it, joined by dots."""
    dtype: str
    """The type of the elements: ``f32``, ``bf16``."""
    shape: tuple[int, ...]
    """The length of each dimension."""
    bytes: int
    """The size of the elements."""


@dataclass(frozen=True)
class Info(Record):
    """What a checkpoint says of itself, read from its structure alone."""

    schema: str
    path: Path
    format: str
    version: str | None
    """The ``version`` of the checkpoint; ``None`` where it has none."""
    status: str | None
    """The ``status`` of the checkpoint (``complete``, ``in_progress``), where it has one."""
    marker: bool
    """Whether a completion marker (``NAME.done``) stands beside the file."""
    bytes: int
    """The size of all the checkpoint's files."""
    metadata: dict[str, str]
    tensors: tuple[TensorInfo, ...]

    def __repr__(self) -> str:
        return f"Info({str(self.path)!r}, {self.format}, {self.bytes} bytes, {len(self.tensors)} tensors)"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Info:
        """Makes an info of the dict that it has in JSON."""
        tensors = tuple(TensorInfo(**{**one, "shape": tuple(one["shape"])}) for one in record["tensors"])
        return cls(**{**record, "path": Path(record["path"]), "tensors": tensors})


@dataclass(frozen=True)
class Saved(Record):
    """A file that was saved: it is durable, and has its name."""

    path: Path
    """Where: links followed."""
    format: str
    """``safetensors``, ``torch`` or ``torch-flat``."""
    bytes: int
    """The size of the file."""
    proof: str
    """The id of the proof that the file carries: the digest of the file."""
    validated: str | None
    """How deep it was verified before it took its name; ``None`` where that was left out."""
    writing_seconds: float
    """From the first byte until the file was durable, validation left out."""
    validating_seconds: float
    seconds: float
    """All of it."""
    names_to_trust: tuple[str, ...] = ()
    """The globals that only who trusts the file may load; none for what a safe reader takes."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> Saved:
        """Makes the record of a dict."""
        trusted = tuple(record.get("names_to_trust", ()))
        return cls(**{**record, "path": Path(record["path"]), "names_to_trust": trusted})


@dataclass(frozen=True)
class Committed(Record):
    """A checkpoint of a run that was saved: it is durable, and has its name."""

    id: str
    """Its name: ``step-0000001200``; ``step-0000001200-g1`` in a history that was walked back."""
    step: int
    path: Path
    """Its directory."""
    state: Saved
    """What was saved as its state."""
    notices: tuple[str, ...]
    """What is odd about it, and worth a look: the signs of a mistake in the training loop."""
    retries: int
    """How often saving it had failed before."""
    seconds: float
    """From the call until it was durable."""

    def __repr__(self) -> str:
        notices = f", notices={self.notices!r}" if self.notices else ""
        return f"Committed({self.id}, {self.state.bytes} bytes, {self.seconds:.3f} s{notices})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Committed:
        """Makes the record of a dict."""
        state, notices = Saved.of(record["state"]), tuple(record["notices"])
        return cls(**{**record, "path": Path(record["path"]), "state": state, "notices": notices})


@dataclass(frozen=True)
class Artifact(Record):
    """One file of a checkpoint."""

    name: str
    bytes: int
    digest: str
    """Algorithm and digits: the id of the proof that it carries, or the digest of its bytes."""
    proven: bool
    """Whether the digest is that of its proof."""
    validated: str | None
    """How deep it was verified before the checkpoint was committed; ``None`` where that was left out."""


@dataclass(frozen=True)
class Manifest(Record):
    """What is known of a checkpoint of a run: its files, and what was said of it when it was saved."""

    layout: int
    digest: str
    """The digest of the rest."""
    id: str
    position: dict[str, Any]
    """Where in the work it was made: ``{"step": 1200}``."""
    parent: str | None
    """The name of the one that the work went on from; ``None`` for the first."""
    created: str
    """When it was committed, as ISO 8601 has it."""
    writer: str
    artifacts: tuple[Artifact, ...]
    """The files, the state's first."""
    metrics: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Manifest({self.id}, {self.created}, {len(self.artifacts)} artifacts, metrics={self.metrics!r})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Manifest:
        """Makes the record of a dict."""
        return cls(**{**record, "artifacts": tuple(Artifact(**one) for one in record["artifacts"])})


@dataclass(frozen=True)
class Skipped(Record):
    """A checkpoint that was passed over on the way back to a good one."""

    id: str
    path: Path
    finding: Finding
    """Why."""

    def __str__(self) -> str:
        return f"{self.id}: {self.finding}"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Skipped:
        """Makes the record of a dict."""
        return cls(record["id"], Path(record["path"]), Finding(**record["finding"]))


@dataclass(frozen=True)
class Latest(Record):
    """The newest checkpoint of a run that passes."""

    id: str
    step: int
    path: Path
    """Its directory."""
    manifest: Manifest
    skipped: tuple[Skipped, ...]
    """The newer ones that can't be used, newest first, and why."""

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured at it."""
        return self.manifest.metrics

    def __repr__(self) -> str:
        skipped = f", skipped={[one.id for one in self.skipped]!r}" if self.skipped else ""
        return f"{type(self).__name__}({self.id}, {str(self.path)!r}{skipped})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Latest:
        """Makes the record of a dict."""
        return cls(**_found(record))


@dataclass(frozen=True, repr=False, eq=False)
class Resumed(Latest):
    """The checkpoint that the work goes on from, loaded."""

    state: Any = None
    """What was saved. Not in `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """Returns all but the state, ready for `json.dump`."""
        record = super().to_dict()
        del record["state"]
        return record

    @classmethod
    def of(cls, record: dict[str, Any]) -> Resumed:
        """Makes the record of a dict."""
        return cls(**_found(record))


def _found(record: dict[str, Any]) -> dict[str, Any]:
    skipped = tuple(Skipped.of(one) for one in record["skipped"])
    return {**record, "path": Path(record["path"]), "manifest": Manifest.of(record["manifest"]), "skipped": skipped}


@dataclass(frozen=True)
class Listed(Record):
    """A checkpoint of a run, at the first look: its bytes weren't read."""

    id: str
    path: Path
    bytes: int
    """The size of its files, as the manifest says."""
    manifest: Manifest | None
    """``None`` where it has none that can be read."""
    finding: Finding | None
    """Why it is no whole checkpoint: unfinished, or damaged."""
    pinned: str | None
    """Why it is to be kept whatever happens, where it was pinned."""

    @property
    def is_whole(self) -> bool:
        """Whether it is whole, as far as the list looks."""
        return self.manifest is not None and self.finding is None

    @property
    def step(self) -> int:
        """The number of training steps that were taken."""
        return int(self.id.split("-")[1])

    def __repr__(self) -> str:
        pinned = f", pinned: {self.pinned}" if self.pinned is not None else ""
        return f"Listed({self.id}, {self.bytes} bytes, {self.finding or 'whole'}{pinned})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Listed:
        """Makes the record of a dict."""
        manifest, finding = record["manifest"], record["finding"]
        return cls(
            **{
                **record,
                "path": Path(record["path"]),
                "manifest": None if manifest is None else Manifest.of(manifest),
                "finding": None if finding is None else Finding(**finding),
            }
        )


@dataclass(frozen=True)
class Decision(Record):
    """What becomes of one checkpoint, and why."""

    id: str
    standing: str
    """What is known of it: ``good``, ``unverified``, ``bad`` or ``in-flight``."""
    bytes: int
    action: str
    """``keep`` or ``remove``."""
    reasons: tuple[dict[str, Any], ...]
    """Why, each with its ``reason`` in a word: ``last``, ``best``, ``newest-good``, ``pinned``, ``no-rule``, …"""

    def __str__(self) -> str:
        why = ", ".join(str(reason["reason"]) for reason in self.reasons)
        return f"{self.action} {self.id} ({self.standing}, {self.bytes} bytes): {why}"


@dataclass(frozen=True)
class Plan(Record):
    """What may go: decided, and not done. `Manager.prune` does it."""

    decisions: tuple[Decision, ...]
    """Of each checkpoint, oldest first."""
    unmeasured: tuple[str, ...]
    """The metrics that a rule names and that no good checkpoint has: a typing error, perhaps."""

    @property
    def removals(self) -> tuple[Decision, ...]:
        """What goes, oldest first."""
        return tuple(decision for decision in self.decisions if decision.action == "remove")

    @property
    def freed_bytes(self) -> int:
        """How many bytes the removals free."""
        return sum(decision.bytes for decision in self.removals)

    def __repr__(self) -> str:
        removals = [decision.id for decision in self.removals]
        return f"Plan({len(self.decisions)} checkpoints, removals={removals!r}, {self.freed_bytes} bytes)"

    def __str__(self) -> str:
        return "\n".join(str(decision) for decision in self.decisions)

    @classmethod
    def of(cls, decisions: list[dict[str, Any]], unmeasured: list[str]) -> Plan:
        """Makes the record of what the native half says."""
        made = (Decision(**{**one, "reasons": tuple(one["reasons"])}) for one in decisions)
        return cls(tuple(made), tuple(unmeasured))


@dataclass(frozen=True)
class Due(Record):
    """A save is due."""

    why: str
    """Why, in words: ``every 500 steps``, ``SIGTERM came``."""
    is_final: bool
    """Whether it is the last one: save, wait until it is durable, and stop."""
    seconds_left: float | None
    """How long there is until the deadline, where there is one and this is the last save."""


@dataclass(frozen=True)
class Event(Record):
    """Something that happened to a save, in the background or not."""

    kind: str
    """``saved``, ``retrying``, ``failed``, ``skipped``, ``replaced`` or ``pruned``."""
    message: str
    """What, in a sentence."""
    id: str | None = None
    """The name of the checkpoint that it is about."""
    step: int | None = None
    committed: Committed | None = None
    """What was saved."""
    error: Exception | None = None
    """Why saving failed, or old checkpoints stay."""
    removed: tuple[str, ...] = ()
    """The names of the old checkpoints that were removed."""

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """Returns the event as a dict of plain values: the error is its text."""
        return {**super().to_dict(), "error": None if self.error is None else str(self.error)}

    @classmethod
    def of(cls, record: dict[str, Any]) -> Event:
        """Makes the record of a dict."""
        committed = record.get("committed")
        made = {**record, "removed": tuple(record.get("removed", ()))}
        return cls(**{**made, "committed": None if committed is None else Committed.of(committed)})


@dataclass(frozen=True)
class Sealed(Record):
    """What became of a file that was to be sealed."""

    path: Path
    outcome: str
    """``sealed``, ``renewed``, ``holds`` (it had a seal), ``proven`` (it carries a proof, and needs none), ``broken``
    (it isn't the file that was sealed) or ``refused`` (it is damaged, or can't be read)."""
    bytes: int
    """The size of the file."""
    digest: str | None
    """What the seal stands for; ``None`` where there is no seal that holds."""
    reason: str | None
    """Why it wasn't sealed."""
    report: Report | None
    """What the check of the file found."""

    @property
    def is_good(self) -> bool:
        """Whether later damage of the file will show."""
        return self.outcome not in ("broken", "refused")

    @classmethod
    def of(cls, record: dict[str, Any]) -> Sealed:
        """Makes the record of the dict that it has in JSON."""
        report = None if record["report"] is None else Report.of(record["report"])
        return cls(**{**record, "path": Path(record["path"]), "report": report})
