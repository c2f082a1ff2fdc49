"""The checkpoints of a training loop: when to save, which are kept, and from which the work goes on."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from . import _native, _signals
from ._events import Reporter, closed
from ._exchange import Exchange, exchange_of
from ._load import device_of
from ._options import PathLike, words
from .records import Committed, Due, Event, Latest, Listed, Plan, Resumed

EXIT_REQUEUE: int = _native.EXIT_REQUEUE
"""The exit code of a job that saved a last time, and wants to be started again: 75."""

Seconds = float | timedelta
Every = int | str | timedelta
Signals = bool | Mapping[str, Literal["save", "save-and-stop"]]


class Ticket:
    """A save that is on its way. Dropping the ticket changes nothing about it."""

    def __init__(self, native: _native.Ticket, step: int) -> None:
        self._native = native
        self.step = step
        """The step that is saved."""

    @property
    def is_done(self) -> bool:
        """Whether it is over, well or not. Doesn't wait."""
        return self._native.is_done()

    @property
    def outcome(self) -> str:
        """What became of it: ``saved``; ``skipped`` or ``replaced``, as ``when_busy`` says. Waits as `wait` does."""
        return self._native.wait()[0]

    def wait(self) -> Committed | None:
        """Waits until it is over.

        Returns:
            What was saved; ``None`` where it was left out, or gave way to a newer one: see `outcome`.

        Raises:
            OSError, CheckpointError, ValueError: It could not be saved; every time the same.
            KeyboardInterrupt: Ctrl-C came. The save goes on.
        """
        committed = self._native.wait()[1]
        return None if committed is None else Committed.of(committed)

    def __repr__(self) -> str:
        # Without asking for the outcome: a failure that is only printed isn't seen.
        return f"Ticket(step {self.step}, {'done' if self.is_done else 'on its way'})"


