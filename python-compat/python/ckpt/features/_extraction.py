"""Features of many things, made by many workers over hours, and saved in shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import _native
from .._events import logger
from .._json import plain_json
from .._options import PathLike
from .records import Aggregated, ExtractionManifest, ExtractionSummary, Todo

Seconds = float | timedelta


class ShardWriter:
    """Saves the rows that a worker makes, in shards, in the background: see `Extraction.writer`.

    Use it as a context manager, whose end saves what is left and notes that the rank is done. Where something goes
    wrong in it, the rows that were pushed are saved, and the rank isn't done; on Ctrl-C they are left.
    """

    def __init__(self, native: _native.ShardWriter) -> None:
        self._native = native
        self.summary: ExtractionSummary | None = None
        """What was saved, once it has finished."""

    def push(self, ids: Sequence[str], rows: Any) -> None:
        """Adds a batch: an id to each row. It is copied once, and may be changed when this returns.

        While as many shards wait to be written as may be in memory, this waits, too.

        Args:
            ids: The ids, texts.
            rows: A tensor or a NumPy array of ``[len(ids), width]``. One that lies on a GPU, or has gaps between its
                elements, is copied together first. Each push has the same dtype and width.

        Raises:
            TypeError: `rows` is neither, or its dtype can't be saved.
            ValueError: There isn't one id to each row, or the rows have another dtype or width than before: nothing was
                taken. Or the writer is closed.
            OSError, CheckpointError: An earlier shard couldn't be saved.
            KeyboardInterrupt: Ctrl-C came. The writer is closed then.
        """
        self._native.push(ids if isinstance(ids, list) else list(ids), _together(rows))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Has the pushes in a ``with`` count as one batch: no shard is saved before its end.

        But for an emergency: where a row has waited for longer than ``emergency_seconds``, those that are there are
        saved.
        """
        self._native.begin_batch()
        try:
            yield
        finally:
            if self._native.is_open():
                self._native.end_batch()

    def tick(self) -> None:
        """Looks whether the rows at hand are due, and raises what failed: as every call does."""
        self._native.tick()

    def flush(self) -> None:
        """Saves the rows at hand, and waits until all that were pushed are durable. Raises as `push`."""
        self._native.flush()

    def finish(self) -> ExtractionSummary:
        """Saves what is left, and notes that this rank is done. Raises as `push`."""
        self.summary = ExtractionSummary.of(self._native.finish())
        return self.summary

    def close(self) -> None:
        """Ends the work without the rows that are in no shard yet; they are to do again."""
        self._native.close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if self._native.is_open():
                self.finish()
            return
        try:
            if isinstance(error, Exception) and self._native.is_open():
                self.flush()
        except Exception as failure:
            # The error that is on its way is not hidden by another.
            logger.error("rows couldn't be saved: %s", failure)
        finally:
            self.close()


