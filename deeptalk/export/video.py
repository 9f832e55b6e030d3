"""Video with sound: a take, or several side by side, as mp4 (H.264, AAC) or webm (VP9, Opus), by PyAV."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, check_motion, check_sound
from deeptalk.face import Rig, load_rig
from deeptalk.files import atomic_path

if TYPE_CHECKING:
    import av

SPEECH_RATE, SOUND_RATE = 16_000, 48_000
"""Samples a second of a take's speech, and in the file: what every player takes."""
BT709, SRGB_CURVE, STUDIO_RANGE = 1, 13, 1
"""Code points of ITU-T H.273 for colours: primaries and matrix, transfer, range."""
log = logging.getLogger(__name__)


class _Codecs(NamedTuple):
    container: str
    video: str
    video_options: dict[str, str]
    sound: str


_CODECS = {
    ".mp4": _Codecs("mp4", "libx264", {"crf": "18", "preset": "medium"}, "aac"),
    ".webm": _Codecs("webm", "libvpx-vp9", {"crf": "28", "b": "0", "deadline": "good", "cpu-used": "4"}, "libopus"),
}


def write_video(take: Exportable, path: str | Path, size: int | tuple[int, int] = 512, head: Rig | None = None) -> None:
    """Write one take as video, with its speech if it has any, atomically.

    Args:
        take: what is drawn, on its own rig's head unless `head`, a rig with the same channels, is given.
        path: ends in .mp4 or .webm.
        size: pixels of the square picture, or (width, height); even, as both codecs ask.
        head: the head to draw on.

    Raises UserError for another suffix, odd sizes, a motion that does not fit, or where nothing can be drawn
    or written.
    """
    _write([take], path, None, size, 1, head)


def write_side_by_side(
    takes: Sequence[Exportable],
    path: str | Path,
    labels: Sequence[str] | None = None,
    size: int | tuple[int, int] = 384,
    columns: int | None = None,
    head: Rig | None = None,
) -> None:
    """Write takes of one piece of speech beside each other, each over its label ("take 1", ... by default).

    The sound is the first take's that has any. Raises UserError as `write_video`, and for takes that differ in length
    or frame rate, or another number of labels.
    """
    if not takes:
        raise UserError("There is no take to show; give at least one.")
    labels = [f"take {number}" for number in range(1, len(takes) + 1)] if labels is None else list(labels)
    if len(labels) != len(takes):
        raise UserError(f"There are {len(takes)} takes and {len(labels)} labels; give one label for each take.")
    _write(takes, path, labels, size, columns or min(4, len(takes)), head)


def _write(
    takes: Sequence[Exportable],
    path: str | Path,
    labels: Sequence[str] | None,
    size: int | tuple[int, int],
    columns: int,
    head: Rig | None,
) -> None:
    path = Path(path)
    if path.suffix.lower() not in _CODECS:
        raise UserError(f"{path} is no name of a video; expected one that ends in {' or '.join(_CODECS)}.")
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    if any(number % 2 for number in sizes):
        raise UserError(f"The video's size is {size}; both codecs need even numbers of pixels.")
    for take in takes:
        check_motion(take.motion, "The motion of a take")
        check_sound(take.samples)
    kinds = {(len(take.motion), float(take.frame_rate)) for take in takes}
    if len(kinds) != 1:
        raise UserError(f"The takes have {sorted(kinds)} (frames, frames/s); expected one length and rate.")
    _av()
    pictures = _pictures(takes, labels, size, columns, head)
    sound = next((take.samples for take in takes if take.samples is not None and len(take.samples)), None)
    first = next(pictures)  # what cannot be drawn is said before a file is made
    with atomic_path(path) as temporary, _VideoFile(temporary, path, first, takes, sound) as video:
        video.add(first)
        for picture in pictures:
            video.add(picture)


