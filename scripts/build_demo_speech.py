"""Make the vendored demo speech again: python scripts/build_demo_speech.py (needs the extra `voice`).

Six voices, 21 sentences of our own (public domain, CC0), eight affect classes; voices and sentences are disjoint
between splits.
"""

import importlib.metadata
import sys

import numpy as np

from deeptalk.corpus.performer.affect import draw_affect
from deeptalk.corpus.performer.event import SpeechEvent
from deeptalk.corpus.synthesis.engines import synthesize
from deeptalk.corpus.synthesis.vendored import default_folder, write_speech
from deeptalk.corpus.synthesis.voices import voice_named
from deeptalk.emotions import EMOTIONS

SEED = 20261121

SENTENCES: dict[tuple[str, str], tuple[str, ...]] = {
    ("train", "amber"): (
        "Bob bought five fresh apples yesterday.",
        "The pool shop moved to Maple Avenue.",
        "You always choose the window by the water.",
        "My brother never plays football on Monday.",
    ),
    ("train", "birch"): (
        "We found a purple map beneath the bed.",
        "Josh would rather visit the zoo with you.",
        "Please leave both boxes in the front room.",
        "How could the boy throw that far?",
    ),
    ("train", "cedar"): (
        "Their yellow umbrella blew off the bridge.",
        "Most people here favor warm bread.",
        "She joined the choir before the summer.",
        "The empty bottle rolled over my foot.",
    ),
    ("train", "dahlia"): (
        "Pamela will buy you some blue shoes.",
        "Thank you for watching over the baby.",
        "The old farm dog jumped up a wall.",
        "Few visitors ever ask about the piano.",
    ),
    ("val", "elm"): (
        "Please move the heavy table for Emma.",
        "Would Martha show us the boat tomorrow?",
    ),
    ("test", "fern"): (
        "Bees hum above the open meadow.",
        "I put the broom behind your van.",
        "Those three judges approve of music.",
    ),
}


def main() -> None:
    """Synthesise every clip and write the assets."""
    events: list[SpeechEvent] = []
    sentence_number = 0
    for (split, speaker), texts in SENTENCES.items():
        for text in texts:
            sentence_number += 1
            for sound_class in range(len(EMOTIONS)):
                generator = np.random.default_rng([SEED, sentence_number, sound_class])
                affect = draw_affect(sound_class, generator)
                seed = int(generator.integers(2**31))
                name = f"demo_{sentence_number:02d}"
                events.append(synthesize(text, affect, voice_named(speaker), seed, sentence=name, split=split))
    provenance = {
        "made_by": "scripts/build_demo_speech.py",
        "seed": SEED,
        "engine": f"hibari-tts {importlib.metadata.version('hibari-tts')} (Apache-2.0), edited before its vocoder",
        "licence": "CC0-1.0 (sentences and recordings)",
        "sample_rate": 16_000,
    }
    write_speech(default_folder(), events, provenance)
    seconds = sum(event.seconds for event in events)
    sys.stdout.write(f"{len(events)} clips, {seconds:.1f} s, written to {default_folder()}\n")


if __name__ == "__main__":
    main()
