"""The performer: draws facial performances of a piece of speech from a known distribution.

Causal order: audible affect code a -> speech (text, voice, a) ; a -> emotion -> intensity -> reading ; then the actor's
style and the timing. The motion is a function of the speech's phones and loudness and of those choices.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from deeptalk.corpus.performer import lips
from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.distribution import NEUTRAL, Choice, draw_class
from deeptalk.corpus.performer.emotion import emotion_pose
from deeptalk.corpus.performer.event import SpeechEvent
from deeptalk.corpus.performer.facs import UNITS
from deeptalk.corpus.performer.frames import FRAME_RATE, frames_from_control
from deeptalk.corpus.performer.life import add_life
from deeptalk.corpus.performer.mouth import MouthCurves, control_points, mouth_curves
from deeptalk.corpus.performer.parameters import VARIANTS, Parameters
from deeptalk.corpus.performer.performance import Performance
from deeptalk.corpus.performer.style import Style, Timing
from deeptalk.corpus.performer.version import version_of
from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, LinearRig, load_rig

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
LARGEST_LIFE_SEED = 2**31


@dataclass(frozen=True)
class Acting:
    """All that is drawn for one performance; with the speech it decides the motion."""

    choice: Choice
    style: Style
    timing: Timing
    life_seed: int
    """Of blinks and gaze, which nothing else depends on."""


class Performer:
    """Draws performances; all its randomness comes from the seed and the speech it is given."""

    def __init__(self, rig: LinearRig, parameters: Parameters | None = None) -> None:
        """Perform on an ARKit rig; raises UserError for another one."""
        if tuple(rig.channels) != CHANNELS:
            raise UserError(f"The performer acts on the 52 ARKit channels; rig {rig.name!r} has others.")
        self.rig = rig
        self.parameters = parameters or Parameters()

    @classmethod
    def variant(cls, name: str, rig: LinearRig | None = None) -> "Performer":
        """A performer by name: `standard`, `one_reading` (the control: no choice left open) or `judge` (other sizes).

        `rig` is the built-in head unless given. Raises UserError for an unknown name.
        """
        if name not in VARIANTS:
            raise UserError(f"There is no performer {name!r}; the performers are: {', '.join(VARIANTS)}.")
        return cls(rig or load_rig("arkit"), VARIANTS[name]())

    @functools.cached_property
    def version(self) -> str:
        """Name of the variant and a hash of its parameters, of the code that draws, and of the rig.

        Equal versions draw equal performances of equal speech.
        """
        return version_of(self.parameters, self.rig)

    def performances(
        self,
        event: SpeechEvent,
        k: int,
        given: Given = "speech",
        seed: int = 0,
        like: Performance | None = None,
        class_prior: Sequence[float] | Literal["uniform"] | None = None,
        label: tuple[int, float] | None = None,
    ) -> list[Performance]:
        """Draw `k` performances of one piece of speech; performance i depends on (event, seed, i), not on `k`.

        Args:
            event: the speech. Where its affect is unknown (real speech), `class_prior` or `label` must be given.
            k: how many.
            given: "speech" draws everything that is inaudible again; "speech+label+speaker" keeps emotion, intensity
                and style of `like` and draws reading and timing again.
            seed: any integer from 0.
            like: the performance whose label and actor are kept.
            class_prior: for speech of unknown affect, probabilities (8,) of the audible class, or "uniform"; the
                strength is then uniform in 0..1. Refused where the affect is known.
            label: for speech of unknown affect whose emotion was labelled: index of the acted emotion, and its
                intensity 0..1; style, reading and timing are drawn.

        Raises UserError where the arguments contradict each other.
        """
        mouth = mouth_curves(event, self.parameters.mouth)
        drawn = self.draw(event, k, given, seed, like, class_prior, label)
        return [self.perform(event, acting, mouth) for acting in drawn]

    def draw(
        self,
        event: SpeechEvent,
        k: int,
        given: Given = "speech",
        seed: int = 0,
        like: Performance | None = None,
        class_prior: Sequence[float] | Literal["uniform"] | None = None,
        label: tuple[int, float] | None = None,
    ) -> list[Acting]:
        """What `performances` acts, with the same arguments: the draws without their motion."""
        _check_request(event, k, given, like, class_prior, label)
        key = int.from_bytes(hashlib.sha256(np.ascontiguousarray(event.samples).tobytes()).digest()[:8], "little")
        truth, styles = self.parameters.truth, self.parameters.style
        drawn = []
        for index in range(k):
            generator = np.random.default_rng([key, seed, index, int(given != "speech")])
            told = label or (like and (like.emotion, like.intensity))
            if told:
                choice = Choice(*told, truth.draw_reading(*told, generator))
            else:
                choice = truth.draw_choice(event.affect or _affect_from_prior(class_prior, generator), generator)
            style = Style(**like.style) if like else styles.draw_style(generator)
            timing = styles.draw_timing(generator, len(UNITS))
            drawn.append(Acting(choice, style, timing, int(generator.integers(LARGEST_LIFE_SEED))))
        return drawn

    def perform(self, event: SpeechEvent, acting: Acting, mouth: MouthCurves | None = None) -> Performance:
        """The performance of given draws: deterministic. `mouth` saves articulating the same speech again."""
        pose, closure_points = self._pose(event, acting, mouth)
        motion = frames_from_control(pose, closure_points, len(event.samples))
        add_life(motion, FRAME_RATE, acting.life_seed, event.samples, self.rig)
        return Performance(
            motion=motion,
            emotion=acting.choice.emotion,
            intensity=acting.choice.intensity,
            reading=acting.choice.reading.name,
            style=acting.style.as_dict(),
        )

    def control_motion(self, event: SpeechEvent, acting: Acting) -> np.ndarray:
        """The motion before it is sampled at 25 Hz: float32 (control, channel), control point i at i / 100 s.

        It has the lids and the gaze of the reading, but no blinks.
        """
        return self._pose(event, acting, None)[0].astype(np.float32)

    def _pose(self, event: SpeechEvent, acting: Acting, mouth: MouthCurves | None) -> tuple[np.ndarray, np.ndarray]:
        """Pose (control, channel) with contacts, and the control points in the middle of closures."""
        mouth = mouth or mouth_curves(event, self.parameters.mouth)
        articulation = mouth.pose.copy()
        articulation[:, _ARTICULATED] *= acting.style.articulation_gain
        emotion = emotion_pose(acting.choice, acting.style, acting.timing, event, mouth, self.parameters.acting)
        pose = soft_limit(articulation + emotion, CHANNEL_LIMIT)
        pose[:, _SMILE] = soft_limit(pose[:, _SMILE], SMILE_LIMIT)
        wanted = lips.contacts(event.phones, control_points(event))
        return np.clip(lips.touch(pose, wanted, self.rig), 0.0, 1.0), wanted.closure_points

    def describe(self) -> dict[str, Any]:
        """The distribution as tables: version, P(e | a), intensity, readings with P(r | e, intensity) and units."""
        truth = self.parameters.truth
        return {
            "version": self.version,
            "emotions": list(EMOTIONS),
            "emotion_given_audible_class": np.asarray(truth.confusion).tolist(),
            "mean_intensity": {
                "at_strength_0": truth.least_mean_intensity,
                "per_strength": truth.intensity_per_strength,
                "concentration": truth.intensity_concentration,
            },
            "readings": [asdict(reading) for reading in truth.readings],
        }

    def conditional_entropy(self, affect: AffectCode) -> float:
        """H(emotion, reading | affect) in nats, exact from the tables."""
        return self.parameters.truth.conditional_entropy(affect)


def _check_request(
    event: SpeechEvent, k: int, given: str, like: Performance | None, class_prior: Any, label: tuple[int, float] | None
) -> None:
    """Raise UserError where the arguments of `Performer.draw` contradict each other."""
    if given not in ("speech", "speech+label+speaker"):
        raise UserError(f"given={given!r} is unknown; expected 'speech' or 'speech+label+speaker'.")
    if k < 1:
        raise UserError(f"k={k}: ask for at least one performance.")
    if (like is not None) != (given == "speech+label+speaker"):
        raise UserError(
            f"given={given!r} with like={'a performance' if like else None}: 'speech+label+speaker' needs the "
            "performance whose emotion, intensity and style are kept as `like`, 'speech' takes none."
        )
    if label is not None and not (label[0] in range(len(EMOTIONS)) and 0.0 <= label[1] <= 1.0):
        raise UserError(f"label={label}; expected the index of an emotion, 0 to 7, and an intensity from 0 to 1.")
    sources = [source for source in (event.affect, class_prior, label) if source is not None]
    if len(sources) != 1 if like is None else class_prior is not None or label is not None:
        raise UserError(
            f"Speech {event.text!r} has {'no' if event.affect is None else 'a known'} affect code, class_prior="
            f"{class_prior!r} and label={label!r}: give class_prior (8 probabilities or 'uniform') or label exactly "
            "where the affect is unknown and no performance is given as `like`."
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
    sound_class = draw_class(probabilities, generator)
    strength = 0.0 if sound_class == NEUTRAL else generator.random()
    return AffectCode(sound_class, strength, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)
