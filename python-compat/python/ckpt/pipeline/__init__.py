"""Work in stages, of which none is done twice: extract, merge, predict.

A `Pipeline` knows by its state file which stages are done, and looks whether what they left is still what it was. One
that was killed goes on with the first stage that isn't done. `ckpt stage status` of the command reads the same file.
"""

from ..errors import PipelinePaused
from ._pipeline import EXIT_PAUSED, Pipeline, Stage, StageRun, read
from .records import (
    CleanupEntry,
    CleanupPlan,
    Edit,
    FileRecord,
    Fingerprint,
    Notice,
    PipelineState,
    Review,
    StageRecord,
)

__all__ = [
    "EXIT_PAUSED",
    "CleanupEntry",
    "CleanupPlan",
    "Edit",
    "FileRecord",
    "Fingerprint",
    "Notice",
    "Pipeline",
    "PipelinePaused",
    "PipelineState",
    "Review",
    "Stage",
    "StageRecord",
    "StageRun",
    "read",
]
