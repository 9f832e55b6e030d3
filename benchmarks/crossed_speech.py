"""A corpus of every unseen voice saying the same few unseen sentences in every tone.

    python benchmarks/crossed_speech.py crossed

Where `deeptalk corpus build` synthesises, one voice says a sentence: naming the sentence or the voice is then one and
the same. Here they are crossed, so that a gallery can be of one sentence and a probe of one text over several voices.
All voices and sentences are of the test split, so nothing trained on another corpus of ours has met them.
"""

import argparse
from pathlib import Path

import numpy as np

from deeptalk.corpus import Corpus, CorpusConfig, build_corpus
from deeptalk.corpus.performer import SpeechEvent
from deeptalk.corpus.performer.affect import draw_affect
from deeptalk.corpus.sentences import load_sentences
from deeptalk.corpus.synthesis.plan import SpeechPlan, speak
from deeptalk.corpus.synthesis.voices import voices_of
from deeptalk.emotions import EMOTIONS

ENGINES = ("hibari", "joe", "flite")
PERFORMANCES = 8
"""Of each clip, given the speech."""


def crossed_events(sentences: int = 6, seed: int = 7) -> list[SpeechEvent]:
    """Speech of all test voices, sentences and audible classes; strength and noise are drawn for each clip anew."""
    generator = np.random.default_rng([seed, 1])
    bank = [sentence for sentence in load_sentences() if sentence.split == "test"]
    chosen = [bank[int(place)] for place in generator.choice(len(bank), sentences, replace=False)]
    events = []
    for voice in (voice for engine in ENGINES for voice in voices_of(engine, "test")):
        for sentence in chosen:
            for sound_class in range(len(EMOTIONS)):
                affect = draw_affect(sound_class, generator)
                noise = int(generator.integers(2**31))
                events.append(speak(SpeechPlan(sentence.name, sentence.text, voice.name, affect, noise, "test")))
    return events


def crossed_corpus(folder: Path, sentences: int = 6, seed: int = 7) -> Corpus:
    """Open the corpus there, or build it."""
    if (folder / "corpus.json").is_file():
        return Corpus.open(folder)
    config = CorpusConfig(val_performances=PERFORMANCES, reference_clips=1, reference_draws=PERFORMANCES, seed=seed)
    return build_corpus(folder, config, events=crossed_events(sentences, seed), progress=True)


def main() -> None:
    """Build it where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    corpus = crossed_corpus(options.out, options.sentences, options.seed)
    seconds = sum(row.num_samples for row in corpus.speech) / corpus.sample_rate
    print(f"{len(corpus.speech)} clips, {seconds / 60:.0f} minutes, {len(corpus.performances)} performances")


if __name__ == "__main__":
    main()
