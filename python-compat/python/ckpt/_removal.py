"""Removing checkpoints that a framework has no use for any more."""

from __future__ import annotations

import os
import shutil

from . import _native


def remove_checkpoint(path: str) -> None:
    """Removes a checkpoint, if it is there: a file with its marker, a link, or the directory of a sharded one.

    Raises:
        OSError: It can't be removed.
    """
    if os.path.islink(path):
        # The link alone: what it leads to is a checkpoint of its own.
        os.unlink(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    else:
        # The marker goes first, so that none vouches for what isn't there.
        _native.remove_file(f"{path}.done")
        _native.remove_file(path)
