"""Faces of a corpus: the most acted frame of performances of every emotion, as small pictures."""

import io
import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deeptalk.corpus.format import Corpus
from deeptalk.corpus.inspect_counts import emotion_name
from deeptalk.errors import UserError
from deeptalk.face import BLINK_AND_GAZE, load_rig

A_ROW = 4
"""Faces of an emotion; three times as many where emotions are unknown."""
PICTURE_PIXELS = 220
CANDIDATES = 60
"""Performances of an emotion that are looked at to choose from."""


@dataclass(frozen=True)
class Face:
    """One frame to show."""

    group: str
    """Name of the emotion acted."""
    label: str
    """Reading, or the name of the performance, and when."""
    motion: np.ndarray
    """(channel,)."""


def chosen_faces(corpus: Corpus) -> list[Face]:
    """Four faces an emotion, of different readings or speakers where there are, of strong performances.

    Where the emotion is unknown, twelve of takes all over the corpus, several of a take where there are few.
    """
    by_emotion: dict[int, list[int]] = {}
    for place, emotion in enumerate(corpus.performances.column("emotion")):
        by_emotion.setdefault(emotion, []).append(place)
    unknown = by_emotion.pop(-1, [])
    faces = [
        face
        for emotion in sorted(by_emotion)
        for p in _varied(corpus, by_emotion[emotion])
        for face in _faces(corpus, p, 1)
    ]
    spread = unknown[:: max(1, -(-len(unknown) // (3 * A_ROW)))]
    return (
        faces + [face for place in spread for face in _faces(corpus, place, -(-3 * A_ROW // len(spread)))][: 3 * A_ROW]
    )


def _varied(corpus: Corpus, places: list[int]) -> list[int]:
    """Places of performances whose readings and speakers differ as far as possible, the strongest first."""
    step = max(1, len(places) // CANDIDATES)
    table = corpus.performances
    candidates = sorted(places[::step], key=lambda place: -table.column("intensity")[place])
    chosen: list[int] = []
    for key in (lambda p: table.column("reading")[p], lambda p: table.column("speaker")[p], lambda p: p):
        seen = {key(place) for place in chosen}
        for place in candidates:
            if len(chosen) < A_ROW and place not in chosen and key(place) and key(place) not in seen:
                seen.add(key(place))
                chosen.append(place)
    return chosen


def _faces(corpus: Corpus, place: int, count: int) -> list[Face]:
    """The most acted frame of each of `count` equal parts of a performance."""
    row, motion = corpus.performances[place], corpus.motion(place)
    what = row.reading.replace("_", " ") or row.performance_id.removeprefix(f"{row.speaker}/").removesuffix("/motion/0")
    edges = np.linspace(0, len(motion), min(count, len(motion)) + 1).astype(int)
    frames = [a + _most_acted(motion[a:b], corpus.channels) for a, b in itertools.pairwise(edges)]
    return [Face(emotion_name(row.emotion), f"{what}, {f / corpus.frame_rate:.1f} s", motion[f]) for f in frames]


def _most_acted(motion: Float[np.ndarray, "frame channel"], channels: tuple[str, ...]) -> int:
    """The frame whose channels other than opening, blinks and gaze go furthest."""
    shown = [place for place, name in enumerate(channels) if name not in (*BLINK_AND_GAZE, "jawOpen")]
    return int((motion[:, shown] ** 2).sum(axis=1).argmax())


def face_pictures(corpus: Corpus, faces: list[Face]) -> list[bytes]:
    """The faces as JPEG files; raises UserError where the extra `pictures` is missing or the rig has no mesh here."""
    try:
        from PIL import Image

        from deeptalk.render import render_frames
    except ImportError as error:
        raise UserError(
            f"drawing needs the package {error.name!r}: pip install 'deeptalk[pictures]'; the numbers need none."
        ) from error
    if not faces:
        raise UserError("the corpus has no motion.")
    drawn = []
    for picture in render_frames(load_rig(corpus.rig), np.stack([face.motion for face in faces]), size=PICTURE_PIXELS):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="JPEG", quality=85)
        drawn.append(file.getvalue())
    return drawn
