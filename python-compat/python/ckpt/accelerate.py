"""For Hugging Face's ``accelerate``: `register` makes ``save_state`` atomic, and has ``load_state`` verify first.

Accelerate writes into the final directory, file by file, and removes the oldest checkpoint before the new one is there.
Its hooks alone can't change that, because none comes after the last file. So `register` takes the place of the two
methods on one ``Accelerator``, and calls the original ones inside.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import _native
from ._options import PathLike
from ._resume import Skipped, Verified, numbered, walk_back
from ._retention import Keep, Known, Standing, prune
from ._save import save
from ._seal import seal_directory, verify_sealed
from ._together import agree, rank
from ._verify import require_valid, verify_all
from .errors import CheckpointError, CorruptedError

__all__ = ["Registration", "Skipped", "Verified", "last_verified", "newest_verified", "register"]

logger = logging.getLogger("ckpt.accelerate")

#: Where accelerate's automatic naming puts checkpoints, below the project's directory.
_CHECKPOINTS = "checkpoints"

_NAME = re.compile(r"checkpoint_(\d+)")

#: The names of all files of a checkpoint: those that prove themselves have no seal that would miss them.
_LISTING = "ckpt-files.json"


def register(accelerator: Any, *, keep_every: int | None = None, remove_damaged: bool = False) -> Registration:
    """Makes an ``Accelerator`` save whole, verified checkpoints, and load only such.

    From then on, ``accelerator.save_state(...)`` fills a directory under another name. Models are written by
    `ckpt.save`, with their proof inside; all other files are sealed. When all processes are done, everything is made
    durable and verified, and the directory takes its name in one step. One that had the name stays until then.
    With automatic naming, ``total_limit`` counts verified checkpoints, and old ones go when the new one is durable.

    ``accelerator.load_state(...)`` verifies every byte before it touches a model. Without a directory, it takes the
    newest checkpoint that passes, and logs why newer ones were skipped.

    Args:
        accelerator: The ``Accelerator``.
        keep_every: Keeps one of every so many checkpoints, beside the last ones.
        remove_damaged: Whether damaged checkpoints go, where a newer one is good.

    Returns:
        What ``.remove()`` gives up again.

    Raises:
        ValueError: The accelerator is registered already.

    >>> import accelerate, ckpt.accelerate
    >>> registration = ckpt.accelerate.register(accelerate.Accelerator(cpu=True))
    >>> registration.remove()
    """
    if isinstance(getattr(accelerator.save_state, "__self__", None), Registration):
        raise ValueError("this accelerator is registered already: call .remove() of the first registration")
    return Registration(accelerator, Keep(None, keep_every, remove_damaged))


class Registration:
    """An ``Accelerator`` whose ``save_state`` and ``load_state`` are ckpt's; `register` makes it."""

    def __init__(self, accelerator: Any, keep: Keep) -> None:
        self._accelerator = accelerator
        self._keep = keep
        self._save_state: Callable[..., Any] = accelerator.save_state
        self._load_state: Callable[..., Any] = accelerator.load_state
        self._safe_serialization = True
        self._hook = accelerator.register_save_state_pre_hook(self._write_models)
        accelerator.save_state = self.save_state
        accelerator.load_state = self.load_state

    def remove(self) -> None:
        """Gives the accelerator its own methods back."""
        self._hook.remove()
        for method in ("save_state", "load_state"):
            # Both stood on the instance, in front of those of the class.
            self._accelerator.__dict__.pop(method, None)

    def save_state(self, output_dir: PathLike | None = None, safe_serialization: bool = True, **options: Any) -> Path:
        """Saves as ``Accelerator.save_state`` does, into a directory that is there as a whole or not at all.

        Returns:
            The directory.

        Raises:
            CheckpointError: What was written doesn't pass. What was there before is as it was.
            OSError: It can't be written. What was there before is as it was.
            ValueError: Automatic naming has come to a number that is there; or neither it nor a directory is given.
        """
        root, name = self._destination(output_dir)
        self._safe_serialization = safe_serialization
        places: list[_native.Place] = []

        def stage() -> tuple[int, str]:
            places.append(_native.Place(root))
            return self._node(), str(places[0].stage())

        iteration = self._project.iteration
        try:
            staged = dict(agree(stage if self._writes() else None))[self._node()]
            agree(lambda: self._write(staged, safe_serialization, options))
            agree((lambda: self._commit(places[0], Path(staged), root, name)) if places else None)
        except BaseException:
            self._project.iteration = iteration
            raise
        finally:
            for place in places:
                place.close()
        return root / name

    def load_state(self, input_dir: PathLike | None = None, *arguments: Any, **options: Any) -> None:
        """Loads as ``Accelerator.load_state`` does, after every byte was verified.

        Raises:
            CheckpointError: The checkpoint is damaged. Nothing was loaded.
            FileNotFoundError: There is no checkpoint, and no directory was given.
        """
        if input_dir is None and self._project.automatic_checkpoint_naming:
            root = Path(self._accelerator.project_dir, _CHECKPOINTS)
            input_dir = last_verified(root)
            if input_dir is None:
                raise FileNotFoundError(f"there is no checkpoint in {root}")
        elif input_dir is not None and Path(input_dir).expanduser().is_dir():
            path = Path(input_dir).expanduser()
            agree((lambda: _require(path)) if rank() == 0 else None)
        self._load_state(None if input_dir is None else str(input_dir), *arguments, **options)

    @property
    def _project(self) -> Any:
        return self._accelerator.project_configuration

    def _writes(self) -> bool:
        """Returns whether this process is the one that renames."""
        if self._project.save_on_each_node:
            return bool(self._accelerator.is_local_main_process)
        return bool(self._accelerator.is_main_process)

    def _node(self) -> int:
        return int(os.environ.get("GROUP_RANK", "0")) if self._project.save_on_each_node else 0

    def _destination(self, output_dir: PathLike | None) -> tuple[Path, str]:
        """Returns the directory in which it is staged, and the name in it or below it."""
        if not self._project.automatic_checkpoint_naming:
            if output_dir is None:
                raise ValueError("give save_state a directory, or turn automatic checkpoint naming on")
            path = Path(os.path.abspath(Path(output_dir).expanduser()))
            return path.parent, path.name
        # Not staged among the checkpoints: accelerate's own listing takes every name there for one.
        root = Path(os.path.abspath(self._accelerator.project_dir))
        name = f"{_CHECKPOINTS}/checkpoint_{self._accelerator.save_iteration}"
        if (root / name).exists():
            raise ValueError(f"{root / name} is there already: set project_configuration.iteration to a free number")
        return root, name

    def _write(self, staged: str, safe_serialization: bool, options: dict[str, Any]) -> None:
        with self._named():
            self._save_state(staged, safe_serialization=safe_serialization, **options)
        # What one process wrote, another can't make durable everywhere.
        _native.sync_directory(staged)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Has accelerate write where it is told, and remove nothing."""
        automatic = self._project.automatic_checkpoint_naming
        self._project.automatic_checkpoint_naming = False
        try:
            yield
        finally:
            self._project.automatic_checkpoint_naming = automatic

    def _write_models(self, models: list[Any], weights: list[dict[str, Any]], output_dir: str) -> None:
        """Writes the models in accelerate's place: the hook that it calls before it writes."""
        from accelerate.utils import SAFE_WEIGHTS_NAME, WEIGHTS_NAME, clean_state_dict_for_safetensors

        for index, state in enumerate(weights if self._writes() else []):
            stem, extension = os.path.splitext(SAFE_WEIGHTS_NAME if self._safe_serialization else WEIGHTS_NAME)
            path = Path(output_dir, f"{stem}_{index}{extension}" if index else f"{stem}{extension}")
            # A tied tensor stands in the file once, as accelerate's loader expects.
            save(clean_state_dict_for_safetensors(state) if self._safe_serialization else state, path)
        weights.clear()

    def _commit(self, place: _native.Place, staged: Path, root: Path, name: str) -> None:
        names = sorted(str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file())
        _native.write_file(staged / _LISTING, json.dumps(names).encode())
        seal_directory(staged, durable=False)
        _require(staged, level="size")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        place.commit(name, False)
        logger.info("%s is saved and verified", root / name)
        self._remove_old(place, root, name)

    def _remove_old(self, place: _native.Place, root: Path, name: str) -> None:
        limit = self._project.total_limit
        keep = Keep(limit if limit and limit > 0 else None, self._keep.every, self._keep.remove_damaged)
        if not (self._project.automatic_checkpoint_naming and keep.says_something()):
            return
        there = numbered(root / _CHECKPOINTS, _NAME)
        known = [Known(one.step, _standing(one.path), pinned=one.path == root / name) for one in there]
        prune(place, known, keep, lambda step: f"{_CHECKPOINTS}/checkpoint_{step}", logger)


