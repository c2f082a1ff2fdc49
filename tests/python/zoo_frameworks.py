"""The checkpoints of the zoo that other frameworks write: Lightning, Hugging Face, DCP."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from zoo_files import Row
from zoo_values import network, stepped

# Nothing here may ask a network: the models are made from their configuration.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

SHARD_SIZE = "40KB"
KINDS = {".safetensors": "safetensors", ".json": "json"}


def file_rows(folder: Path, note: str) -> Iterator[Row]:
    """Yield the files of a directory checkpoint."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path, KINDS.get(path.suffix, "torch-zip"), note


def lightning(out: Path) -> Iterator[Row]:
    """Write .ckpt files with a real Lightning Trainer."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self, width: int = 4, path: str = "data") -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return self.layer(batch).square().mean()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    keep = pl.pytorch.callbacks.ModelCheckpoint(out, filename="best", save_last=True)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[keep], **quiet)
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=4))
    trainer.save_checkpoint(out / "weights.ckpt", weights_only=True)
    yield from file_rows(out, "written by Lightning's Trainer")


def tiny_model() -> Any:
    """Return a randomly initialised language model of some 100 KB, with tied weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **sizes))


def trainer_directory(out: Path) -> Iterator[Row]:
    """Write checkpoint-N directories with a real transformers Trainer."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(4)]
    options = TrainingArguments(
        output_dir=str(out),
        max_steps=2,
        save_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Trainer(model=tiny_model(), args=options, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    for folder in sorted(out.glob("checkpoint-*")):
        yield folder, "hugging-face-trainer", "written by transformers' Trainer"
        yield from file_rows(folder, "of a Trainer directory")


def sharded(out: Path) -> Iterator[Row]:
    """Write sharded Hugging Face checkpoints, in safetensors and in PyTorch's format."""
    from huggingface_hub import save_torch_state_dict

    # It warns that pickles are unsafe, which is what is wanted here.
    logging.disable(logging.WARNING)
    safe, pickled = out / "safetensors", out / "bin"
    tiny_model().save_pretrained(safe, max_shard_size=SHARD_SIZE)
    pickled.mkdir()
    weights = tiny_model().state_dict()
    save_torch_state_dict(weights, pickled, max_shard_size=SHARD_SIZE, safe_serialization=False)
    logging.disable(logging.NOTSET)
    for folder in (safe, pickled):
        yield folder, "hugging-face-sharded", "an index and its shards"
        yield from file_rows(folder, "of a sharded checkpoint")


def distributed(out: Path) -> Iterator[Row]:
    """Write a torch.distributed.checkpoint directory from a single process."""
    import torch.distributed.checkpoint as dcp

    optimizer = stepped(torch.optim.AdamW).state_dict()
    state = {"model": network().state_dict(), "optimizer": optimizer, "step": 3}
    dcp.save(state, checkpoint_id=out)
    yield out, "torch-distributed", "written by one process"


FRAMEWORKS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "lightning": lightning,
    "trainer": trainer_directory,
    "sharded": sharded,
    "distributed": distributed,
}
