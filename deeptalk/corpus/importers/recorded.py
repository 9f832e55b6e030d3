"""Recorded motion, with or without its sound, as clips of a corpus: what all importers of captures share."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeptalk.corpus.importers.files import read_sound, split_of, text_beside
from deeptalk.corpus.importers.importer import ImportedClip, ImportedMotion, Note
from deeptalk.corpus.importers.motion import SAMPLES_PER_FRAME, at_corpus_rate, bridged, cuts, limited
from deeptalk.emotions import NEUTRAL, emotion_index
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS


@dataclass(frozen=True)
class RecordedOptions:
    """What is known about recordings that their files do not say."""

    sounds: str = ""
    """Folder with the sound files; empty looks beside the motion."""
    speaker: str = ""
    """Name of the person; empty takes the kind of import and the name of the folder."""
    emotion: str = ""
    """Label of all recordings, where they have one; import each emotion by itself."""
    intensity: float = 0.5
    """0..1 of that emotion; neutral has 0."""
    val: str = ""
    """Comma list of names of takes for validation, or patterns with * and ?; all others train."""
    test: str = ""
    """The same for the test split."""
    clip_seconds: float = 10.0
    """Longer takes with sound are cut into clips of at most this, in pauses; 0 keeps them whole."""

    def __post_init__(self) -> None:
        if self.emotion:
            emotion_index(self.emotion)
        if not 0.0 <= self.intensity <= 1.0:
            raise UserError(f"intensity is {self.intensity}; expected 0..1.")
        if self.clip_seconds and self.clip_seconds < 1.0:
            raise UserError(f"clip_seconds is {self.clip_seconds}; expected at least 1, or 0 to keep takes whole.")


@dataclass(frozen=True, eq=False)
class Recording:
    """One take as its files give it."""

    name: str
    """Of the take; splits are chosen by it."""
    motion: np.ndarray
    """(frame, 52) float32 in the order of `deeptalk.face.CHANNELS`; may hold NaN."""
    seconds: np.ndarray
    """(frame,) when each frame was taken, from any start."""
    frame_rate: float
    sound: Path | None
    notes: list[Note]


def recorded_clips(recording: Recording, speaker: str, options: RecordedOptions) -> Sequence[ImportedClip]:
    """The clips of one take, checked and mended; raises Refusal where it cannot be."""
    notes = recording.notes
    motion, times = bridged(recording.motion, recording.seconds, recording.frame_rate, notes)
    motion = limited(motion, CHANNELS, notes)
    sound = recording.sound
    samples = read_sound(sound, notes) if sound is not None else None
    text = text_beside(sound) if sound is not None else ""
    samples, motion = at_corpus_rate(motion, times, recording.frame_rate, samples, notes)
    if sound is None:
        notes.append(Note("no sound: motion alone", "no sound was found for it"))
    emotion = emotion_index(options.emotion) if options.emotion else -1
    intensity = 0.0 if emotion == NEUTRAL else options.intensity
    whole = ImportedClip(
        name=f"{speaker}/{recording.name}",
        split=split_of(recording.name, options.val, options.test),
        samples=samples,
        motions=[ImportedMotion(motion, emotion, intensity if emotion >= 0 else 0.0)],
        speaker=speaker,
        sentence=f"{speaker}/{recording.name}",
        text=text,
        emotion=emotion,
        intensity=intensity if emotion >= 0 else None,
        origin={"motion_rate": recording.frame_rate, "sound": sound.name if sound is not None else None},
        notes=tuple(notes),
    )
    return [whole] if samples is None else _cut(whole, samples, motion, options.clip_seconds)


def sounds_left_over(sounds: Sequence[Path], used: Collection[Path], stems: Collection[str]) -> list[tuple[str, Note]]:
    """Sounds that went with no motion, and are not called after one (`stems`, small letters) that was refused."""
    left = [path for path in sounds if path not in used and path.stem.lower() not in stems]
    return [(path.name, Note("sound without motion", "no motion has its name")) for path in left]


def _cut(whole: ImportedClip, samples: np.ndarray, motion: np.ndarray, longest_seconds: float) -> list[ImportedClip]:
    parts = cuts(samples, len(motion), longest_seconds)
    if len(parts) == 1:
        return [whole]
    clips = []
    for number, (first, end) in enumerate(parts):
        last = len(samples) if end == len(motion) else end * SAMPLES_PER_FRAME
        name = f"{whole.name}/{number:03d}"
        own = replace(whole.motions[0], motion=motion[first:end])
        part = samples[first * SAMPLES_PER_FRAME : last]
        # What was mended is told once, with the first part; the words of a take are not those of its parts.
        notes = whole.notes if number == 0 else ()
        clips.append(replace(whole, name=name, sentence=name, text="", samples=part, motions=[own], notes=notes))
    return clips
