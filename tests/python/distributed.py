"""Write the directories that torch.distributed.checkpoint leaves when things go wrong.

    python distributed.py OUTDIR

Each is made by PyTorch's own writer, in the way that its users met it:

- ``whole``: nothing went wrong; several tensors, values of many types, three threads.
- ``lost``: a thread of the writer met a full disk; ``save`` returned as if nothing had been (PyTorch issue 191391).
- ``killed``: a second save into the same directory, whose process was killed after two of four tensors.
- ``mixed``: the same with a file for each value, killed between two of them.
- ``first``: a first save, whose process was killed after two of four tensors.
- ``resaved``: a second save into the same directory that failed when its tensors were written.
- ``unrenamed``: the same, ended between writing the metadata and renaming it.
- ``reshaped``: a second save of other shapes that failed when its tensors were written.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import filesystem

TENSORS = 4


def state(fill: float, length: int = 3000) -> dict[str, Any]:
    """Return four tensors of one value and a step."""
    tensors = {f"w{index}": torch.full((length,), fill) for index in range(TENSORS)}
    return {**tensors, "step": int(fill)}


def save(path: Path, what: dict[str, Any], **options: Any) -> None:
    """Save without processes beside this one."""
    dcp.save(what, storage_writer=filesystem.FileSystemWriter(path, **options), no_dist=True)


def killed(call: int, place: Any, name: str, path: Path, **options: Any) -> None:
    """Save in a process that is killed when it calls a function of the writer for the `call`-th time, from 0."""
    child = os.fork()
    if child == 0:
        function, calls = getattr(place, name), itertools.count()

        def counted(*args: Any) -> Any:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args)

        setattr(place, name, counted)
        save(path, state(2.0), **options)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def fail(*_: Any, **__: Any) -> None:
    """Fail as on a full disk."""
    raise OSError("no space left on device")


def failing(path: Path, what: dict[str, Any], place: Any, *names: str) -> None:
    """Save with functions of the writer that fail."""
    kept = {name: getattr(place, name) for name in names}
    for name in names:
        setattr(place, name, fail)
    try:
        save(path, what)
    except dcp.api.CheckpointException as error:
        assert "no space" in str(error)
    else:
        raise AssertionError("the save should have failed")
    finally:
        for name, function in kept.items():
            setattr(place, name, function)


def lose(path: Path) -> None:
    """Save with four threads, three of which meet a full disk; the fourth comes last."""
    write = filesystem._write_item

    def write_or_fail(*args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            fail()
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join()
        return write(*args)

    filesystem._write_item = write_or_fail
    threading.excepthook = lambda _: None
    save(path, state(1.0), thread_count=TENSORS)
    filesystem._write_item = write


def main(out: Path) -> None:
    """Write all of them."""
    warnings.filterwarnings("ignore")
    values = {"name": "run", "rate": 0.5, "flags": [True, None], "nested": {"bytes": b"12"}}
    kinds = {str(dtype): torch.ones(3, 2).to(dtype) for dtype in (torch.float16, torch.bool, torch.int8)}
    more = {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "large": torch.arange(300_000)}
    save(out / "whole", {**state(1.0), **values, "kinds": kinds, **more}, thread_count=3)
    killed(3, filesystem, "_write_item", out / "first")
    save(out / "killed", state(1.0))
    killed(3, filesystem, "_write_item", out / "killed")
    save(out / "mixed", state(1.0), single_file_per_rank=False)
    killed(3, filesystem.FileSystem, "create_stream", out / "mixed", single_file_per_rank=False)
    save(out / "resaved", state(1.0))
    failing(out / "resaved", state(2.0), filesystem._FileSystemWriter, "finish")
    save(out / "reshaped", state(1.0))
    failing(out / "reshaped", state(2.0, length=2999), filesystem._FileSystemWriter, "finish")
    save(out / "unrenamed", state(1.0))
    failing(out / "unrenamed", state(2.0), filesystem.FileSystem, "rm_file")
    lose(out / "lost")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
