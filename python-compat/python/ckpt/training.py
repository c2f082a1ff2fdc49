"""All that a training loop holds, in one state: what the next step depends on is of one step, or nothing is.

>>> import ckpt, torch
>>> from ckpt import training
>>> model = torch.nn.Linear(4, 2)
>>> optimizer = torch.optim.AdamW(model.parameters())
>>> state = training.capture(model=model, optimizer=optimizer, progress={"epoch": 1, "position": 512})
>>> sorted(state)
['model', 'optimizer', 'progress', 'random']
>>> training.restore(state, model=model, optimizer=optimizer)
>>> state["progress"]["position"]
512
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from . import _random
from .errors import IncompatibleError

RANDOM = "random"
"""The key of the random generators."""

_LIKE_PARAMETERS = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "acc_delta", "grad_avg",
    "sum", "prev", "mu", "mu_product_buffer",
}  # fmt: skip
"""What the optimizers of PyTorch keep for each parameter, in its shape."""


def capture(*, random: bool = True, **parts: Any) -> dict[str, Any]:
    """Gathers the parts of a training loop in one state, for `Manager.save`, `Manager.save_async` or `ckpt.save`.

    Tensors aren't copied: the state sees those of the parts, until it is saved.

    Args:
        random: Whether the states of the global random generators are gathered too, as ``random``: those of Python,
            of NumPy where it is in use, and of PyTorch on the host and on GPUs.
        parts: By name: a model, an optimizer, a scheduler, a sampler (whatever has a ``state_dict()``), a random
            generator of PyTorch's, NumPy's or Python's, or a plain value.

    Call the optimizer ``optimizer``: then the manager holds its count of steps against the checkpoint's.
    """
    state = {name: _captured(part) for name, part in parts.items()}
    if random:
        state[RANDOM] = _random.capture()
    return state


def restore(state: Mapping[str, Any], *, random: bool = True, **parts: Any) -> None:
    """Puts a state of `capture` back: into all parts, or into none.

    Names, dtypes and shapes are held against the parts first. Plain values are the caller's to take: from ``state``.

    Args:
        state: What was loaded: ``resumed.state``.
        random: Whether the global random generators are set. They are the last, so that nothing draws from them
            afterwards.
        parts: By name, as they were given to `capture`; only those that hold state.

    Raises:
        IncompatibleError: A part isn't in the state, or what is there doesn't fit it; the message names all that
            doesn't. Nothing was changed.
        ValueError: A part holds no state.
    """
    planned = [_planned(name, part, state) for name, part in parts.items()]
    if random:
        planned.append(_prepared(RANDOM, lambda: _random.prepare(_of(state, RANDOM))))
    # Those that a part's own code may refuse come first: what was done until then can be taken back.
    done: list[_Step] = []
    for step in sorted(planned, key=lambda step: step.order):
        try:
            step.apply()
        except Exception:
            for earlier in reversed(done):
                earlier.take_back()
            raise
        done.append(step)


class _Step:
    """What is done to restore one part, when all were found to fit."""

    def __init__(self, order: int, apply: Callable[[], object], take_back: Callable[[], object]) -> None:
        self.order = order
        self.apply = apply
        self.take_back = take_back


_OTHERS, _OPTIMIZERS, _MODELS, _GENERATORS = range(4)


def _captured(part: Any) -> Any:
    if hasattr(part, "state_dict"):
        return part.state_dict()
    generator = _random.generator_state(part)
    return part if generator is None else generator


def _of(state: Mapping[str, Any], name: str) -> Any:
    if name not in state:
        there = ", ".join(sorted(map(str, state)))
        raise IncompatibleError(None, f"the state has no '{name}': it has {there}")
    return state[name]


def _planned(name: str, part: Any, state: Mapping[str, Any]) -> _Step:
    import torch

    saved = _of(state, name)
    if isinstance(part, torch.nn.Module):
        _check_model(name, part, saved)
        return _Step(_MODELS, lambda: part.load_state_dict(saved), _nothing)
    if isinstance(part, torch.optim.Optimizer):
        _check_optimizer(name, part, saved)
        before = part.state_dict()
        return _Step(_OPTIMIZERS, lambda: part.load_state_dict(saved), lambda: part.load_state_dict(before))
    if hasattr(part, "load_state_dict"):
        earlier = copy.deepcopy(part.state_dict())
        return _Step(_OTHERS, lambda: part.load_state_dict(saved), lambda: part.load_state_dict(earlier))
    return _prepared(name, lambda: _generator(name, part, saved))


def _nothing() -> None:
    """Takes nothing back: a model that fits is restored, and what follows can't fail."""


