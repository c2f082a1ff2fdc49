"""For the `Trainer` of Hugging Face's ``transformers``.

Three parts, each of use alone:

- `CkptTrainerMixin` makes the write itself atomic: a checkpoint is written under another name, made durable, verified
  and sealed, and only then gets its own. What is old goes after that.
- `CkptCallback`, for a `Trainer` that can't be subclassed: verifies and seals what was written, right after it, and
  keeps what a policy says.
- `last_verified` returns what ``trainer.train(resume_from_checkpoint=...)`` can go on from: the newest checkpoint of
  which every byte passed.
"""

from .._resume import Skipped, Verified
from ._callback import CkptCallback
from ._resume import last_verified, newest_verified
from ._trainer import CkptTrainerMixin

__all__ = ["CkptCallback", "CkptTrainerMixin", "Skipped", "Verified", "last_verified", "newest_verified"]
