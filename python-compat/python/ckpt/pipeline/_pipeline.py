"""A pipeline as a program holds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from .. import _native
from .._json import plain_json
from .._options import PathLike
from ..errors import PipelinePaused
from .records import CleanupPlan, Edit, Notice, PipelineState

EXIT_PAUSED = 4
"""The exit code of a pipeline that waits for a review, as ``ckpt stage run`` has it."""

_LOGGER = logging.getLogger("ckpt")

Lifetime = Literal["keep", "until_completed", "until_consumed"]


@dataclass(frozen=True)
class Stage:
    """A stage as the program describes it. A name alone will do as well."""

    name: str
    review: bool = False
    """Whether the pipeline is paused when its work is done, until somebody has looked at it: see `Pipeline.approve`."""
    inputs: tuple[PathLike, ...] = ()
    """What it reads. Where that has changed since the stage was done, it is done anew."""
    outputs: tuple[PathLike, ...] = ()
    """What it leaves. Where it left no such thing when it was done, it is done anew."""


class StageRun:
    """A stage that is at work. Use it as a context manager: what goes wrong in it is noted as why it failed.

    Files may be directories. A relative path counts from the directory of the state file. One that is neither completed
    nor failed is as one whose process was killed: the stage is done anew.
    """

    def __init__(self, native: _native.StageRun, name: str) -> None:
        self._native = native
        self.name = name

    def input(self, path: PathLike) -> Path:
        """Notes a file that the stage reads, and takes its digest: before the stage reads it.

        Returns:
            Where it is.

        Raises:
            OSError: It isn't there, or can't be read.
            CorruptedError: It is a checkpoint that proves itself, and is damaged.
            KeyboardInterrupt: Ctrl-C came. The stage is over then.
        """
        return self._native.input(path)

    def output(self, path: PathLike, lifetime: Lifetime = "keep") -> Path:
        """Notes a file that the stage leaves. It may be written before or after.

        At the end of the stage it must be there; it is synced, and its digest taken.

        Args:
            path: The file. A checkpoint that proves itself is told by its proof.
            lifetime: How long it is needed, for `Pipeline.plan_cleanup`: it stays (``"keep"``), it may go when all
                stages are done (``"until_completed"``), or when those are that read it (``"until_consumed"``).

        Returns:
            Where it is to be.
        """
        return self._native.output(path, lifetime)

    def value(self, name: str, value: Any) -> None:
        """Notes something that the stage comes to beside files: what JSON can hold.

        Raises:
            TypeError: JSON can't hold it.
        """
        self._native.value(name, plain_json(f"the value '{name}'", value))

    def cost(self, name: str, amount: float) -> None:
        """Notes what the stage costs, by what is counted: ``("gpu_hours", 0.5)``."""
        self._native.cost(name, float(amount))

    def complete(self) -> None:
        """Finishes the stage: it is durable, and won't be done again. The end of the ``with`` does so by itself.

        Raises:
            FileNotFoundError: An output isn't there. The stage has failed.
            OSError: It couldn't be written down: the stage isn't done.
        """
        self._native.complete()

    def fail(self, reason: str) -> None:
        """Notes that the stage has failed, and why. It will be done again."""
        self._native.fail(reason)

    def __enter__(self) -> StageRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._native.is_open():
            return
        if error is None:
            self.complete()
            return
        try:
            text = str(error)
            self.fail(f"{type(error).__name__}: {text}" if text else type(error).__name__)
        except Exception as failure:
            # The error that is on its way is not hidden by another.
            _LOGGER.error("'%s': that it failed couldn't be written down: %s", self.name, failure)

    def __repr__(self) -> str:
        return f"StageRun({self.name!r}, {'at work' if self._native.is_open() else 'over'})"


class Pipeline:
    """A pipeline of ordered stages: knows which are done, and does the others.

    Its state is in one file, written atomically and durably after each stage; beside it lie the checkpoints of the
    finished stages. One process has a pipeline at a time: another is refused, and told who has it. Use it as a context
    manager, or call `close`, which frees it; so does the end of the process.

    The next stage is the first that isn't done, or whose outputs are gone or changed. A state file that is damaged is
    kept as ``NAME.corrupt-TIME``, and the pipeline begins anew; what was found is in `notices`.

    Args:
        state_file: The state: ``"work/pipeline.json"``. Its directory is made where there is none.
        stages: The stages in their order: names, or `Stage`\\ s.
        name: What the pipeline is called. Default: as the state file, without its extension.
        source: What the pipeline is made from: a file, whose change makes the state stale.
        config: Its configuration: what JSON can hold, and whose change makes the state stale. The order of keys doesn't
            count.
        level: How deep the outputs of finished stages are looked at: that they are there, with their size, and with
            their digest where the time of modification is another one (``"size"``); that checkpoints are whole
            (``"container"``); every byte (``"load"``).
        on_stale: What becomes of a stale state: an error that says what differs (``"refuse"``), all stages anew
            (``"restart"``), or on with it (``"resume"``).
        force_restart: Whether all stages are done anew in any case.
        holder: What others are told who come meanwhile, beside process, machine and time.
        metadata: Texts of your own, which stand in the state.

    Raises:
        ValueError: Another process has the pipeline; or there are no stages, or two of one name.
        IncompatibleError: The state is stale, or of a later version of ckpt.
        OSError: The state, or an output, can't be read.

    >>> import pathlib, tempfile
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> def extract(stage):
    ...     size = (place / "numbers.txt").write_text("1 2 3")
    ...     stage.output(place / "numbers.txt", lifetime="until_completed")
    ...     stage.value("bytes", size)
    >>> with Pipeline(place / "pipeline.json", ["extract", "sum"]) as pipeline:
    ...     pipeline.run("extract", extract)
    ...     if stage := pipeline.begin("sum"):
    ...         with stage:
    ...             stage.value("sum", sum(map(int, (place / "numbers.txt").read_text().split())))
    ...     pipeline.run("extract", extract)
    'done'
    'skipped'
    >>> read(place / "pipeline.json")["sum"].values
    {'sum': 6}
    """

    def __init__(
        self,
        state_file: PathLike,
        stages: Iterable[str | Stage],
        *,
        name: str | None = None,
        source: PathLike | None = None,
        config: Any = None,
        level: str = "container",
        on_stale: Literal["refuse", "restart", "resume"] = "refuse",
        force_restart: bool = False,
        holder: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.state_file = Path(state_file)
        """The state file."""
        described = [Stage(stage) if isinstance(stage, str) else stage for stage in stages]
        arguments = {
            "stages": [(one.name, one.review, list(one.inputs), list(one.outputs)) for one in described],
            "name": name,
            "source": source,
            "config": None if config is None else plain_json("config", config),
            "level": level,
            "on_stale": on_stale,
            "force_restart": force_restart,
            "holder": holder,
            "metadata": dict(metadata or {}),
        }
        self._native = _native.Pipeline(state_file, arguments)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was found when it was opened, and is worth a word: a damaged state, a changed output."""
        return tuple(Notice.of(notice) for notice in self._native.notices())

    @property
    def state(self) -> PipelineState:
        """What is known of it now."""
        return PipelineState.of(self._native.state())

    @property
    def status(self) -> str:
        """How far it is: ``not_started``, ``in_progress``, ``paused``, ``completed`` or ``failed``."""
        return self.state.status

    @property
    def awaiting_review(self) -> str | None:
        """The name of the stage that waits for its review, if one does."""
        return self._native.awaiting_review()

    @property
    def next(self) -> str | None:
        """The name of the stage to be done next: ``None`` where all are done, or one waits for its review."""
        return self._native.next()

    def run(self, name: str, work: Callable[[StageRun], object]) -> Literal["done", "skipped", "awaiting_review"]:
        """Does a stage, if it is to be done.

        Args:
            name: The stage.
            work: Does it; it is called with the `StageRun`. What it raises is noted as the reason of the failure, and
                raised.

        Returns:
            ``"done"``; ``"skipped"``, because it was done already; or ``"awaiting_review"``: it was done, now or
            before, and waits for its approval.

        Raises:
            PipelinePaused: An earlier stage waits for its review.
            ValueError: There is no stage of that name, or an earlier one isn't done.
            OSError: It couldn't be written down.
        """
        if self.awaiting_review == name:
            return "awaiting_review"
        stage = self.begin(name)
        if stage is None:
            return "skipped"
        with stage:
            work(stage)
        return "awaiting_review" if self.awaiting_review == name else "done"

    def begin(self, name: str) -> StageRun | None:
        """Begins a stage; ``None`` where it needn't be done. Raises as `run`, also where it waits for its own review.

        Use what it returns as a context manager: ``if stage := pipeline.begin("extract"): with stage: ...``
        """
        waiting = self.awaiting_review
        if waiting is not None and self._place(waiting) <= self._place(name):
            raise PipelinePaused(self.state_file, waiting)
        native = self._native.begin(name)
        return None if native is None else StageRun(native, name)

    def _place(self, name: str) -> int:
        """Returns the number of a stage; one that there isn't comes first, for the native half to refuse."""
        names = [stage.name for stage in self.state.stages]
        return names.index(name) if name in names else -1

    def is_complete(self, name: str) -> bool:
        """Returns whether a stage is done."""
        return self._native.is_complete(name)

    def mark_complete(self, name: str) -> None:
        """Notes that a stage is done, though it wasn't done here; twice is as once. What it left isn't known."""
        self._native.mark_complete(name)

    def approve(self, name: str, *, by: str | None = None, note: str | None = None) -> tuple[Edit, ...]:
        """Approves a stage that waits for its review: the pipeline goes on.

        Its outputs are looked at anew. One that was edited meanwhile is noted with its digest before and after, and
        counts as it is now.

        Args:
            name: The stage.
            by: Who approves.
            note: What they say about it.

        Returns:
            The outputs that were edited.

        Raises:
            ValueError: It doesn't wait for a review.
            OSError: An output isn't there any more, or can't be read.
        """
        return tuple(Edit(**edit) for edit in self._native.approve(name, by, note))

    def reset(self, name: str) -> None:
        """Has a stage and all later ones done anew. What they left stays until it is replaced."""
        self._native.reset(name)

    def plan_cleanup(self) -> CleanupPlan:
        """Decides which outputs may go, by their lifetimes, and touches none."""
        return CleanupPlan.of(self._native.plan_cleanup())

    def clean_up(self, plan: CleanupPlan | None = None) -> tuple[Path, ...]:
        """Removes what a plan lets go; without one, what may go now. What is another file by now stays.

        Returns:
            What was removed.

        Raises:
            OSError: The state can't be written: nothing is removed then. Or a file can't be removed: what comes behind
                it stays.
        """
        plan = self.plan_cleanup() if plan is None else plan
        return tuple(Path(path) for path in self._native.clean_up(plan.to_dict()))

    def close(self) -> None:
        """Frees the pipeline for other processes. The second time, it does nothing."""
        self._native.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Pipeline({os.fspath(self.state_file)!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a Pipeline belongs to its process, and can't be pickled: open it anew in the other one")


def read(state_file: PathLike) -> PipelineState | None:
    """Reads the state of a pipeline, whoever is at work with it; ``None`` where there is none.

    Raises:
        CorruptedError: It is damaged.
        IncompatibleError: It is of a later version of ckpt.
        OSError: It can't be read.
    """
    state = _native.read_pipeline(state_file)
    return None if state is None else PipelineState.of(state)
