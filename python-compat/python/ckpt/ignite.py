"""Checkpoints of Ignite's `Checkpoint` handler, proven good.

`CkptSaver` takes the place of Ignite's `DiskSaver`::

    saver = CkptSaver(directory, engine=trainer, require_empty=False)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, Checkpoint(to_save, saver, n_saved=2))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine
from ignite.handlers import DiskSaver

from ._newest import newest_verified, step_in_proof
from ._options import PathLike
from ._removal import remove_checkpoint
from ._save import save

__all__ = ["CkptSaver", "last_verified"]

_REMEDY = (
    "allow it with torch.serialization.add_safe_globals([...]), or pass trusted=True (last_verified, ckpt.load) "
    "if you trust who wrote the file"
)


class CkptSaver(DiskSaver):
    """Saves with `ckpt.save`: atomic, durable, verified, with the proof inside. It serves wherever a `DiskSaver` does.

    Ignite asks for the removal of the oldest checkpoint before it saves the new one: with ``n_saved=1``, a crash in
    between leaves nothing. Here a removal is carried out when the next checkpoint is durable.

    Args:
        dirname: The directory.
        engine: The engine whose iteration is a checkpoint's position. Without one, `last_verified` goes by the time at
            which files were modified.
        create_dir: Whether the directory is made where it is missing.
        require_empty: Whether checkpoints that are there already are an error. Pass ``False`` to resume.
        save_on_rank: The rank that saves, in a job of many processes.
        validate, durable, done_marker: As for `ckpt.save`.

    Raises:
        ValueError: The directory is missing, or isn't empty.
    """

    def __init__(
        self,
        dirname: PathLike,
        *,
        engine: Engine | None = None,
        create_dir: bool = True,
        require_empty: bool = True,
        save_on_rank: int = 0,
        validate: bool = True,
        durable: bool = True,
        done_marker: bool = False,
    ) -> None:
        super().__init__(str(dirname), create_dir=create_dir, require_empty=require_empty, save_on_rank=save_on_rank)
        self._engine = engine
        self._options: dict[str, Any] = {"validate": validate, "durable": durable, "done_marker": done_marker}
        self._to_remove: list[str] = []

    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Saves a checkpoint, then removes what was to be removed before.

        Args:
            checkpoint: The states of what is to be saved.
            filename: Its name in the directory.
            metadata: What Ignite says of it (``basename``, ``score_name``, ``priority``); it stands in the file as
                texts.

        Raises:
            OSError, CheckpointError, ValueError: As `ckpt.save`. The old files are as they were.
        """
        if idist.get_rank() != self.save_on_rank:
            return
        facts = {f"ignite.{name}": str(value) for name, value in (metadata or {}).items() if value is not None}
        position = None if self._engine is None else self._engine.state.iteration
        try:
            save(
                checkpoint, self.dirname / filename, format="torch", position=position, metadata=facts, **self._options
            )
        except TypeError as error:
            # Ignite takes a `TypeError` for a handler that knows no metadata, and would call again without.
            raise ValueError(f"{self.dirname / filename}: it can't be saved: {error}") from error
        to_remove, self._to_remove = self._to_remove, []
        for old in to_remove:
            if old != filename:
                remove_checkpoint(str(self.dirname / old))

    def remove(self, filename: str) -> None:
        """Has a checkpoint removed when the next one is durable."""
        if idist.get_rank() == self.save_on_rank:
            self._to_remove.append(filename)


def last_verified(directory: PathLike, *, pattern: str = "*.pt", trusted: bool = False) -> str | None:
    """Returns the newest checkpoint whose every byte passes; ``None`` if there is none::

        newest = last_verified(directory)
        if newest is not None:
            Checkpoint.load_objects(to_load, ckpt.load(newest))

    Newest is the one with the highest position (see the ``engine`` of `CkptSaver`), or, where one of them has none, the
    one that was modified last. Damaged and unfinished ones are skipped; the reasons are logged (logger ``ckpt``).

    Where ``torch.distributed`` is initialized, each process must call this, and all get what rank 0 decided.

    Args:
        directory: Where they are.
        pattern: Which files are checkpoints: ``"best_*.pt"`` where several handlers save to one directory.
        trusted: Accepts what only `ckpt.load` with ``trusted=True`` can load.

    Raises:
        CorruptedError: There are checkpoints, and none is good. To begin anew would lose them silently.
        IncompatibleError: The newest whole one can't be loaded here. To skip it would silently drop good progress.
    """
    return newest_verified(directory, pattern, step_of=step_in_proof, trusted=trusted, remedy=_REMEDY)
