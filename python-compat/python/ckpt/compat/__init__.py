"""The functions that existing scripts call: a drop-in for pipelines that were written against these names.

Names, arguments and results are those that the scripts know. What differs is under them: a file is committed atomically
and durably, every byte that has a checksum is held against it, and no check executes a pickle.

- **corrupted** says that the bytes hold no whole checkpoint: damaged, cut short, or none at all. Make the file again.
- **incompatible** says that the bytes are fine and of no use here: another version, other keys, another format.

A checkpoint without a `version` is of version ``0.x``, and so is any of a major version 0. It loads **read-only**: that
is logged as a warning, `get_checkpoint_info` says ``read_only``, and neither the file nor what is loaded from it gets a
version, a status or a marker. To bring it to the present version, pass what was loaded to `atomic_save`.

A pipeline's checkpoint (`PipelineCheckpoint`, `load_checkpoint`, `save_checkpoint`) is another thing: a small JSON file
that says which stages are complete.

A file whose pickle needs trust (it would call what isn't on the list of safe names) is validated by its bytes: intact
is valid. To load it is another question, which ``trusted=True`` or ``allowed_globals`` answers.

>>> import ckpt.compat, pathlib, tempfile, torch
>>> path = pathlib.Path(tempfile.mkdtemp()) / "model.pt"
>>> ckpt.compat.atomic_save({"data": torch.ones(3)}, path) == path
True
>>> ckpt.compat.validate_checkpoint(path), ckpt.compat.has_done_marker(path)
((True, ''), True)
>>> ckpt.compat.load_checkpoint_safe(path)["status"]
'complete'
"""

from ..errors import CheckpointError
from .failed import load_failed_checkpoints, log_failed_checkpoint
from .info import get_checkpoint_info
from .load import load_checkpoint_safe, load_checkpoint_with_validation, load_with_compatibility
from .marker import create_done_marker, has_done_marker, remove_done_marker
from .pipeline import CHECKPOINT_FILENAME, PipelineCheckpoint, load_checkpoint, save_checkpoint
from .save import atomic_save
from .validate import distinguish_error_type, validate_checkpoint, validate_checkpoint_batch
from .version import CHECKPOINT_VERSION

CHECKPOINT_EXIT_CODE = 3
"""The exit code of a pipeline that ends because of a checkpoint."""

__all__ = [
    "CHECKPOINT_EXIT_CODE",
    "CHECKPOINT_FILENAME",
    "CHECKPOINT_VERSION",
    "CheckpointError",
    "PipelineCheckpoint",
    "atomic_save",
    "create_done_marker",
    "distinguish_error_type",
    "get_checkpoint_info",
    "has_done_marker",
    "load_checkpoint",
    "load_checkpoint_safe",
    "load_checkpoint_with_validation",
    "load_failed_checkpoints",
    "load_with_compatibility",
    "log_failed_checkpoint",
    "remove_done_marker",
    "save_checkpoint",
    "validate_checkpoint",
    "validate_checkpoint_batch",
]