def last_verified(directory: PathLike, *, force: bool = False) -> str | None:
    """Returns the newest of accelerate's automatically named checkpoints (``checkpoint_N``) that passes, for
    ``accelerator.load_state(...)``; ``None`` where there is none at all.

    Checkpoints that are corrupted are skipped, each with a warning in the log that says why. In a job of many
    processes, the first looks, and all get its answer.

    Args:
        directory: Where they are: ``PROJECT_DIR/checkpoints``.
        force: Whether also those are skipped that are incompatible, or can't be read.

    Raises:
        CheckpointError: There are checkpoints, and none passes; or one mustn't be skipped without ``force``.
        OSError: A newer one can't be read.
    """
    found = newest_verified(directory, force=force)
    return None if found is None else str(found.path)


def newest_verified(directory: PathLike, *, force: bool = False) -> Verified | None:
    """As `last_verified`; the record also says which newer ones were skipped, and why."""

    def look() -> Verified | None:
        return walk_back(Path(directory), _NAME, _fault, force, logger)

    return agree(look if rank() == 0 else None)[0]


def _standing(path: Path) -> Standing:
    fault = _fault(path, level="size")
    if fault is None:
        return "good" if any(path.glob("*.seal")) else "unverified"
    return "bad" if getattr(fault, "error_type", None) == "corrupted" else "unverified"


