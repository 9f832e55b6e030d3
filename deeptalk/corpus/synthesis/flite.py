"""Speech of the system program `flite` (BSD-like): the engine that is kept for held-out tests and never trained on."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import soundfile

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import PHONES, SAMPLE_RATE, SILENCE, Phone
from deeptalk.corpus.synthesis import hibari
from deeptalk.corpus.synthesis.changed import changed, formant_warp
from deeptalk.corpus.synthesis.phonemes import pronounced
from deeptalk.corpus.synthesis.sound import Sound
from deeptalk.corpus.synthesis.stress import with_stress
from deeptalk.corpus.synthesis.voices import Voice
from deeptalk.errors import UserError

ARPABET: dict[str, str] = {"pau": SILENCE, "ax": "AH", "axr": "ER", "ih": "IH", "ix": "IH", "el": "AH", "en": "AH"}
"""Flite's phones that are not ARPAbet in small letters."""
LONGEST_SECONDS = 60.0
_MISSING = (
    "Voices of flite need the program flite, which is not found. Install it (Debian, Ubuntu: apt install flite) - "
    "or set unseen_share to 0."
)


def say(text: str, affect: AffectCode, voice: Voice, seed: int) -> Sound:
    """Speak one sentence.

    Raises UserError where the program or the extra `voice` (for the stress of words) is missing, or flite fails.
    """
    program = _program()
    warp = formant_warp(affect, voice)
    stretch = warp / (affect.rate_factor * voice.rate_factor)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = [program, "-voice", voice.speaker, "--setf", f"duration_stretch={stretch:.4f}"]
        command += ["-psdur", "-t", text, "-o", str(path)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=True)
            samples, rate = soundfile.read(path, dtype="float32")
        except (subprocess.SubprocessError, OSError, soundfile.SoundFileError) as error:
            raise UserError(f"flite could not speak {text!r} with voice {voice.speaker} ({error}).") from error
    if rate != SAMPLE_RATE:
        raise UserError(
            f"flite's voice {voice.speaker} has {rate} Hz, expected {SAMPLE_RATE}; use kal16, awb, rms, slt."
        )
    samples = changed(samples, SAMPLE_RATE, affect, voice, seed)
    phones = phones_from_ends(ran.stdout.split(), len(samples) / SAMPLE_RATE, warp)
    phones = with_stress(phones, pronounced(hibari.phonemes_of(text)))
    return Sound(samples, phones)


def version() -> str:
    """What the program says of its version: `flite-2.2-current Sep 2018 (...)`; UserError where it is missing."""
    try:
        ran = subprocess.run([_program(), "--version"], capture_output=True, text=True, timeout=LONGEST_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        raise UserError(f"The program flite does not say its version ({error}); install it again.") from error
    said = [line.strip() for line in ran.stdout.splitlines() if "version" in line]
    return said[0].removeprefix("version:").strip() if said else ran.stdout.strip()


def _program() -> str:
    program = shutil.which("flite")
    if program is None:
        raise UserError(_MISSING)
    return program


def phones_from_ends(ends: list[str], sound_seconds: float, speed: float = 1.0) -> list[Phone]:
    """Phones that tile a sound, from flite's `phone:end` marks; the last one ends with the sound.

    `speed` is how much faster it was played.

    Raises UserError for a phone without ARPAbet counterpart.
    """
    phones: list[Phone] = []
    start = 0.0
    for mark in ends:
        name, _, end = mark.partition(":")
        symbol = ARPABET.get(name, name.upper())
        if symbol not in PHONES:
            raise UserError(f"No ARPAbet phone is known for flite's {name!r}; spell the word differently.")
        stop = min(float(end) / speed, sound_seconds)
        if stop > start:
            phones.append(Phone(symbol, start, stop))
            start = stop
    if phones:
        phones[-1] = Phone(phones[-1].symbol, phones[-1].start_seconds, sound_seconds)
    return phones
