import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from deeptalk.baselines import EmoTalkConfig, EmoTalkTraining, EmoTalkTrainingConfig
from deeptalk.baselines.emotalk_training import classification_loss, masked_squared_error, velocity_squared_error

CONFIG = EmoTalkConfig(
    speech_features=10,
    channels=5,
    people=2,
    frame_rate=5.0,
    encoder_size=32,
    encoder_layers=1,
    encoder_heads=2,
    encoder_feedforward=32,
    content_size=16,
    emotion_size=8,
    level_size=4,
    person_size=4,
    decoder_heads=4,
    decoder_feedforward=32,
    dropout=0.0,
)


def swapped_pairs(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    lengths_12, lengths_21 = torch.tensor([12, 9, 12, 5]), torch.tensor([6, 8, 10, 10])
    batch = {
        "features_12": torch.randn(4, 12, 10, generator=g),
        "features_21": torch.randn(4, 10, 10, generator=g),
        "lengths_12": lengths_12,
        "lengths_21": lengths_21,
        "emotion_1": torch.tensor([0, 1, 2, 3]),
        "emotion_2": torch.tensor([4, 5, 6, -1]),
        "intensity_1": torch.tensor([0.0, 0.5, 1.0, 1.0]),
        "intensity_2": torch.tensor([1.0, 1.0, 0.5, 0.5]),
        "speaker": torch.tensor([0, 1, 0, -1]),
    }
    for name, frames in (("motion_11", 12), ("motion_22", 10), ("motion_12", 12)):
        batch[name] = torch.rand(4, frames, 5, generator=g)
    return batch


def build(**training) -> EmoTalkTraining:
    torch.manual_seed(3)
    return EmoTalkTraining(CONFIG, EmoTalkTrainingConfig(**training))


def test_squared_errors_match_slow_loops():
    predicted, target, lengths = torch.randn(3, 6, 2), torch.randn(3, 6, 2), torch.tensor([6, 3, 1])
    errors = [(predicted[i, t] - target[i, t]) ** 2 for i in range(3) for t in range(lengths[i])]
    torch.testing.assert_close(masked_squared_error(predicted, target, lengths), torch.stack(errors).mean())
    steps = [
        ((predicted[i, t] - predicted[i, t - 1]) - (target[i, t] - target[i, t - 1])) ** 2
        for i in range(3)
        for t in range(1, lengths[i])
    ]
    torch.testing.assert_close(velocity_squared_error(predicted, target, lengths), torch.stack(steps).mean())
    assert velocity_squared_error(predicted, target, torch.ones(3, dtype=torch.long)) == 0


def test_total_is_the_published_weighting():
    module = build()
    torch.nn.init.normal_(module.model.decoder.output.weight)
    losses = module.losses(swapped_pairs())
    motion = losses["cross"] + losses["self"] + 0.5 * losses["velocity"]
    torch.testing.assert_close(losses["motion"], motion)
    torch.testing.assert_close(losses["total"], motion + 0.1 * losses["classification"])
    assert min(float(value.detach()) for value in losses.values()) > 0


def test_losses_are_those_of_three_separate_calls():
    module = build().eval()
    torch.nn.init.normal_(module.model.decoder.output.weight)
    b = swapped_pairs()
    f12, n12, f21, n21, who = b["features_12"], b["lengths_12"], b["features_21"], b["lengths_21"], b["speaker"]
    level_1, level_2 = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0])
    cross = masked_squared_error(module.model(f12, n12, level_1, who, f21, n21), b["motion_11"], n12)
    cross = cross + masked_squared_error(module.model(f21, n21, level_2, who, f12, n12), b["motion_22"], n21)
    own = masked_squared_error(module.model(f12, n12, level_2, who), b["motion_12"], n12)
    losses = module.losses(b)
    torch.testing.assert_close(losses["cross"], cross)
    torch.testing.assert_close(losses["self"], own)


def test_padding_never_changes_the_losses():
    module = build()
    torch.nn.init.normal_(module.model.decoder.output.weight)
    batch = swapped_pairs()
    spoiled = {name: value.clone() for name, value in batch.items()}
    for name, lengths in (("_12", "lengths_12"), ("_21", "lengths_21"), ("_11", "lengths_12"), ("_22", "lengths_21")):
        for kind in ("features", "motion"):
            for row, n in enumerate(batch[lengths].tolist()):
                if kind + name in spoiled:
                    spoiled[kind + name][row, n:] = 50.0
    for name, value in module.losses(batch).items():
        torch.testing.assert_close(module.losses(spoiled)[name], value, msg=name)


def test_unknown_emotions_are_left_out_of_the_classification():
    logits = torch.randn(3, 8)
    labels = torch.tensor([2, -1, 5])
    expected = torch.nn.functional.cross_entropy(logits[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(classification_loss(logits, labels), expected)
    assert classification_loss(logits, torch.tensor([-1, -1, -1])) == 0


def test_gradients_reach_every_parameter_after_one_step():
    module = build()
    optimiser = module.configure_optimizers()
    batch = swapped_pairs()
    # The zero-initialised output layer holds gradients back at the very first step.
    module.losses(batch)["total"].backward()
    optimiser.step()
    optimiser.zero_grad()
    module.losses(batch)["total"].backward()
    size = CONFIG.decoder_size
    for name, parameter in module.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        if "emotion_attention.in_projection" in name:
            # One open key each: the published query and key projections cannot matter; the value projection does.
            assert gradient[: 2 * size].abs().max() < 1e-7
            gradient = gradient[2 * size :]
        elif name.endswith("input_projection.bias") or name.endswith("self_attention.in_projection.bias"):
            continue  # a key bias shifts all scores of a query alike
        assert gradient.abs().max() > 0, name


def test_overfits_one_batch():
    module = build(learning_rate=1e-2)
    optimiser = module.configure_optimizers()
    batch = swapped_pairs()
    first = None
    for _ in range(120):
        optimiser.zero_grad()
        losses = module.losses(batch)
        losses["total"].backward()
        optimiser.step()
        first = first or {name: float(value.detach()) for name, value in losses.items()}
    assert float(losses["self"].detach()) < 0.1 * first["self"]
    assert float(losses["cross"].detach()) < 0.1 * first["cross"]
    assert float(losses["velocity"].detach()) < 0.3 * first["velocity"]
    assert float(losses["classification"].detach()) < 0.1 * first["classification"]


def test_training_config_refuses_nonsense():
    with pytest.raises(ValueError, match="learning_rate 0"):
        EmoTalkTrainingConfig(learning_rate=0.0)
    with pytest.raises(ValueError, match="must not be negative"):
        EmoTalkTrainingConfig(self_weight=-1.0)


def test_lightning_trains_validates_and_logs_every_loss(tmp_path):
    module = build()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    train, val = (DataLoader([swapped_pairs(i) for i in seeds], batch_size=None) for seeds in ((1, 2), (3,)))
    trainer.fit(module, train, val)
    expected = {f"{phase}/{name}" for phase in ("train", "val") for name in module.losses(swapped_pairs())}
    assert set(trainer.callback_metrics) == expected
    assert "val/motion" in expected  # what the stage chooses weights by
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    assert "model.decoder.output.weight" in changed
    assert "model.feature_mean" not in changed


def test_losses_in_mixed_precision_are_near_those_in_float32():
    module = build()
    torch.nn.init.normal_(module.model.decoder.output.weight, std=0.1)
    full = module.losses(swapped_pairs())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module.losses(swapped_pairs())
    for name, value in full.items():
        assert float(mixed[name].detach()) == pytest.approx(float(value.detach()), rel=0.05), name
