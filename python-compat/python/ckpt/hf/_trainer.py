"""A Trainer whose checkpoints come to their names all at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import _native
from .._retention import Keep
from .._together import agree, rank
from .._verify import require_valid, verify
from ._checkpoints import STATE, logger, name_of, prove, remove_old
from ._resume import last_verified

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object


class CkptTrainerMixin(_Trainer):
    """Makes a Trainer's own saving atomic, durable and verified; put it before the Trainer::

        class Trainer(ckpt.hf.CkptTrainerMixin, transformers.Trainer):
            pass

    A checkpoint is written into a directory under another name beside the others. When all processes have written their
    part, it is made durable, verified and sealed, and takes its name in one step. Whatever happens meanwhile, each
    ``checkpoint-STEP`` is there as a whole, the old one or the new one. Then the old ones go, by their steps: the
    Trainer's ``save_total_limit`` says how many stay.

    What is loaded (``resume_from_checkpoint``, the best model at the end) is verified first, and
    ``resume_from_checkpoint=True`` means the newest that passes. A state that DeepSpeed loads by itself isn't verified
    again: give `last_verified` for that.

    Only the process that the Trainer has save (``args.should_save``) renames and removes, and it holds the run's lock
    meanwhile: another job that saves to the same directory gets an error.
    """

    ckpt_keep_every: int | None = None
    """Keeps one of every so many steps, beside the last ones."""
    ckpt_remove_damaged: bool = False
    """Whether damaged checkpoints go, where a newer one is good."""
    ckpt_on_failure: Literal["raise", "warn"] = "raise"
    """What a save that fails does: ends the training, or is logged as an error. The old checkpoints stay."""

    #: Where checkpoints are written instead of the run's directory, during a save.
    _ckpt_stage: str | None = None
    _ckpt_is_to_push: bool = False
    #: What was just verified, and needn't be again.
    _ckpt_verified: str | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Trains, from the newest verified checkpoint where ``resume_from_checkpoint`` is ``True``.

        Raises:
            ValueError: There is none.
        """
        if resume_from_checkpoint is True:
            run = str(self.args.output_dir)
            resume_from_checkpoint = last_verified(run)
            if resume_from_checkpoint is None:
                raise ValueError(f"there is no checkpoint in {run}: train without resume_from_checkpoint")
            self._ckpt_verified = resume_from_checkpoint
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        return self._ckpt_stage or str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run = Path(self._get_output_dir(trial))
        best = self.state.best_model_checkpoint
        try:
            self._ckpt_save(run, model, trial)
        except Exception as error:  # PyTorch says of a full disk that it is a RuntimeError
            self.state.best_model_checkpoint = best
            logger.error("%s wasn't saved; the older ones are as they were: %s", run / self._ckpt_name(), error)
            if self.ckpt_on_failure == "raise":
                raise
        else:
            if self._ckpt_is_to_push:
                super()._push_from_checkpoint(str(run / self._ckpt_name()))
        finally:
            self._ckpt_is_to_push = False

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if resume_from_checkpoint != self._ckpt_verified:
            self._ckpt_require(resume_from_checkpoint)
        self._ckpt_verified = None
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        self._ckpt_require(self.state.best_model_checkpoint)
        super()._load_best_model()

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # An upload goes on in the background: it must begin from the final name.
        if self._ckpt_stage is None:
            super()._push_from_checkpoint(checkpoint_folder)
        else:
            self._ckpt_is_to_push = True

    def _ckpt_name(self) -> str:
        return name_of(self.state.global_step)

    def _ckpt_save(self, run: Path, model: Any, trial: Any) -> None:
        places: list[_native.Place] = []

        def stage() -> tuple[int, str]:
            places.append(_native.Place(run))
            return self._ckpt_node(), str(places[0].stage())

        try:
            stages = dict(agree(stage if self.args.should_save else None))
            stage_path = stages[self._ckpt_node()]
            agree(lambda: self._ckpt_write(stage_path, run, model, trial))
            agree((lambda: self._ckpt_commit(places[0], stage_path, run)) if places else None)
        finally:
            for place in places:
                place.close()

    def _ckpt_write(self, stage: str, run: Path, model: Any, trial: Any) -> None:
        """Has the Trainer write its checkpoint into the staged directory, where there is no other to rotate."""
        self._ckpt_stage = stage
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._ckpt_stage = None
        staged = Path(stage, self._ckpt_name())
        # If this is the best one, the Trainer has noted where it was written.
        if self.state.best_model_checkpoint == str(staged):
            self.state.best_model_checkpoint = str(run / self._ckpt_name())
            if self.args.should_save:
                self.state.save_to_json(str(staged / STATE))
        if staged.exists():
            _native.sync_directory(staged)

    def _ckpt_commit(self, place: _native.Place, stage: str, run: Path) -> None:
        prove(Path(stage, self._ckpt_name()), durable=False)
        place.commit(self._ckpt_name(), True)
        logger.info("%s is saved and verified", run / self._ckpt_name())
        limit = self.args.save_total_limit
        keep = Keep(limit if limit and limit > 0 else None, self.ckpt_keep_every, self.ckpt_remove_damaged)
        remove_old(place, run, keep, newest=self.state.global_step, best=self.state.best_model_checkpoint)

    def _ckpt_node(self) -> int:
        """Returns which of the directories this process writes to: each machine has its own where each saves."""
        return int(os.environ.get("GROUP_RANK", "0")) if self.args.save_on_each_node else 0

    def _ckpt_require(self, path: str | None) -> None:
        """Raises what a check of a checkpoint finds; the first process of a job looks."""
        if path is not None and Path(path).is_dir():
            agree((lambda: require_valid(verify(path))) if rank() == 0 else None)
