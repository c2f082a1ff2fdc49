#!/usr/bin/env python3
"""Trains with torch.optim, step by step, for tests/tch/optimizers.rs.

    optimizers.py make FILE                writes what each variant began with, its gradients, and where it came to
    optimizers.py continue FILE DIRECTORY  goes on from DIRECTORY/VARIANT.pt, which ckpt saved half-way, and says
                                           for each variant whether it comes to the same bits
"""

import sys

import torch

STEPS = 100
HALF = 50
# Sizes that no vector register divides, a scalar, more than one dimension.
SHAPES = {"conv.weight": (3, 5, 7), "conv.bias": (3,), "scale": (), "head.weight": (129, 17)}

SGD = torch.optim.SGD
ADAM = torch.optim.Adam
ADAMW = torch.optim.AdamW
# Name, optimizer, hyperparameters, dtype.
VARIANTS = [
    ("sgd", SGD, {"lr": 0.1}, torch.float32),
    ("sgd_decay", SGD, {"lr": 0.1, "weight_decay": 0.03}, torch.float32),
    ("sgd_momentum", SGD, {"lr": 0.05, "momentum": 0.9}, torch.float32),
    ("sgd_dampening", SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}, torch.float32),
    ("sgd_nesterov", SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}, torch.float64),
    ("sgd_maximize", SGD, {"lr": 0.05, "momentum": 0.8, "maximize": True}, torch.bfloat16),
    ("adam", ADAM, {"lr": 1e-2}, torch.float32),
    ("adam_decay", ADAM, {"lr": 1e-2, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}, torch.float32),
    ("adam_amsgrad", ADAM, {"lr": 1e-2, "amsgrad": True}, torch.float32),
    ("adam_maximize", ADAM, {"lr": 1e-2, "maximize": True, "weight_decay": 0.1}, torch.float64),
    ("adam_complex", ADAM, {"lr": 1e-2, "amsgrad": True, "weight_decay": 0.1}, torch.complex64),
    ("adamw", ADAMW, {"lr": 1e-2}, torch.float32),
    ("adamw_amsgrad", ADAMW, {"lr": 1e-2, "amsgrad": True, "weight_decay": 0.2}, torch.float32),
    ("adamw_bf16", ADAMW, {"lr": 1e-2, "betas": (0.9, 0.95)}, torch.bfloat16),
    ("adamw_f64", ADAMW, {"lr": 1e-2, "maximize": True}, torch.float64),
]


def optimizer(cls, options, params):
    """Two groups: names with `weight` in them, and the others with a third of the rate."""
    named = [(name, param) for name, param in params.items() if "weight" in name]
    rest = [(name, param) for name, param in params.items() if "weight" not in name]
    groups = [{"params": named}, {"params": rest, "lr": options["lr"] / 3}]
    return cls(groups, **options, foreach=False, fused=False)


def rate(step, base):
    """A rate that changes with each step."""
    return base * (1 + step % 7) / 5


def train(optimizer, params, gradients, bases, first):
    for step, gradient in enumerate(gradients, first):
        for name, param in params.items():
            param.grad = gradient[name].clone() if name in gradient else None
        for group, base in zip(optimizer.param_groups, bases):
            group["lr"] = rate(step, base)
        optimizer.step()


def copy(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def make(path):
    torch.manual_seed(0)
    out = {}
    for name, cls, options, dtype in VARIANTS:
        first = {name: torch.randn(shape, dtype=dtype) for name, shape in SHAPES.items()}
        # Each variable is without a gradient now and then; the scale has none for a while at first.
        gradients = [
            {
                name: torch.randn(shape, dtype=dtype) * 10.0 ** (step % 5 - 3)
                for i, (name, shape) in enumerate(SHAPES.items())
                if (step + i) % 11 != 0 and not (name == "scale" and step < 5)
            }
            for step in range(STEPS)
        ]
        params = {name: tensor.clone().requires_grad_() for name, tensor in first.items()}
        made = optimizer(cls, options, params)
        bases = [group["lr"] for group in made.param_groups]
        train(made, params, gradients[:HALF], bases, 0)
        half = {"params": copy(params), "optimizer": torch.load(saved(made), weights_only=True)}
        train(made, params, gradients[HALF:], bases, HALF)
        out[name] = {
            "first": first,
            "gradients": gradients,
            "rates": [[rate(step, base) for base in bases] for step in range(STEPS)],
            "half": half,
            "last": {"params": copy(params), "optimizer": made.state_dict()},
        }
    torch.save(out, path)


def saved(optimizer):
    """The state as it is now: what `state_dict()` returns goes on changing."""
    import io

    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return file


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    # Whole numbers may stand for floats: `momentum=0`.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []


def go_on(path, directory):
    made = torch.load(path, weights_only=True)
    for name, cls, options, _dtype in VARIANTS:
        variant = made[name]
        ours = torch.load(f"{directory}/{name}.pt", weights_only=True)
        params = {name: ours["model"][name].clone().requires_grad_() for name in SHAPES}
        optim = optimizer(cls, options, params)
        bases = [group["lr"] for group in optim.param_groups]
        optim.load_state_dict(ours["optimizer"])
        train(optim, params, variant["gradients"][HALF:], bases, HALF)
        last = variant["last"]
        # We save `foreach` and `fused` as Python has them by default; on the CPU that is the same path.
        for group in last["optimizer"]["param_groups"]:
            group["foreach"] = group["fused"] = None
        state = optim.state_dict()
        equal = same(copy(params), last["params"]) and same(state, last["optimizer"])
        print(name, "same" if equal else "differs")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make(sys.argv[2]) if sys.argv[1] == "make" else go_on(sys.argv[2], sys.argv[3])
