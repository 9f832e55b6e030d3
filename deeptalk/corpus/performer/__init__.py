"""The performer: speech with phone times in, facial performances drawn from a known distribution out."""

from deeptalk.corpus.performer.affect import AffectCode, draw_affect
from deeptalk.corpus.performer.event import Phone, SpeechEvent
from deeptalk.corpus.performer.parameters import VARIANTS, Parameters
from deeptalk.corpus.performer.performance import Performance
from deeptalk.corpus.performer.performer import Acting, Given, Performer

__all__ = [
    "VARIANTS",
    "Acting",
    "AffectCode",
    "Given",
    "Parameters",
    "Performance",
    "Performer",
    "Phone",
    "SpeechEvent",
    "draw_affect",
]