def _pictures(
    takes: Sequence[Exportable],
    labels: Sequence[str] | None,
    size: int | tuple[int, int],
    columns: int,
    head: Rig | None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    from deeptalk.render import contact_sheet, iterate_frames

    streams = [
        iterate_frames(head or load_rig(take.rig), take.motion, size, head_rotation_radians=take.head_rotation_radians)
        for take in takes
    ]
    for images in zip(*streams, strict=True):
        yield images[0] if labels is None else _even(contact_sheet(images, labels, columns))


def _even(picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "even_height even_width 3"]:
    """Repeat the last row and column where their number is odd."""
    return np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError(
            "PyAV, which writes video, is missing: pip install 'deeptalk[pictures]', or save as .glb or .html."
        ) from error
    return av


class _VideoFile:
    """An open container that takes pictures one by one and lays the sound beside them."""

    def __init__(
        self,
        temporary: Path,
        path: Path,
        first: UInt8[np.ndarray, "height width 3"],
        takes: Sequence[Exportable],
        sound: Float[np.ndarray, "sample"] | None,
    ):
        av, codecs = _av(), _CODECS[path.suffix.lower()]
        self._path, self._count = path, 0
        self._rate = Fraction(takes[0].frame_rate).limit_denominator(1001)
        try:
            self._container: Any = av.open(str(temporary), "w", format=codecs.container)
            recipes = [{"rig": take.rig, "recipe": dict(take.recipe)} for take in takes]
            self._container.metadata["comment"] = json.dumps(recipes, ensure_ascii=False)
            self._video: Any = self._container.add_stream(codecs.video, rate=self._rate, options=codecs.video_options)
            self._sound_stream: Any = None
            if sound is not None:
                self._sound_stream = self._container.add_stream(codecs.sound, rate=SOUND_RATE, layout="mono")
        except (av.FFmpegError, ValueError) as error:
            raise UserError(f"{path} cannot be written: PyAV here lacks {codecs.video} or {codecs.sound}.") from error
        self._video.height, self._video.width = first.shape[:2]
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        context.colorspace, context.color_primaries = BT709, BT709
        context.color_trc, context.color_range = SRGB_CURVE, STUDIO_RANGE
        self._sound = None if sound is None else _sound_frames(sound)
        self._next_sound: Any = None if self._sound is None else next(self._sound, None)

    def __enter__(self) -> "_VideoFile":
        return self

    def add(self, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Append one picture, and the sound up to its end."""
        av = _av()
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._count += 1
        with _readable_errors(self._path):
            self._container.mux(self._video.encode(frame))
        self._add_sound(until=float(self._count / self._rate))

    def _add_sound(self, until: float) -> None:
        while self._next_sound is not None and self._next_sound.pts < until * SOUND_RATE:
            with _readable_errors(self._path):
                self._container.mux(self._sound_stream.encode(self._next_sound))
            assert self._sound is not None
            self._next_sound = next(self._sound, None)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        av = _av()
        if kind is not None:
            try:
                self._container.close()
            except (av.FFmpegError, OSError):
                log.debug("closing %s after an error", self._path, exc_info=True)
            return
        self._add_sound(until=np.inf)
        with _readable_errors(self._path):
            self._container.mux(self._video.encode(None))
            if self._sound_stream is not None:
                self._container.mux(self._sound_stream.encode(None))
            self._container.close()


@contextlib.contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Turn what ffmpeg says about a full disk and the like into a UserError."""
    try:
        yield
    except (_av().FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"Cannot write {path}: {reason}. Free some space or choose another folder.") from error


def _sound_frames(samples: Float[np.ndarray, "sample"]) -> Iterator["av.AudioFrame"]:
    """The speech at the file's rate in frames of 20 ms."""
    import soxr

    av = _av()
    resampled = soxr.resample(np.asarray(samples, np.float32), SPEECH_RATE, SOUND_RATE).astype(np.float32)
    length = SOUND_RATE // 50
    for start in range(0, len(resampled), length):
        frame = av.AudioFrame.from_ndarray(resampled[None, start : start + length].copy(), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        yield frame
