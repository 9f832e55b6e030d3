"""RAVDESS: real emotional speech with its labels; the motion is performed to it, from the label."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from deeptalk.corpus.format import INT16_SCALE
from deeptalk.corpus.importers.files import SOUND_SUFFIXES, VIDEO_SUFFIXES, files_below, read_sound
from deeptalk.corpus.importers.importer import ImportedClip, ImportedMotion, Note, Refusal, Scan, Take
from deeptalk.corpus.importers.phone_times import Segment, read_phone_times, tiled_phones
from deeptalk.corpus.importers.ravdess_names import SOUND, SPEECH, STATEMENTS, STRESSED, RavdessName, parse_name
from deeptalk.corpus.performer import Given, Performance, Performer, Phone, SpeechEvent
from deeptalk.corpus.writer import quantise
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import load_rig
from deeptalk.speech import SAMPLE_RATE

ALIGNMENT = "align_pocketsphinx.json"
"""Name of the alignment that is looked for in the source."""
ALIGN_NOW = "pocketsphinx"
FEWEST_TO_COMPARE = 8
"""Clips of which equal lengths are no chance: the originals differ by up to two seconds."""
LICENSE = "Speech and labels CC BY-NC-SA 4.0 (RAVDESS); models trained on it share its conditions."
PROVENANCE = (
    "RAVDESS speech (Livingstone and Russo 2018, zenodo 1188976) at 16 kHz. Splits are disjoint by actor but not by "
    "sentence: the set has two sentences, said by every actor. "
)


@dataclass(frozen=True)
class RavdessOptions:
    """How RAVDESS becomes a corpus."""

    alignment: str = ""
    """JSON of phone times; `pocketsphinx` aligns now (extra `align`); empty takes `align_pocketsphinx.json` of the
    folder."""
    acted: Literal["label", "heard"] = "label"
    """`label`: every motion acts the label at its intensity; `heard`: the emotion is drawn by P(e, a), a = label."""
    train_performances: int = 4
    """Motions of each training clip; 0 in all three makes a corpus of speech alone, which needs no alignment."""
    val_performances: int = 4
    """Motions of each validation clip."""
    reference_draws: int = 16
    """Motions of each test clip, of each kind: given the speech; given label and speaker too."""
    val_actors: list[int] = field(default_factory=lambda: [13, 14])
    """Actors of the validation split; odd numbers are men."""
    first_test_actor: int = 15
    """This actor and all above are the test split."""
    seed: int = 7
    """Of the performances."""

    def __post_init__(self) -> None:
        for name in ("train_performances", "val_performances", "reference_draws", "seed"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        if any(not 1 <= actor <= 24 for actor in self.val_actors) or not 1 <= self.first_test_actor <= 25:
            raise UserError(
                f"val_actors is {list(self.val_actors)} and first_test_actor {self.first_test_actor}; expected actors "
                "1 to 24 (25 leaves the test split empty)."
            )

    def split_of(self, actor: int) -> str:
        """The split of an actor."""
        if actor in self.val_actors:
            return "val"
        return "test" if actor >= self.first_test_actor else "train"

    def draws_of(self, split: str) -> int:
        """Motions of a clip, of one kind."""
        counts = {"train": self.train_performances, "val": self.val_performances, "test": self.reference_draws}
        return counts[split]

    @property
    def speech_alone(self) -> bool:
        """Whether nothing is performed."""
        return not (self.train_performances or self.val_performances or self.reference_draws)


class RavdessImporter:
    """Imports a folder of RAVDESS sound files, flat or in one folder an actor."""

    kind = "ravdess"
    summary = "RAVDESS speech (wav or flac) with its labels, and motion performed to it"
    options = RavdessOptions

    def scan(self, source: Path, options: RavdessOptions) -> Scan:
        """Find the speech; song, video and other files are skipped with a reason."""
        speech, skipped = _speech_files(source)
        if not speech:
            kinds = ", ".join(sorted({note.kind for _, note in skipped})) or "no files"
            raise UserError(
                f"{source} holds no RAVDESS speech ({kinds}); expected names like 03-01-05-02-01-01-12.wav, flat or in "
                "folders of actors."
            )
        phones_of = None if options.speech_alone else _phone_source(source, options.alignment)
        performer = Performer(load_rig("arkit"))
        lengths: dict[int, int] = {}
        takes = [
            Take(path.stem, partial(_read, path, name, phones_of, performer, options, lengths)) for path, name in speech
        ]
        made = "No motion." if options.speech_alone else _how_made(performer, options)
        scan = Scan(
            takes=takes,
            provenance=PROVENANCE + made,
            license=LICENSE,
            skipped=skipped,
            performer=None if options.speech_alone else {"version": performer.version, "acted": options.acted},
        )
        return replace(scan, finish=partial(_warn_of_equal_lengths, lengths, scan.warnings))


def _how_made(performer: Performer, options: RavdessOptions) -> str:
    acted = "which it always acts" if options.acted == "label" else "taken for how the speech sounds"
    return (
        f"The motion is not recorded: the deeptalk performer, version {performer.version}, made it from the speech, "
        f"its phone times and its label, {acted}."
    )


def _speech_files(source: Path) -> tuple[list[tuple[Path, RavdessName]], list[tuple[str, Note]]]:
    """Speech with decoded names, and the other files that hold sound or video."""
    speech, skipped = [], []
    for path in files_below(source):
        suffix, name = path.suffix.lower(), parse_name(path.stem)
        if suffix not in (*SOUND_SUFFIXES, *VIDEO_SUFFIXES):
            continue
        if name is None:
            note = Note("not a RAVDESS name", "expected seven numbers like 03-01-05-02-01-01-12")
        elif suffix in VIDEO_SUFFIXES or name.modality != SOUND:
            note = Note("video", "its sound is that of the file that begins with 03")
        elif name.channel != SPEECH:
            note = Note("song", "sung, not spoken")
        else:
            speech.append((path, name))
            continue
        skipped.append((str(path.relative_to(source)), note))
    return speech, skipped


PhoneSource = Callable[[str, np.ndarray, str], list[Phone]]
"""Phones of a clip of a name, samples and text; Refusal where there are none."""


def _phone_source(source: Path, alignment: str) -> PhoneSource:
    if alignment == ALIGN_NOW:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise UserError("alignment=pocketsphinx needs the package: pip install 'deeptalk[align]'.")
        return _align_now
    path = Path(alignment) if alignment else source / ALIGNMENT
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; phone times are needed to perform. Give alignment=FILE.json, or alignment="
            f"{ALIGN_NOW} to align now (pip install 'deeptalk[align]'), or, for speech alone, train_performances=0 "
            "val_performances=0 reference_draws=0."
        )
    return partial(_from_file, read_phone_times(path))


def _from_file(times: Mapping[str, list[Segment]], name: str, samples: np.ndarray, text: str) -> list[Phone]:
    if name not in times:
        raise Refusal("not aligned", "the alignment file does not have it: its words could not be found in the sound.")
    return tiled_phones(times[name], len(samples) / SAMPLE_RATE, STRESSED)


def _align_now(name: str, samples: np.ndarray, text: str) -> list[Phone]:
    from deeptalk.corpus.alignment import align

    try:
        return align(samples, text)
    except UserError as error:
        raise Refusal("not aligned", str(error)) from error


def _read(
    path: Path,
    name: RavdessName,
    phones_of: PhoneSource | None,
    performer: Performer,
    options: RavdessOptions,
    lengths: dict[int, int],
) -> Sequence[ImportedClip]:
    notes: list[Note] = []
    samples = read_sound(path, notes)
    lengths[len(samples)] = lengths.get(len(samples), 0) + 1
    sentence, text = STATEMENTS[name.statement]
    phones = phones_of(path.stem, samples, text) if phones_of is not None else []
    clip = ImportedClip(
        name=f"ravdess-{path.stem}",
        split=options.split_of(name.actor),
        samples=samples,
        motions=(),
        speaker=f"ravdess-{name.actor:02d}",
        sentence=f"ravdess-{sentence}",
        text=text,
        emotion=name.emotion,
        intensity=name.intensity,
        phones=phones,
        origin={"data": "RAVDESS", "file": path.name, "repetition": name.repetition},
        notes=notes,
    )
    return [replace(clip, motions=_performed(clip, performer, options))] if phones else [clip]


def _performed(clip: ImportedClip, performer: Performer, options: RavdessOptions) -> list[ImportedMotion]:
    """Motions of a clip: given the speech, and on the test split given label and speaker too."""
    count = options.draws_of(clip.split)
    if not count:
        return []
    assert clip.samples is not None
    assert clip.intensity is not None
    heard = quantise(clip.samples).astype(np.float32) / np.float32(INT16_SCALE)  # as the corpus will hold it
    event = SpeechEvent(heard, clip.phones, clip.text, clip.speaker, clip.sentence, split=clip.split)
    if options.acted == "label":
        drawn = performer.performances(event, count, seed=options.seed, label=(clip.emotion, clip.intensity))
    else:
        prior = [float(index == clip.emotion) for index in range(len(EMOTIONS))]
        drawn = performer.performances(event, count, seed=options.seed, class_prior=prior)
    motions = [_motion(one, "speech") for one in drawn]
    if clip.split == "test":
        given: Given = "speech+label+speaker"
        same = performer.performances(event, count, given=given, seed=options.seed, like=drawn[0])
        motions += [_motion(one, given) for one in same]
    return motions


def _motion(drawn: Performance, given: str) -> ImportedMotion:
    return ImportedMotion(drawn.motion, drawn.emotion, drawn.intensity, drawn.reading, given, dict(drawn.style))


def _warn_of_equal_lengths(lengths: Mapping[int, int], warnings: list[str]) -> Sequence[tuple[str, Note]]:
    if len(lengths) == 1 and sum(lengths.values()) >= FEWEST_TO_COMPARE:
        (length,) = lengths
        warnings.append(
            f"all {lengths[length]} clips last {length / SAMPLE_RATE:.3f} s: this is a copy that was cut to one length "
            "(the originals last 2.9 to 5 s), so words are missing; get the originals from zenodo 1188976."
        )
    return ()
