"""What a user asks of the emotion of a take, in one form: labels, key points in time, references, and how much of them.

    happy                       one label
    happy:0.7,sad:0.3           a blend of labels, by weight
    happy@0,sad@4               key points: happy at the start, sad from second 4 on, moving in between
    happy@0,sad:1@end,calm:1@end    the last key point is a blend; `end` is the end of the speech

In Python the same as values: `"happy"`, `{"happy": 0.7, "sad": 0.3}`, `[(0, "happy"), (4, "sad")]`.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.arguments import Speech, as_waveform, number
from deeptalk.emotions import EMOTIONS, emotion_index
from deeptalk.errors import UserError
from deeptalk.export import read_live_link_csv
from deeptalk.speech import Waveform
from deeptalk.take import Take

Labels = str | Mapping[str, float | int]
"""One label, or several with weights above 0, of which only the ratio counts."""
Emotion = Labels | Sequence[Sequence[Any]]
"""Labels, or key points (seconds, labels) in rising order; seconds may be the word end. Or the text of the above."""
Reference = Speech | Take
"""Other speech, or a motion: a take, or a file with one (.npz, .json, .glb, .gltf, or a Live Link Face .csv)."""
References = Reference | Mapping[Any, float | int] | list[Any]
"""One reference, or several: with weights, or a list of equal ones."""

DEFAULT_INTENSITY = 0.5
LONGEST_SECONDS = 120.0
"""Longest reference: attention needs memory with the square of the length."""
SHORTEST_WINDOW_SECONDS = 1.0
"""DEE learns from windows of 1 second and more."""
TAKE_SUFFIXES = (".npz", ".json", ".glb", ".gltf")
END = "end"
_NOT_HEARD = (
    "{}, but another is asked for; leave one of them out, or give an emotion_weight below 1 to have some of both."
)
_ITEM = re.compile(r"\s*(?P<label>[^:@,]+?)\s*(?::\s*(?P<weight>[^:@,]*?)\s*)?(?:@\s*(?P<time>[^:@,]*?)\s*)?")


@dataclass(frozen=True)
class KeyPoint:
    """What to feel at one time."""

    seconds: float
    """From the start of the speech; infinity is its end."""
    labels: tuple[tuple[str, float], ...]
    """Label and weight, in the order of `EMOTIONS`."""
    intensity: float
    """0 (neutral) to 1 (strong), of every label."""


@dataclass(frozen=True, eq=False)
class ReferenceClip:
    """Speech or motion whose emotion is taken over."""

    content: Waveform | Take
    weight: float
    name: str | None
    """Name of its file."""

    @property
    def is_motion(self) -> bool:
        """Whether it is a motion, not speech."""
        return isinstance(self.content, Take)

    def recipe(self) -> dict[str, Any]:
        """Name, kind, weight, and the SHA-256 of the float32 motion, or of the samples at 16 kHz."""
        values = self.content.motion if isinstance(self.content, Take) else self.content.samples
        return {
            "name": self.name,
            "kind": "motion" if self.is_motion else "speech",
            "sha256": _sha256(values),
            "weight": self.weight,
        }


@dataclass(frozen=True, eq=False)
class EmotionRequest:
    """A checked request; made by `read_request`."""

    keys: tuple[KeyPoint, ...] = ()
    references: tuple[ReferenceClip, ...] = ()
    weight: float = 1.0
    """Of what is asked for; the rest is the speech's own emotion, which is all of it where nothing is."""
    window_seconds: float | None = None
    """Length of the windows in which the speech's own emotion is heard; None hears it as a whole."""
    speaker_reference: tuple[Waveform, ...] = ()
    """Plain speech of the same speaker, relative to which the speech's own emotion is heard."""

    def check_end(self, seconds: float, what: str) -> None:
        """Raise UserError for a key point beyond the end of speech that lasts this long."""
        late = [key.seconds for key in self.keys[:-1] if key.seconds >= seconds]
        late += [key.seconds for key in self.keys[-1:] if seconds < key.seconds < math.inf]
        if late:
            raise UserError(
                f"The emotion at {late[0]:g} s lies beyond the end of {what}, which lasts {seconds:.2f} s; "
                f"give an earlier time, or the word {END}."
            )

    def recipe(self) -> dict[str, Any]:
        """The arguments of `Talker.perform` that ask for the same, as JSON values; references by name and hash."""
        strengths = [key.intensity for key in self.keys]
        return {
            "emotion": self._recipe_emotion(),
            "intensity": None if not strengths else strengths[0] if len(set(strengths)) == 1 else strengths,
            "emotion_from": [reference.recipe() for reference in self.references] or None,
            "emotion_weight": self.weight,
            "emotion_windows": self.window_seconds,
            "speaker_reference": [
                {"name": _file_name(one), "sha256": _sha256(one.samples)} for one in self.speaker_reference
            ]
            or None,
        }

    def _recipe_emotion(self) -> Any:
        labels = [key.labels[0][0] if len(key.labels) == 1 else dict(key.labels) for key in self.keys]
        if len(labels) < 2:
            return labels[0] if labels else None
        return [[key.seconds if math.isfinite(key.seconds) else END, own] for key, own in zip(self.keys, labels)]


