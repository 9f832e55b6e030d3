"""Speech for the performer: the vendored demo speech, and synthesis by several engines with the extra `voice`."""

from deeptalk.corpus.synthesis.engines import ENGINES, Engine, synthesize
from deeptalk.corpus.synthesis.plan import SpeechPlan, plan_speech, speak
from deeptalk.corpus.synthesis.vendored import demo_speech
from deeptalk.corpus.synthesis.voices import DEMO_VOICES, VOICES, Voice, voice_named, voices_of

__all__ = [
    "DEMO_VOICES",
    "ENGINES",
    "VOICES",
    "Engine",
    "SpeechPlan",
    "Voice",
    "demo_speech",
    "plan_speech",
    "speak",
    "synthesize",
    "voice_named",
    "voices_of",
]
