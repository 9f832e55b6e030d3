"""Everything of the distribution that is not a formula, in one place, and its three variants."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deeptalk.corpus.performer.distribution import CONFUSION, Truth
from deeptalk.corpus.performer.emotion import ActingParameters
from deeptalk.corpus.performer.facs import ACTION_UNITS
from deeptalk.corpus.performer.mouth import MouthParameters
from deeptalk.corpus.performer.readings import READINGS, Reading
from deeptalk.corpus.performer.style import TIMING_NAMES, StyleParameters
from deeptalk.emotions import EMOTIONS


@dataclass(frozen=True, eq=False)
class Parameters:
    """A performer but for its formulas and its rig."""

    name: str = "standard"
    """Beginning of the version."""
    truth: Truth = field(default_factory=Truth)
    mouth: MouthParameters = field(default_factory=MouthParameters)
    acting: ActingParameters = field(default_factory=ActingParameters)
    style: StyleParameters = field(default_factory=StyleParameters)


def one_reading() -> Parameters:
    """The control: motion is a function of the speech.

    The acted emotion is the audible one, its intensity the mean, its reading the likeliest, and actor and timing are
    the average ones, so a probabilistic model can gain nothing over a deterministic one.
    """
    likeliest = [max((r for r in READINGS if r.emotion == name), key=_probability) for name in EMOTIONS]
    standard = StyleParameters()
    middles: dict[str, Any] = {
        name: (sum(limits) / 2,) * 2 for name in TIMING_NAMES for limits in [getattr(standard, name)]
    }
    emphasis = sum(standard.emphasis_range) / 2
    return Parameters(
        name="one_reading",
        truth=Truth(
            confusion=np.eye(len(CONFUSION)),
            intensity_concentration=np.inf,
            readings=tuple(replace(reading, weak=1.0, strong=1.0) for reading in likeliest),
        ),
        style=replace(
            standard,
            log_gain_spread=(0.0, 0.0, 0.0),
            emphasis_range=(emphasis, emphasis),
            asymmetry_spread=0.0,
            log_unit_gain_spread=0.0,
            largest_wander_phase=0.0,
            **middles,
        ),
    )


def _probability(reading: Reading) -> float:
    """P(reading | emotion), at the middle of the intensities."""
    return reading.weak + reading.strong


JUDGE_UNIT_FACTORS: dict[str, float] = dict(
    AU1=0.85, AU2=1.10, AU4=0.85, AU5=1.10, AU6=0.80, AU7=1.15, AU9=0.85, AU10=1.15, AU12=0.85, AU14=1.20, AU15=0.80,
    AU16=1.20, AU17=1.20, AU20=0.85, AU22=1.20, AU24=0.85, AU26=1.20, AU29=0.70,
)  # fmt: skip
"""Sizes of the action units in the judges' variant, relative to the standard ones; 1 where not named."""


def judge() -> Parameters:
    """A performer of the same choices with another hand, for training judges.

    Emotions, intensities, readings and their probabilities are the standard ones; action units have other sizes, the
    mouth other time constants and openings, styles and timing other spreads. A judge trained here cannot reward a model
    for the standard performer's mannerisms.
    """
    units = {
        name: {channel: gain * JUDGE_UNIT_FACTORS.get(name, 1.0) for channel, gain in channels.items()}
        for name, channels in ACTION_UNITS.items()
    }
    return Parameters(
        name="judge",
        mouth=MouthParameters(
            jaw_seconds=0.044,
            lip_seconds=0.034,
            diphthong_part=0.48,
            opening_per_decibel=0.015,
            level_gain_range=(0.75, 1.30),
            undershoot=0.65,
            undershoot_seconds=0.08,
            stress_gains=(0.82, 1.15, 0.95),
            rest_seconds=0.22,
        ),
        acting=ActingParameters(
            action_units=units,
            least_amplitude=0.70,
            stress_seconds=0.12,
            brow_beat=0.34,
            wander_hertz=(0.23, 0.61, 1.07),
            wander_size=0.045,
            speaking_share=0.62,
            speaking_jaw_share=0.30,
            rounded_share=0.70,
        ),
        style=StyleParameters(
            log_gain_spread=(0.18, 0.16, 0.14),
            emphasis_range=(0.02, 0.45),
            asymmetry_spread=0.10,
            onset_seconds=(-0.35, 0.25),
            rise_seconds=(0.15, 0.75),
            offset_seconds=(-0.45, 0.25),
            fall_seconds=(0.25, 1.00),
            anticipation=(0.20, 0.70),
            residue=(0.40, 0.95),
            mouth_delay_seconds=(-0.04, 0.12),
            log_unit_gain_spread=0.15,
        ),
    )


VARIANTS = {"standard": Parameters, "one_reading": one_reading, "judge": judge}
"""Performers by name."""