class Extraction:
    """An extraction of features into a directory, as one of its workers has it open.

    Each worker (a rank) pushes ids and rows; they are saved as shards, files that prove themselves, and that any reader
    of the format takes: ``shard_{rank}/batch_{number}.safetensors`` (or ``.pt``) with ``ids`` and ``data``. A job that
    was killed goes on with the ids that aren't in any shard that verifies, with as many workers as there are then.

    Args:
        directory: Where. It is made where there is none.
        ids: What features are made of: texts, each once, in their order. All workers give the same.
        input_file: In place of `ids`: the file that they come from, whose bytes must be the same in a later run.
        model: What they are made with: what JSON can hold. An extraction isn't gone on with by another model.
        rank: This worker, from 0.
        world_size: How many workers there are.
        rows: A shard is saved when it has this many rows; a batch is never split.
        seconds: A shard is saved when its first row has waited this long.
        emergency_seconds: How long a row waits at most while a batch is open. Default: three times `seconds`.
        format: Of the shards: ``"safetensors"`` or ``"torch"``.
        queue: How many shards are in memory at most, beside the one that is being filled.
        validate: Whether each shard is read back before it counts.
        level: How deep: ``"size"``, ``"container"`` or ``"load"``.
        durable: Whether a shard counts only when it would survive a loss of power.
        algorithm: What the proof's digests are computed with: ``"crc64-nvme"`` or ``"blake3"``.
        threads: How many threads write a shard.

    Raises:
        IncompatibleError: What is in the directory was made of another input, or with another model: the message names
            what differs. Or a later version of ckpt made it.
        ValueError: An option makes no sense.
        OSError: The directory, or `input_file`, can't be read or written.

    >>> import pathlib, tempfile, torch
    >>> directory = pathlib.Path(tempfile.mkdtemp()) / "esm"
    >>> ids = ["P1", "P2", "P3"]
    >>> extraction = Extraction(directory, ids=ids, model={"name": "toy", "dtype": "float32"})
    >>> todo = extraction.todo().for_rank(0, 1)
    >>> with extraction.writer() as writer:
    ...     for at in range(0, len(todo), 2):
    ...         batch = todo[at : at + 2]
    ...         writer.push(batch, torch.ones(len(batch), 4))
    >>> writer.summary.rows, len(extraction.todo().ids)
    (3, 0)
    >>> aggregate(directory, directory.parent / "esm.pt", ids=ids).rows
    3
    """

    def __init__(
        self,
        directory: PathLike,
        *,
        ids: Iterable[str] | None = None,
        input_file: PathLike | None = None,
        model: Any,
        rank: int = 0,
        world_size: int = 1,
        rows: int = 10_000,
        seconds: Seconds = 300.0,
        emergency_seconds: Seconds | None = None,
        format: str = "safetensors",
        queue: int = 1,
        validate: bool = True,
        level: str = "load",
        durable: bool = True,
        algorithm: str = "crc64-nvme",
        threads: int | None = None,
    ) -> None:
        if (ids is None) == (input_file is None):
            raise ValueError("say what the features are made of: ids, or input_file")
        self.ids = None if ids is None else _texts(ids)
        """The ids that it was opened with; ``None`` with `input_file`."""
        self.rank = rank
        self.world_size = world_size
        arguments = {
            "ids": self.ids,
            "input_file": input_file,
            "model": plain_json("the model", model),
            "rank": rank,
            "world_size": world_size,
            "rows": rows,
            "seconds": _seconds(seconds),
            "emergency_seconds": None if emergency_seconds is None else _seconds(emergency_seconds),
            "format": format,
            "queue": queue,
            "save": _saving(None, validate, level, durable, False, algorithm, threads, None),
        }
        self._native = _native.Extraction(directory, arguments)

    @property
    def directory(self) -> Path:
        """Its directory: links followed."""
        return self._native.directory()

    @property
    def id(self) -> str:
        """Its name, which the input and the model decide."""
        return self._native.id()

    def todo(self, ids: Iterable[str] | None = None) -> Todo:
        """Returns the ids that are still to do: those that aren't in a shard that verifies.

        Every shard is read through. A damaged one is set aside: it keeps its bytes under another name, and its ids are
        to do again. Each worker may ask for itself, also while others write already.

        Args:
            ids: The ids, where the extraction was opened with `input_file`.

        Raises:
            ValueError: There are no ids, or one is there twice.
            IncompatibleError: The ids aren't those of the extraction; or a shard is sound, and of another one.
            OSError: A shard can't be read.
            KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second.
        """
        given = self.ids if ids is None else _texts(ids)
        if given is None:
            raise ValueError("say which ids: the extraction was opened with the file that they come from")
        return Todo.of(self._native.todo(given))

    def writer(self) -> ShardWriter:
        """Begins to write as this worker's rank, whose lock is held until the writer is done.

        Raises:
            ValueError: Another process writes as this rank: the message says which.
            OSError: The rank's directory can't be written.
        """
        return ShardWriter(self._native.writer())

    def manifest(self) -> ExtractionManifest:
        """Returns what all ranks have saved so far, as their records say."""
        return ExtractionManifest.of(self._native.manifest())

    def __repr__(self) -> str:
        return f"Extraction({str(self.directory)!r}, rank {self.rank} of {self.world_size})"

    def __reduce__(self) -> Any:
        raise TypeError("an Extraction belongs to its process, and can't be pickled: open it in the other one")


