"""Make feature files as people have them, merge them with PyTorch, and compare.

Usage:

    python merges.py make DIRECTORY      writes NAME.a.pt, NAME.b.pt and NAME.theirs.pt for each case; prints the names
    python merges.py compare DIRECTORY   loads NAME.ours.pt and NAME.streamed.pt, and prints the names of the cases in
                                         which both are what NAME.theirs.pt is: keys, ids, dtype, shape and bits

``compare`` loads with ``weights_only=True``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import torch

Rows = torch.Tensor
Form = Callable[[list[str], Rows], dict[str, Any]]


def tensor(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {"ids": ids, "data": rows}


def tensors(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {"proteins": ids, "data": [row.clone() for row in rows]}


def views(ids: list[str], rows: Rows) -> dict[str, Any]:
    """Each row is a view of one storage."""
    return {"proteins": ids, "data": list(rows)}


def lists(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {"nucleotide": ids, "data": [row.tolist() for row in rows]}


def maps(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {
        "nucleotide": ids,
        "data": [{"label": name, "mean_representation": row.tolist()} for name, row in zip(ids, rows)],
    }


def maps_of_tensors(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {"ids": ids, "data": [{"mean_representation": row.clone()} for row in rows]}


def transposed(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {"ids": ids, "data": rows.t().contiguous().t()}


def columns(ids: list[str], rows: Rows) -> dict[str, Any]:
    """Some columns of a wider tensor."""
    return {"ids": ids, "data": torch.cat([rows, rows], dim=1)[:, rows.shape[1] :]}


def parameters(ids: list[str], rows: Rows) -> dict[str, Any]:
    return {"ids": ids, "data": rows.clone().requires_grad_()}


FORMS: list[Form] = [tensor, tensors, views, lists, maps, maps_of_tensors, transposed, columns, parameters]


def table(form: Form, ids: list[str], width: int, seed: int, dtype: torch.dtype) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(ids), width, generator=generator, dtype=torch.float64).to(dtype)
    return form(ids, rows)


def row(value: Any) -> Rows:
    value = value["mean_representation"] if isinstance(value, dict) else value
    return value.detach() if isinstance(value, torch.Tensor) else torch.tensor(value)


def by_id(features: dict[str, Any]) -> dict[str, Rows]:
    ids = next(features[key] for key in ("ids", "nucleotide", "proteins") if key in features)
    return {name: row(value) for name, value in zip(ids, features["data"])}


def merged(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The straightforward way."""
    first, second = by_id(a), by_id(b)
    ids = [name for name in first if name in second]
    return {"ids": ids, "data": torch.stack([torch.cat((first[name], second[name]), dim=-1) for name in ids])}


def cases() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    ids = [f"seq-{number}" for number in range(23)]
    others = [f"seq-{number}" for number in range(40, 3, -1)]
    repeated = ids + ids[5:9]
    found = []
    for form in FORMS:
        # Wider than a batch of a pickled list, which has 1,000 items.
        found.append((form.__name__, table(form, ids, 2001, 1, torch.float32), table(tensor, others, 7, 2, torch.float32)))
        found.append((f"with-{form.__name__}", table(lists, ids, 3, 3, torch.float32), table(form, others, 768, 4, torch.float32)))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        name = str(dtype).removeprefix("torch.")
        found.append((name, table(tensors, ids, 5, 5, dtype), table(tensor, others, 6, 6, dtype)))
    found.append(("repeated", table(maps, repeated, 4, 7, torch.float32), table(tensors, repeated, 4, 8, torch.float32)))
    found.append(("odd", {"ids": ["é", "", "a\nb"], "data": [[0.1, 1e39], [1, 2.5], [float("nan"), -0.0]]}, {
        "ids": ["a\nb", "é", ""], "data": torch.tensor([[1.0], [2.0], [float("inf")]])}))
    return found


def make(directory: Path) -> None:
    for name, a, b in cases():
        for what, value in (("a", a), ("b", b), ("theirs", merged(a, b))):
            torch.save(value, directory / f"{name}.{what}.pt")
        print(name)


def is_same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    one, other = ours["data"], theirs["data"]
    return (
        list(ours) == list(theirs)
        and ours["ids"] == theirs["ids"]
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.is_contiguous()
        and torch.equal(one.view(torch.uint8), other.contiguous().view(torch.uint8))
    )


def compare(directory: Path) -> None:
    for name, *_ in cases():
        load = lambda what: torch.load(directory / f"{name}.{what}.pt", weights_only=True)
        theirs = load("theirs")
        if is_same(load("ours"), theirs) and is_same(load("streamed"), theirs):
            print(name)


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
