"""How well does the extra `align` time the phones of real speech? All clips of RAVDESS against stored phone times.

    python benchmarks/alignment.py DATA/ravdess16k

Prints the clips that do not align, and how far starts of phones are from those stored in `align_pocketsphinx.json`
where both have the same phones in the same order, silences left out.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rich.progress import track
from timing import print_table

from deeptalk.corpus.alignment import align
from deeptalk.corpus.importers.phone_times import Segment, read_phone_times
from deeptalk.corpus.importers.ravdess_names import STATEMENTS, parse_name
from deeptalk.corpus.performer.event import SILENCE, Phone
from deeptalk.errors import UserError
from deeptalk.speech import load_waveform


def main() -> None:
    """Align, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ravdess", type=Path, help="folder of 03-01-*.flac and align_pocketsphinx.json")
    folder = parser.parse_args().ravdess
    stored = read_phone_times(folder / "align_pocketsphinx.json")
    failed, unknown, differences = [], [], []
    seconds = processor = 0.0
    named = {path: parse_name(path.stem) for path in sorted(folder.rglob("03-01-*.flac"))}
    paths = {path: STATEMENTS[name.statement][1] for path, name in named.items() if name is not None}
    for path, text in track(paths.items(), description="RAVDESS", total=len(paths)):
        waveform = load_waveform(path)
        started = time.process_time()
        try:
            phones = align(waveform.samples, text)
        except UserError as error:
            failed.append(f"{path.stem}: {error}")
            continue
        finally:
            processor += time.process_time() - started
            seconds += waveform.seconds
        if path.stem in stored:
            differences.append(start_differences(phones, stored[path.stem]))
        else:
            unknown.append(path.stem)
    print("\n".join(failed) or "All clips align.")
    compared = [times for times in differences if times is not None]
    sizes = np.abs(np.concatenate(compared))
    rows = [
        ["aligned", f"{100 * (1 - len(failed) / len(paths)):.1f} % ({len(paths) - len(failed)} of {len(paths)})"],
        ["of them not in the file", f"{len(unknown)}"],
        ["with the phones of the file", f"{len(compared)} of {len(differences)}"],
        ["starts of phones less those of the file, median", f"{1000 * np.median(np.concatenate(compared)):+.0f} ms"],
        ["their sizes: median, 90th, 99th percentile", " ms, ".join(percentiles(sizes)) + " ms"],
        ["x real time of one core", f"{seconds / processor:.0f}"],
    ]
    print_table("Alignment of RAVDESS", ["what", "found"], rows)


def start_differences(phones: list[Phone], known: list[Segment]) -> np.ndarray | None:
    """Start of each phone less the stored one, seconds; None where the phones are not the same."""
    own = [phone for phone in phones if phone.symbol != SILENCE]
    others = [(symbol, start / 100.0) for _, symbol, start, _ in known if symbol != SILENCE]
    if [phone.symbol for phone in own] != [symbol for symbol, _ in others]:
        return None
    return np.array([phone.start_seconds - start for phone, (_, start) in zip(own, others)])


def percentiles(sizes: np.ndarray) -> list[str]:
    """Median, 90th and 99th percentile in milliseconds."""
    return [f"{1000 * value:.0f}" for value in np.percentile(sizes, [50, 90, 99])]


if __name__ == "__main__":
    main()
