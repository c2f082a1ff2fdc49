"""Embeds sequences with two tiny models, merges what they say of each, and predicts: a pipeline that can be killed.

    python examples/embeddings.py WORK [--review]

Kill it at any moment, with whatever signal, and run it again: it goes on with the first stage that isn't done, and
in an extraction with the first sequence that is in no shard that verifies. The files are the same in the end, to
the byte.

With ``--review`` it stops behind the merge, with exit code 4, until that is approved:

    ckpt stage approve merge --pipeline WORK/pipeline.json

The sequences, the models and what they predict are made up; what surrounds them isn't.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

import ckpt
from ckpt.features import Extraction, aggregate
from ckpt.pipeline import EXIT_PAUSED, Pipeline, Stage, StageRun

SEQUENCES = Path(__file__).with_name("sequences.fasta")
BATCH = 8
SHARD_ROWS = 32
MODELS = {"dna": {"letters": 1, "width": 48, "seed": 1}, "codon": {"letters": 3, "width": 96, "seed": 2}}


def read_fasta(path: Path) -> dict[str, str]:
    """Returns the sequences by their names."""
    lines = path.read_text().split()
    return {name.removeprefix(">"): sequence for name, sequence in zip(lines[::2], lines[1::2], strict=True)}


class Embedder(torch.nn.Module):
    """Reads a sequence some letters at a time, and says a vector of it."""

    def __init__(self, letters: int, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)  # stands for trained weights
        self.letters = letters
        self.embedding = torch.nn.Embedding(4**letters, 16)
        self.reader = torch.nn.GRU(16, width)

    @torch.inference_mode()
    def forward(self, sequence: str) -> torch.Tensor:
        digits = ["ACGT".index(letter) for letter in sequence]
        words = [digits[at : at + self.letters] for at in range(0, len(digits), self.letters)]
        numbers = [sum(digit * 4**place for place, digit in enumerate(word)) for word in words]
        return self.reader(self.embedding(torch.tensor(numbers)))[0].mean(0)


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + BATCH] for at in range(0, len(ids), BATCH))


def extract(work: Path, name: str, sequences: dict[str, str]) -> Callable[[StageRun], None]:
    """Returns the stage in which a model embeds all sequences."""

    def stage_of(stage: StageRun) -> None:
        model, shards = Embedder(**MODELS[name]), work / f"{name}.shards"
        # One worker of one. On a node of 8 GPUs: rank=…, world_size=8, each in a process of its own.
        extraction = Extraction(shards, ids=sequences, model={"name": name, **MODELS[name]}, rows=SHARD_ROWS)
        todo = extraction.todo()
        with extraction.writer() as writer:
            for batch in batches(todo.for_rank(0, 1)):
                # One by one: what a model says of a sequence doesn't depend on what else is in the batch.
                writer.push(batch, torch.stack([model(sequences[id]) for id in batch]))
        made = aggregate(shards, stage.output(f"{name}.pt", lifetime="until_completed"), ids=sequences)
        stage.value("rows", made.rows)

    return stage_of


def merge(stage: StageRun) -> None:
    """Puts both vectors of each sequence into one."""
    merged = ckpt.merge(stage.input("dna.pt"), stage.input("codon.pt"), stage.output("merged.pt"))
    stage.value("width", merged.width)


def predict(stage: StageRun) -> None:
    """Says of each sequence what it is."""
    merged = ckpt.load(stage.input("merged.pt"))
    torch.manual_seed(3)
    head = torch.nn.Linear(merged["data"].shape[1], 2)
    with torch.inference_mode():
        scores = torch.stack([head(row).softmax(0) for row in merged["data"]])
    ckpt.save({"ids": merged["ids"], "scores": scores}, stage.output("scores.safetensors"))
    lines = [f"{id}\t{score:.6f}\n" for id, (_, score) in zip(merged["ids"], scores.tolist(), strict=True)]
    stage.output("scores.tsv").write_text("".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Embeds sequences with two tiny models, merges, and predicts.")
    parser.add_argument("work", type=Path, help="the directory of all that is made")
    parser.add_argument("--review", action="store_true", help="stop behind the merge until it is approved")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work: Path = options.work.resolve()
    sequences = read_fasta(SEQUENCES)
    stages = {
        "dna": extract(work, "dna", sequences),
        "codon": extract(work, "codon", sequences),
        "merge": merge,
        "predict": predict,
    }
    described = [Stage(name, review=options.review and name == "merge") for name in stages]
    with Pipeline(work / "pipeline.json", described, source=SEQUENCES, config=MODELS) as pipeline:
        for notice in pipeline.notices:
            print(notice, file=sys.stderr)
        for name, do in stages.items():
            became = pipeline.run(name, do)
            print(f"{name}: {became}", flush=True)
            if became == "awaiting_review":
                return EXIT_PAUSED
        pipeline.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
