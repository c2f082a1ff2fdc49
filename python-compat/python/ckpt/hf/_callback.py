"""A callback that verifies and seals what the Trainer wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .. import _native
from .._retention import Keep
from .._together import agree
from ..errors import CheckpointError
from ._checkpoints import logger, name_of, prove, remove_old


class CkptCallback(TrainerCallback):
    """Verifies and seals each checkpoint right after the Trainer has written it, and keeps what a policy says.

    The Trainer writes in place, without making anything durable; a kill in the middle leaves a part under the final
    name. This callback can't change that (`CkptTrainerMixin` does); it makes durable what was written, and seals every
    file, so that `last_verified` can tell later damage.

    Use it with ``save_total_limit=None`` and give the number here: the Trainer rotates by modification times, and
    before anybody has looked at the new checkpoint. Here nothing is removed unless the new one passed.

    Args:
        keep_last: How many of the newest good checkpoints stay. Default: all. The one just written, the best one, the
            newest good one and those that nobody has verified stay in any case.
        keep_every: Keeps one of every so many steps as well.
        remove_damaged: Whether damaged checkpoints go, where a newer one is good.
        on_failure: What a checkpoint that doesn't pass does: ``"raise"`` ends the training, ``"warn"`` logs an error
            and goes on. Nothing is removed in either case.

    >>> import ckpt.hf
    >>> callback = ckpt.hf.CkptCallback(keep_last=3)
    """

    def __init__(
        self,
        keep_last: int | None = None,
        *,
        keep_every: int | None = None,
        remove_damaged: bool = False,
        on_failure: Literal["raise", "warn"] = "raise",
    ) -> None:
        if on_failure not in ("raise", "warn"):
            raise ValueError(f"on_failure='{on_failure}' is neither 'raise' nor 'warn'")
        self.keep = Keep(keep_last, keep_every, remove_damaged)
        self.on_failure = on_failure

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Warns where the Trainer itself removes checkpoints."""
        if args.save_total_limit is not None and args.should_save:
            logger.warning(
                "save_total_limit=%s: the Trainer removes old checkpoints before the new one is verified; "
                "set it to None, and keep_last here",
                args.save_total_limit,
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Verifies and seals the checkpoint of this step, when all processes have written their part.

        Raises:
            CheckpointError: It doesn't pass.
            OSError: It can't be read or sealed.
        """
        run = Path(str(args.output_dir))
        # On each process: what one wrote, another can't make durable everywhere.
        try:
            agree(lambda: _sync(run / name_of(state.global_step)))
            agree((lambda: self._seal(run, state)) if args.should_save else None)
        except (CheckpointError, OSError, ValueError) as error:
            logger.error("%s isn't good, and nothing is removed: %s", run / name_of(state.global_step), error)
            if self.on_failure == "raise":
                raise

    def _seal(self, run: Path, state: TrainerState) -> None:
        path = run / name_of(state.global_step)
        prove(path)
        logger.info("%s is verified and sealed", path)
        if self.keep.says_something():
            with _native.Place(run) as place:
                remove_old(place, run, self.keep, newest=state.global_step, best=state.best_model_checkpoint)


def _sync(path: Path) -> None:
    # A process of another machine may have written nothing.
    if path.exists():
        _native.sync_directory(path)
