import dataclasses

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dee import DEE, DEEConfig, DEETraining, DEETrainingConfig, EncoderConfig, GaussianEmbedding
from dee.retrieval import retrieval_metrics

SMALL = EncoderConfig(width=32, layers=1, heads=2, feedforward=64, dropout=0.0)
CONFIG = DEEConfig(speech_features=6, motion_channels=5, embedding_size=16, speech_encoder=SMALL, motion_encoder=SMALL)


def clips(count=16, frames=12, seed=0):
    """Speech and motion that share nothing but which clip they are of."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 1, 6, generator=generator) + 0.2 * torch.randn(count, frames, 6, generator=generator)
    motion = torch.randn(count, 1, 5, generator=generator) + 0.2 * torch.randn(count, frames, 5, generator=generator)
    return {
        "features": features,
        "motion": motion,
        "lengths": torch.randint(frames // 2, frames + 1, (count,), generator=generator),
        "emotion": torch.arange(count) % 8,
        "intensity": (torch.arange(count) % 8 > 0).float(),
        "speaker": torch.zeros(count, dtype=torch.long),
        "speech": torch.arange(count) // 2,
    }


def loader(content):
    rows = [{key: value[row] for key, value in content.items()} for row in range(len(content["lengths"]))]
    return DataLoader(rows, batch_size=8)


def trainer(tmp_path, **settings):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **settings,
    )  # fmt: skip


def test_one_batch_is_learned_to_near_perfect_retrieval():
    torch.manual_seed(0)
    training = DEETraining(CONFIG, DEETrainingConfig())
    content = clips(frames=6)
    optimizer = torch.optim.Adam(training.parameters(), lr=5e-3)
    start = end = None
    for _ in range(60):
        embeddings = training.model(content)
        terms = training.losses(embeddings["speech"], embeddings["motion"], content)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        start, end = start or terms["match"].item(), terms["match"].item()
    metrics = retrieval_metrics(embeddings["speech"], embeddings["motion"], content["emotion"])
    assert end < start / 3
    assert metrics["speech_to_motion_recall_at_1"] >= 15 / 16
    assert metrics["motion_to_speech_recall_at_1"] >= 15 / 16


@pytest.mark.parametrize(
    "weights", [{}, {"pseudo_positive_weight": 0.1, "targets": "speech"}, {"targets": "emotion", "label_weight": 0.3}]
)
def test_gradients_reach_every_parameter_and_terms_add_up(weights):
    torch.manual_seed(0)
    training = DEETraining(CONFIG, DEETrainingConfig(**weights))
    content = clips()
    embeddings = training.model(content)
    terms = training.losses(embeddings["speech"], embeddings["motion"], content)
    settings = training.training_config
    expected = terms["match"] + settings.vib_weight * terms["vib"] + settings.coverage_weight * terms["coverage"]
    expected = expected + settings.pseudo_positive_weight * terms.get("pseudo_match", 0.0)
    expected = expected + settings.label_weight * terms.get("label", 0.0)
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].backward()
    silent = [name for name, parameter in training.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert silent == []


def test_coverage_teaches_the_width_of_the_speech_side_only():
    training = DEETraining(CONFIG, DEETrainingConfig())
    content = clips()
    embeddings = training.model(content)
    training.losses(embeddings["speech"], embeddings["motion"], content)["coverage"].backward()
    assert all(parameter.grad is None for parameter in training.model.motion_encoder.parameters())
    assert all(parameter.grad is None for parameter in training.model.speech_encoder.mean_head.parameters())
    assert training.model.speech_encoder.log_variance_head.linear.bias.grad.abs().sum() > 0


def test_label_loss_is_the_cross_entropy_of_known_emotions():
    torch.manual_seed(0)
    training = DEETraining(CONFIG, DEETrainingConfig(label_weight=1.0))
    content = clips()
    embeddings = training.model(content)
    sides = (embeddings["speech"], embeddings["motion"])
    known = content["emotion"] < 5
    partly = {**content, "emotion": content["emotion"].where(known, -1)}
    expected = sum(
        torch.nn.functional.cross_entropy(training.label_logits(10 * side.mean[known]), content["emotion"][known])
        for side in sides
    )
    torch.testing.assert_close(training.losses(*sides, partly)["label"], expected)
    nothing = {**content, "emotion": torch.full((16,), -1)}
    assert training.losses(*sides, nothing)["label"] == 0
    assert "label_logits.weight" not in training.model.state_dict()


def test_targets_by_speech_are_easier_for_clips_of_one_speech():
    content = clips()
    shared = GaussianEmbedding(torch.eye(8, 16).repeat_interleave(2, dim=0), torch.full((16, 16), -20.0))
    losses = {
        kind: DEETraining(CONFIG, DEETrainingConfig(targets=kind)).losses(shared, shared, content)["match"].item()
        for kind in ("identity", "speech")
    }
    assert losses["speech"] < 0.1 < losses["identity"]


def test_lightning_run_logs_every_term_and_schedules(tmp_path):
    torch.manual_seed(0)
    training = DEETraining(CONFIG, DEETrainingConfig(learning_rate=1e-3, pseudo_positive_weight=0.1))
    runner = trainer(tmp_path, max_epochs=2, log_every_n_steps=1)
    runner.fit(training, loader(clips()), loader(clips(seed=1)))
    logged = set(runner.callback_metrics)
    for term in ("loss", "match", "vib", "coverage", "pseudo_match"):
        assert {f"train/{term}", f"val/{term}"} <= logged
    assert {"train/scale", "train/shift", "train/speech_total_variance"} <= logged
    for direction in ("speech_to_motion", "motion_to_speech"):
        for name in ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "label_accuracy"):
            assert f"val/{direction}_{name}" in logged
    assert runner.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-6)


def test_same_seed_same_weights_and_frozen_parts_stay(tmp_path):
    states = []
    for _ in range(2):
        pl.seed_everything(3, verbose=False)
        training = DEETraining(dataclasses.replace(CONFIG, motion_encoder=dataclasses.replace(SMALL, dropout=0.1)), {})
        training.model.speech_encoder.requires_grad_(False)
        frozen = training.model.speech_encoder.input.weight.clone()
        trainer(tmp_path, max_steps=3, limit_val_batches=0).fit(training, loader(clips()))
        assert torch.equal(training.model.speech_encoder.input.weight, frozen)
        states.append(training.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_mixed_precision_keeps_embeddings_and_losses_in_float32(tmp_path):
    training = DEETraining(CONFIG, DEETrainingConfig())
    seen = []
    losses = training.losses
    training.losses = lambda *given: seen.append(losses(*given)) or seen[-1]
    runner = trainer(tmp_path, max_steps=2, precision="bf16-mixed", limit_val_batches=0)
    runner.fit(training, loader(clips()))
    assert seen
    assert all(term.dtype == torch.float32 and torch.isfinite(term) for terms in seen for term in terms.values())


def test_checkpoint_gives_back_configs_and_weights(tmp_path):
    training = DEETraining(CONFIG, DEETrainingConfig(targets="speech"))
    runner = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    runner.fit(training, loader(clips()))
    runner.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert saved["training"]["targets"] == "speech"
    assert saved["config"]["speech_encoder"]["width"] == 32
    again = DEETraining.load_from_checkpoint(tmp_path / "last.ckpt")
    assert again.model.config == CONFIG
    assert again.training_config == training.training_config
    assert all(torch.equal(value, training.state_dict()[key]) for key, value in again.state_dict().items())


def test_prototypes_of_a_loader_match_their_clips():
    torch.manual_seed(0)
    content = clips()
    content["motion"] = content["motion"] + 3 * torch.eye(8, 5)[content["emotion"]][:, None]
    model = DEE(CONFIG).train()
    model.fit_prototypes(loader(content))
    assert model.training
    model.eval()
    with torch.no_grad():
        motion = model.embed_motion(content["motion"], content["lengths"]).mean
    expected = torch.nn.functional.normalize(motion[content["emotion"] == 2].mean(dim=0), dim=-1)
    label = model.emotion_vector(torch.tensor([2]), torch.tensor([1.0]))
    torch.testing.assert_close(label.mean[0], expected, rtol=0, atol=1e-5)
    speech_side = model.emotion_vector(torch.tensor([2]), torch.tensor([1.0]), side="speech")
    assert not torch.allclose(speech_side.mean, label.mean, atol=1e-3)


def test_learning_rates_are_checked():
    with pytest.raises(ValueError, match=r"final_learning_rate 0\.1 must be above 0 and at most learning_rate 0\.0001"):
        DEETrainingConfig(final_learning_rate=0.1)
