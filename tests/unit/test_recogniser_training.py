import dataclasses

import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from torch.utils.data import DataLoader

from dee import ExpressionRecogniser, RecogniserConfig, RecogniserTraining, RecogniserTrainingConfig
from dee.recogniser_training import accuracies, class_weights, confusion_counts

SMALL = RecogniserConfig(motion_channels=5, hidden_sizes=[24, 12, 8], emotions=3, dropout=0.0)
NAMES = ("neutral", "happy", "sad")


def frames(count=48, seed=0, classes=3):
    """Frames of three classes, each around a place of its own."""
    generator = torch.Generator().manual_seed(seed)
    emotion = torch.arange(count) % classes
    places = torch.randn(classes, 5, generator=torch.Generator().manual_seed(99))
    motion = places[emotion] + 0.1 * torch.randn(count, 5, generator=generator)
    return {"motion": motion[:, None], "emotion": emotion}


def loader(content, batch_size=16):
    rows = [{key: value[row] for key, value in content.items()} for row in range(len(content["emotion"]))]
    return DataLoader(rows, batch_size=batch_size)


def training(counts=(16, 16, 16), **settings):
    torch.manual_seed(0)
    return RecogniserTraining(SMALL, RecogniserTrainingConfig(**settings), counts, NAMES)


def fit(module, tmp_path, epochs, val=None, train=None):
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=epochs,
        enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, train or loader(frames()), val or loader(frames(seed=1)))
    return trainer


def test_it_learns_and_reports_what_scikit_learn_computes(tmp_path):
    module = training(learning_rate=1e-2)
    trainer = fit(module, tmp_path, 30)
    assert trainer.callback_metrics["val/balanced_accuracy"] > 0.95
    unlike = frames(seed=2, count=45)
    unlike["motion"] += torch.randn(45, 1, 5, generator=torch.Generator().manual_seed(5))
    confusion = module.confusion(loader(unlike))
    with torch.no_grad():
        told = module.model(unlike["motion"][:, 0]).argmax(-1)
    assert confusion.tolist() == confusion_matrix(unlike["emotion"], told).tolist()
    report = accuracies(confusion, NAMES)
    assert 0.4 < float(report["balanced_accuracy"]) < 1
    assert float(report["balanced_accuracy"]) == pytest.approx(balanced_accuracy_score(unlike["emotion"], told))
    assert float(report["accuracy_sad"]) == pytest.approx((told[2::3] == 2).float().mean().item())
    assert float(report["accuracy"]) == pytest.approx((told == unlike["emotion"]).float().mean().item())


def test_an_emotion_that_does_not_occur_counts_nothing():
    confusion = confusion_counts(torch.eye(3)[[0, 0, 2]], torch.tensor([0, 2, 2]))
    assert confusion.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
    assert accuracies(confusion, NAMES).keys() == {"accuracy", "balanced_accuracy", "accuracy_neutral", "accuracy_sad"}
    assert float(accuracies(confusion, NAMES)["balanced_accuracy"]) == 0.75


def test_class_weights_are_the_published_ones():
    counts = [74826, 134292, 25444, 14078, 6374, 3800, 24870, 3746]  # AffectNet, facts of the released FER
    expected = torch.tensor([287430 / (8 * count) for count in counts])
    torch.testing.assert_close(class_weights(counts), expected)
    assert class_weights([30, 0, 10]).tolist() == pytest.approx([40 / 60, 0.0, 40 / 20])
    with pytest.raises(ValueError, match=r"at least two emotions; the counts are \[3, 0, 0\]"):
        class_weights([3, 0, 0])


def test_validation_loss_is_the_weighted_mean_over_all_frames_however_they_are_batched(tmp_path):
    counts, content = (10, 20, 40), frames(seed=1, count=21)
    given = []
    for batch_size in (4, 21):
        module = training(counts, learning_rate=1e-3)
        trainer = fit(module, tmp_path, 1, val=loader(content, batch_size))
        given.append(float(trainer.callback_metrics["val/loss"]))
    with torch.no_grad():
        logits = module.eval().model(content["motion"][:, 0])
    expected = torch.nn.functional.cross_entropy(logits, content["emotion"], weight=class_weights(counts))
    assert given == pytest.approx([float(expected)] * 2, rel=1e-5)


def test_noise_is_as_published():
    module = training(noise_std=0.02)
    module.model.set_statistics(torch.zeros(5), torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0]))
    motion = torch.full((40_000, 5), 3.0)
    torch.manual_seed(4)
    noise = module.with_noise(motion) - motion
    rows = (noise != 0).any(dim=1)
    assert rows.float().mean() == pytest.approx(0.5, abs=0.01)
    assert (noise[rows] != 0).float().mean(0)[:4] == pytest.approx(0.7, abs=0.02)
    spread = torch.tensor([noise[noise[:, channel] != 0, channel].std() for channel in range(4)])
    torch.testing.assert_close(spread, 0.02 * torch.tensor([1.0, 2.0, 0.5, 1.0]), rtol=0.03, atol=0)
    assert noise[:, 4].abs().max() < 2e-4  # a channel that never moves stays still
    assert torch.equal(training(noise_std=0.0).with_noise(motion), motion)


def test_gradients_reach_every_parameter_and_clips_count_by_frame():
    module = training()
    content = frames(count=12)
    clips = {"motion": content["motion"].repeat(1, 4, 1), "emotion": content["emotion"]}
    assert module.confusion([clips]).sum(1).tolist() == [16, 16, 16]
    module.train()
    module.log_dict = lambda *given, **words: None
    module.training_step(clips, 0).backward()
    silent = [name for name, value in module.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    # batch norm takes the mean away again, and with it what a bias before it adds
    assert [name for name in silent if not (name.startswith("model.hidden") and name.endswith("bias"))] == []


def test_class_weights_are_no_part_of_the_model(tmp_path):
    module = training()
    assert "weights" not in module.state_dict()
    module.model.save_pretrained(tmp_path / "model")
    again = ExpressionRecogniser.from_pretrained(tmp_path / "model")
    assert again.config == SMALL
    motion = torch.randn(3, 5)
    with torch.no_grad():
        assert torch.equal(again(motion), module.eval().model(motion))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"final_learning_rate": 1.0}, "final_learning_rate 1.0 must be above 0 and at most"),
        ({"noisy_share": 1.5}, r"noisy_share is 1.5; it must lie in 0..1"),
        ({"noise_std": -1.0}, "noise_std is -1.0; it must be at least 0"),
    ],
)
def test_configs_that_no_run_can_use(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RecogniserTrainingConfig(), **change)


def test_counts_and_names_fit_the_classes():
    with pytest.raises(ValueError, match="2 counts and 3 names for 3 emotions"):
        RecogniserTraining(SMALL, RecogniserTrainingConfig(), [1, 1], NAMES)
