"""What is known of extractions and merges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from .. import _native
from ..records import Finding, Record, known


@dataclass(frozen=True)
class Merged(Record):
    """What became of a pair of feature files. Of one that was skipped it says what it said when the output was made."""

    a: Path
    b: Path
    path: Path
    """The output."""
    outcome: str
    """``merged``, or ``skipped``: it was there, proven good, and made from these inputs as they are now."""
    rows: int
    """How many ids the output has, each with a row."""
    width: int
    """How many elements a row has: those of both inputs."""
    width_a: int
    width_b: int
    dtype: str
    """The type of the elements: ``f32``, ``bf16``."""
    only_in_a: tuple[str, ...]
    """The ids that only `a` has. The output hasn't them."""
    only_in_b: tuple[str, ...]
    """The ids that only `b` has."""
    duplicates_in_a: tuple[str, ...]
    """The ids that `a` has more than once: the last row of each counts, at the place of the first."""
    duplicates_in_b: tuple[str, ...]
    bytes: int
    """The size of the output."""
    proof: str
    """The id of the output's proof: the digest of the file."""
    elapsed_ms: int

    def __repr__(self) -> str:
        return (
            f"Merged({str(self.path)!r}, {self.outcome}, {self.rows} x {self.width} {self.dtype}, "
            f"{len(self.only_in_a)} only in a, {len(self.only_in_b)} only in b)"
        )

    @classmethod
    def of(cls, record: dict[str, Any]) -> Merged:
        """Makes the record of a dict."""
        made = known(cls, record)
        for name in ("a", "b", "path"):
            made[name] = Path(made[name])
        for name in ("only_in_a", "only_in_b", "duplicates_in_a", "duplicates_in_b"):
            made[name] = tuple(made[name])
        return cls(**made)


@dataclass(frozen=True)
class SetAside(Record):
    """A shard that is damaged, and counts for nothing."""

    shard: str
    """The shard: ``shard_3/batch_7.safetensors``."""
    moved_to: str | None
    """Its name now, beside where it was; ``None`` where it was only found."""
    finding: Finding
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.shard}: {self.finding}"

    @classmethod
    def of(cls, record: dict[str, Any]) -> SetAside:
        """Makes the record of a dict."""
        return cls(**{**known(cls, record), "finding": Finding(**record["finding"])})


@dataclass(frozen=True)
class Todo(Record):
    """What of an extraction is still to do."""

    ids: list[str]
    """The ids that aren't in a shard that verifies, in the order of the input."""
    places: list[int]
    """The place of each of them in the input, from 0."""
    done: int
    """How many ids of the input are done."""
    shards: int
    """How many shards verify."""
    rows: int
    """How many rows they have, those of ids that are there twice or aren't in the input included."""
    set_aside: tuple[SetAside, ...]
    """The shards that are damaged."""

    def for_rank(self, rank: int, world_size: int) -> list[str]:
        """Returns those of the ids that are a rank's to do: of every `world_size` of the input, one.

        It goes by the place in the input, and not by what is left of it: whenever a worker asks, and whatever others
        have saved by then, no id is two ranks' or nobody's.

        Raises:
            ValueError: There is no such rank.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"there is no rank {rank} of {world_size}: ranks count from 0")
        return [id for id, place in zip(self.ids, self.places, strict=True) if place % world_size == rank]

    def __repr__(self) -> str:
        return f"Todo({len(self.ids)} ids, {self.done} done in {self.shards} shards, {len(self.set_aside)} set aside)"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Todo:
        """Makes the record of a dict."""
        return cls(**{**known(cls, record), "set_aside": tuple(SetAside.of(one) for one in record["set_aside"])})


@dataclass(frozen=True)
class ExtractionSummary(Record):
    """What a writer saved, from its beginning to its end."""

    rank: int
    shards: int
    rows: int
    """How many rows the shards have."""
    bytes: int
    """The size of the shards."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> ExtractionSummary:
        """Makes the record of a dict."""
        return cls(**known(cls, record))


@dataclass(frozen=True)
class ExtractionRecord(Record):
    """What holds for an extraction as a whole."""

    schema: str
    digest: str
    """The digest of the rest."""
    id: str
    """Its name, which its input and its model decide."""
    world_size: int
    """How many workers the one that came first was one of."""
    input: dict[str, Any]
    """What the features are made of: how many (``count``) ids or bytes (``of``), and their ``digest``."""
    model: dict[str, Any]
    """What they are made with: the ``config``, and its ``hash``."""
    created: str
    """When it began, as ISO 8601 has it."""
    writer: str

    @classmethod
    def of(cls, record: dict[str, Any]) -> ExtractionRecord:
        """Makes the record of a dict."""
        return cls(**known(cls, record))


@dataclass(frozen=True)
class ShardRecord(Record):
    """One shard: a file of ids and rows."""

    name: str
    """The file's name, in its rank's directory."""
    batch: int
    """Its number, from 0."""
    rows: int
    bytes: int
    """The size of the file."""
    proof: str
    """The id of the proof that it carries."""
    saved: str
    """When, as ISO 8601 has it."""


