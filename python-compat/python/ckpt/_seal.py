"""Sealing what others wrote: digests beside a file that carries no proof, so that later damage shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from . import _native
from ._options import PathLike
from .errors import CorruptedError
from .records import Report, Sealed

_COMPANIONS = (".seal", ".done")

#: Files of these kinds are never empty. Any other that is empty has nothing to be sealed.
_NEVER_EMPTY = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pkl", ".json")


def seal(
    path: PathLike,
    *,
    level: str = "load",
    algorithm: str = "crc64-nvme",
    renew: bool = False,
    durable: bool = True,
    threads: int | None = None,
) -> Sealed:
    """Notes a file's size and digests in ``NAME.seal`` beside it, so that a later check can tell damage, and where.

    The file is verified first, and a corrupted one isn't sealed. One that carries a proof needs no seal; a seal that
    holds is left. What became of it is said by the record's ``outcome``.

    Args:
        path: The file, of any kind.
        level: How deep it is verified first: ``"size"``, ``"container"`` or ``"load"``.
        algorithm: What the digests are computed with: ``"crc64-nvme"`` or ``"blake3"``.
        renew: Whether a seal that doesn't hold is replaced, if the file itself is sound.
        durable: Whether to return only when the seal would survive a loss of power.
        threads: How many threads read.

    Raises:
        OSError: The seal can't be written, or the file changed while it was read.

    >>> import ckpt, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "config.json"
    >>> _ = path.write_text("{}")
    >>> ckpt.seal(path).outcome, ckpt.seal(path).outcome
    ('sealed', 'holds')
    """
    arguments = {"level": level, "algorithm": algorithm, "renew": renew, "durable": durable, "threads": threads}
    return Sealed.of(_native.seal(path, arguments))


def seal_directory(
    directory: PathLike, *, last: str | None = None, renew: bool = False, durable: bool = True
) -> tuple[Sealed, ...]:
    """Seals every file of a directory and of those below it, in the order of their names.

    A file that carries a proof of its own has no seal.

    Args:
        directory: The directory of one checkpoint, when nobody writes into it any more.
        last: The name of the file that is sealed after all others: its seal says that all have one.
        renew: Whether seals that don't hold are replaced, and those of files that are gone removed: for a directory
            that was just written anew.
        durable: Whether to return only when the seals would survive a loss of power.

    Raises:
        CorruptedError: A file is damaged, or isn't the one that was sealed. What comes after it has no seal.
        OSError: A file can't be read, or a seal can't be written.
    """
    place = Path(directory)
    if renew:
        _remove_orphans(place)
    files = sorted(filter(_is_to_be_sealed, _files(place)), key=lambda path: (path == place / (last or ""), path))
    return tuple(_sealed(path, renew, durable) for path in files)


def verify_sealed(directory: PathLike, *, level: str | None = None, threads: int | None = None) -> Report:
    """Holds every sealed file of a directory, and of those below it, against its seal. Never raises for damage.

    This is for directories whose layout `verify` doesn't know.

    Args:
        directory: The directory.
        level: ``"size"``: all are there, with their sizes; ``"load"`` (the default): their bytes, too.
        threads: How many threads read.
    """
    return Report.of(_native.verify_sealed(directory, level, threads))


def _sealed(path: Path, renew: bool, durable: bool) -> Sealed:
    sealed = seal(path, renew=renew, durable=durable)
    if not sealed.is_good:
        finding = sealed.report.reason if sealed.report is not None else None
        raise CorruptedError(path, f"{path.name}: {sealed.reason}", finding.to_dict() if finding else None)
    return sealed


def _is_to_be_sealed(path: Path) -> bool:
    return path.suffix not in _COMPANIONS and (path.suffix in _NEVER_EMPTY or path.stat().st_size > 0)


def _files(directory: Path) -> Iterator[Path]:
    for above, _, names in os.walk(directory):
        yield from (Path(above, name) for name in names if Path(above, name).is_file())


def _remove_orphans(directory: Path) -> None:
    for path in list(_files(directory)):
        if path.suffix == ".seal" and not path.with_suffix("").exists():
            _native.remove_file(path)
