"""The speech of a take as a sound file."""

from pathlib import Path

import soundfile

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable
from deeptalk.files import atomic_path

SAMPLE_RATE = 16_000


def write_wav(take: Exportable, path: Path) -> None:
    """Write the speech as 16-bit mono WAV at 16 kHz; raises UserError where the take holds no sound."""
    if take.samples is None:
        raise UserError(f"Cannot write {path}: the take holds no sound. Perform it again, or save it without wav.")
    with atomic_path(path) as temporary:
        soundfile.write(temporary, take.samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
