"""Runs `examples/embeddings.py` in processes of their own, which the tests kill."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

EXAMPLE = Path(__file__).parents[2] / "examples" / "embeddings.py"

# What takes seconds to import is imported once, by a process that is nobody's pipeline.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torch", "ckpt", "ckpt.features", "ckpt.pipeline"])


def load() -> ModuleType:
    """Returns the example as a module."""
    spec = importlib.util.spec_from_file_location("embeddings", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(work: Path, arguments: list[str]) -> None:
    """Does what the example does as a program; what it says goes to `work.log`."""
    with open(work.with_suffix(".log"), "a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        code = load().main([os.fspath(work), *arguments])
    sys.exit(code)


def begin(work: Path, *arguments: str) -> BaseProcess:
    process = processes.Process(target=run, args=(work, list(arguments)))
    process.start()
    return process


def finish(work: Path, *arguments: str) -> int | None:
    """Runs it to its end, and returns the exit code."""
    process = begin(work, *arguments)
    process.join(120)
    return process.exitcode
