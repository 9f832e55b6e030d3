"""The performer: draws facial performances of a piece of speech from a known distribution.

Causal order: audible affect code a -> speech (text, voice, a) ; a -> emotion -> intensity -> reading ; then the actor's
style and the timing. The motion is a function of the speech's phones and loudness and of those choices.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from deeptalk.corpus.performer import distribution, lips, style
from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.distribution import Choice
from deeptalk.corpus.performer.emotion import emotion_pose
from deeptalk.corpus.performer.event import SpeechEvent
from deeptalk.corpus.performer.facs import UNITS
from deeptalk.corpus.performer.frames import frames_from_control
from deeptalk.corpus.performer.mouth import MouthCurves, control_points, mouth_curves
from deeptalk.corpus.performer.performance import Performance
from deeptalk.corpus.performer.readings import READINGS, Reading
from deeptalk.corpus.performer.version import version_of
from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, LinearRig

Given = Literal["speech", "speech+label+speaker"]

_SMILE = list(channel_indices("mouthSmile"))
_ARTICULATED = [
    index
    for name in ("jawOpen", "mouthLowerDown", "mouthFunnel", "mouthPucker", "mouthStretch")
    for index in channel_indices(name)
]
SMILE_LIMIT, CHANNEL_LIMIT = 0.8, 1.0
KNEE = 0.75
"""Share of a limit above which values are bent."""


class Performer:
    """Draws performances; all its randomness comes from the seed and the speech it is given."""

    def __init__(self, rig: LinearRig, readings: tuple[Reading, ...] = READINGS) -> None:
        """Perform on an ARKit rig, with a repertoire of readings.

        Raises UserError for another rig, and for a repertoire that lacks an emotion or whose probabilities do not sum
        to 1.
        """
        if tuple(rig.channels) != CHANNELS:
            raise UserError(f"The performer acts on the 52 ARKit channels; rig {rig.name!r} has others.")
        _check(readings)
        self.rig = rig
        self.readings = readings

    @property
    def version(self) -> str:
        """Version of the code, and hash of all tables and constants, the readings and the rig.

        Equal versions draw equal performances of equal speech, as long as whoever changes formulas raises
        `version.CODE_VERSION`.
        """
        return version_of(self.rig, self.readings, (SMILE_LIMIT, CHANNEL_LIMIT, KNEE))

    def performances(
        self,
        event: SpeechEvent,
        k: int,
        given: Given = "speech",
        seed: int = 0,
        like: Performance | None = None,
        class_prior: Sequence[float] | Literal["uniform"] | None = None,
    ) -> list[Performance]:
        """Draw `k` performances of one piece of speech; performance i depends on (event, seed, i), not on `k`.

        Args:
            event: the speech. Where its affect is unknown (real speech), `class_prior` must be given.
            k: how many.
            given: "speech" draws everything that is inaudible again; "speech+label+speaker" keeps emotion, intensity
                and style of `like` and draws reading and timing again.
            seed: any integer from 0.
            like: the performance whose label and actor are kept.
            class_prior: for speech of unknown affect, probabilities (8,) of the audible class, or "uniform"; the
                strength is then uniform in 0..1. Refused where the affect is known.

        Raises UserError where the arguments contradict each other.
        """
        self._check_request(event, k, given, like, class_prior)
        mouth = mouth_curves(event)
        key = int.from_bytes(hashlib.sha256(np.ascontiguousarray(event.samples).tobytes()).digest()[:8], "little")
        drawn = []
        for index in range(k):
            generator = np.random.default_rng([key, seed, index, int(given != "speech")])
            if like is None:
                affect = event.affect or _affect_from_prior(class_prior, generator)
                choice = distribution.draw_choice(affect, generator, self.readings)
                actor = style.draw_style(generator)
            else:
                reading = distribution.draw_reading(like.emotion, like.intensity, generator, self.readings)
                choice = Choice(like.emotion, like.intensity, reading)
                actor = style.Style(**like.style)
            drawn.append(self.perform(event, choice, actor, style.draw_timing(generator, len(UNITS)), mouth))
        return drawn

    def perform(
        self,
        event: SpeechEvent,
        choice: Choice,
        actor: style.Style,
        timing: style.Timing,
        mouth: MouthCurves | None = None,
    ) -> Performance:
        """The performance of given choices: deterministic. `mouth` saves articulating the same speech again."""
        mouth = mouth or mouth_curves(event)
        times = control_points(event)
        articulation = mouth.pose.copy()
        articulation[:, _ARTICULATED] *= actor.articulation_gain
        acted = emotion_pose(choice, actor, timing, event.phones, mouth, times)
        pose = soft_limit(articulation + acted, CHANNEL_LIMIT)
        pose[:, _SMILE] = soft_limit(pose[:, _SMILE], SMILE_LIMIT)
        wanted = lips.contacts(event.phones, times)
        pose = np.clip(lips.touch(pose, wanted, self.rig), 0.0, 1.0)
        return Performance(
            motion=frames_from_control(pose, wanted.closure_points, len(event.samples)),
            emotion=choice.emotion,
            intensity=choice.intensity,
            reading=choice.reading.name,
            style=actor.as_dict(),
        )

    def describe(self) -> dict[str, Any]:
        """The distribution as tables: version, P(e | a), intensity, readings with P(r | e, intensity) and units."""
        return {
            "version": self.version,
            "emotions": list(EMOTIONS),
            "emotion_given_audible_class": distribution.CONFUSION.tolist(),
            "mean_intensity": {
                "at_strength_0": distribution.LEAST_MEAN_INTENSITY,
                "per_strength": distribution.INTENSITY_PER_STRENGTH,
                "concentration": distribution.INTENSITY_CONCENTRATION,
            },
            "readings": [asdict(reading) for reading in self.readings],
        }

    def conditional_entropy(self, affect: AffectCode) -> float:
        """H(emotion, reading | affect) in nats, exact from the tables."""
        return distribution.conditional_entropy(affect, self.readings)

    @staticmethod
    def _check_request(event: SpeechEvent, k: int, given: str, like: Performance | None, class_prior: Any) -> None:
        if given not in ("speech", "speech+label+speaker"):
            raise UserError(f"given={given!r} is unknown; expected 'speech' or 'speech+label+speaker'.")
        if k < 1:
            raise UserError(f"k={k}: ask for at least one performance.")
        if (like is not None) != (given == "speech+label+speaker"):
            raise UserError(
                f"given={given!r} with like={'a performance' if like else None}: 'speech+label+speaker' needs the "
                "performance whose emotion, intensity and style are kept as `like`, 'speech' takes none."
            )
        if like is None and (event.affect is None) == (class_prior is None):
            raise UserError(
                f"Speech {event.text!r} has {'no' if event.affect is None else 'a known'} affect code and class_prior="
                f"{class_prior!r}: give class_prior (8 probabilities or 'uniform') exactly where the affect is unknown."
            )


def soft_limit(values: np.ndarray, limit: float, knee: float = KNEE) -> np.ndarray:
    """Values below `knee * limit` as they are; above, bent smoothly so that none reaches the limit."""
    start = knee * limit
    room = limit - start
    limited = values.copy()
    over = values > start
    limited[over] = start + room * np.tanh((values[over] - start) / room)
    return limited


def _affect_from_prior(class_prior: Sequence[float] | str | None, generator: np.random.Generator) -> AffectCode:
    """An affect code for speech of unknown affect: class from the prior, strength uniform, settings unknown."""
    if class_prior is None or isinstance(class_prior, str):
        if class_prior != "uniform":
            raise UserError(f"class_prior={class_prior!r}; expected 8 probabilities or 'uniform'.")
        class_prior = [1.0 / len(EMOTIONS)] * len(EMOTIONS)
    probabilities = np.asarray(class_prior, float)
    if probabilities.shape != (len(EMOTIONS),) or (probabilities < 0).any() or abs(probabilities.sum() - 1.0) > 1e-6:
        raise UserError(f"class_prior={list(class_prior)}; expected 8 probabilities that sum to 1.")
    sound_class = distribution.draw_class(probabilities, generator)
    strength = 0.0 if sound_class == distribution.NEUTRAL else generator.random()
    return AffectCode(sound_class, strength, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)


def _check(readings: tuple[Reading, ...]) -> None:
    for emotion in EMOTIONS:
        own = [reading for reading in readings if reading.emotion == emotion]
        for end in ("weak", "strong"):
            total = sum(getattr(reading, end) for reading in own)
            if abs(total - 1.0) > 1e-9:
                raise UserError(
                    f"Readings of {emotion!r} have probabilities that sum to {total:g} at {end}; expected 1."
                )
