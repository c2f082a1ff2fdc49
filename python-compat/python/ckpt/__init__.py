"""Proves a checkpoint good.

A training job of days dies, and the file it must resume from is short, silently damaged, or of another version. `save`
writes a file that proves itself, atomically and durably; `verify` says of any checkpoint whether it is ``valid``,
``corrupted``, ``incompatible`` or ``unreadable``, and executes nothing of it; `load` holds every byte against its
checksum while it is read. A `Manager` keeps the checkpoints of a training loop, and says from which the work goes on.
`ckpt.pipeline` does so for work in stages; `ckpt.features` for rows that many workers make; `merge` joins those.

PyTorch is imported only where it is used: `verify` and `info` work without it.
"""

from . import features, pipeline, training
from ._load import load, load_into
from ._save import save
from ._seal import seal, seal_directory, verify_sealed
from ._verify import info, verify, verify_all
from .errors import (
    CheckpointError,
    CorruptedError,
    IncompatibleError,
    MergeError,
    NeedsTrustError,
    PipelinePaused,
)
from .features import merge, merge_all
from .manager import EXIT_REQUEUE, Manager, Ticket
from .records import (
    Artifact,
    Committed,
    Decision,
    Due,
    Event,
    Finding,
    Info,
    Latest,
    Listed,
    Manifest,
    Plan,
    Record,
    Report,
    Resumed,
    Saved,
    Sealed,
    Skipped,
    TensorInfo,
)

__version__ = "0.1.0"

__all__ = [
    "EXIT_REQUEUE",
    "Artifact",
    "CheckpointError",
    "Committed",
    "CorruptedError",
    "Decision",
    "Due",
    "Event",
    "Finding",
    "IncompatibleError",
    "Info",
    "Latest",
    "Listed",
    "Manager",
    "Manifest",
    "MergeError",
    "NeedsTrustError",
    "PipelinePaused",
    "Plan",
    "Record",
    "Report",
    "Resumed",
    "Saved",
    "Sealed",
    "Skipped",
    "TensorInfo",
    "Ticket",
    "features",
    "info",
    "load",
    "load_into",
    "merge",
    "merge_all",
    "pipeline",
    "save",
    "seal",
    "seal_directory",
    "training",
    "verify",
    "verify_all",
    "verify_sealed",
]
