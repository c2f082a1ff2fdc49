"""The completion marker beside a checkpoint: ``model.pt.done``.

That it is there is the O(1) answer to "is it finished?". Its content, size and proof of the file, lets a later check
see that the file is another one by now.
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import _native
from .._options import PathLike

SUFFIX = ".done"


def has_done_marker(path: PathLike) -> bool:
    """Returns whether a completion marker stands beside a checkpoint. The checkpoint itself isn't looked at.

    Where the path is a link, a marker beside what it leads to counts as well: `atomic_save` writes through links.
    """
    return any(os.path.exists(marker) for marker in _markers(path))


def create_done_marker(path: PathLike) -> None:
    """Marks a checkpoint as finished: writes its size and proof into ``NAME.done``, atomically and durably.

    Args:
        path: The checkpoint, which must be there: a marker vouches for a file.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        OSError: It is no regular file, or the marker can't be written.
    """
    _native.mark_done(path, _markers(path)[-1])


def remove_done_marker(path: PathLike) -> None:
    """Removes the completion marker, durably. Without one, nothing happens.

    Raises:
        OSError: The marker can't be removed.
    """
    for marker in _markers(path):
        _native.remove_file(marker)


def _markers(path: PathLike) -> list[Path]:
    """Returns where a marker can be: beside the path and, where that is a link, beside what it leads to."""
    places = [os.fspath(path), os.path.realpath(path)]
    distinct = places[:1] if os.path.abspath(places[0]) == places[1] else places
    return [Path(f"{place}{SUFFIX}") for place in distinct]