class Manager:
    """The checkpoints of a run, which is a directory: saves them, and says from which the work goes on.

    Every save is atomic, durable, and read back before it counts. The run's lock is taken by the first save and held
    until the manager has finished: processes that only read, as those of other ranks, open the same run meanwhile.

    Use it as a context manager, or call `finish`: both wait for what is under way, and raise what failed.

    Args:
        directory: The run. It is made by the first save.
        keep_last: How many of the newest good checkpoints are kept. Without any ``keep_…``, all are.
        keep_best: Which are kept for what was measured: ``"val_loss:min:2"``, ``"accuracy:max"``.
        keep_every: One of every so many steps (``1000``), or of every so long a time (``"6h"``, a `timedelta`).
        keep_within: Those that aren't older than the newest good one by more than this: seconds, or a `timedelta`.
        remove_damaged: Whether damaged ones go too, where a newer one is good.
        every_steps: A save is due where the step passes a multiple of this.
        every_seconds: A save is due where this much time went by.
        signals: Whether SIGTERM asks for a last save, and SIGUSR2 for one more; or what each signal asks for, as
            ``{"SIGTERM": "save-and-stop", "SIGUSR1": "save"}``. A handler that was set by `signal.signal` before is
            called too; one that is set later takes the signal away.
        deadline: When the job ends: a `datetime`, or so long from now (seconds, or a `timedelta`). A last save is due
            in time before it.
        margin: The time that is kept in hand before the deadline, beyond what a save and a step take: seconds, or a
            `timedelta`.
        first_save: How long a save is expected to take while none was measured: seconds, or a `timedelta`.
        format: ``"safetensors"``, ``"torch"`` or ``"torch-flat"``.
        validate: Whether each is read back and verified before it counts. One that wasn't is never the reason for
            which another goes.
        level: How deep: ``"size"``, ``"container"`` or ``"load"``.
        durable: Whether a save is over only when it would survive a loss of power.
        algorithm: What the proof's digests are computed with: ``"crc64-nvme"`` or ``"blake3"``.
        threads: How many threads write.
        when_busy: What becomes of a save in the background while another is in flight: it waits (``"wait"``), is left
            out (``"skip"``), or is queued in place of one that is queued (``"replace"``, which takes memory for a
            second copy of the state).
        on_failure: What follows when a save has failed for good: every later call raises the reason (``"stop"``), or
            the work goes on (``"go-on"``). `finish` raises it in any case.
        attempts: How often a save is tried that fails for a reason that may pass, as a full disk; 1 for once. Between
            two it waits 1, 2, 4, … seconds.
        copiers: How many threads copy the state. Default: one for each core, at most 8.
        niceness: By how much the thread that writes gives way where cores are short: from 0 to 19.
        expect_change: Whether it is worth a notice that no tensor changed since the last checkpoint.
        expect_optimizer_steps: Whether it is worth a notice that what ``optimizer`` in the state counts isn't the step.
        on_event: Hears what happens, from any thread. It must not save, nor wait for a save. All of it goes to the
            logger ``"ckpt"`` in any case: what failed as an error.

    Raises:
        ValueError: An option makes no sense.
        IncompatibleError: The run is laid out as a later version of ckpt does it.
        OSError: The path can't be followed.

    >>> import ckpt, pathlib, tempfile, torch
    >>> run = pathlib.Path(tempfile.mkdtemp()) / "run"
    >>> model = torch.nn.Linear(4, 2)
    >>> with ckpt.Manager(run, keep_last=2, every_steps=100) as manager:
    ...     resumed = manager.resume()
    ...     step = 0 if resumed is None else resumed.step
    ...     while step < 300:
    ...         step += 1  # train
    ...         if manager.should_save(step):
    ...             ticket = manager.save_async(step, {"model": model.state_dict()}, metrics={"loss": 1 / step})
    >>> ckpt.Manager(run).resume().state["model"]["weight"].shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        directory: PathLike,
        *,
        keep_last: int | None = None,
        keep_best: str | Iterable[str] = (),
        keep_every: Every | Iterable[Every] = (),
        keep_within: Seconds | None = None,
        remove_damaged: bool = False,
        every_steps: int | None = None,
        every_seconds: Seconds | None = None,
        signals: Signals = False,
        deadline: datetime | Seconds | None = None,
        margin: Seconds = 30.0,
        first_save: Seconds = 60.0,
        format: str = "safetensors",
        validate: bool = True,
        level: str = "load",
        durable: bool = True,
        algorithm: str = "crc64-nvme",
        threads: int | None = None,
        when_busy: Literal["wait", "skip", "replace"] = "wait",
        on_failure: Literal["stop", "go-on"] = "stop",
        attempts: int = 5,
        copiers: int | None = None,
        niceness: int = 10,
        expect_change: bool = True,
        expect_optimizer_steps: bool = True,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        listened = _listened(signals)
        ends_at, ends_after = _deadline(deadline)
        save = {
            "format": format,
            "validate": validate,
            "level": level,
            "durable": durable,
            "done_marker": False,
            "overwrite": False,
            "replace_link": False,
            "algorithm": algorithm,
            "position": None,
            "metadata": {},
            "threads": threads,
            "progress": None,
        }
        triggers = {
            "every_steps": every_steps,
            "every_seconds": _seconds(every_seconds),
            "signals": listened,
            "ends_at": ends_at,
            "ends_after": ends_after,
            "margin_seconds": _seconds(margin),
            "first_save_seconds": _seconds(first_save),
        }
        arguments = {
            "save": save,
            "retention": _policy(keep_last, keep_best, keep_every, keep_within, remove_damaged),
            "triggers": triggers,
            "when_busy": when_busy,
            "on_failure": on_failure,
            "attempts": attempts,
            "copiers": copiers,
            "niceness": niceness,
            "expect_change": expect_change,
            "expect_optimizer_steps": expect_optimizer_steps,
            "reporter": Reporter(on_event),
        }
        self._native = _native.Manager(directory, arguments)
        self.directory = os.fspath(directory)
        """The run."""
        _signals.restore_in_children(name for name, _ in listened)
        # At the end of the process, too: what is under way is waited for.
        self._close = weakref.finalize(self, closed, self._native, self.directory, os.getpid())

    def save(
        self,
        step: int,
        state: Any,
        *,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
    ) -> Committed:
        """Saves a checkpoint, and returns when it is durable.

        What is under way in the background is waited for. A step that isn't after the newest checkpoint, or doesn't go
        on from it, begins a new generation: nothing is ever overwritten. Ctrl-C is heard when it is done.

        Args:
            step: The number of training steps that were taken.
            state: Any nesting of dicts, lists, plain values and tensors, as `ckpt.training.capture` makes it. Tensors
                are read where they are: don't change them before this returns.
            metrics: What was measured: numbers by name. The best are chosen by it; what isn't finite is left out.
            metadata: Texts of your own, which stand in the manifest.
            artifacts: Further small files, by name.

        Raises:
            ValueError: A value that no checkpoint of a manager can hold; the message has the keys that lead to it.
                Or another writer has the run.
            OSError: It could not be saved.
            CheckpointError: What was written couldn't be read back as it was.
            OSError, CheckpointError, ValueError: An earlier save in the background failed, and this isn't the last one.
        """
        try:
            return Committed.of(self._native.save(state, _request(step, metrics, metadata, artifacts)))
        except _native.Unfit as unfit:
            raise _refusal(unfit) from None

    def save_async(
        self,
        step: int,
        state: Any,
        *,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
        _played: bool = False,
    ) -> Ticket:
        """Saves a checkpoint in the background: copies the state, and returns. Change it as you like then.

        Tensors on CUDA devices are copied to pinned memory on a stream of their own, which waits for the current one.
        While another save is in flight, ``when_busy`` says what becomes of this one. The arguments are those of `save`.

        Returns:
            The ticket, by which it can be waited for. That this save fails, it says, and `finish`, and with
            ``on_failure="stop"`` the next call.

        Raises:
            ValueError: A value that no checkpoint of a manager can hold; the message has the keys that lead to it.
            ValueError: Another writer has the run.
            OSError, CheckpointError, ValueError: An earlier save failed.
        """
        request = _request(step, metrics, metadata, artifacts)
        try:
            return Ticket(self._native.save_async(state, request, _played), step)
        except _native.Unfit as unfit:
            raise _refusal(unfit) from None

    def prepare(self, state: Any, *, _played: bool = False) -> None:
        """Allocates the memory that such a state is copied to: the first `save_async` is as short as the next then."""
        try:
            self._native.prepare(state, _played)
        except _native.Unfit as unfit:
            raise _refusal(unfit) from None

    def resume(
        self,
        *,
        together: bool | Exchange | Any = None,
        map_location: Any = None,
        level: str = "load",
        required_keys: str | Iterable[str] | None = None,
        force: bool = False,
        threads: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Resumed | None:
        """Loads the newest checkpoint that is proven good. What is saved from now on goes on from it.

        From the newest backwards, each is verified while it is loaded. One that is unfinished or corrupted is skipped,
        and ``skipped`` of the result says why.

        Args:
            together: In a job of many processes, each calls this at the same time: the one of rank 0 decides, all load
                the same checkpoint, and where one of them can't, none resumes. ``True`` for all processes of
                `torch.distributed`, a process group, or an `Exchange` of your own.
            map_location: Where tensors go: a device. Default: the CPU.
            level: How deep each is verified. With less than ``"load"``, damage may show only later.
            required_keys: What the state must have: one without it is incompatible.
            force: Whether checkpoints that are intact and of no use here, or can't be read, are skipped as damaged
                ones are.
            threads: How many threads read.
            progress: Hears, from any thread, how many further bytes were read.

        Returns:
            What the work goes on from; ``None`` where nothing was saved yet.

        Raises:
            IncompatibleError: A checkpoint is intact and of no use here. It isn't skipped, since that would silently
                drop what was learnt since; the message names the next good one.
            CorruptedError: There are checkpoints, and none can be used.
            OSError: A checkpoint can't be read, which says nothing of its bytes.
            KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second; with `together` when the load is
                over, so that no process waits for one that has left.
        """
        load = {
            "tensors": [],
            "required_keys": words(required_keys),
            "verify": True,
            "allowed_globals": [],
            "threads": threads,
            "progress": progress,
        }
        arguments = {"load": load, "level": level, "force": force}
        found = self._native.resume(arguments, exchange_of(together), device_of(map_location))
        if found is None:
            return None
        return Resumed.of(found)

    def should_save(self, step: int) -> Due | None:
        """Returns why a save is due after this step, or ``None``. To be asked once per step.

        Where ``is_final`` is true, save with `save`, which waits until it is durable, and end the job: with
        `EXIT_REQUEUE`, where a batch system is to start it again.
        """
        due = self._native.should_save(step)
        return None if due is None else Due(**due)

    def skip(self, step: int) -> None:
        """Says that what was due at this step won't be saved."""
        self._native.skip(step)

    @property
    def ending(self) -> str | None:
        """What has asked for the end of the job: a signal, or the deadline. ``None`` while nothing has."""
        return self._native.ending()

    def end_by(self, deadline: datetime | Seconds) -> None:
        """Says when the job ends, in place of what the options said."""
        self._native.end_by(*_deadline(deadline))

    @property
    def time_left(self) -> float | None:
        """The seconds until the deadline; ``None`` where there is none."""
        return self._native.time_left()

    def list(self) -> list[Listed]:
        """Lists the checkpoints, oldest first: those as well that are unfinished or damaged, with the reason."""
        return [Listed.of(listed) for listed in self._native.list()]

    def latest(self, *, level: str = "load") -> Latest | None:
        """Returns the newest checkpoint that passes a level, without loading it. Raises as `resume`."""
        found = self._native.latest(level)
        return None if found is None else Latest.of(found)

    def plan(
        self,
        *,
        keep_last: int | None = None,
        keep_best: str | Iterable[str] = (),
        keep_every: Every | Iterable[Every] = (),
        keep_within: Seconds | None = None,
        remove_damaged: bool = False,
    ) -> Plan:
        """Decides which checkpoints may go, with all reasons, and touches none.

        Without arguments, by the manager's own policy. What that lets go is removed after every save.

        Raises:
            ValueError: The policy keeps nothing, or goes by a metric alone that no checkpoint has.
        """
        policy = _policy(keep_last, keep_best, keep_every, keep_within, remove_damaged)
        return Plan.of(*self._native.plan(policy))

    def prune(self, plan: Plan | None = None) -> tuple[str, ...]:
        """Removes what a plan lets go, oldest first; without one, what the manager's own policy does.

        Returns:
            The names of those that were removed.

        Raises:
            ValueError: Another writer has the run.
            OSError: One can't be removed: what is newer than that is left.
        """
        plan = self.plan() if plan is None else plan
        return tuple(self._native.prune(plan.to_dict()["decisions"]))

    def pin(self, id: str, reason: str = "") -> None:
        """Keeps a checkpoint, whatever any policy says."""
        self._native.pin(id, reason)

    def unpin(self, id: str) -> bool:
        """Takes a pin away, and returns whether there was one."""
        return self._native.unpin(id)

    def finish(self) -> None:
        """Ends the work: what is under way is waited for, and the run is free for other writers.

        The second time, it does nothing.

        Raises:
            OSError, CheckpointError, ValueError: A save in the background failed, now or before: the first that did.
            KeyboardInterrupt: Ctrl-C came. What is under way goes on as long as the process does.
        """
        self._close.detach()
        self._native.finish()

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.finish()
        elif self._close.detach():
            # The error that is on its way is not hidden by another.
            closed(self._native, self.directory, os.getpid())

    def __repr__(self) -> str:
        return f"Manager({self.directory!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a Manager belongs to its process, and can't be pickled: open the run anew in the other one")


