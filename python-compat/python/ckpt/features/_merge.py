"""Joining feature files by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .. import _native
from .._options import PathLike, words
from ..errors import MergeError
from .records import Merged

Keys = str | Iterable[str] | None


def merge(
    a: PathLike,
    b: PathLike,
    out: PathLike,
    *,
    refuse_unmatched: bool = False,
    ids_key: Keys = None,
    data_key: Keys = None,
    value_key: Keys = None,
    format: str | None = None,
    done_marker: bool = False,
    validate: bool = True,
    level: str = "load",
    redo: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Merged:
    """Joins two feature files by id: each row of `a`, and behind it the row of `b` that has the same id.

    The output is ``{"ids": [...], "data": tensor}`` with a tensor of ``[rows, width of a + width of b]``, in the order
    of `a`; `torch.load` reads it as any other. It is committed as `ckpt.save` does: atomically, durably, verified. Its
    rows are put together while they are written. Inputs of up to 128 MiB are read into memory; of larger ones the rows
    stay in the file, but for lists of floats, which a pickle has only as a whole.

    An input is a dict of ids (a list of texts) and rows: a tensor of ``[rows, width]``, a list of tensors, or a list of
    dicts with the elements under a key as ``mean_representation``; a shard of an extraction; or a safetensors file with
    a list of ids. Which key is which is recognised; where several could be, name the one that is.

    Where no id is in both, the output has no ids and a tensor of ``[0, width]``. Of an id that an input has more than
    once, the last row counts, at the place of the first. An output that is there, proven good, and made from these
    inputs as they are now, is left as it is.

    Args:
        a: The first input, whose order the output has.
        b: The second input.
        out: Where: the extension says the format, unless `format` does.
        refuse_unmatched: Whether ids that only one input has are an error. Otherwise they are left out, and listed in
            the result.
        ids_key: The key of the ids, where it isn't recognised; several for inputs with different ones.
        data_key: The key of the rows.
        value_key: The key of a row's elements, where rows are dicts.
        format: ``"safetensors"``, ``"torch"`` or ``"torch-flat"``.
        done_marker: Whether the output gets a completion marker (``NAME.done``).
        validate: Whether the output is read back from the device before it takes its name.
        level: How deep an output that is there is verified before it is left as it is: ``"size"``, ``"container"`` or
            ``"load"``.
        redo: Whether the output is made anew in any case.
        progress: Hears, from any thread, how many further bytes were written.

    Raises:
        CorruptedError: An input is damaged.
        IncompatibleError: An input holds no ids and rows, or they don't fit together: in number, in width, in dtype; or
            ids are in one input alone, and that is refused.
        ValueError: Several keys could be the ids, or the rows. Or an option makes no sense, or the output is an input.
        OSError: An input can't be read, or the output can't be written.
        KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second. There is no output then but an old
            one, or the new one whole.

    >>> import ckpt, pathlib, tempfile, torch
    >>> place = pathlib.Path(tempfile.mkdtemp())
    >>> torch.save({"nucleotide": ["a", "b"], "data": torch.ones(2, 3)}, place / "dna.pt")
    >>> rows = [{"mean_representation": [1.0, 2.0]}, {"mean_representation": [3.0, 4.0]}]
    >>> torch.save({"proteins": ["b", "c"], "data": rows}, place / "protein.pt")
    >>> merged = ckpt.merge(place / "dna.pt", place / "protein.pt", place / "merged.pt")
    >>> merged.rows, merged.width, merged.only_in_a, merged.only_in_b
    (1, 5, ('a',), ('c',))
    >>> torch.load(place / "merged.pt")["data"]
    tensor([[1., 1., 1., 1., 2.]])
    """
    keys = (ids_key, data_key, value_key)
    arguments = _arguments(refuse_unmatched, keys, format, done_marker, None, validate, level, redo, progress)
    return Merged.of(_native.merge(a, b, out, arguments))


def merge_all(
    pairs: Iterable[tuple[PathLike, PathLike, PathLike]],
    *,
    jobs: int | None = None,
    refuse_unmatched: bool = False,
    ids_key: Keys = None,
    data_key: Keys = None,
    value_key: Keys = None,
    format: str | None = None,
    done_marker: bool = False,
    validate: bool = True,
    level: str = "load",
    redo: bool = False,
    progress: Callable[[int], object] | None = None,
) -> list[Merged]:
    """Merges pairs of feature files as `merge` does, several at once. One that fails stops none of the others.

    Each output is committed by itself: after a crash, call it again, and the pairs that were done are left as they are.

    Args:
        pairs: Of each pair: the first input, the second, and the output.
        jobs: How many pairs are merged at once, at most. Default: one for each core, at most 8.
        refuse_unmatched, ids_key, data_key, value_key, format, done_marker, validate, level, redo, progress: As for
            `merge`.

    Returns:
        What became of each pair, in their order.

    Raises:
        MergeError: At least one pair failed. All others are done; ``results`` has, in the order of the pairs, what
            became of each, or the exception.
        KeyboardInterrupt: Ctrl-C came, which is heard within a tenth of a second.
    """
    keys = (ids_key, data_key, value_key)
    arguments = _arguments(refuse_unmatched, keys, format, done_marker, jobs, validate, level, redo, progress)
    given = [(Path(a), Path(b), Path(out)) for a, b, out in pairs]
    merged: list[Merged] = []
    results: list[Merged | Exception] = []
    for result in _native.merge_all(given, arguments):
        if isinstance(result, Exception):
            results.append(result)
        else:
            merged.append(Merged.of(result))
            results.append(merged[-1])
    if len(merged) < len(results):
        raise MergeError(results)
    return merged


def pairs_in(
    a: PathLike, b: PathLike, out: PathLike, *, format: str | None = None
) -> tuple[list[tuple[Path, Path, Path]], list[Path]]:
    """Finds the pairs of feature files in two directories, for `merge_all`.

    Two files belong together whose names are the same up to the last number in them, as a word of its own: so
    ``output_1_DNABERT_S.pt`` and ``output_1_ESM.pt`` make ``output_1_merged.pt``. Names without a number belong
    together where they are the same but for the extension.

    Args:
        a: The directory of the first inputs.
        b: The directory of the second ones.
        out: The directory of the outputs.
        format: Of the outputs. Default: that of the first input.

    Returns:
        The pairs, in the order of their names; and the files that have no partner, or more than one.

    Raises:
        OSError: A directory can't be read.
        ValueError: Both are one.
    """
    return _native.pairs_in(a, b, out, format)


def _arguments(
    refuse_unmatched: bool,
    keys: tuple[Keys, Keys, Keys],
    format: str | None,
    done_marker: bool,
    jobs: int | None,
    validate: bool,
    level: str,
    redo: bool,
    progress: Callable[[int], object] | None,
) -> dict[str, Any]:
    ids_key, data_key, value_key = map(words, keys)
    return {
        "refuse_unmatched": refuse_unmatched,
        "ids_key": ids_key,
        "data_key": data_key,
        "value_key": value_key,
        "format": format,
        "done_marker": done_marker,
        "jobs": jobs,
        "validate": validate,
        "level": level,
        "redo": redo,
        "progress": progress,
    }