@dataclass(frozen=True)
class RankRecord(Record):
    """What one rank has saved."""

    schema: str
    digest: str
    """The digest of the rest."""
    extraction: str
    """The name of the extraction."""
    rank: int
    world_size: int
    """How many ranks there were when it last worked."""
    batches: tuple[ShardRecord, ...]
    """Its shards, in the order in which they were saved."""
    rows: int
    started: str
    """When it began, the last time."""
    updated: str
    """When this was last written: after each shard, and at the beginning and the end."""
    finished: bool
    """Whether it said that it was done, the last time."""

    def __repr__(self) -> str:
        finished = ", finished" if self.finished else ""
        return (
            f"RankRecord({self.rank}, {len(self.batches)} shards, {self.rows} rows, updated {self.updated}{finished})"
        )

    @classmethod
    def of(cls, record: dict[str, Any]) -> RankRecord:
        """Makes the record of a dict."""
        batches = tuple(ShardRecord(**known(ShardRecord, one)) for one in record["batches"])
        return cls(**{**known(cls, record), "batches": batches})


@dataclass(frozen=True)
class StalledRank(Record):
    """A rank that should have saved something by now."""

    rank: int
    since: str
    """When it last wrote something; for one that never began, when the extraction did."""


@dataclass(frozen=True)
class ExtractionManifest(Record):
    """What an extraction has, over all its ranks."""

    extraction: ExtractionRecord
    world_size: int
    """How many ranks the newest run has."""
    ranks: tuple[RankRecord, ...]
    """The ranks that have a record, in order; each with those of its shards whose files are there."""
    absent: tuple[int, ...]
    """The ranks of the newest run that never began."""
    unrecorded: tuple[str, ...]
    """Shards that no record names, because their rank was killed just then. They count when they verify."""
    damaged: tuple[int, ...]
    """The ranks whose record is damaged: their shards are among the unrecorded."""

    @property
    def rows(self) -> int:
        """How many rows the shards have that records name."""
        return sum(rank.rows for rank in self.ranks)

    @property
    def shards(self) -> int:
        """How many shards records name."""
        return sum(len(rank.batches) for rank in self.ranks)

    @property
    def is_finished(self) -> bool:
        """Whether every rank of the newest run has said that it is done."""
        current = (rank for rank in self.ranks if rank.rank < self.world_size)
        return not self.absent and not self.damaged and all(rank.finished for rank in current)

    def stalled(self, age: float | timedelta) -> list[StalledRank]:
        """Returns the ranks that haven't finished, and have written nothing for longer than `age` (seconds, or a
        `timedelta`): a few times what a shard takes."""
        seconds = age.total_seconds() if isinstance(age, timedelta) else float(age)
        return [StalledRank(**known(StalledRank, one)) for one in _native.stalled_ranks(self.to_dict(), seconds)]

    def __repr__(self) -> str:
        ranks = f"{len(self.ranks)} of {self.world_size} ranks"
        return f"ExtractionManifest({self.extraction.id}, {ranks}, {self.shards} shards, {self.rows} rows)"

    @classmethod
    def of(cls, record: dict[str, Any]) -> ExtractionManifest:
        """Makes the record of a dict."""
        made = known(cls, record)
        made["extraction"] = ExtractionRecord.of(record["extraction"])
        made["ranks"] = tuple(RankRecord.of(rank) for rank in record["ranks"])
        for name in ("absent", "unrecorded", "damaged"):
            made[name] = tuple(made[name])
        return cls(**made)


@dataclass(frozen=True)
class Aggregated(Record):
    """One file made of all shards, and what was odd about them.

    Of ids only the first few are listed; the counts are of all.
    """

    schema: str
    path: Path
    bytes: int
    """The size of the file."""
    proof: str
    """The id of the proof that it carries."""
    rows: int
    shards: int
    """How many shards the rows came from."""
    missing: int
    """How many ids have no row."""
    missing_ids: tuple[str, ...]
    duplicates: int
    """How many rows are of an id that had one already: the first one counts, by rank and number of its shard."""
    duplicate_ids: tuple[str, ...]
    differing: int
    """How many of the duplicates are other bits than the row that counts."""
    differing_ids: tuple[str, ...]
    unlisted: int
    """How many rows are of ids that weren't asked for: they are left out."""
    unlisted_ids: tuple[str, ...]
    damaged: tuple[SetAside, ...]
    """The shards that are damaged, and were left out."""
    elapsed_ms: int

    def __repr__(self) -> str:
        odd = {name: getattr(self, name) for name in ("missing", "duplicates", "differing", "unlisted")}
        said = "".join(f", {count} {name}" for name, count in odd.items() if count)
        damaged = f", {len(self.damaged)} damaged shards" if self.damaged else ""
        return f"Aggregated({str(self.path)!r}, {self.rows} rows of {self.shards} shards{said}{damaged})"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Aggregated:
        """Makes the record of a dict."""
        made = {**known(cls, record), "path": Path(record["path"])}
        for name in ("missing_ids", "duplicate_ids", "differing_ids", "unlisted_ids"):
            made[name] = tuple(made[name])
        made["damaged"] = tuple(SetAside.of(one) for one in record["damaged"])
        return cls(**made)
