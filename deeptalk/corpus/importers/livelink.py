"""Recordings of the Live Link Face app: a CSV with 52 shapes, and the sound beside it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deeptalk.corpus.importers.files import (
    SOUND_SUFFIXES,
    VIDEO_SUFFIXES,
    check_content,
    check_splits,
    files_below,
    sound_for,
)
from deeptalk.corpus.importers.importer import ImportedClip, Note, Refusal, Scan, Take
from deeptalk.corpus.importers.recorded import RecordedOptions, Recording, recorded_clips, sounds_left_over
from deeptalk.errors import UserError
from deeptalk.face.live_link import read_live_link_frames

ROTATION_RADIANS = 0.02
"""A head that turns by less is still."""
VARIANTS = ("_cal", "_raw", "_neutral")
"""Endings of the further CSV files that the app writes of one take when it is calibrated."""


class LiveLinkImporter:
    """Imports a folder of takes, nested as the app leaves them or flat."""

    kind = "livelink"
    summary = "Live Link Face CSV files with their sound"
    options = RecordedOptions

    def scan(self, source: Path, options: RecordedOptions) -> Scan:
        """Find the CSV files of the app and the sounds; other CSV files and videos are skipped with a reason."""
        files = files_below(source)
        tables, skipped = _tables([path for path in files if path.suffix.lower() == ".csv"])
        if not tables:
            raise UserError(
                f"{source} holds no Live Link Face CSV ({len(files)} other files); give the folder that has the takes."
            )
        sound_files = files_below(_folder(options.sounds)) if options.sounds else files
        sounds = [path for path in sound_files if path.suffix.lower() in SOUND_SUFFIXES]
        videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        hint = "sound is not taken from video; extract it first: ffmpeg -i {0} {1}.wav"
        skipped += [(str(p.relative_to(source)), Note("video", hint.format(p.name, p.stem))) for p in videos]
        speaker = options.speaker or f"livelink-{source.resolve().name}"
        names = _names(source, tables)
        check_splits(list(names.values()), options.val, options.test)
        used: set[Path] = set()
        takes = [
            Take(name, partial(_read, path, name, tables, sounds, used, speaker, options))
            for path, name in names.items()
        ]
        stems = {path.stem.lower() for path in tables} | {_stem(path) for path in tables}
        return Scan(
            takes=takes,
            provenance=f"Face capture of {speaker} with Apple's ARKit by Live Link Face, resampled to 25 Hz; rotations "
            "of head and eyes left out.",
            license="That of the recordings.",
            skipped=skipped,
            finish=partial(sounds_left_over, sounds, used, stems),
        )


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise UserError(f"sounds={text} is not a folder; give the folder with the sound files.")
    return Path(text)


def _tables(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[str, Note]]]:
    """CSV files of takes, one a take: the calibrated one where there is one; and why others are skipped."""
    tables: list[Path] = []
    skipped = []
    present = set(paths)
    for path in paths:
        base = path.with_name(path.stem.removesuffix("_raw") + path.suffix)
        calibrated = path.with_name(base.stem + "_cal" + path.suffix)
        if not _is_live_link(path):
            skipped.append((path.name, Note("other CSV", "its header is not that of Live Link Face")))
        elif path.stem.endswith("_neutral"):
            skipped.append((path.name, Note("calibration pose", "it is the neutral pose of a calibration")))
        elif not path.stem.endswith("_cal") and calibrated in present:
            skipped.append((path.name, Note("uncalibrated twin", f"{calibrated.name} is the calibrated one")))
        else:
            tables.append(path)
    return tables, skipped


def _is_live_link(path: Path) -> bool:
    """Whether it may be a take: broken ones (empty, pointers) count, so that they are refused with a reason."""
    with open(path, "rb") as file:
        start = file.read(4096)
    first = start.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].lower()
    return not start.strip() or start.startswith(b"version https://git-lfs") or first.startswith(b"timecode")


def _stem(path: Path) -> str:
    """Stem of a take's file without the endings that the app adds."""
    stem = path.stem
    for variant in VARIANTS:
        stem = stem.removesuffix(variant)
    return stem.lower()


def _names(source: Path, tables: Sequence[Path]) -> dict[Path, str]:
    """A name for each take: the file's stem, with its folders where two stems are the same."""
    stems = [path.stem for path in tables]
    return {
        path: path.stem if stems.count(path.stem) == 1 else path.relative_to(source).with_suffix("").as_posix()
        for path in tables
    }


def _read(
    path: Path,
    name: str,
    tables: Sequence[Path],
    sounds: Sequence[Path],
    used: set[Path],
    speaker: str,
    options: RecordedOptions,
) -> Sequence[ImportedClip]:
    check_content(path)
    notes: list[Note] = []
    try:
        frames = read_live_link_frames(path)
    except UserError as error:
        raise Refusal("unreadable CSV", str(error)) from error
    alone = sum(table.parent == path.parent for table in tables) == 1
    sound = sound_for(path, sounds, (path.stem, _stem(path)), alone)
    if sound is not None:
        used.add(sound)
    turned = float(abs(frames.rotations[:, :3]).max())
    if turned > ROTATION_RADIANS:
        notes.append(Note("head rotation left out", f"the head turns by up to {turned:.2f} rad; a corpus holds none"))
    recording = Recording(name, frames.motion, frames.seconds, frames.frame_rate, sound, notes)
    return recorded_clips(recording, speaker, options)
