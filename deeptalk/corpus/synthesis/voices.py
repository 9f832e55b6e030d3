"""Voices made from the one voice of hibari by pitch and vocal-tract length."""

from dataclasses import dataclass

from deeptalk.errors import UserError


@dataclass(frozen=True)
class Voice:
    """A speaker: factors on the base voice."""

    name: str
    pitch_factor: float
    """Factor on F0; the base voice has a mean of about 195 Hz."""
    spectral_warp: float
    """Factor on formant frequencies; below 1 is a longer vocal tract."""


VOICES: dict[str, Voice] = {
    voice.name: voice
    for voice in (
        Voice("amber", 1.00, 1.00),
        Voice("birch", 0.60, 0.85),
        Voice("cedar", 0.78, 0.92),
        Voice("dahlia", 1.14, 1.07),
        Voice("elm", 0.68, 0.89),
        Voice("fern", 0.90, 0.97),
    )
}
"""The six voices of the vendored demo speech."""


def voice_named(name: str) -> Voice:
    """A voice of `VOICES`; raises UserError for an unknown name."""
    if name not in VOICES:
        raise UserError(f"Unknown voice {name!r}; expected one of {', '.join(VOICES)}.")
    return VOICES[name]
