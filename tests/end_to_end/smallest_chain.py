"""Sizes of the smallest whole chain, what it leaves behind, and the command as a user types it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 7
CSV_ONLY = "trainer.loggers=[csv]"  # wandb takes seconds to start and stop: one stage of the chain keeps it
WORDS = {
    "corpus": ["max_clips_per_split=16", "train_performances=2", "val_performances=4", "reference_draws=12"],
    "thvqvae": [
        *("trainer.max_epochs=4", "data.samples_per_epoch=256", "trainer.log_every_steps=1", "training.warmup_steps=4"),
        *("model.hidden_size=32", "model.feedforward_size=64", "model.decoder_feedforward_size=64"),
        *("model.top_codes=32", "model.bottom_codes=32", CSV_ONLY),
    ],
    "dee": [
        *("speech=logmel+prosody", "trainer.max_epochs=4", "data.samples_per_epoch=128", "trainer.log_every_steps=1"),
    ],
    "talker": [
        *("speech=logmel+prosody", "data.samples_per_epoch=128", "trainer_1.max_epochs=4", "trainer_2.max_epochs=3"),
        *("trainer_1.log_every_steps=1", "trainer_2.log_every_steps=1"),
        *("trainer_1.loggers=[csv]", "trainer_2.loggers=[csv]"),
    ],
    "emotalk": [
        *("speech=logmel+prosody", "trainer.max_epochs=4", "data.samples_per_epoch=64", "trainer.log_every_steps=1"),
        CSV_ONLY,
    ],
    "benchmark": ["takes=4", "max_clips=4", "resamples=200"],
}
"""Sizes that take half a minute and still learn; no encoder among them needs a weights package."""


@dataclass(frozen=True)
class Chain:
    """A finished demo. Tests read it and leave it as it is."""

    out: Path
    cache: Path
    recording: Path

    @property
    def page(self) -> Path:
        return self.out / "index.html"

    @property
    def bundle(self) -> Path:
        return self.out / "talker" / "bundle"

    @property
    def corpus(self) -> Path:
        return self.out / "corpus"


def speech_like(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Syllables of a gliding buzz with noise between them."""
    time_axis = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * time_axis)) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 9))
    noise = np.random.default_rng(seed).standard_normal(len(time_axis))
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * time_axis), 0, None)
    return (0.15 * syllables * buzz + 0.005 * noise).astype(np.float32)


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line that tells what was wrong; fails where there is more than that, or something else."""
        assert self.code == 2, self
        assert "Traceback" not in self.stdout + self.stderr, self.stderr
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.stderr
        assert self.stderr.rstrip().endswith(lines[0]), self.stderr
        return lines[0]


def command(*words: object) -> list[str]:
    """The `deeptalk` command in a process of its own."""
    return [sys.executable, "-m", "deeptalk.cli", *map(str, words)]


def page_data(page: Path) -> dict:
    """What a page's viewer plays."""
    text = page.read_text(encoding="utf-8")
    start = text.index('<script id="data" type="application/json">') + len('<script id="data" type="application/json">')
    return json.loads(text[start : text.index("</script>", start)])
