"""Speech for the performer: the vendored demo speech, and synthesis with the extra `voice`."""

from deeptalk.corpus.synthesis.hibari import synthesize
from deeptalk.corpus.synthesis.vendored import demo_speech
from deeptalk.corpus.synthesis.voices import VOICES, Voice, voice_named

__all__ = ["VOICES", "Voice", "demo_speech", "synthesize", "voice_named"]
