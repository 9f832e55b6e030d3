"""Random reads of training windows from a corpus, against one npz file a clip, as training reads them.

Both hold the same clips: int16 sound and float32 motion. A read is a window of 32 frames of a random clip, with its
sound. `npz` is what many projects write (`np.savez` a clip); `npz compressed` is `np.savez_compressed`. The readers
take turns in one process, so the ratios hold on a busy machine too. The files are in the page cache for all of them.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import median_seconds, milliseconds, print_table

from deeptalk.corpus import ClipWindows, ClipWindowsConfig, Corpus, CorpusWriter
from deeptalk.speech import SAMPLE_RATE, build_encoder

FRAMES, READS = 32, 100
SAMPLES = FRAMES * SAMPLE_RATE // 25


def write(folder: Path, clips: int, performances: int, seconds: float) -> Corpus:
    """A corpus of noise, and the same clips as npz files beside it."""
    generator = np.random.default_rng(0)
    for name in ("npz", "compressed"):
        (folder / name).mkdir()
    with CorpusWriter(folder / "corpus", provenance="noise", license="CC0-1.0") as writer:
        for clip in range(clips):
            length = round(seconds * float(generator.uniform(0.5, 1.5)) * 25)
            sound = generator.integers(-9000, 9000, length * 640).astype(np.int16)
            speech = writer.add_speech(f"{clip}", sound / np.float32(32768), speaker="a", sentence="", split="train")
            for take in range(performances):
                motion = generator.random((length, 52), np.float32)
                writer.add_performance(f"{clip}/{take}", motion, speech=speech)
                np.savez(folder / "npz" / f"{clip}-{take}.npz", sound=sound, motion=motion)
                np.savez_compressed(folder / "compressed" / f"{clip}-{take}.npz", sound=sound, motion=motion)
    return Corpus.open(folder / "corpus")


def corpus_reader(corpus: Corpus) -> Callable[[], object]:
    """Reads random windows through `Corpus`."""
    generator = np.random.default_rng(1)
    frames = corpus.performances.numbers("frames")

    def read() -> None:
        for performance in generator.integers(len(frames), size=READS).tolist():
            first = int(generator.integers(max(int(frames[performance]) - FRAMES, 0) + 1))
            corpus.motion(performance, part=slice(first, first + FRAMES))
            speech = corpus.performances[performance].speech or 0
            corpus.waveform(speech, part=slice(first * 640, first * 640 + SAMPLES))

    return read


def npz_reader(folder: Path) -> Callable[[], object]:
    """Reads random windows from npz files."""
    generator = np.random.default_rng(1)
    paths = sorted(folder.iterdir())

    def read() -> None:
        for place in generator.integers(len(paths), size=READS).tolist():
            with np.load(paths[place]) as clip:
                motion, sound = clip["motion"], clip["sound"]
            first = int(generator.integers(max(len(motion) - FRAMES, 0) + 1))
            motion[first : first + FRAMES].copy()
            sound[first * 640 : first * 640 + SAMPLES].astype(np.float32) / np.float32(32768)

    return read


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--performances", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = write(folder, options.clips, options.performances, options.seconds)
        readers = {
            "corpus": corpus_reader(corpus),
            "npz": npz_reader(folder / "npz"),
            "npz compressed": npz_reader(folder / "compressed"),
        }
        laps = median_seconds(readers, 2.0)
        rows = [
            [reader, f"{READS / lap:,.0f}", milliseconds(lap / READS), f"{lap / laps['corpus']:.1f}"]
            for reader, lap in laps.items()
        ]
        print_table(
            f"Windows of {FRAMES} frames with their sound, {len(corpus.performances)} performances",
            ["reader", "windows/s", "one window", "time / corpus"],
            rows,
        )
        started = time.perf_counter()
        again = Corpus.open(corpus.folder)
        opened = time.perf_counter()
        again.performances_in("train")
        print(f"open {milliseconds(opened - started)}, tables {milliseconds(time.perf_counter() - opened)}")
        store = corpus.features(build_encoder("logmel"))
        data = ClipWindows(corpus, store, ClipWindowsConfig(batch_size=32, samples_per_epoch=1024, val_split="train"))
        started = time.perf_counter()
        items = sum(len(batch["lengths"]) for batch in data.train_dataloader())
        print(f"ClipWindows with features, batches of 32: {items / (time.perf_counter() - started):,.0f} windows/s")


if __name__ == "__main__":
    main()
