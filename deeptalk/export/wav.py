"""The speech of a take as a sound file."""

import io
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable
from deeptalk.files import atomic_path

SAMPLE_RATE = 16_000
"""Of a take's speech, in Hz."""


def wav_bytes(samples: Float[np.ndarray, "sample"], sample_rate: int = SAMPLE_RATE) -> bytes:
    """A 16-bit mono WAV file of samples from -1 to 1."""
    content = io.BytesIO()
    soundfile.write(content, samples, sample_rate, format="WAV", subtype="PCM_16")
    return content.getvalue()


def write_wav(take: Exportable, path: Path) -> None:
    """Write the speech as 16-bit mono WAV at 16 kHz; raises UserError where the take holds no sound."""
    if take.samples is None:
        raise UserError(f"Cannot write {path}: the take holds no sound. Perform it again, or save it without wav.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(wav_bytes(take.samples))
