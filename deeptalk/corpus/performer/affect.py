"""The audible affect code: which settings of a voice go with which vocal emotion.

Directions of the settings follow published measurements of vocal emotion:

- Banse and Scherer 1996, "Acoustic profiles in vocal emotion expression", J. Pers. Soc. Psychol. 70(3), tables 6, 7: an
  emotion has quiet and loud members whose voices differ more than emotions do (cold and hot anger, anxiety and panic,
  sadness and despair, happiness and elation). So a class is a line from a weak to a strong member;
- Juslin and Laukka 2003, "Communication of emotions in vocal expression and music performance", Psychol. Bull. 129(5):
  anger loud, high, wide, bright, varied in level; fear high and narrow, soft except in panic, irregular, rising;
  happiness fairly loud, high, wide, bright, rising; sadness and tenderness (here: calm) slow, soft, narrow, dark,
  sadness irregular, tenderness regular;
- Scherer 2003, "Vocal communication of emotion", Speech Communication 40, for the same in one table; Pell et al. 2009,
  "Factors in the recognition of vocally expressed emotions", J. Phonetics 37(4), for the two that the reviews lack:
  surprise has the highest and widest pitch, and it rises; disgust a low pitch and the slowest rate;
- Tartter 1980, "Happy talk", Perception and Psychophysics 27(1): a smile raises the formants;
- Traunmueller and Eriksson 2000, "Acoustic effects of variation in vocal effort", J. Acoust. Soc. Am. 107(6): effort
  raises level, pitch and the share of high frequencies together, within an emotion too.

The sizes are ours. They were set while looking at what people do: at the means of RAVDESS's actors 01 to 14 relative to
their neutral clips (docs/transfer.md); strong anger is slower there than neutral, against the publications, and is here
too. Everything in the code is audible: class and strength are functions of the settings, so that nothing that the
speech does not carry enters it (`audible_class`, `audible_strength`).
"""

from dataclasses import dataclass

import numpy as np

from deeptalk.emotions import EMOTIONS

SETTINGS: tuple[str, ...] = (
    *("pitch", "pitch_range", "rate", "level", "breath", "tilt"),
    *("contour", "irregularity", "dynamics", "formants"),
)
"""Pitch, contour, irregularity in semitones; range, rate, dynamics, formants in octaves of a factor; level, breath in
dB; tilt in dB per octave."""

WEAK_SETTINGS = np.array(
    [  # pitch  range  rate level breath tilt contour irreg. dyn. formants
        [0.0, 0.00, 0.00, 0.0, 0.0, 0.0, 0.0, 0.00, 0.0, 0.000],  # neutral
        [-0.5, -0.25, -0.12, -2.0, 2.0, -0.7, 0.5, 0.00, -0.1, 0.000],  # calm
        [2.0, 0.20, -0.05, 5.0, 0.0, 0.8, 2.0, 0.35, 0.1, 0.055],  # happy
        [0.3, -0.50, -0.05, -2.0, 2.0, -0.9, 1.5, 0.30, -0.1, -0.015],  # sad
        [2.0, 0.25, -0.15, 8.0, -3.0, 1.3, 2.0, 0.40, 0.2, 0.000],  # angry: cold anger
        [3.2, -0.30, 0.05, 4.5, 2.0, 0.1, 3.5, 0.65, 0.0, 0.000],  # fearful: anxiety
        [-0.3, 0.10, -0.15, 0.8, 1.0, 0.0, 1.5, 0.40, 0.1, -0.015],  # disgusted
        [4.5, 0.85, 0.00, 5.0, 1.0, 0.5, 11.0, 0.60, 0.0, 0.015],  # surprised
    ]
)
"""Mean settings of the weak member of each audible class, rows in the order of `EMOTIONS`; neutral is the origin."""

STRONG_SETTINGS = np.array(
    [
        [0.0, 0.00, 0.00, 0.0, 0.0, 0.0, 0.0, 0.00, 0.0, 0.000],  # neutral
        [-0.7, -0.40, -0.20, -3.2, 3.0, -1.2, 0.5, 0.00, -0.1, 0.000],  # calm
        [10.0, 0.30, -0.10, 15.0, -1.0, 2.6, 3.0, 0.50, 0.2, 0.070],  # happy: elation
        [6.0, -0.10, -0.10, 5.0, 2.0, 0.6, 2.0, 0.65, 0.1, 0.000],  # sad: despair
        [12.0, 0.40, -0.25, 22.0, -4.0, 4.2, 4.5, 0.55, 0.4, 0.015],  # angry: hot anger
        [13.0, -0.20, -0.05, 18.0, 0.0, 3.2, 5.0, 0.85, 0.2, 0.015],  # fearful: panic
        [3.0, 0.20, -0.30, 7.0, 1.0, 0.8, 2.5, 0.55, 0.2, -0.015],  # disgusted
        [7.5, 1.00, 0.00, 10.5, 0.0, 1.3, 11.0, 0.70, 0.1, 0.030],  # surprised
    ]
)
"""The same of its strong member."""

SETTING_SPREAD = np.array([1.5, 0.35, 0.12, 2.0, 2.5, 0.7, 3.0, 0.15, 0.2, 0.03])
"""Standard deviation of each setting around the line of its class, for speech of the same vocal effort."""

