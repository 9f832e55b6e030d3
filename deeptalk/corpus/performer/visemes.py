"""Mouth targets of every phone on ARKit channels, and how strongly a phone insists on them.

The grouping of phones follows the usual English visemes (Fisher 1968; Jeffers and Barley 1971); the values are ours,
set on the built-in head. A side-less name such as `mouthStretch` stands for both sides.
"""

import numpy as np

from deeptalk.corpus.performer.event import PHONES, SILENCE
from deeptalk.face import CHANNELS

MOUTH_TARGETS: dict[str, dict[str, float]] = {
    SILENCE: dict(jawOpen=0.01),
    # open and mid vowels
    "AA": dict(jawOpen=0.36, mouthLowerDown=0.16, mouthUpperUp=0.06),
    "AE": dict(jawOpen=0.33, mouthLowerDown=0.22, mouthStretch=0.18, mouthUpperUp=0.10),
    "AH": dict(jawOpen=0.22, mouthLowerDown=0.14, mouthUpperUp=0.05),
    "AO": dict(jawOpen=0.32, mouthFunnel=0.40, mouthPucker=0.15, mouthLowerDown=0.08),
    "EH": dict(jawOpen=0.25, mouthLowerDown=0.20, mouthStretch=0.16, mouthUpperUp=0.08),
    "ER": dict(jawOpen=0.16, mouthFunnel=0.25, mouthPucker=0.30, mouthLowerDown=0.10),
    "IH": dict(jawOpen=0.16, mouthLowerDown=0.18, mouthStretch=0.16, mouthUpperUp=0.08),
    "IY": dict(jawOpen=0.10, mouthLowerDown=0.22, mouthStretch=0.30, mouthSmile=0.08, mouthUpperUp=0.10),
    "UH": dict(jawOpen=0.15, mouthFunnel=0.30, mouthPucker=0.40),
    "UW": dict(jawOpen=0.11, mouthFunnel=0.30, mouthPucker=0.78),
    # rounded consonants
    "W": dict(jawOpen=0.07, mouthFunnel=0.28, mouthPucker=0.85),
    "R": dict(jawOpen=0.10, mouthFunnel=0.30, mouthPucker=0.35, mouthLowerDown=0.06),
    "SH": dict(jawOpen=0.07, mouthFunnel=0.50, mouthPucker=0.28, mouthLowerDown=0.14, mouthUpperUp=0.08),
    # lips
    "P": dict(jawOpen=0.07, mouthRollLower=0.10, mouthRollUpper=0.10, mouthPress=0.22),
    "M": dict(jawOpen=0.08, mouthRollLower=0.08, mouthRollUpper=0.08, mouthPress=0.12),
    "F": dict(jawOpen=0.07, mouthRollLower=0.85, mouthUpperUp=0.55),
    # tongue
    "TH": dict(jawOpen=0.13, mouthLowerDown=0.18, mouthUpperUp=0.10, tongueOut=0.52),
    "T": dict(jawOpen=0.09, mouthLowerDown=0.16, mouthStretch=0.10, mouthUpperUp=0.06, tongueOut=0.20),
    "S": dict(jawOpen=0.06, mouthLowerDown=0.22, mouthStretch=0.20, mouthUpperUp=0.10),
    "L": dict(jawOpen=0.16, mouthLowerDown=0.16, mouthUpperUp=0.06, tongueOut=0.32),
    "N": dict(jawOpen=0.10, mouthLowerDown=0.14, mouthStretch=0.08, mouthUpperUp=0.05, tongueOut=0.20),
    "K": dict(jawOpen=0.14, mouthLowerDown=0.12, mouthUpperUp=0.05),
    "Y": dict(jawOpen=0.09, mouthLowerDown=0.18, mouthStretch=0.24, mouthUpperUp=0.08),
    "HH": dict(jawOpen=0.16, mouthLowerDown=0.10),
}

SAME_TARGETS: dict[str, str] = {
    **dict(B="P", V="F", DH="TH", D="T", Z="S", ZH="SH", CH="SH", JH="SH", NG="K", G="K"),
    **dict(AW="AA", AY="AA", EY="EH", OW="AO", OY="AO"),
}
"""Phones that share the targets of another; diphthongs begin there."""

DIPHTHONG_ENDS: dict[str, str] = dict(AW="UW", AY="IY", EY="IY", OW="UW", OY="IY")
"""Where a diphthong glides to; its second part takes the last 45 % of the phone."""

JAW_DOMINANCE: dict[str, float] = {
    **dict.fromkeys(("AA", "AE", "AO", "EH", "AH", "ER"), 1.0),
    **dict.fromkeys(("IH", "IY", "UH", "UW"), 0.8),
    **dict.fromkeys(("S", "SH", "F", "P", "M", "W"), 0.9),
    **dict.fromkeys(("T", "N", "TH", "L", "R", "Y"), 0.5),
    **dict(K=0.3, HH=0.1),
    SILENCE: 0.9,
}
"""How strongly a phone insists on its jaw; the sounds left out of a group are those that the jaw hardly matters to."""

LIP_DOMINANCE: dict[str, float] = {
    **dict.fromkeys(("UW", "W"), 1.4),
    **dict.fromkeys(("SH", "AO", "F", "P", "M"), 1.1),
    **dict.fromkeys(("R", "UH", "ER"), 0.8),
    **dict.fromkeys(("AA", "AE", "AH", "EH", "IH", "IY", "Y", "S"), 0.6),
    **dict.fromkeys(("T", "N", "TH", "L"), 0.3),
    **dict(K=0.12, HH=0.05),
    SILENCE: 0.7,
}
"""How strongly a phone insists on its lips: rounding spreads to its neighbours, /k/ and /h/ take their neighbours'."""

TONGUE_DOMINANCE: dict[str, float] = {
    **{base: 0.5 for base in MOUTH_TARGETS},
    **dict(TH=1.5, L=1.2, T=1.0, N=1.0, S=1.0, SH=1.0),
}
"""How strongly a phone insists on its tongue: sounds of the tip most of all."""

ROUNDING_CHANNELS = ("mouthFunnel", "mouthPucker")


def channel_indices(name: str) -> tuple[int, ...]:
    """Columns of a channel, or of both sides of a side-less name."""
    if name in CHANNELS:
        return (CHANNELS.index(name),)
    return (CHANNELS.index(name + "Left"), CHANNELS.index(name + "Right"))


def pose(values: dict[str, float]) -> np.ndarray:
    """A pose (channel,) from values by channel name."""
    channels = np.zeros(len(CHANNELS))
    for name, value in values.items():
        channels[list(channel_indices(name))] = value
    return channels


_BASES = {phone: SAME_TARGETS.get(phone, phone) for phone in PHONES}
TARGETS: dict[str, np.ndarray] = {phone: pose(MOUTH_TARGETS[base]) for phone, base in _BASES.items()}
"""Target (channel,) of every phone; of a diphthong, its first part."""
JAW_WEIGHT: dict[str, float] = {phone: JAW_DOMINANCE[base] for phone, base in _BASES.items()}
LIP_WEIGHT: dict[str, float] = {phone: LIP_DOMINANCE[base] for phone, base in _BASES.items()}
TONGUE_WEIGHT: dict[str, float] = {phone: TONGUE_DOMINANCE[base] for phone, base in _BASES.items()}
