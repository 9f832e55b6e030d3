"""The table of voices: every engine's speakers, and more of them by pitch, vocal-tract length and habits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeptalk.errors import UserError

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Voice:
    """A speaker: one of an engine's own voices, and changes to it."""

    name: str
    pitch_factor: float = 1.0
    """Factor on the F0 of the engine's voice."""
    spectral_warp: float = 1.0
    """Factor on formant frequencies; below 1 is a longer vocal tract."""
    engine: str = "hibari"
    speaker: str = ""
    """The engine's own name of its voice, where it has several."""
    split: Split = "train"
    """The only split in which it is heard."""
    pitch_range_factor: float = 1.0
    """Habitual factor on the excursions of log F0; the affect's factor comes on top."""
    rate_factor: float = 1.0
    """Habitual speaking rate relative to the engine's."""
    breath_decibels: float = 0.0
    """Habitual noise in voiced sounds relative to the engine's."""
    tilt_decibels_per_octave: float = 0.0
    """Habitual spectral tilt relative to the engine's; positive is brighter."""


DEMO_VOICES: tuple[Voice, ...] = (
    Voice("amber", 1.00, 1.00),
    Voice("birch", 0.60, 0.85),
    Voice("cedar", 0.78, 0.92),
    Voice("dahlia", 1.14, 1.07),
    Voice("elm", 0.68, 0.89, split="val"),
    Voice("fern", 0.90, 0.97, split="test"),
)
"""The six voices of the vendored demo speech, made from the one voice of hibari (mean F0 195 Hz)."""

_HIBARI_COUNT = 40
_HIBARI_SEED = 20261121
_LOWEST_PITCH, _HIGHEST_PITCH = 0.50, 1.30
"""97 to 254 Hz: low men to high women and young people."""


def _hibari_voices() -> list[Voice]:
    """Forty speakers, spread evenly in log pitch; of every ten, one is for validation and one for test.

    The vocal tract goes with the pitch as it does in people (long and low, short and high), with a spread of its own.
    """
    generator = np.random.default_rng(_HIBARI_SEED)
    voices = []
    for number in range(_HIBARI_COUNT):
        place = (number * 0.6180339887 + 0.5) % 1.0
        pitch = _LOWEST_PITCH * (_HIGHEST_PITCH / _LOWEST_PITCH) ** place
        warp = np.clip(0.84 + 0.22 * place + 0.03 * generator.standard_normal(), 0.80, 1.12)
        habits = generator.uniform(-1.0, 1.0, 4)
        voices.append(
            Voice(
                name=f"hibari-{number + 1:02d}",
                pitch_factor=round(float(pitch), 3),
                spectral_warp=round(float(warp), 3),
                split="val" if number % 10 == 4 else "test" if number % 10 == 9 else "train",
                pitch_range_factor=round(float(2.0 ** (0.25 * habits[0])), 3),
                rate_factor=round(float(2.0 ** (0.14 * habits[1])), 3),
                breath_decibels=round(float(3.0 * habits[2]), 2),
                tilt_decibels_per_octave=round(float(1.0 * habits[3]), 2),
            )
        )
    return voices


JOE_VOICES: tuple[Voice, ...] = (
    Voice("joe", engine="joe"),
    Voice("joe-deep", 0.94, 0.94, engine="joe", pitch_range_factor=1.1, rate_factor=0.95),
    Voice("joe-tenor", 1.32, 1.04, engine="joe", rate_factor=1.05),
    Voice("joe-light", 1.48, 1.10, engine="joe", pitch_range_factor=1.15, breath_decibels=2.0),
    Voice("joe-val", 1.20, 0.97, engine="joe", split="val"),
    Voice("joe-test", 1.10, 1.06, engine="joe", split="test"),
)
"""One man (mean F0 88 Hz) and five made of him."""

_PRAAT_TRAIN = ("Female1", "Female2", "Female3", "Female5", "Male1", "Male2", "Male4", "Male5", "Male6", "Male7")
PRAAT_VOICES: tuple[Voice, ...] = (
    *(Voice(f"praat-{speaker.lower()}", engine="praat", speaker=speaker) for speaker in _PRAAT_TRAIN),
    Voice("praat-annie", engine="praat", speaker="Annie"),
    Voice("praat-female4", engine="praat", speaker="Female4", split="val"),
    Voice("praat-male3", engine="praat", speaker="Male3", split="test"),
)

FLITE_VOICES: tuple[Voice, ...] = tuple(
    Voice(f"flite-{name}", engine="flite", speaker=speaker, split="test")
    for name, speaker in (("kal", "kal16"), ("awb", "awb"), ("rms", "rms"), ("slt", "slt"))
)
"""The engine that is never trained on."""

VOICES: dict[str, Voice] = {
    voice.name: voice for voice in (*DEMO_VOICES, *_hibari_voices(), *JOE_VOICES, *PRAAT_VOICES, *FLITE_VOICES)
}


def voice_named(name: str) -> Voice:
    """A voice of `VOICES`; raises UserError for an unknown name."""
    if name not in VOICES:
        raise UserError(f"Unknown voice {name!r}; expected one of {', '.join(VOICES)}.")
    return VOICES[name]


def voices_of(engine: str, split: Split | None = None) -> list[Voice]:
    """Voices of an engine, of one split or of all; without those of the demo, whose sentences have no split."""
    return [
        voice
        for voice in VOICES.values()
        if voice.engine == engine and voice not in DEMO_VOICES and split in (None, voice.split)
    ]
