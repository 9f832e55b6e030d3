"""One way to run every training stage: a Lightning Trainer with loggers, checkpoints and exact resume."""

import contextlib
import csv
import logging
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from deeptalk.config import save_config
from deeptalk.errors import UserError
from deeptalk.files import read_json, write_json


@dataclass(frozen=True)
class TrainerConfig:
    """How long and on what a stage trains."""

    max_epochs: int = 50
    """Passes over `samples_per_epoch` of the data module."""
    seed: int = 42
    """Seeds initial weights, dropout and every draw made while training."""
    accelerator: str = "auto"
    """Lightning's word for the device: auto, cpu, gpu, mps."""
    devices: int = 1
    """Number of devices."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` is bf16-mixed on a GPU that has it, 16-mixed on another GPU and float32 on a CPU, where bf16 is slow."""
    gradient_clip_norm: float = 1.0
    """Largest norm of the gradient; 0 turns clipping off."""
    loggers: list[str] = field(default_factory=lambda: ["csv", "wandb"])
    """Any of csv, wandb. CSV logs are what reports read."""
    wandb_online: bool = False
    """False writes wandb runs to the run's folder, to be synchronised by hand."""
    log_every_steps: int = 10
    """Steps between two lines of a log."""
    validate_every_epochs: int = 1
    """Epochs between two validations, which are also those between two checkpoints; divides `max_epochs`."""

    def __post_init__(self) -> None:
        unknown = set(self.loggers) - {"csv", "wandb"}
        if unknown:
            raise UserError(f"loggers holds {', '.join(sorted(unknown))}; expected any of csv, wandb.")
        if self.max_epochs < 1:
            raise UserError(f"max_epochs is {self.max_epochs}; expected at least 1.")
        if self.validate_every_epochs < 1 or self.max_epochs % self.validate_every_epochs:
            raise UserError(
                f"max_epochs {self.max_epochs} is no multiple of validate_every_epochs {self.validate_every_epochs}; "
                "the last epochs would never be validated or kept."
            )
        if self.seed < 0 or self.devices < 1:
            raise UserError(f"seed is {self.seed} and devices {self.devices}; expected at least 0 and at least 1.")


class SeededSteps(Callback):
    """Makes the random draws of a step (dropout, samples) a function of (seed, rank, step) and nothing else.

    A resumed run then draws what the uninterrupted one would, whatever was drawn before it.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def _reseed(self, trainer: pl.Trainer, phase: int) -> None:
        words = np.random.SeedSequence([self.seed, trainer.global_rank, phase, trainer.global_step]).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        """Seed one training step."""
        self._reseed(trainer, 0)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed one validation, so that the choice of the best checkpoint repeats."""
        self._reseed(trainer, 1)


def _precision(config: TrainerConfig) -> str:
    if config.precision != "auto":
        return config.precision
    if config.accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def _loggers(config: TrainerConfig, run_folder: Path) -> list[Logger]:
    loggers: list[Logger] = []
    if "csv" in config.loggers:
        loggers.append(CSVLogger(str(run_folder), name="csv"))
    if "wandb" in config.loggers:
        os.environ.setdefault("WANDB_SILENT", "true")  # read on import: no banners on the terminal, errors still show
        import wandb

        run = wandb.init(
            project="deeptalk",
            name=run_folder.name,
            dir=run_folder,
            mode="online" if config.wandb_online else "offline",
            settings=wandb.Settings(console="off", disable_git=True),
        )
        loggers.append(WandbLogger(experiment=run))
    return loggers


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners: a stage prints its own line; warnings about user data stay."""
    names = ["pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda", "lightning_fabric"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")  # a frozen recogniser, on purpose
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def build_trainer(config: TrainerConfig, run_folder: Path, monitor: str, progress: bool = True) -> pl.Trainer:
    """The Trainer of every stage: checkpoints at each epoch's end, `best` by the lowest `monitor` and `last`."""
    folder, every = run_folder / "checkpoints", config.validate_every_epochs
    best = ModelCheckpoint(
        dirpath=folder,
        filename="best",
        monitor=monitor,
        mode="min",
        save_top_k=1,
        enable_version_counter=False,
        every_n_epochs=every,
    )
    # Not save_last of `best`: that writes last.ckpt only when the best improves. It comes second, to hold what is best.
    last = ModelCheckpoint(dirpath=folder, filename="last", enable_version_counter=False, every_n_epochs=every)
    callbacks: list[Callback] = [SeededSteps(config.seed), best, last]
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    return pl.Trainer(
        max_epochs=config.max_epochs,
        accelerator=config.accelerator,
        devices=config.devices,
        precision=_precision(config),  # type: ignore[arg-type]
        gradient_clip_val=config.gradient_clip_norm or None,
        logger=_loggers(config, run_folder),
        callbacks=callbacks,
        log_every_n_steps=config.log_every_steps,
        check_val_every_n_epoch=config.validate_every_epochs,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the seeded samplers share their draws between ranks themselves
        default_root_dir=str(run_folder),
    )


