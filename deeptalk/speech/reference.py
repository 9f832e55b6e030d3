"""Plain speech of a speaker as a reference: features of other recordings of theirs are then heard relative to it.

How high and loud someone speaks tells an emotion only beside how they usually do. Only means are taken off: the spread
of a short or calm reference says little about the speaker's range.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Float32

from deeptalk.errors import UserError
from deeptalk.speech.encoder import SpeechEncoder, pad_waveforms
from deeptalk.speech.prosody import NORMALISED, VOICED, VOICING
from deeptalk.speech.waveform import Waveform

LEAST_SECONDS = 1.0
"""Voiced speech that a reference must hold, best a minute."""


def prosody_columns(encoder: SpeechEncoder) -> slice:
    """Columns of the features that a reference centres, with voicing among them. Raises UserError without prosody."""
    columns = encoder.columns()
    if "prosody" not in columns:
        raise UserError(
            f"The speech encoder '{encoder.name}' has no prosody, and nothing else can be heard relative to the "
            "speaker. Use one such as 'whisper+prosody', or leave the speaker reference out (in training, "
            "data.centred_share=0)."
        )
    return columns["prosody"]


def voiced_sum(
    features: Float[np.ndarray, "frame feature"], prosody: slice
) -> tuple[Float[np.ndarray, " feature"], int]:
    """Sum over the voiced frames, and their number; 0 in all columns but those of prosody less voicing."""
    voiced = features[features[:, prosody.start + VOICING] >= VOICED]
    centred = prosody.start + np.array(NORMALISED)
    total = np.zeros(features.shape[1])
    total[centred] = voiced[:, centred].sum(axis=0, dtype=np.float64)
    return total, len(voiced)


def speaker_offset(
    encoder: SpeechEncoder, recordings: Iterable[Waveform | np.ndarray]
) -> Float32[np.ndarray, " feature"]:
    """What to take off features by `encoder` to hear them relative to recordings (16 kHz mono) of the same speaker.

    Raises UserError for an encoder without prosody, or recordings with less than a second of voiced speech.
    """
    prosody = prosody_columns(encoder)
    part = next(part for part in encoder.parts() if part.name == "prosody")
    device = next(part.buffers()).device
    sums = []
    for recording in recordings:
        waveforms, lengths = pad_waveforms([recording])
        features, _ = part(waveforms.to(device), lengths.to(device))
        sums.append(voiced_sum(features[0].cpu().numpy(), slice(0, part.feature_size)))
    frames = sum(count for _, count in sums)
    if frames < LEAST_SECONDS * encoder.frame_rate:
        raise UserError(
            f"The speaker reference holds {frames / encoder.frame_rate:.2f} s of voiced speech in {len(sums)} "
            f"recording{'s' * (len(sums) != 1)}; expected at least {LEAST_SECONDS:g} s. Give longer recordings of the "
            "speaker."
        )
    offset = np.zeros(encoder.feature_size, np.float32)
    offset[prosody] = np.sum([total for total, _ in sums], axis=0) / frames
    return offset
