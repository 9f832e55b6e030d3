"""Losses by hand, and the Lightning module: learns, logs, resumes exactly, keeps the face out of its state."""

import math

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from thvqvae import THVQVAEConfig, THVQVAETraining, THVQVAETrainingConfig
from thvqvae.losses import motion_errors, rms_report

TINY = THVQVAEConfig(
    channels=6, hidden_size=16, heads=4, feedforward_size=32, decoder_feedforward_size=32, top_codes=32, bottom_codes=32
)


class LinearFace(nn.Module):
    """Stands for a rig: millimetres of vertex motion for each channel."""

    def __init__(self) -> None:
        super().__init__()
        matrix = 2e-3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
        self.register_buffer("matrix", matrix)

    def forward(self, motion: Tensor) -> Tensor:
        return motion @ self.matrix


class Windows(torch.utils.data.Dataset):
    """Smooth random motions; the last of every four is shorter than the window."""

    def __init__(self, size: int = 16):
        generator = torch.Generator().manual_seed(0)
        phase, rate = torch.rand(2, size, 1, 6, generator=generator)
        frame = torch.arange(32)[None, :, None]
        self.motion = 0.5 + 0.5 * torch.sin(frame * (0.1 + 0.3 * rate) + 6.3 * phase)

    def __len__(self) -> int:
        return len(self.motion)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        length = 21 if index % 4 == 3 else 32
        motion = self.motion[index].clone()
        motion[length:] = motion[length - 1]
        return {"motion": motion, "lengths": torch.tensor(length)}


class SeededSteps(Callback):
    """Dropout as a function of the step, as the project's trainer does it."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        torch.manual_seed(trainer.global_step)


def make(config: THVQVAEConfig = TINY, **options: float) -> THVQVAETraining:
    torch.manual_seed(0)
    training = THVQVAETraining(config, THVQVAETrainingConfig(warmup_steps=5, **options), LinearFace())
    motion = Windows().motion
    training.model.set_statistics(motion.mean((0, 1)), motion.std((0, 1)))
    return training


def fit(training: THVQVAETraining, folder, epochs: int, resume=None) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[SeededSteps(), ModelCheckpoint(dirpath=folder, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loaders = DataLoader(Windows(), batch_size=8), DataLoader(Windows(8), batch_size=5)
    trainer.fit(training, *loaders, ckpt_path=resume, weights_only=True)
    return trainer


def test_errors_by_hand():
    """One channel that moves two coordinates by 3 mm and 4 mm: off by 1, then 2, then (padding) by 100."""
    target = torch.zeros(1, 3, 1)
    predicted = torch.tensor([[[1.0], [2.0], [100.0]]])

    def vertices(motion: Tensor) -> Tensor:
        return motion * torch.tensor([3e-3, 4e-3])

    errors = motion_errors(predicted, target, vertices, torch.tensor([0.5]), torch.tensor([[True, True, False]]))
    report = {name: value.item() for name, value in rms_report(errors).items()}
    assert report["vertex_rms_mm"] == pytest.approx(math.sqrt((25 + 100) / 2))
    assert report["velocity_rms_mm_per_frame"] == pytest.approx(5)
    assert report["motion_rms_std"] == pytest.approx(math.sqrt((4 + 16) / 2))
    still = motion_errors(predicted[:, :1], target[:, :1], vertices, torch.tensor([0.5]))
    assert still.velocity == 0


def test_loss_is_the_weighted_sum_of_its_terms():
    options = {"vertex_weight": 2e6, "velocity_weight": 3e6, "motion_weight": 5.0, "commitment_weight": 7.0}
    training = make(**options).eval()
    batch = next(iter(DataLoader(Windows(), batch_size=8)))
    result, errors = training.reconstruct(batch)
    commitment = result.top.commitment_loss + result.bottom.commitment_loss
    expected = 2e6 * errors.vertex + 3e6 * errors.velocity + 5 * errors.motion + 7 * commitment
    torch.testing.assert_close(training.loss(result, errors), expected)


def test_learns_a_small_set_of_motions():
    torch.manual_seed(1)
    training = make(learning_rate=5e-3).train()
    batch = next(iter(DataLoader(Windows(8), batch_size=8)))
    parts = training.configure_optimizers()
    optimizer, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    first = None
    for _ in range(150):
        result, errors = training.reconstruct(batch)
        loss = training.loss(result, errors)
        first = first or rms_report(errors)["vertex_rms_mm"].item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    training.eval()
    with torch.no_grad():
        last = rms_report(training.reconstruct(batch)[1])["vertex_rms_mm"].item()
    assert first > 1.5
    assert last < 0.25 * first


def test_validation_logs_root_mean_squares_over_all_real_frames(tmp_path):
    training = make()
    metrics = fit(training, tmp_path, epochs=2).callback_metrics
    expected = {"loss", "vertex_rms_mm", "velocity_rms_mm_per_frame", "motion_rms_std"}
    codes = {f"{level}_{name}" for level in ("top", "bottom") for name in ("usage", "perplexity")}
    terms = {f"{level}_{name}" for level in ("top", "bottom") for name in ("commitment", "revived")}
    assert {name for name in metrics if name.startswith("val/")} == {f"val/{name}" for name in expected | codes}
    assert {name for name in metrics if name.startswith("train/")} == {
        f"train/{name}" for name in expected | codes | terms
    }
    training.eval()
    batch = next(iter(DataLoader(Windows(8), batch_size=8)))  # one batch, where validation had two unequal ones
    with torch.no_grad():
        result, errors = training.reconstruct(batch)
    for name, value in rms_report(errors).items():
        torch.testing.assert_close(metrics[f"val/{name}"], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["val/loss"], training.loss(result, errors), rtol=1e-4, atol=1e-5)
    assert metrics["val/top_usage"] == (result.top.counts > 0).float().mean()


def test_resumed_run_ends_with_the_same_weights(tmp_path):
    straight = make()
    fit(straight, tmp_path / "straight", epochs=4)
    fit(make(), tmp_path / "killed", epochs=2)
    resumed = make()
    torch.manual_seed(123)
    fit(resumed, tmp_path / "killed", epochs=4, resume=tmp_path / "killed" / "last.ckpt")
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert int(resumed.model.top_quantizer.updates) == 8


def test_mixed_precision_learns_in_bfloat16_with_float32_codebooks():
    training = make().train()
    batch = next(iter(DataLoader(Windows(8), batch_size=8)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result, errors = training.reconstruct(batch)
    loss = training.loss(result, errors)
    loss.backward()
    assert loss.dtype == result.top.vectors.dtype == training.model.top_quantizer.codebook.dtype == torch.float32
    exact = make().train().reconstruct(batch)[1]
    torch.testing.assert_close(errors.vertex.sqrt(), exact.vertex.sqrt(), rtol=0.3, atol=0.0)
    assert all(torch.isfinite(p.grad).all() for p in training.parameters())


def test_the_face_is_no_part_of_the_state_but_follows_the_device():
    training = make()
    assert all(name.startswith("model.") for name in training.state_dict())
    assert not any("matrix" in name for name, _ in training.named_buffers())
    training.to(torch.float64)
    assert training.vertices.matrix.dtype == torch.float64


def test_bad_training_config_is_refused():
    with pytest.raises(ValueError, match=r"learning_rate is 0\.0"):
        THVQVAETrainingConfig(learning_rate=0.0)
    with pytest.raises(ValueError, match="vertex_weight and motion_weight are both 0"):
        THVQVAETrainingConfig(vertex_weight=0.0, motion_weight=0.0)
