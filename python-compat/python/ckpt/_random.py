"""The states of random generators as plain values and tensors, and back.

As they come, they hold tuples of hundreds of numbers, and NumPy's arrays: no safe reader takes those.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

State = dict[str, Any]


def capture() -> State:
    """Returns the states of the global generators: Python's, NumPy's where it is in use, PyTorch's on host and GPUs."""
    import torch

    state: State = {"python": _of_python(random.getstate()), "torch": torch.get_rng_state()}
    if "numpy" in sys.modules:
        import numpy

        state["numpy"] = _plain(numpy.random.get_state(legacy=False))
    # Asking a GPU that nobody uses would begin to use it.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def prepare(state: State) -> Callable[[], None]:
    """Holds a state of `capture` against what is here. Returns what sets it.

    Raises:
        ValueError: It doesn't fit.
    """
    import torch

    settings: list[Callable[[], object]] = []
    python = _to_python(state["python"])
    settings.append(lambda: random.setstate(python))
    host = state["torch"]
    settings.append(lambda: torch.set_rng_state(host))
    if "numpy" in state:
        import numpy

        arrays = _arrays(state["numpy"], numpy.random.get_state(legacy=False), "numpy")
        settings.append(lambda: numpy.random.set_state(arrays))
    if "cuda" in state:
        devices = state["cuda"]
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if len(devices) != there:
            raise ValueError(f"it has the random states of {len(devices)} GPUs, and {there} are here")
        settings.append(lambda: torch.cuda.set_rng_state_all(devices))

    def set_all() -> None:
        for setting in settings:
            setting()

    return set_all


def generator_state(generator: Any) -> State | None:
    """Returns the state of a generator of the caller's; ``None`` where the object is none that is known."""
    import torch

    if isinstance(generator, torch.Generator):
        return {"kind": "torch", "state": generator.get_state()}
    if isinstance(generator, random.Random):
        return {"kind": "python", "state": _of_python(generator.getstate())}
    found = _of_numpy(generator)
    return None if found is None else {"kind": "numpy", "state": _plain(found.state)}


def prepare_generator(generator: Any, state: State, name: str) -> Callable[[], None] | None:
    """Returns what sets the state of a generator of the caller's; ``None`` where the object is none that is known.

    Raises:
        ValueError: The state is that of another kind.
    """
    own = generator_state(generator)
    if own is None:
        return None
    if not isinstance(state, dict) or state.get("kind") != own["kind"]:
        raise ValueError(f"'{name}' is no state of a generator of {own['kind']}")
    saved = state["state"]
    if own["kind"] == "torch":
        return lambda: generator.set_state(saved)
    if own["kind"] == "python":
        python = _to_python(saved)
        return lambda: generator.setstate(python)
    bits = _of_numpy(generator)
    arrays = _arrays(saved, bits.state, name)

    def set_bits() -> None:
        bits.state = arrays

    return set_bits


def _of_numpy(generator: Any) -> Any:
    """Returns the bit generator of a generator of NumPy's; ``None`` where it is none."""
    if "numpy" not in sys.modules:
        return None
    import numpy

    if isinstance(generator, numpy.random.Generator):
        return generator.bit_generator
    if isinstance(generator, numpy.random.RandomState):
        return generator._bit_generator
    return generator if isinstance(generator, numpy.random.BitGenerator) else None


def _of_python(state: tuple[Any, ...]) -> State:
    import torch

    version, words, gauss = state
    return {"version": version, "words": torch.tensor(words, dtype=torch.int64), "gauss": gauss}


def _to_python(state: State) -> tuple[Any, ...]:
    return state["version"], tuple(state["words"].tolist()), state["gauss"]


def _plain(value: Any) -> Any:
    """Makes tensors of NumPy's arrays, and plain numbers of its numbers."""
    import numpy
    import torch

    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, numpy.ndarray):
        return torch.from_numpy(value.copy())
    return value.item() if isinstance(value, numpy.generic) else value


def _arrays(value: Any, like: Any, name: str) -> Any:
    """Makes arrays of tensors again, where a generator's own state has them."""
    import numpy

    if isinstance(like, dict):
        if not isinstance(value, dict) or value.keys() != like.keys():
            raise ValueError(f"'{name}' is no state of such a generator of NumPy's")
        return {key: _arrays(value[key], like[key], f"{name}.{key}") for key in like}
    if isinstance(like, numpy.ndarray):
        array = numpy.asarray(value)
        if array.shape != like.shape:
            raise ValueError(f"'{name}' has {array.shape} numbers, and the generator {like.shape}")
        return array.astype(like.dtype)
    if isinstance(like, str) and value != like:
        raise ValueError(f"'{name}' is '{value}', and the generator's is '{like}'")
    return value
