"""The newest of several checkpoints that passes a check.

For the plug-ins, whose directories aren't laid out by ckpt.
"""

from __future__ import annotations

import errno
import logging
import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ._allowed import registered_globals
from ._verify import info, require_valid, verify
from .errors import CheckpointError, CorruptedError, IncompatibleError, NeedsTrustError
from .records import Report

_log = logging.getLogger(__name__)

_PROOF = "archive/ckpt/proof"
"""The record of a torch archive that holds the proof (``docs/proof.md``)."""


@dataclass(frozen=True)
class _Candidate:
    path: str
    step: int | None
    modified: int
    """In nanoseconds."""


def newest_verified(
    directory: str | os.PathLike[str],
    pattern: str,
    *,
    step_of: Callable[[str], int | None],
    trusted: bool = False,
    remedy: str = "",
) -> str | None:
    """Walks from the newest checkpoint back, and returns the first whose every byte passes.

    Newest is the one with the highest step, where each says its step, and else the one that was modified last. Links
    are followed. What is skipped is logged with its reason. A checkpoint that is whole but of no use here ends the
    walk: to skip it would silently drop good progress.

    Where ``torch.distributed`` is initialized, each process must call this, and all get what rank 0 decided.

    Args:
        directory: Where the checkpoints are. It need not be there yet: then there are none.
        pattern: Which files are checkpoints: ``"*.ckpt"``; ``"**/*.ckpt"`` also looks into what is below.
        step_of: Says at which step a checkpoint was saved, or ``None`` where it doesn't know.
        trusted: Accepts what asks for any global, not only for those that PyTorch's safe reader was allowed.
        remedy: What to do about a checkpoint that needs trust, for the error.

    Raises:
        CorruptedError: There are checkpoints, and none is good; the message has the reason for each.
        IncompatibleError: The newest whole one is of no use here.
    """

    def decide() -> str | None:
        candidates, skipped = _looked_at(sorted(Path(directory).glob(pattern)), step_of)
        found, damaged = _walk(candidates, trusted, remedy)
        skipped += damaged
        if found is None and skipped:
            raise CorruptedError(directory, f"none of {len(skipped)} checkpoints is good: {'; '.join(skipped)}")
        return found

    return _decided_by_rank_0(decide)


def step_in_proof(path: str) -> int | None:
    """Returns the step that the proof of a torch archive names; ``None`` where there is neither."""
    try:
        with zipfile.ZipFile(path) as archive:
            position = archive.read(_PROOF).decode("ascii").split(" ")[5]
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError, IndexError):
        return None
    kind, _, number = position.partition(":")
    return int(number) if kind == "step" and number.isdecimal() else None


def _walk(candidates: list[_Candidate], trusted: bool, remedy: str) -> tuple[str | None, list[str]]:
    """Returns the newest that passes, and why those before it didn't."""
    skipped: list[str] = []
    allowed = registered_globals()
    for candidate in _newest_first(candidates):
        report = verify(candidate.path, allowed_globals=allowed)
        if report or (trusted and _lacks_trust_alone(report)):
            return candidate.path, skipped
        if report.verdict == "incompatible":
            raise _unfit(report, remedy)
        if report.verdict == "unreadable":
            require_valid(report)
        skipped.append(_skip(str(report)))
    return None, skipped


def _looked_at(paths: Iterable[Path], step_of: Callable[[str], int | None]) -> tuple[list[_Candidate], list[str]]:
    """Reads the structure of each file; returns what can be read, and why the others can't."""
    candidates: dict[str, _Candidate] = {}
    skipped = []
    for link in paths:
        try:
            # A link that leads to another checkpoint is that checkpoint; one that leads nowhere, or to itself, is none.
            path = os.path.realpath(link, strict=True)
            info(path)
            candidates[path] = _Candidate(path, step_of(path), os.stat(path).st_mtime_ns)
        except CheckpointError as error:
            # Its structure alone can't always tell damage from a misfit, which must not be skipped.
            if verify(path).verdict != "corrupted":
                raise
            skipped.append(_skip(f"{link}: {error}"))
        except OSError as error:
            # A link that leads nowhere is no checkpoint. What can't be read may be a good one: see the callers.
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            skipped.append(_skip(f"{link}: unreadable: {error.strerror or error}"))
    return list(candidates.values()), skipped


def _skip(reason: str) -> str:
    _log.warning("skipped: %s", reason)
    return reason


def _newest_first(candidates: list[_Candidate]) -> list[_Candidate]:
    by_step = all(candidate.step is not None for candidate in candidates)

    def age(candidate: _Candidate) -> tuple[int, int, str]:
        return (candidate.step or 0 if by_step else 0, candidate.modified, candidate.path)

    return sorted(candidates, key=age, reverse=True)


def _lacks_trust_alone(report: Report) -> bool:
    """Whether all that is wrong is that a pickle asks for globals: the bytes were held against their checksums."""
    failures = [finding for finding in report.findings if finding.verdict != "valid"]
    return report.verdict == "incompatible" and all(finding.code == "needs-trust" for finding in failures)


def _unfit(report: Report, remedy: str) -> IncompatibleError:
    reason = report.reason
    if reason is None:
        return IncompatibleError(report.path, str(report))
    if reason.code == "needs-trust":
        return NeedsTrustError(report.path, f"{reason.message}; {remedy}", reason.to_dict())
    return IncompatibleError(report.path, reason.message, reason.to_dict())


def _decided_by_rank_0(decide: Callable[[], str | None]) -> str | None:
    """Has rank 0 decide for all: others may see another state of a shared file system, and would load another step."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return decide()
    outcome: list[str | Exception | None] = [None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = decide()
        except Exception as error:  # whatever it is: the others wait for it
            outcome[0] = error
    dist.broadcast_object_list(outcome, src=0)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
