"""Checkpoints of Lightning's `Trainer` and `Fabric`, proven good.

`CkptIO` takes the place of Lightning's own `CheckpointIO`; `AsyncCkptIO` saves in the background::

    trainer = Trainer(plugins=[AsyncCkptIO()], callbacks=[ModelCheckpoint(directory, save_last=True)])
    trainer.fit(model, ckpt_path=last_verified(directory))

Both serve ``lightning`` and ``pytorch_lightning``. Checkpoints stay ``.ckpt`` files that Lightning reads without ckpt.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ._allowed import registered_globals
from ._background import Background
from ._load import load
from ._newest import newest_verified, step_in_proof
from ._options import PathLike
from ._removal import remove_checkpoint
from ._save import save
from ._verify import require_valid, verify
from .errors import CheckpointError, NeedsTrustError

__all__ = ["AsyncCkptIO", "CkptIO", "last_verified"]

_HOMES = ("lightning.fabric.plugins.io.checkpoint_io", "lightning_fabric.plugins.io.checkpoint_io")
"""Where `CheckpointIO` is: in the package ``lightning``, and in what ``pytorch_lightning`` is built on."""

_REMEDY = (
    "allow it with torch.serialization.add_safe_globals([...]), or pass weights_only=False "
    "(Trainer.fit, Fabric.load, last_verified) if you trust who wrote the file"
)


def _base() -> type:
    """Returns the `CheckpointIO` of the package that is in use, or else of the one that is installed."""
    for home in sorted(_HOMES, key=lambda home: home not in sys.modules):
        try:
            return importlib.import_module(home).CheckpointIO
        except ModuleNotFoundError as error:
            if error.name != home.partition(".")[0]:
                raise
    raise ModuleNotFoundError("ckpt.lightning needs Lightning: pip install 'ckpt[lightning]'", name="lightning")


if TYPE_CHECKING:
    from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
else:
    CheckpointIO = _base()


class CkptIO(CheckpointIO):
    """Saves Lightning's checkpoints with `ckpt.save`: atomic, durable, verified, with their proof inside.

    At a checkpoint's name is the old file whole or the new one whole, at every moment, wherever the directory for
    temporary files is; a link at that name (``save_last="link"``) is replaced itself. What `Trainer` and `Fabric` load
    is verified, too. ``LightningModule.load_from_checkpoint`` reads a file without any plug-in: give it what
    `last_verified` returned.

    Args:
        validate: Whether each file is read back and verified before it takes its name.
        durable: Whether to return only when the file would survive a loss of power.
        done_marker: Whether to make a completion marker (``NAME.ckpt.done``).
    """

    def __init__(self, *, validate: bool = True, durable: bool = True, done_marker: bool = False) -> None:
        self._options: dict[str, Any] = {"validate": validate, "durable": durable, "done_marker": done_marker}
        _register_with_siblings()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any | None = None) -> None:
        """Saves a checkpoint. Its position is its ``global_step``.

        Args:
            checkpoint: What the `Trainer` or `Fabric` wants to keep: tensors, and whatever can be pickled.
            path: Where: a path on this machine's file systems.
            storage_options: Further arguments of `ckpt.save`, by name: ``{"metadata": {"run": "7"}}``.

        Raises:
            OSError, CheckpointError: As `ckpt.save`. The old file is as it was.
            ValueError: The path is a URL.
        """
        self._write(checkpoint, _local(path), dict(storage_options or {}))

    def load_checkpoint(
        self, path: PathLike, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Loads a checkpoint, and holds every byte that has a checksum against it.

        Args:
            path: The checkpoint, by whomever it was written.
            map_location: As in `torch.load`. Default: all is on the CPU, from where Lightning brings it to its place.
            weights_only: ``None`` or ``True``: nothing is executed, and of other objects only those are made that are
                allowed by ``torch.serialization.add_safe_globals``. ``False``: the pickle is executed.

        Raises:
            CorruptedError: The bytes are damaged; the message says what and where.
            NeedsTrustError: It holds other objects; the message names the first, and what to do.
            OSError: It can't be read.
        """
        place = _local(path)
        if weights_only is False:
            loaded = load(place, map_location=map_location, trusted=True)
        else:
            loaded = _load_safely(place, map_location)
        return loaded

    def remove_checkpoint(self, path: PathLike) -> None:
        """Removes a checkpoint, if it is there: a file with its marker, a link, or the directory of a sharded one.

        Raises:
            OSError: It can't be removed.
        """
        remove_checkpoint(_local(path))

    def _write(self, checkpoint: Any, path: str, options: dict[str, Any]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # `ModelCheckpoint(save_last="link")` points at another checkpoint, which must not be written over.
        ours = {"format": "torch", "position": _step(checkpoint), "replace_link": True}
        save(checkpoint, path, **{**ours, **self._options, **options})


class AsyncCkptIO(CkptIO):
    """Saves as `CkptIO` does, on a thread of its own: the training goes on as soon as the state is copied.

    - The copy is made before `save_checkpoint` returns, into memory on the host that is used again for the next save
      (pinned where it holds a GPU's tensors). What the next step changes isn't in the file. A tensor of a GPU is saved
      as one of the CPU.
    - When as many saves as allowed are unfinished, the next one waits.
    - A failed save is logged at once, and raised by the next call of this plug-in: the next save at the latest, or the
      end of the training. The state that was to be saved then is not.
    - Removals wait for the saves before them. While the last save has failed they are put off, because what is to be
      removed may be the last good checkpoint.

    Args:
        max_in_flight: How many saves may be unfinished at once. Each holds a copy of the state on the host. With 2, a
            `ModelCheckpoint` that saves its best and its last at the same step waits for neither.
        validate, durable, done_marker: As for `CkptIO`.
    """

    def __init__(
        self, *, max_in_flight: int = 2, validate: bool = True, durable: bool = True, done_marker: bool = False
    ) -> None:
        super().__init__(validate=validate, durable=durable, done_marker=done_marker)
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight is {max_in_flight}; at least one save must be allowed")
        self._max_in_flight = max_in_flight
        # Made when it is needed: Lightning may copy this object into other processes first.
        self._background: Background | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any | None = None) -> None:
        """Copies a checkpoint, to save it in the background. See `CkptIO.save_checkpoint`.

        Raises:
            pickle.PicklingError, TypeError, AttributeError: It holds what can't be pickled.
            Exception: What an earlier save raised. This checkpoint isn't saved then.
        """
        options = dict(storage_options or {})
        if self._background is None:
            self._background = Background(self._max_in_flight, remove_checkpoint)

        def write(copy: Any, place: str) -> None:
            self._write(copy, place, options)

        self._background.save(checkpoint, _local(path), write)

    def load_checkpoint(
        self, path: PathLike, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Waits for the saves that are unfinished, and loads a checkpoint. See `CkptIO.load_checkpoint`.

        Raises:
            Exception: What an earlier save raised.
        """
        if self._background is not None:
            self._background.drain()
        return super().load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: PathLike) -> None:
        """Removes a checkpoint, once all saves before it are done and the last of them is good.

        Raises:
            Exception: What an earlier save raised.
        """
        if self._background is None:
            super().remove_checkpoint(path)
        else:
            self._background.remove(_local(path))

    def teardown(self) -> None:
        """Waits for all saves and removals, and gives the memory back. The plug-in can be used again.

        Raises:
            Exception: What a save raised.
        """
        background, self._background = self._background, None
        if background is not None:
            background.close()


def last_verified(directory: PathLike, *, pattern: str = "*.ckpt", weights_only: bool | None = None) -> str | None:
    """Returns the newest checkpoint whose every byte passes, for ``Trainer.fit(ckpt_path=...)``.

    Newest is the one with the highest ``global_step``, or, where one of them doesn't say, the one that was modified
    last. Damaged and unfinished ones are skipped; the reasons are logged (logger ``ckpt``). Without any checkpoint the
    result is ``None``, which starts the training from the beginning.

    Where ``torch.distributed`` is initialized, each process must call this, and all get what rank 0 decided.

    Args:
        directory: Where they are: the ``dirpath`` of the `ModelCheckpoint`.
        pattern: Which files are checkpoints. ``"**/*.ckpt"`` also looks into what is below.
        weights_only: As it will be passed to ``Trainer.fit``: ``False`` accepts what needs trust.

    Raises:
        CorruptedError: There are checkpoints, and none is good. To begin anew would lose them silently.
        IncompatibleError: The newest whole one can't be loaded here. To skip it would silently drop good progress.
    """
    return newest_verified(
        directory,
        pattern,
        step_of=_step_of_file,
        trusted=weights_only is False,
        remedy=_REMEDY,
    )


def _register_with_siblings() -> None:
    """Makes the plug-ins count as such for the other package too, where both are in use."""
    for home in _HOMES:
        if home in sys.modules:
            sys.modules[home].CheckpointIO.register(CkptIO)


def _local(path: PathLike) -> str:
    text = os.fspath(path)
    if "://" in text:
        raise ValueError(f"{text}: ckpt saves to this machine's file systems; a URL needs Lightning's own CheckpointIO")
    return text


def _load_safely(path: str, map_location: Any) -> Any:
    try:
        if map_location is None or isinstance(map_location, (str, int, torch.device)):
            return load(path, map_location=map_location, allowed_globals=registered_globals())
        # A function or a table says for each storage where it goes: only PyTorch knows what they are told.
        os.stat(path)
        require_valid(verify(path, allowed_globals=registered_globals()))
        return torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError as error:
        finding = error.finding or {}
        if finding.get("code") != "needs-trust":
            raise
        raise NeedsTrustError(error.checkpoint_path, f"{finding['message']}; {_REMEDY}", finding) from None


def _step(checkpoint: Any) -> int | None:
    step = checkpoint.get("global_step") if isinstance(checkpoint, dict) else None
    return step if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None


def _step_of_file(path: str) -> int | None:
    step = step_in_proof(path)
    if step is not None:
        return step
    try:
        # By Lightning itself: the structure is read, and no tensor.
        return _step(load(path, tensors="global_step"))
    except (CheckpointError, OSError, ValueError):
        return None
