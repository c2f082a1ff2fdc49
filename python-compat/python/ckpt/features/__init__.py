"""Features: rows of numbers by id, extracted in shards by many workers, and merged.

An `Extraction` saves what workers make as they go, so that a crash costs minutes; `aggregate` makes one file of its
shards; `merge` joins two feature files by their ids.
"""

from ..errors import MergeError
from ._extraction import Extraction, ShardWriter, aggregate, manifest, todo
from ._merge import merge, merge_all, pairs_in
from .records import (
    Aggregated,
    ExtractionManifest,
    ExtractionRecord,
    ExtractionSummary,
    Merged,
    RankRecord,
    SetAside,
    ShardRecord,
    StalledRank,
    Todo,
)

__all__ = [
    "Aggregated",
    "Extraction",
    "ExtractionManifest",
    "ExtractionRecord",
    "ExtractionSummary",
    "MergeError",
    "Merged",
    "RankRecord",
    "SetAside",
    "ShardRecord",
    "ShardWriter",
    "StalledRank",
    "Todo",
    "aggregate",
    "manifest",
    "merge",
    "merge_all",
    "pairs_in",
    "todo",
]