def manifest(directory: PathLike) -> ExtractionManifest:
    """Returns what all ranks of the extraction in a directory have saved so far, as their records say.

    Raises:
        FileNotFoundError: There is no extraction.
        CheckpointError: Its record is damaged, or of a later version of ckpt.
        OSError: A record can't be read.
    """
    return ExtractionManifest.of(_native.extraction_manifest(directory))


def todo(directory: PathLike, ids: Iterable[str]) -> Todo:
    """Returns what is still to do of the extraction in a directory, as `Extraction.todo`, and changes nothing.

    Damaged shards are only named.

    Raises:
        FileNotFoundError: There is no extraction. Otherwise as `Extraction.todo`.
    """
    return Todo.of(_native.extraction_todo(directory, _texts(ids)))


def aggregate(
    directory: PathLike,
    out: PathLike,
    *,
    ids: Iterable[str] | None = None,
    allow_missing: bool = False,
    format: str | None = None,
    done_marker: bool = False,
    validate: bool = True,
    level: str = "load",
    durable: bool = True,
    algorithm: str = "crc64-nvme",
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Aggregated:
    """Makes one file of all shards of an extraction: ``{"ids": [...], "data": tensor}``, in the order of the ids.

    Each shard is verified before its rows are used, and rows are never all in memory. The file is committed as
    `ckpt.save` does: atomically, durably, verified.

    Args:
        directory: The extraction.
        out: Where: the extension says the format, unless `format` does.
        ids: What the file is to have, in this order: an id that no shard has is missing, and rows of other ids are left
            out. Default: all that is there, in the order of the ranks and shards.
        allow_missing: Whether ids may be missing.
        format: ``"safetensors"`` or ``"torch"``.
        done_marker: Whether the file gets a completion marker (``NAME.done``).
        validate: Whether it is read back from the device before it takes its name.
        level: How deep: ``"size"``, ``"container"`` or ``"load"``.
        durable: Whether this returns only when the file would survive a loss of power.
        algorithm: What the proof's digests are computed with: ``"crc64-nvme"`` or ``"blake3"``.
        threads: How many threads write.
        progress: Hears, from any thread, how many further bytes were written.

    Returns:
        What it has, and what was odd about the shards: missing, duplicate, damaged.

    Raises:
        IncompatibleError: Ids are missing, and that isn't allowed; there is no row; or shards don't fit together.
        ValueError: An id is in `ids` twice, or an option makes no sense.
        FileNotFoundError: There is no extraction.
        OSError: A shard can't be read, or the file can't be written.
        KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second.
    """
    save = _saving(format, validate, level, durable, done_marker, algorithm, threads, progress)
    given = None if ids is None else _texts(ids)
    arguments = {"allow_missing": allow_missing, "save": save}
    return Aggregated.of(_native.aggregate(directory, given, out, arguments))


def _saving(
    format: str | None,
    validate: bool,
    level: str,
    durable: bool,
    done_marker: bool,
    algorithm: str,
    threads: int | None,
    progress: Callable[[int], object] | None,
) -> dict[str, Any]:
    return {
        "format": format,
        "validate": validate,
        "level": level,
        "durable": durable,
        "done_marker": done_marker,
        "overwrite": True,
        "replace_link": False,
        "algorithm": algorithm,
        "position": None,
        "metadata": {},
        "threads": threads,
        "progress": progress,
    }


def _texts(ids: Iterable[str]) -> list[str]:
    if isinstance(ids, str):
        raise TypeError("ids are several texts, and not one")
    return list(ids)


def _seconds(duration: Seconds) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def _together(rows: Any) -> Any:
    """Returns rows as contiguous memory of the host: what is so already isn't copied."""
    if hasattr(rows, "untyped_storage"):
        return rows.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if not hasattr(rows, "__array_interface__"):
        raise TypeError(f"rows are a tensor or a NumPy array, and no {type(rows).__name__}")
    import numpy

    array = numpy.ascontiguousarray(rows)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
