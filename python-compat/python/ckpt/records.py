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
