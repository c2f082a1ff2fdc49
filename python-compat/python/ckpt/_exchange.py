"""How the processes of a job talk to one another, so that all of them resume from the same checkpoint."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Exchange(Protocol):
    """What `Manager.resume` asks of a job's processes. Every process makes the same calls in the same order.

    A process that is gone must become an exception of the others' calls, as by a time limit.
    """

    @property
    def rank(self) -> int:
        """The number of this process; the one of number 0 decides."""

    def broadcast(self, message: bytes) -> bytes:
        """Returns in every process the message of the one of rank 0; what others give is ignored."""

    def all_agree(self, yes: bool) -> bool:
        """Returns in every process whether all of them said yes."""


class ProcessGroup:
    """An `Exchange` over a group of `torch.distributed`, with whatever backend it has.

    Args:
        group: The group; ``None`` for all processes.
    """

    def __init__(self, group: Any = None) -> None:
        import torch.distributed as dist

        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        self.first = 0 if group is None else dist.get_global_rank(group, 0)

    def broadcast(self, message: bytes) -> bytes:
        """Sends the message of rank 0 to all."""
        import torch.distributed as dist

        messages = [message]
        dist.broadcast_object_list(messages, src=self.first, group=self.group)
        return messages[0]

    def all_agree(self, yes: bool) -> bool:
        """Asks all."""
        import torch.distributed as dist

        answers = [False] * self.size
        dist.all_gather_object(answers, yes, group=self.group)
        return all(answers)


def exchange_of(together: Any) -> Exchange | None:
    """Returns what ``together=`` stands for: nothing, all processes, a group of them, or the caller's exchange."""
    if together is None or together is False:
        return None
    if together is True:
        return ProcessGroup()
    return together if isinstance(together, Exchange) else ProcessGroup(together)
