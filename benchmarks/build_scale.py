"""How long a performer corpus takes to build: wall time, multiple of real time, and where the time goes.

    python benchmarks/build_scale.py --config base --hours 1 --workers 2

Builds what the preset and words say, `--hours` long, and keeps nothing unless `--out` is given. What is printed was
measured in this run; only the line that begins with "If" is a calculation. Augmentation and engines are the preset's.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from deeptalk.config import compose, find_preset
from deeptalk.corpus import Corpus, CorpusBuild, CorpusConfig, MotionWindows, MotionWindowsConfig
from deeptalk.speech import build_encoder


def report(build: CorpusBuild, corpus: Corpus, workers: int, wall_seconds: float) -> None:
    """Print what the build took."""
    speech = float(corpus.speech.numbers("num_samples").sum()) / corpus.sample_rate
    motion = float(corpus.performances.numbers("frames").sum()) / corpus.frame_rate
    size = sum(path.stat().st_size for path in corpus.folder.iterdir() if path.is_file())
    print(
        f"speech {speech / 3600:.3f} h in {len(corpus.speech)} clips, motion {motion / 3600:.3f} h, {size / 1e9:.3f} GB"
    )
    print(f"expected beforehand: {build.expected_hours:.3f} h, {build.expected_bytes / 1e9:.3f} GB")
    print(f"wall time {wall_seconds:.1f} s with {workers} workers: {speech / wall_seconds:.1f} x real time")
    print("processor seconds of all processes (join: by the clock), and speech by them:")
    for phase, seconds in build.seconds.items():
        print(f"  {phase:8} {seconds:8.1f} s {speech / max(seconds, 1e-9):9.1f} x real time")
    work = sum(build.seconds.values())
    print(f"  {'all':8} {work:8.1f} s {speech / work:9.1f} x real time")
    print(f"  {'by engine':8} {engines(corpus)}")
    share = 20 * 3600 / speech / 60
    print(
        f"If it went on like this, 20 h of speech would take {share * wall_seconds:.0f} min; on {workers} cores with "
        f"nothing else to do, {share * (work / workers):.0f} min."
    )


def engines(corpus: Corpus) -> str:
    """Hours by engine, and how many clips were augmented."""
    seconds: dict[str, float] = {}
    augmented = 0
    for row in corpus.speech:
        origin = row.origin or {}
        name = origin.get("engine", "vendored")
        seconds[name] = seconds.get(name, 0.0) + row.num_samples / corpus.sample_rate
        augmented += "augmentation" in origin
    shares = ", ".join(f"{name} {value / 3600:.3f} h" for name, value in sorted(seconds.items()))
    return f"{shares}; {augmented} clips augmented"


def open_and_read(folder: Path) -> None:
    """Print how long it takes to open the corpus and to draw a first batch."""
    started = time.perf_counter()
    corpus = Corpus.open(folder)
    opened = time.perf_counter()
    corpus.performances_of(corpus.speech_in("train")[0])
    looked = time.perf_counter()
    next(iter(MotionWindows(corpus, MotionWindowsConfig()).train_dataloader()))
    print(
        f"open {opened - started:.3f} s, find a clip's performances {looked - opened:.3f} s, first batch of windows "
        f"{time.perf_counter() - looked:.3f} s"
    )


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="base", help="preset of the corpus")
    parser.add_argument("--hours", type=float, help="instead of the preset's")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="keep the corpus there")
    parser.add_argument("--features", help="also time the features of an encoder, such as logmel or whisper:2s+prosody")
    parser.add_argument("words", nargs="*", help="key=value words of the corpus's config")
    options = parser.parse_args()
    words = [*options.words, *([f"hours={options.hours}"] if options.hours else [])]
    config = compose(CorpusConfig, [find_preset("corpus", options.config)], words)
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        build = CorpusBuild(options.out or Path(name) / "corpus", config)
        print(
            f"{len(build.clips)} clips, about {build.expected_hours:.2f} h, {build.expected_bytes / 1e9:.2f} GB (twice "
            f"while the parts are joined); planned in {time.perf_counter() - started:.1f} s",
            flush=True,
        )
        corpus = build.run(options.workers, progress=True)
        report(build, corpus, options.workers, time.perf_counter() - started)
        open_and_read(corpus.folder)
        if options.features:
            encoder = build_encoder(options.features)
            started, before = time.perf_counter(), sum(os.times()[:4])
            corpus.features(encoder, progress=True, workers=options.workers)
            seconds, work = time.perf_counter() - started, sum(os.times()[:4]) - before
            speech = float(corpus.speech.numbers("num_samples").sum()) / corpus.sample_rate
            threads = torch.get_num_threads() if options.workers == 1 else options.workers
            print(
                f"features {options.features}: {seconds:.1f} s on {threads} threads, {speech / seconds:.1f} x real "
                f"time; processor {work:.1f} s, {speech / work:.1f} x real time"
            )


if __name__ == "__main__":
    main()