def _generator(name: str, part: Any, saved: Any) -> Callable[[], None]:
    setting = _random.prepare_generator(part, saved, name)
    if setting is None:
        kind = type(part).__name__
        raise TypeError(f"'{name}' can't be restored: a {kind} holds no state. Take it from the state itself")
    return setting


def _prepared(name: str, prepare: Callable[[], Callable[[], None]]) -> _Step:
    """Prepares a generator. What doesn't fit it is of no use here."""
    try:
        return _Step(_GENERATORS, prepare(), _nothing)
    except TypeError as error:
        raise ValueError(str(error)) from None
    except (ValueError, KeyError, AttributeError) as error:
        raise IncompatibleError(None, f"'{name}' doesn't fit: {error}") from error


def _check_model(name: str, model: Any, saved: Any) -> None:
    """Holds a saved model against the one that is here."""
    own = model.state_dict()
    if not isinstance(saved, Mapping):
        raise IncompatibleError(None, f"'{name}' is no model's state: it is a {type(saved).__name__}")
    wrong = [f"'{key}' is missing" for key in own if key not in saved]
    wrong += [f"'{key}' is of no parameter here" for key in saved if key not in own]
    wrong += [f"'{key}' {why}" for key in own if key in saved if (why := _misfit(saved[key], own[key]))]
    _refuse(name, wrong)


def _misfit(saved: Any, own: Any) -> str | None:
    """Says how a tensor differs from the one whose place it is to take."""
    import torch

    if not isinstance(own, torch.Tensor):
        return None
    if not isinstance(saved, torch.Tensor):
        return f"is no tensor, but a {type(saved).__name__}"
    if saved.shape != own.shape:
        return f"has the shape {list(saved.shape)}, and {list(own.shape)} is here"
    return None if saved.dtype == own.dtype else f"is {saved.dtype}, and {own.dtype} is here"


def _check_optimizer(name: str, optimizer: Any, saved: Any) -> None:
    """Holds a saved optimizer against the one that is here: its groups, and what it keeps for each parameter."""
    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= set(saved):
        raise IncompatibleError(None, f"'{name}' is no optimizer's state")
    groups = [len(group["params"]) for group in saved["param_groups"]]
    own_groups = [len(group["params"]) for group in optimizer.param_groups]
    if groups != own_groups:
        raise IncompatibleError(None, f"'{name}' has groups of {groups} parameters, and {own_groups} are here")
    ids = [id for group in saved["param_groups"] for id in group["params"]]
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    wrong = []
    for key, parameter in zip(ids, own, strict=True):
        for word, value in saved["state"].get(key, {}).items():
            if word in _LIKE_PARAMETERS and getattr(value, "shape", parameter.shape) != parameter.shape:
                shapes = f"the shape {list(value.shape)}, and the parameter {list(parameter.shape)}"
                wrong.append(f"'state.{key}.{word}' has {shapes}")
    _refuse(name, wrong)


def _refuse(name: str, wrong: list[str]) -> None:
    if wrong:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise IncompatibleError(None, f"'{name}' doesn't fit: {'; '.join(wrong[:5])}{more}. Nothing was restored")
