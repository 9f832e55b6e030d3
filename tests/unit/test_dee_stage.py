"""DEE's training stage: which weights it keeps."""

import torch
from corpus_samples import write_corpus
from safetensors.torch import load_file

from deeptalk.stages import train_stage
from deeptalk.training import read_history

WORDS = [
    *("trainer.loggers=[csv]", "trainer.max_epochs=5", "trainer.accelerator=cpu", "speech=logmel"),
    *("data.batch_size=8", "data.samples_per_epoch=64", "training.learning_rate=0.005"),
    *("model.motion_encoder.width=16", "model.speech_encoder.width=16", "model.embedding_size=8"),
    *("training.coverage_weight=20", "training.coverage_on_sphere=true", "model.log_variance_bias=-1.5"),
]


def test_the_weights_kept_are_those_whose_means_are_best(tmp_path):
    """Not those of the least loss: motions scatter more as the space takes shape, so coverage is best at the start."""
    corpus = write_corpus(tmp_path / "corpus")
    run = tmp_path / "run"
    train_stage("dee", [corpus.folder], run, "tiny", WORDS, progress=False)
    history = read_history(run)
    by_means, by_loss, match, label = (
        torch.tensor([value for _, value in history[f"val/{name}"]])
        for name in ("means_loss", "loss", "match", "label")
    )
    torch.testing.assert_close(by_means, match + 0.3 * label)
    assert by_means.argmin() != by_loss.argmin()  # else this would say nothing
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == int(by_means.argmin())
    kept = load_file(run / "model" / "model.safetensors")
    assert torch.equal(kept["match.scale"], best["state_dict"]["model.match.scale"])
