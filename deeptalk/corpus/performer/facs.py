"""Action units of the Facial Action Coding System on ARKit channels.

Ekman, Friesen and Hager 2002, "Facial Action Coding System"; which channel is which unit follows Apple's descriptions
of its blend shape locations. Gains bring a unit at 1 to a strong, still natural pose of the built-in head.
"""

from collections.abc import Mapping

import numpy as np

from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.face import CHANNELS

ACTION_UNITS: dict[str, dict[str, float]] = {
    "AU1": dict(browInnerUp=1.20),  # inner brow raiser
    "AU2": dict(browOuterUp=1.20),  # outer brow raiser
    "AU4": dict(browDown=1.10),  # brow lowerer
    "AU5": dict(eyeWide=1.15),  # upper lid raiser
    "AU6": dict(cheekSquint=0.95, eyeSquint=0.15),  # cheek raiser
    "AU7": dict(eyeSquint=0.95),  # lid tightener
    "AU9": dict(noseSneer=1.10, browDown=0.10),  # nose wrinkler
    "AU10": dict(mouthUpperUp=0.80, noseSneer=0.20),  # upper lip raiser
    "AU12": dict(mouthSmile=1.10),  # lip corner puller; creases the head's cheek above 0.8
    "AU14": dict(mouthDimple=0.80),  # dimpler
    "AU15": dict(mouthFrown=1.10),  # lip corner depressor
    "AU16": dict(mouthLowerDown=0.70),  # lower lip depressor
    "AU17": dict(mouthShrugLower=0.70),  # chin raiser
    "AU20": dict(mouthStretch=1.15),  # lip stretcher
    "AU22": dict(mouthFunnel=0.50, mouthPucker=0.25),  # lip funneler
    "AU24": dict(mouthPress=0.85, mouthRollLower=0.15, mouthRollUpper=0.15),  # lip presser
    "AU26": dict(jawOpen=0.40),  # jaw drop
    "AU29": dict(jawForward=0.50),  # jaw thrust
    "AU43": dict(eyeBlink=0.50),  # eyes half closed
    "AU61": dict(eyeLookOutLeft=0.80, eyeLookInRight=0.80),  # eyes turned aside
    "AU64": dict(eyeLookDown=0.80),  # eyes down
}

UPPER_FACE: tuple[str, ...] = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU43", "AU61", "AU64")
"""Units of brows, lids, gaze, cheeks and nose; the others act on the mouth."""

UNITS: tuple[str, ...] = tuple(ACTION_UNITS)


def unit_matrix(action_units: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    """(unit, channel): what each unit of `UNITS` adds to the channels at 1."""
    matrix = np.zeros((len(UNITS), len(CHANNELS)))
    for row, unit in zip(matrix, UNITS):
        for name, gain in action_units[unit].items():
            row[list(channel_indices(name))] = gain
    return matrix
