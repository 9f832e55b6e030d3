"""Action units of the Facial Action Coding System on ARKit channels.

Ekman, Friesen and Hager 2002, "Facial Action Coding System"; which channel is which unit follows Apple's descriptions
of its blend shape locations. Gains bring a unit at 1 to a strong, still natural pose of the built-in head.
"""

import numpy as np

from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.face import CHANNELS

ACTION_UNITS: dict[str, dict[str, float]] = {
    "AU1": dict(browInnerUp=0.85),  # inner brow raiser
    "AU2": dict(browOuterUp=0.85),  # outer brow raiser
    "AU4": dict(browDown=0.90),  # brow lowerer
    "AU5": dict(eyeWide=0.85),  # upper lid raiser
    "AU6": dict(cheekSquint=0.85, eyeSquint=0.20),  # cheek raiser
    "AU7": dict(eyeSquint=0.85),  # lid tightener
    "AU9": dict(noseSneer=0.85, browDown=0.10),  # nose wrinkler
    "AU10": dict(mouthUpperUp=0.70, noseSneer=0.15),  # upper lip raiser
    "AU12": dict(mouthSmile=0.75),  # lip corner puller; creases the head's cheek above 0.8
    "AU14": dict(mouthDimple=0.80),  # dimpler
    "AU15": dict(mouthFrown=0.80),  # lip corner depressor
    "AU16": dict(mouthLowerDown=0.50),  # lower lip depressor
    "AU17": dict(mouthShrugLower=0.55),  # chin raiser
    "AU20": dict(mouthStretch=0.80),  # lip stretcher
    "AU24": dict(mouthPress=0.75, mouthRollLower=0.10, mouthRollUpper=0.10),  # lip presser
    "AU26": dict(jawOpen=0.28),  # jaw drop
    "AU29": dict(jawForward=0.50),  # jaw thrust
    "AU34": dict(cheekPuff=0.50),  # puff
}

UPPER_FACE: tuple[str, ...] = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9")
"""Units of brows, eyes, cheeks and nose; the others act on the mouth."""

UNITS: tuple[str, ...] = tuple(ACTION_UNITS)


def unit_matrix() -> np.ndarray:
    """(unit, channel): what each unit of `UNITS` adds to the channels at 1."""
    matrix = np.zeros((len(UNITS), len(CHANNELS)))
    for row, channels in zip(matrix, ACTION_UNITS.values()):
        for name, gain in channels.items():
            row[list(channel_indices(name))] = gain
    return matrix
