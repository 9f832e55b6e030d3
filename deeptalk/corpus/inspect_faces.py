"""Faces of a corpus: the most acted frame of performances of every emotion, as small pictures."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from deeptalk.corpus.format import Corpus
from deeptalk.corpus.inspect_counts import emotion_name
from deeptalk.errors import UserError
from deeptalk.face import BLINK_AND_GAZE, load_rig

A_ROW = 4
"""Faces of an emotion; three times as many where emotions are unknown."""
PICTURE_PIXELS = 300
FACE_ROWS, FACE_COLUMNS = slice(15, 255), slice(40, 260)
"""Of such a picture, what the face fills."""
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
    """Four faces an emotion, of different readings or speakers where there are; of the strongest performances."""
    by_emotion: dict[int, list[int]] = {}
    for place, emotion in enumerate(corpus.performances.column("emotion")):
        by_emotion.setdefault(emotion, []).append(place)
    faces = []
    for emotion in sorted(by_emotion, key=lambda index: index if index >= 0 else 99):
        count = A_ROW if emotion >= 0 else 3 * A_ROW
        faces += [_face(corpus, place) for place in _varied(corpus, by_emotion[emotion], count)]
    return faces


def _varied(corpus: Corpus, places: list[int], count: int) -> list[int]:
    """Places of performances whose readings and speakers differ as far as possible, the strongest first."""
    step = max(1, len(places) // CANDIDATES)
    table = corpus.performances
    candidates = sorted(places[::step], key=lambda place: -table.column("intensity")[place])
    chosen: list[int] = []
    for key in (lambda p: table.column("reading")[p], lambda p: table.column("speaker")[p], lambda p: p):
        seen = {key(place) for place in chosen}
        for place in candidates:
            if len(chosen) < count and place not in chosen and key(place) and key(place) not in seen:
                seen.add(key(place))
                chosen.append(place)
    return chosen


def _face(corpus: Corpus, place: int) -> Face:
    row, motion = corpus.performances[place], corpus.motion(place)
    name = emotion_name(row.emotion)
    frame = _most_acted(motion, corpus.channels)
    what = row.reading.replace("_", " ") or row.performance_id
    return Face(name, f"{what}, {frame / corpus.frame_rate:.1f} s", motion[frame])


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
        Image.fromarray(picture[FACE_ROWS, FACE_COLUMNS]).save(file, format="JPEG", quality=85)
        drawn.append(file.getvalue())
    return drawn
