"""A small training with Lightning, for `test_lightning.py`: a module, its data, and a command that can be killed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Tiny(LightningModule):
    """A linear model; `ballast` makes its checkpoints large, so that saving one takes a while."""

    def __init__(self, ballast: int = 0, **hyper_parameters: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(7)
        self.layer = torch.nn.Linear(8, 4)
        self.register_buffer("ballast", torch.arange(ballast, dtype=torch.float32))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        inputs, targets = batch
        loss = torch.nn.functional.mse_loss(self.layer(inputs), targets)
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]


def data() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(3)
    inputs, targets = torch.randn(24, 8, generator=generator), torch.randn(24, 4, generator=generator)
    return DataLoader(TensorDataset(inputs, targets), batch_size=6)


def trainer(directory: Path, plugin: Any, epochs: int, *callbacks: Any, **arguments: Any) -> Trainer:
    """Returns a trainer that saves into a directory after each epoch."""
    saver = ModelCheckpoint(directory, filename="{epoch}", **{"save_top_k": -1, **arguments})
    return Trainer(
        max_epochs=epochs,
        plugins=[plugin],
        callbacks=[saver, *callbacks],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def main() -> None:
    """Trains from the newest good checkpoint on."""
    from ckpt.lightning import AsyncCkptIO, last_verified

    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--ballast", type=int, default=0)
    given = parser.parse_args()
    job = trainer(given.directory, AsyncCkptIO(), given.epochs, save_last=True)
    job.fit(Tiny(given.ballast), data(), ckpt_path=last_verified(given.directory))


if __name__ == "__main__":
    main()