def _sha256(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def read_request(
    emotion: Emotion | None = None,
    intensity: float | int | str | Sequence[float | int] | None = None,
    emotion_from: References | None = None,
    emotion_weight: float | int = 1.0,
    emotion_windows: float | int | None = None,
    speaker_reference: Speech | list[Speech] | None = None,
) -> EmotionRequest:
    """The request that these arguments of `Talker.perform` make; files are read.

    Raises UserError for the first that makes no sense.
    """
    if emotion is not None and emotion_from is not None:
        raise UserError(
            "Both an emotion and a reference for it (emotion_from) are given; give one. To go only part of the way "
            "from the speech's own emotion, give emotion_weight."
        )
    keys = () if emotion is None else _key_points(emotion, intensity)
    if emotion is None and intensity is not None:
        raise UserError(f"intensity is {intensity} but no emotion is given; give an emotion, or leave intensity out.")
    references = () if emotion_from is None else _references(emotion_from)
    weight = number("emotion_weight", emotion_weight, "a number from 0 to 1", highest=1.0)
    if weight != 1 and not keys and not references:
        raise UserError(f"emotion_weight is {weight:g} but neither emotion nor emotion_from is given; give one.")
    window, own_is_heard = None, weight != 1 or not (keys or references)
    if emotion_windows is not None:
        window = number("emotion_windows", emotion_windows, "a number of seconds, 1 or more")
        if window < SHORTEST_WINDOW_SECONDS:
            raise UserError(f"emotion_windows is {window:g}; expected a number of seconds, 1 or more.")
        if not own_is_heard:
            raise UserError(_NOT_HEARD.format("emotion_windows hears the speech's own emotion"))
    speaker = () if speaker_reference is None else _speaker_reference(speaker_reference)
    if speaker and not own_is_heard:
        raise UserError(_NOT_HEARD.format("speaker_reference is for hearing the speech's own emotion"))
    return EmotionRequest(keys, references, weight, window, speaker)


def parse_references(words: Sequence[str]) -> dict[Any, float] | None:
    """Command line words PATH or PATH:WEIGHT as references; None where there are none."""
    given: dict[str, float] = {}
    for word in words:
        path, colon, tail = word.rpartition(":")
        if not colon or Path(word).exists() or not re.fullmatch(r"[-+0-9.eE]+", tail):
            path, tail = word, "1"
        if path in given:
            raise UserError(f"The reference {path} is given twice; give it once, with the weight it is to have.")
        given[path] = _weight(path, tail)
    return given or None


def _weight(what: str, value: Any) -> float:
    weight = number(f"The weight of {what}", value, "a number above 0")
    if weight == 0:
        raise UserError(f"The weight of {what} is 0; expected a number above 0. Leave it out instead.")
    return weight


def _references(given: References) -> tuple[ReferenceClip, ...]:
    pairs: list[tuple[Any, float]]
    if isinstance(given, Mapping):
        pairs = [(one, _weight(str(one), weight)) for one, weight in given.items()]
    else:
        pairs = [(one, 1.0) for one in (given if isinstance(given, list) else [given])]
    if not pairs:
        raise UserError("emotion_from is empty; give a recording or a motion, or leave it out.")
    clips = [ReferenceClip(_read_reference(one), weight, _file_name(one)) for one, weight in pairs]
    for clip in clips:
        if clip.content.seconds > LONGEST_SECONDS:
            raise UserError(
                f"{clip.name or 'A reference'} lasts {clip.content.seconds:.1f} s; up to {LONGEST_SECONDS:g} s can "
                "be heard or seen at once. Cut out the part that is meant."
            )
    return tuple(sorted(clips, key=lambda clip: str(clip.recipe()["sha256"])))  # sums do not depend on their order


def _speaker_reference(given: Speech | list[Speech]) -> tuple[Waveform, ...]:
    recordings = given if isinstance(given, list) else [given]
    if not recordings:
        raise UserError("speaker_reference is empty; give plain speech of the speaker, or leave it out.")
    try:
        read = [as_waveform(one) for one in recordings]
    except UserError as error:
        raise UserError(f"The speaker reference cannot be used. {error}") from error
    return tuple(sorted(read, key=lambda one: _sha256(one.samples)))


def _file_name(one: Any) -> str | None:
    path = one.path if isinstance(one, Waveform) else one
    return Path(path).name if isinstance(path, str | Path) else None


def _read_reference(one: Any) -> Waveform | Take:
    if isinstance(one, Take):
        return one
    if isinstance(one, str | Path) and Path(one).suffix.lower() in TAKE_SUFFIXES:
        return Take.load(one)
    if isinstance(one, str | Path) and Path(one).suffix.lower() == ".csv":
        recording = read_live_link_csv(one)
        return Take(recording.motion, "arkit", recording.frame_rate)
    if isinstance(one, str | Path | Waveform | tuple):
        return as_waveform(one)
    raise UserError(
        f"emotion_from holds {type(one).__name__}; expected speech (a file, a Waveform, (samples, sample rate)) or a "
        f"motion (a Take, or a file: {', '.join(TAKE_SUFFIXES)}, .csv)."
    )


def _key_points(emotion: Emotion, intensity: Any) -> tuple[KeyPoint, ...]:
    if isinstance(emotion, str):
        emotion = _parse_emotion(emotion)
    if isinstance(emotion, str | Mapping):
        points: list[tuple[float, Any]] = [(0.0, emotion)]
    else:
        points = [_key_pair(point) for point in emotion]
    if not points:
        raise UserError("The emotion has no key points; give at least one, such as (0, 'happy').")
    for (earlier, _), (later, _) in itertools.pairwise(points):
        if not later > earlier:
            raise UserError(
                f"The emotion's times must rise: {_time_text(later)} comes after {_time_text(earlier)}. Put the key "
                "points in order, one a time."
            )
    strengths = _intensities(intensity, len(points))
    return tuple(KeyPoint(at, _labels(labels), own) for (at, labels), own in zip(points, strengths))


def _key_pair(point: Any) -> tuple[float, Any]:
    if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
        raise UserError(
            f"{point!r} is no key point; expected (seconds, label), such as (4, 'sad'). Intensities are given as "
            "intensity=[...], one a key point."
        )
    at, labels = point
    if at == END or (isinstance(at, float) and at == math.inf):
        return math.inf, labels
    return number("The time of a key point", at, f"seconds from the start of the speech, or the word {END}"), labels


def _time_text(seconds: float) -> str:
    return f"{seconds:g} s" if math.isfinite(seconds) else END


def _intensities(given: Any, count: int) -> list[float]:
    expected = "a number from 0 (neutral) to 1 (strong)"
    if isinstance(given, str) and "," in given:
        given = given.split(",")
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != count:
            raise UserError(
                f"There are {len(given)} intensities for {count} key point{'s' * (count > 1)} of the emotion; give one "
                "for all, or one each."
            )
        return [number("intensity", one, expected, highest=1.0) for one in given]
    return [number("intensity", DEFAULT_INTENSITY if given is None else given, expected, highest=1.0)] * count


def _labels(given: Any) -> tuple[tuple[str, float], ...]:
    if isinstance(given, str):
        given = _parse_emotion(given)
    if isinstance(given, str):
        return ((EMOTIONS[emotion_index(given)], 1.0),)
    if not isinstance(given, Mapping):
        raise UserError(f"An emotion is given as {given!r}; expected a label, or labels with weights.")
    weights: dict[str, float] = {}
    for name, weight in given.items():
        label = EMOTIONS[emotion_index(str(name))]
        if label in weights:
            raise UserError(f"{label!r} is given twice in one blend; give it once.")
        weights[label] = _weight(repr(label), weight)
    if len(weights) < 2:
        text = ", ".join(f"{label!r} alone" for label in weights) or "nothing"
        raise UserError(
            f"A blend takes two labels or more; {text} is given, where a weight says nothing. How strong one label is "
            "acted is its intensity."
        )
    return tuple(sorted(weights.items(), key=lambda item: EMOTIONS.index(item[0])))


def _parse_emotion(text: str) -> Emotion:
    """The text form as values: a label, a mapping, or key points; labels and numbers are not judged here."""
    items = [_ITEM.fullmatch(item) for item in text.split(",")]
    matches = [match for match in items if match]
    timed = [match["time"] is not None for match in matches]
    if len(matches) < len(items) or any(timed) != all(timed):
        raise UserError(
            f"The emotion {text!r} cannot be read; expected a label (happy), a blend (happy:0.7,sad:0.3), or "
            "labels with a time each (happy@0,sad@4)."
        )
    if not any(timed):
        return _group(matches, text)
    groups = itertools.groupby(matches, key=lambda match: match["time"].lower())
    return [(time, _group(list(group), text)) for time, group in groups]


def _group(matches: Sequence[re.Match[str]], text: str) -> Labels:
    if len(matches) == 1 and matches[0]["weight"] is None:
        return matches[0]["label"]
    names = [match["label"] for match in matches]
    if len(set(names)) < len(names):
        raise UserError(f"The emotion {text!r} names a label twice at one time; give it once.")
    pairs = [(match["label"], "1" if match["weight"] is None else match["weight"]) for match in matches]
    return {label: _weight(repr(label), weight) for label, weight in pairs}
