"""The affect and the voice put into the sound of an engine that has no control of its own over them."""

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.synthesis.colour import with_breath, with_tilt
from deeptalk.corpus.synthesis.pitch import with_pitch
from deeptalk.corpus.synthesis.spectra import edited_log_f0
from deeptalk.corpus.synthesis.voices import Voice


def changed(
    samples: np.ndarray, affect: AffectCode, voice: Voice, seed: int, pitch_factor: float | None = None
) -> np.ndarray:
    """The samples (sample,) with pitch, range, tilt and breath put in, all at unchanged times.

    `pitch_factor` stands for the voice's own where the formants were moved before, and the pitch with them.
    """
    factor = voice.pitch_factor if pitch_factor is None else pitch_factor
    pitched = with_pitch(samples, lambda log_f0, voiced: edited_log_f0(log_f0, voiced, affect, voice, factor))
    tilted = with_tilt(pitched, affect.tilt_decibels_per_octave + voice.tilt_decibels_per_octave)
    return with_breath(tilted, affect.breath_decibels + voice.breath_decibels, seed)
