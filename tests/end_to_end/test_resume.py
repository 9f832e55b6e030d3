"""A training that is killed and started again ends with the weights of the one that was left alone, to the byte."""

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from smallest_chain import SEED, WORDS, command

from deeptalk.training import read_history

pytestmark = pytest.mark.slow


def kill_after_checkpoint(words: list[str], checkpoint: Path, log: Path) -> None:
    """Start a training and kill it, as a power cut would, soon after its first checkpoint."""
    with open(log, "w") as output:
        training = subprocess.Popen(words, stdout=output, stderr=output, env=dict(os.environ))
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and training.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1)  # into the next epoch
        training.send_signal(signal.SIGKILL)
        assert training.wait(timeout=30) == -signal.SIGKILL, log.read_text()


def seeds(*trainers: str) -> list[str]:
    return [f"{key}.seed={SEED}" for key in (*trainers, "data")]


@pytest.mark.parametrize("stage", ["thvqvae", "dee", "talker", "emotalk"])
def test_killed_training_resumes_to_the_same_weights(chain, deeptalk, tmp_path, stage):
    out = tmp_path / stage
    words = ["train", stage, "--corpus", chain.corpus, "--out", out, *WORDS[stage]]
    if stage == "talker":  # killed in its second half
        words += seeds("trainer_1", "trainer_2")
        words += ["--thvqvae", chain.out / "thvqvae", "--dee", chain.out / "dee"]
        killed = out / "stage_2"
    else:
        words += seeds("trainer")
        killed = out
    kill_after_checkpoint(command(*words), killed / "checkpoints" / "last.ckpt", tmp_path / "log")
    assert not (out / "model").exists()

    assert deeptalk(*words).code == 0
    assert len(list((killed / "csv").glob("version_*"))) == 2
    loss = "train/total" if stage == "emotalk" else "train/loss"
    history, uninterrupted = (
        dict(read_history(folder)[loss]) for folder in (killed, chain.out / stage / killed.relative_to(out))
    )
    assert 0 < steps_of_last_start(killed, loss) < len(uninterrupted)  # it went on, and did not start anew
    assert history.items() <= uninterrupted.items()
    same = (chain.out / stage / "model" / "model.safetensors").read_bytes()
    assert (out / "model" / "model.safetensors").read_bytes() == same


def steps_of_last_start(run_folder: Path, loss: str) -> int:
    """How many training steps the last start logged."""
    last = max((run_folder / "csv").glob("version_*"), key=lambda folder: int(folder.name.split("_")[1]))
    with open(last / "metrics.csv") as file:
        return sum(bool(row.get(loss)) for row in csv.DictReader(file))


def test_finished_training_started_again_changes_nothing(chain, deeptalk, tmp_path):
    weights = chain.out / "thvqvae" / "model" / "model.safetensors"
    before = weights.read_bytes()
    words = ["train", "thvqvae", "--corpus", chain.corpus, "--out", chain.out / "thvqvae", *WORDS["thvqvae"]]
    assert deeptalk(*words, *seeds("trainer")).code == 0
    assert weights.read_bytes() == before
