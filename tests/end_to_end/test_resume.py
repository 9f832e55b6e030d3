"""A training that is killed and started again ends with the weights of the one that was left alone, to the byte."""

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


@pytest.mark.parametrize("stage", ["thvqvae", "talker"])
def test_killed_training_resumes_to_the_same_weights(chain, deeptalk, tmp_path, stage):
    out = tmp_path / stage
    words = ["train", stage, "--corpus", chain.corpus, "--out", out, *WORDS[stage]]
    if stage == "talker":  # killed in its second half
        words += seeds("trainer_1", "trainer_2")
        words += ["--thvqvae", chain.out / "thvqvae", "--dee", chain.out / "dee"]
        killed, steps = out / "stage_2", 8 * 2
    else:
        words += seeds("trainer")
        killed, steps = out, 8 * 4
    kill_after_checkpoint(command(*words), killed / "checkpoints" / "last.ckpt", tmp_path / "log")
    assert not (out / "model").exists()

    assert deeptalk(*words).code == 0
    assert len(list((killed / "csv").glob("version_*"))) == 2
    second = read_history_of_last_start(killed)
    assert 0 < len(second) < steps  # it went on, and did not start anew
    same = (chain.out / stage / "model" / "model.safetensors").read_bytes()
    assert (out / "model" / "model.safetensors").read_bytes() == same
    history, uninterrupted = (read_history(folder) for folder in (killed, chain.out / stage / killed.relative_to(out)))
    assert dict(history["train/loss"]).items() <= dict(uninterrupted["train/loss"]).items()


def read_history_of_last_start(run_folder: Path) -> list[int]:
    """Training steps that the last start logged."""
    last = max((run_folder / "csv").glob("version_*"), key=lambda folder: int(folder.name.split("_")[1]))
    lines = (last / "metrics.csv").read_text().splitlines()
    columns = lines[0].split(",")
    rows = [dict(zip(columns, line.split(","))) for line in lines[1:]]
    return [int(row["step"]) for row in rows if row.get("train/loss")]


def test_finished_training_started_again_changes_nothing(chain, deeptalk, tmp_path):
    weights = chain.out / "thvqvae" / "model" / "model.safetensors"
    before = weights.read_bytes()
    words = ["train", "thvqvae", "--corpus", chain.corpus, "--out", chain.out / "thvqvae", *WORDS["thvqvae"]]
    assert deeptalk(*words, *seeds("trainer")).code == 0
    assert weights.read_bytes() == before