EFFORT = np.array([1.2, 0.0, 0.0, 2.5, -0.5, 0.5, 0.0, 0.0, 0.05, 0.015])
"""What one standard deviation of vocal effort adds."""

CLASS_SPREAD = np.array([0.5, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
"""Factor on both for each class: people differ less in how they speak without emotion."""

WEAKEST_PLACE, STRONGEST_PLACE = -0.2, 1.2
"""Places on the line that are drawn: 0 is the weak member, 1 the strong one; strength is the place, from 0 to 1."""

IRREGULARITY = SETTINGS.index("irregularity")


@dataclass(frozen=True)
class AffectCode:
    """How a voice sounds: an audible class and the settings that realise it."""

    sound_class: int
    """Index in `EMOTIONS` of the vocal emotion it sounds most like; the acted emotion is drawn given it."""
    strength: float
    """0..1, how far the settings go from the weak to the strong member of the class; 0 for the neutral class."""
    pitch_semitones: float
    """Mean F0 relative to the voice's own."""
    pitch_range_factor: float
    """Factor on the excursions of log F0 around its mean."""
    rate_factor: float
    """Speaking rate relative to the voice's own; above 1 is faster."""
    level_decibels: float
    """Level relative to the voice's neutral speech."""
    breath_decibels: float
    """Noise in voiced sounds."""
    tilt_decibels_per_octave: float
    """Added spectral tilt from 100 Hz to 6 kHz; positive is brighter, as in a pressed, loud voice."""
    contour_semitones: float = 0.0
    """How far F0 rises along a straight line from the first to the last voiced sound, on top of the voice's own."""
    irregularity_semitones: float = 0.0
    """Standard deviation of random movements of F0, half of them from one 12 ms frame to the next, half within about a
    tenth of a second (jitter and tremor); level moves with it by 2 dB for each semitone."""
    dynamics_factor: float = 1.0
    """Factor on the excursions of the level in dB around its mean over the voiced sounds."""
    formant_factor: float = 1.0
    """Factor on formant frequencies; above 1 is a smile."""

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
                self.contour_semitones,
                self.irregularity_semitones,
                np.log2(self.dynamics_factor),
                np.log2(self.formant_factor),
            ]
        )


def _whitened(settings: np.ndarray) -> np.ndarray:
    """Settings (..., setting) in coordinates in which they vary by 1 around a class's line in every direction."""
    covariance = np.diag(SETTING_SPREAD**2) + np.outer(EFFORT, EFFORT)
    return np.linalg.solve(np.linalg.cholesky(covariance), np.asarray(settings).T).T


def _lines(settings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each class: twice the negative log density (up to a constant) at the nearest place of its line, the place."""
    point, weak, strong = (_whitened(values) for values in (settings, WEAK_SETTINGS, STRONG_SETTINGS))
    along = strong - weak
    length = np.maximum((along**2).sum(1), 1e-9)
    places = np.clip(((point - weak) * along).sum(1) / length, WEAKEST_PLACE, STRONGEST_PLACE)
    squared = ((point - weak - places[:, None] * along) ** 2).sum(1)
    return squared / CLASS_SPREAD**2 + 2 * len(SETTINGS) * np.log(CLASS_SPREAD), places


def audible_class(settings: np.ndarray) -> int:
    """The class that has settings (setting,) like these most often, at whatever strength suits it best."""
    return int(_lines(settings)[0].argmin())


def audible_strength(settings: np.ndarray) -> float:
    """0..1: the place along the line of the audible class; 0 for neutral, which has no direction."""
    surprise, places = _lines(settings)
    nearest = int(surprise.argmin())
    if nearest == 0:
        return 0.0
    return float((places[nearest] - WEAKEST_PLACE) / (STRONGEST_PLACE - WEAKEST_PLACE))


def affect_from_settings(settings: np.ndarray) -> AffectCode:
    """The code of given settings (setting,): class and strength follow from them."""
    values = [float(value) for value in settings]
    pitch, pitch_range, rate, level, breath, tilt, contour, irregularity, dynamics, formants = values
    return AffectCode(
        sound_class=audible_class(settings),
        strength=audible_strength(settings),
        pitch_semitones=pitch,
        pitch_range_factor=2.0**pitch_range,
        rate_factor=2.0**rate,
        level_decibels=level,
        breath_decibels=breath,
        tilt_decibels_per_octave=tilt,
        contour_semitones=contour,
        irregularity_semitones=irregularity,
        dynamics_factor=2.0**dynamics,
        formant_factor=2.0**formants,
    )


def draw_affect(sound_class: int, generator: np.random.Generator) -> AffectCode:
    """Draw the settings of an audible class: a place on its line, then the spread around it.

    Settings that sound more like another class are drawn again, so that the class is audible by construction.
    """
    while True:
        place = generator.uniform(WEAKEST_PLACE, STRONGEST_PLACE)
        settings = (1.0 - place) * WEAK_SETTINGS[sound_class] + place * STRONG_SETTINGS[sound_class]
        around = SETTING_SPREAD * generator.standard_normal(len(SETTINGS)) + EFFORT * generator.standard_normal()
        settings = settings + CLASS_SPREAD[sound_class] * around
        settings[IRREGULARITY] = max(settings[IRREGULARITY], 0.0)
        if audible_class(settings) == sound_class:
            return affect_from_settings(settings)