def _request(
    step: int,
    metrics: Mapping[str, Any] | None,
    metadata: Mapping[str, str] | None,
    artifacts: Mapping[str, bytes] | None,
) -> dict[str, Any]:
    return {
        "step": step,
        "metrics": {name: float(value) for name, value in (metrics or {}).items()},
        "metadata": dict(metadata or {}),
        "artifacts": dict(artifacts or {}),
    }


def _refusal(unfit: Exception) -> ValueError:
    where, what = unfit.args
    place = f"'{where}' is" if where else "it is"
    return ValueError(
        f"{place} {what}: a manager's checkpoint holds plain values and tensors. Convert it (.item() for a number, "
        ".tolist() or torch.from_numpy() for an array, state_dict() for an object), or leave it out"
    )


def _policy(
    keep_last: int | None,
    keep_best: str | Iterable[str],
    keep_every: Every | Iterable[Every],
    keep_within: Seconds | None,
    remove_damaged: bool,
) -> dict[str, Any] | None:
    best = words(keep_best)
    every = [keep_every] if isinstance(keep_every, (int, str, timedelta)) else list(keep_every)
    if keep_last is None and keep_within is None and not (best or every or remove_damaged):
        return None
    return {
        "keep_last": keep_last,
        "keep_best": best,
        "keep_every": [_every(one) for one in every],
        "keep_within_seconds": _seconds(keep_within),
        "remove_damaged": remove_damaged,
    }


def _every(every: Every) -> str:
    return f"{round(every.total_seconds())}s" if isinstance(every, timedelta) else str(every)


def _seconds(duration: Seconds | None) -> float | None:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _deadline(deadline: datetime | Seconds | None) -> tuple[float | None, float | None]:
    """Returns the seconds since 1970, or from now."""
    if isinstance(deadline, datetime):
        return deadline.timestamp(), None
    return None, _seconds(deadline)


def _listened(signals: Signals) -> list[tuple[str, str]]:
    if isinstance(signals, bool):
        return [("SIGTERM", "save-and-stop"), ("SIGUSR2", "save")] if signals else []
    return list(signals.items())
