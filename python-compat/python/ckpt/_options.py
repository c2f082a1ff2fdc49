"""What callers write, as the native functions take it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Union

PathLike = Union[str, "os.PathLike[str]"]


def position_text(position: int | str | None) -> str | None:
    """Returns a position as the proof has it: a number is a training step, a text a stage.

    >>> position_text(1200), position_text("merge"), position_text("step:3")
    ('step:1200', 'stage:merge', 'step:3')
    """
    if position is None:
        return None
    if isinstance(position, int):
        return f"step:{position}"
    return position if position.startswith(("step:", "stage:")) else f"stage:{position}"


def words(given: str | Iterable[str] | None) -> list[str]:
    """Returns one or several words as a list."""
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)
