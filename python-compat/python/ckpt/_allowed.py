"""The globals that a user has allowed PyTorch's safe reader to make objects of."""

from __future__ import annotations

from typing import Any


def registered_globals() -> list[str]:
    """Returns the names registered by ``torch.serialization.add_safe_globals``, as they stand in a pickle."""
    import torch

    return [_name(one) for one in torch.serialization.get_safe_globals()]


def _name(registered: Any) -> str:
    if isinstance(registered, tuple):
        # A pair has the name under which the file knows it.
        return str(registered[1])
    return f"{registered.__module__}.{registered.__qualname__}"