def _fault(path: Path, level: str = "load") -> CheckpointError | OSError | None:
    try:
        _require(path, level)
    except (CheckpointError, OSError) as error:
        return error
    return None


def _require(path: Path, level: str = "load") -> None:
    """Raises what a check of all the files of a checkpoint finds.

    Seals vouch for the files that have one. Of the others, models prove themselves; what is damaged shows in its own
    checksums or its structure, and what isn't a checkpoint has no say.
    """
    has_seals = any(path.rglob("*.seal"))
    if has_seals:
        require_valid(verify_sealed(path, level=level))
        _require_all(path)
    else:
        logger.warning("%s has no seals: what carries no checksums of its own can't be proven", path)
    others = [one for one in _states(path) if not Path(f"{one}.seal").exists()]
    for report in verify_all(others, level=level) if others else []:
        if report.verdict in ("corrupted", "unreadable"):
            require_valid(report)


def _require_all(path: Path) -> None:
    """Raises where a file is missing that was there when the checkpoint got its name."""
    listing = path / _LISTING
    if not listing.exists():
        return
    try:
        names = json.loads(listing.read_bytes())
    except ValueError as error:
        raise CorruptedError(path, f"{_LISTING} is damaged: {error}") from error
    for name in names:
        if not (path / name).exists():
            raise CorruptedError(path, f"{name} is missing")


def _states(path: Path) -> list[Path]:
    suffixes = (".safetensors", ".bin", ".pkl", ".pt", ".pth")
    return sorted(one for one in path.rglob("*") if one.suffix in suffixes and one.is_file())
