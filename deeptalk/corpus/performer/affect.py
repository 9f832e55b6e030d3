"""The audible affect code: which settings of a voice go with which vocal emotion.

Directions of the settings follow published measurements of vocal emotion:

- Banse and Scherer 1996, "Acoustic profiles in vocal emotion expression", J. Pers. Soc. Psychol. 70(3), tables 6, 7;
- Juslin and Laukka 2003, "Communication of emotions in vocal expression and music performance", Psychol. Bull. 129(5),
  table 7: anger fast, loud, high and wide pitch, much high-frequency energy; fear fast, high pitch of narrow range,
  little high-frequency energy; happiness fast, fairly loud, high and wide pitch; sadness and tenderness (here: calm)
  slow, soft, low and narrow pitch, little high-frequency energy;
- Pell et al. 2009, "Factors in the recognition of vocally expressed emotions", J. Phonetics 37(4), for the two that
  those reviews lack: surprise has the highest and widest pitch, disgust a low pitch and the slowest rate.

Sizes are ours: chosen inside the published spread so that speech stays intelligible. Everything here is audible: the
class and the strength are functions of the six settings, so that nothing that the speech does not carry enters the
code (`audible_class`, `audible_strength`).
"""

from dataclasses import dataclass

import numpy as np

from deeptalk.emotions import EMOTIONS

SETTINGS: tuple[str, ...] = ("pitch", "pitch_range", "rate", "level", "breath", "tilt")
"""Pitch in semitones, range and rate in octaves of a factor, level and breath in dB, tilt in dB per octave."""

CLASS_SETTINGS = np.array(
    [  # pitch  range  rate  level breath  tilt
        [0.0, 0.00, 0.00, 0.0, 0.0, 0.0],  # neutral
        [-1.8, -0.45, -0.20, -4.0, 5.0, -1.0],  # calm
        [3.6, 0.70, 0.12, 2.5, 0.0, 0.6],  # happy
        [-2.2, -0.75, -0.32, -6.0, 6.0, -1.5],  # sad
        [2.2, 0.55, 0.14, 6.0, -4.0, 1.8],  # angry
        [4.2, -0.30, 0.24, -2.0, 4.0, -0.4],  # fearful
        [-2.6, 0.10, -0.26, 0.5, 2.0, 0.9],  # disgusted
        [6.2, 1.00, 0.02, 2.0, 1.0, 0.3],  # surprised
    ]
)
"""Mean settings of the eight audible classes at gain 1, rows in the order of `EMOTIONS`."""

SETTING_SPREAD = np.array([0.9, 0.16, 0.06, 1.2, 1.5, 0.4])
"""Standard deviation of each setting within a class."""

WEAKEST_GAIN, STRONGEST_GAIN = 0.6, 1.3
"""Class means are multiplied by a gain in this range; strength 0..1 is the place in it."""


@dataclass(frozen=True)
class AffectCode:
    """How a voice sounds: an audible class and the settings that realise it."""

    sound_class: int
    """Index in `EMOTIONS` of the vocal emotion it sounds most like; the acted emotion is drawn given it."""
    strength: float
    """0..1, how far the settings go in the direction of the class; 0 for the neutral class."""
    pitch_semitones: float
    """Mean F0 relative to the voice's own."""
    pitch_range_factor: float
    """Factor on the excursions of log F0 around its mean."""
    rate_factor: float
    """Speaking rate relative to the voice's own; above 1 is faster."""
    level_decibels: float
    breath_decibels: float
    """Noise in voiced sounds."""
    tilt_decibels_per_octave: float
    """Added spectral tilt; positive is brighter, as in a pressed, loud voice."""

    @property
    def class_name(self) -> str:
        """Name of the audible class."""
        return EMOTIONS[self.sound_class]

    def settings(self) -> np.ndarray:
        """The settings as a vector in the order and units of `SETTINGS`."""
        return np.array(
            [
                self.pitch_semitones,
                np.log2(self.pitch_range_factor),
                np.log2(self.rate_factor),
                self.level_decibels,
                self.breath_decibels,
                self.tilt_decibels_per_octave,
            ]
        )


def _distances(settings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in spreads to every class's line of means, and the gain at the nearest point of each line."""
    scaled, means = settings / SETTING_SPREAD, CLASS_SETTINGS / SETTING_SPREAD
    energy = np.maximum((means**2).sum(1), 1e-9)
    gains = np.clip(means @ scaled / energy, WEAKEST_GAIN, STRONGEST_GAIN)
    return np.linalg.norm(scaled - gains[:, None] * means, axis=1), gains


def audible_class(settings: np.ndarray) -> int:
    """The class whose line of means passes nearest to the settings (setting,)."""
    return int(_distances(settings)[0].argmin())


def audible_strength(settings: np.ndarray) -> float:
    """0..1: the place along the line of the audible class; 0 for neutral, which has no direction."""
    distances, gains = _distances(settings)
    nearest = int(distances.argmin())
    if nearest == 0:
        return 0.0
    return float((gains[nearest] - WEAKEST_GAIN) / (STRONGEST_GAIN - WEAKEST_GAIN))


def affect_from_settings(settings: np.ndarray) -> AffectCode:
    """The code of given settings (setting,): class and strength follow from them."""
    pitch, pitch_range, rate, level, breath, tilt = (float(value) for value in settings)
    return AffectCode(
        sound_class=audible_class(settings),
        strength=audible_strength(settings),
        pitch_semitones=pitch,
        pitch_range_factor=2.0**pitch_range,
        rate_factor=2.0**rate,
        level_decibels=level,
        breath_decibels=breath,
        tilt_decibels_per_octave=tilt,
    )


def draw_affect(sound_class: int, generator: np.random.Generator) -> AffectCode:
    """Draw the settings of an audible class.

    Settings that sound more like another class are drawn again, so that the class is audible by construction.
    """
    while True:
        gain = generator.uniform(WEAKEST_GAIN, STRONGEST_GAIN)
        settings = gain * CLASS_SETTINGS[sound_class] + SETTING_SPREAD * generator.standard_normal(len(SETTINGS))
        if audible_class(settings) == sound_class:
            return affect_from_settings(settings)