def fit(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    config: TrainerConfig,
    run_folder: Path,
    monitor: str,
    progress: bool = True,
) -> float:
    """Train `module`, resuming from `run_folder/checkpoints/last.ckpt` where there is one, and load its best weights.

    Checkpoints are written at epoch ends; data are a function of (seed, epoch, position) and draws of (seed, step), so
    a run killed at any moment and started again ends with the weights of the uninterrupted run. Returns the seconds
    spent here.
    """
    last = run_folder / "checkpoints" / "last.ckpt"
    started = time.perf_counter()
    with _quiet_lightning():
        try:
            trainer = build_trainer(config, run_folder, monitor, progress)
        except (MisconfigurationException, ValueError) as error:  # such as accelerator=gpu without one
            raise UserError(f"The trainer cannot run as configured: {str(error).splitlines()[0]}") from error
        try:
            # Our own checkpoints hold tensors, numbers and strings only, so nothing needs unpickling.
            trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C
            if trainer.interrupted:
                raise KeyboardInterrupt from stop
            raise
        for logger in trainer.loggers:
            logger.finalize("success")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()
    best = run_folder / "checkpoints" / "best.ckpt"
    if best.exists():
        module.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    module.eval()
    return time.perf_counter() - started


def open_run(run_folder: Path, config: Any, inputs: Mapping[str, str]) -> None:
    """Prepare a run's folder: write its resolved config, and the hashes of what it is made from.

    Raises UserError where the folder holds a run, trained at all, with another config or made from other inputs.

    Args:
        run_folder: the run's folder.
        config: resolved config.
        inputs: hash of the corpus, of each parent's weights, of the speech encoder; name to text.
    """
    now = OmegaConf.to_yaml(OmegaConf.structured(config))
    if any(run_folder.glob("**/checkpoints/last.ckpt")):
        before = (run_folder / "config.yaml").read_text(encoding="utf-8")
        changed = [line.strip() for line in now.splitlines() if line not in before.splitlines()]
        made_from = read_json(run_folder / "inputs.json")
        changed += [f"another {name}" for name, value in inputs.items() if made_from.get(name) != value]
        if changed or now != before:
            raise UserError(
                f"{run_folder} holds another run (now: {', '.join(changed[:3]) or 'fewer keys'}). "
                "Give another --out, or delete that folder to start again."
            )
    write_json(run_folder / "inputs.json", dict(inputs))
    save_config(config, run_folder / "config.yaml")


def read_history(run_folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every logged quantity of a run as (step, value), over all its starts, from the CSV logs."""
    history: dict[str, dict[int, float]] = defaultdict(dict)
    folders = sorted((run_folder / "csv").glob("version_*"), key=lambda p: int(p.name.split("_")[1]))
    for folder in folders:
        file = folder / "metrics.csv"
        if not file.exists():
            continue
        with open(file, newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                step = int(row["step"])
                for key, value in row.items():
                    if key not in {"step", "epoch"} and value not in {"", None}:
                        history[key][step] = float(value)
    return {key: sorted(values.items()) for key, values in history.items()}
