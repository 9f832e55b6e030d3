"""Takes of real recordings, measured: does the mouth follow the voice, do the takes differ, how fast were they made.

    python benchmarks/real_speech.py BUNDLE FOLDER [FOLDER_OR_FILE ...] --takes 8 --seconds 20 --out out/real_speech

Level: log RMS of the 40 ms of each motion frame, in dB of full scale, not below -60. Opening: midline lip gap, mm.
Their Pearson correlation r is taken at one lag for each clip, that of -5 to 5 frames where the mean over takes is
largest; a lag above 0 means that the mouth comes after the sound. The same is done with the level shifted circularly by
every amount of at least a second: the 95th percentile of that is what a mouth moving at random would reach.

Where NAME.npz lies beside a recording and holds `weights` (frame, channel), `names` and `fps`, the opening is also
correlated with its captured jaw (`--jaw`), and so is the level, as what a mouth driven by loudness alone would reach.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from scipy.stats import pearsonr

from deeptalk.benchmark.metrics import diversity
from deeptalk.bundle import read_bundle
from deeptalk.commands import page_scene
from deeptalk.export.page import Page, write_page
from deeptalk.face import compact_vertices, load_rig
from deeptalk.files import write_json, write_text
from deeptalk.pipeline import Talker, find_bundle
from deeptalk.speech import SAMPLE_RATE, Waveform, build_encoder, frame_count, load_waveform
from deeptalk.take import Take

QUIETEST_DB = -60.0
LARGEST_LAG_FRAMES = 5
NOTABLE_EXCESS = 0.01


class WatchedTalker(Talker):
    """A talker that counts the values it had to move by more than 0.01 to keep them within the rig's limits."""

    moved = 0

    def _limit(self, motion: np.ndarray) -> tuple[np.ndarray, dict[str, float | int]]:
        limited, excess = super()._limit(motion)
        self.moved += int(np.count_nonzero(np.abs(motion - limited) > NOTABLE_EXCESS))
        return limited, excess


def load_talker(where: str, device: str) -> WatchedTalker:
    """The bundle's talker, watching how far values are limited."""
    bundle = read_bundle(find_bundle(where))
    speech = bundle.talker.speech
    assert speech is not None
    return WatchedTalker(bundle, build_encoder(speech.name, None, bundle.talker.frame_rate), device)


def recordings(places: list[Path]) -> list[Path]:
    """Files given, and those of the folders given that soundfile reads, in order of their names."""
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()} | {".opus"}
    found = []
    for place in places:
        found += sorted(p for p in place.iterdir() if p.suffix.lower() in suffixes) if place.is_dir() else [place]
    return found


def speech_level(samples: np.ndarray, frame_rate: float) -> np.ndarray:
    """(frame,) dB of full scale, at least -60."""
    frames = frame_count(len(samples), frame_rate)
    edges = np.round(np.arange(frames + 1) * SAMPLE_RATE / frame_rate).astype(int)
    padded = np.pad(samples.astype(np.float64), (0, max(0, edges[-1] - len(samples))))
    energy = np.add.reduceat(np.square(padded[: edges[-1]]), edges[:-1]) / np.diff(edges)
    return np.maximum(10 * np.log10(energy + 1e-12), QUIETEST_DB)


def lagged(curve: np.ndarray, driver: np.ndarray, lag: int) -> float:
    """Pearson correlation of curve[t] with driver[t - lag]; 0 where one of them does not move."""
    late, early = (curve[lag:], driver[: len(driver) - lag]) if lag >= 0 else (curve[:lag], driver[-lag:])
    return float(pearsonr(late, early)[0]) if late.std() > 0 and early.std() > 0 else 0.0


def follow(curves: np.ndarray, driver: np.ndarray) -> dict[str, Any]:
    """Correlation of each take's curve (take, frame) with the driver at the lag that is best for all takes together."""
    lags = range(-LARGEST_LAG_FRAMES, LARGEST_LAG_FRAMES + 1)
    table = np.array([[lagged(curve, driver, lag) for curve in curves] for lag in lags])
    best = int(table.mean(axis=1).argmax())
    return {
        "r": float(table[best].mean()),
        "spread": float(table[best].std()),
        "lag_frames": lags[best],
        "r_at_lag_0": float(table[LARGEST_LAG_FRAMES].mean()),
    }


def chance(curves: np.ndarray, driver: np.ndarray, frame_rate: float) -> float:
    """95th percentile of `follow` with the driver shifted circularly by a second or more (every other shift)."""
    second = round(frame_rate)
    shifts = range(second, len(driver) - second + 1, max(1, len(driver) // 60))
    shifted = [follow(curves, np.roll(driver, shift))["r"] for shift in shifts]
    return float(np.percentile(shifted, 95)) if shifted else float("nan")


def captured_jaw(path: Path, column: str, frame_rate: float, frames: int) -> np.ndarray | None:
    """The captured channel at the centres of the motion frames, where NAME.npz has it."""
    capture = path.with_suffix(".npz")
    if not capture.exists():
        return None
    with np.load(capture) as stored:
        values = stored["weights"][:, stored["names"].tolist().index(column)]
        rate = float(stored["fps"])
    centres = (np.arange(frames) + 0.5) / frame_rate
    return np.interp(centres, (np.arange(len(values)) + 0.5) / rate, values)


def measure(talker: WatchedTalker, path: Path, args: argparse.Namespace) -> tuple[dict[str, Any], list[Take]]:
    """All numbers of one recording, and its takes."""
    whole = load_waveform(path)
    samples = whole.samples[: int(args.seconds * SAMPLE_RATE)] if args.seconds else whole.samples
    waveform = Waveform(samples, len(samples) / SAMPLE_RATE, whole.original_rate, whole.original_channels, whole.path)
    talker.moved, started = 0, time.perf_counter()
    takes = talker.perform(waveform, takes=args.takes, seed=args.seed)
    wall = time.perf_counter() - started
    motion = torch.from_numpy(np.stack([take.motion for take in takes]))
    opening = 1000 * talker.rig.mouth_opening(motion).numpy()
    level = speech_level(samples, talker.frame_rate)
    compact = compact_vertices(load_rig(talker.rig.name), {"face": 1.0})
    loud, quiet = level >= np.percentile(level, 75), level <= np.percentile(level, 10)
    row: dict[str, Any] = {
        "clip": path.stem,
        "seconds": waveform.seconds,
        "level": {**follow(opening, level), "chance": chance(opening, level, talker.frame_rate)},
        "opening_loud_mm": float(opening[:, loud].mean()),
        "opening_quiet_mm": float(opening[:, quiet].mean()),
        "opening_range_mm": float(np.diff(np.percentile(opening, [5, 95]))[0]),
        "diversity_mm": diversity(compact(motion)),
        "moved_share": talker.moved / motion.numel(),
        "times_real_time": waveform.seconds * args.takes / wall,
    }
    jaw = captured_jaw(path, args.jaw, talker.frame_rate, len(level))
    if jaw is not None:
        row["jaw"] = {**follow(opening, jaw), "chance": chance(opening, jaw, talker.frame_rate)}
        row["mean_take_to_jaw"] = follow(opening.mean(axis=0)[None], jaw)
        row["level_to_jaw"] = follow(level[None], jaw)
    return row, takes


COLUMNS = (
    ("clip", lambda row: row["clip"]),
    ("s", lambda row: f"{row['seconds']:.1f}"),
    ("r level", lambda row: f"{row['level']['r']:.2f} ± {row['level']['spread']:.2f}"),
    ("lag", lambda row: f"{row['level']['lag_frames']:+d}"),
    ("chance", lambda row: f"{row['level']['chance']:.2f}"),
    ("loud / quiet, mm", lambda row: f"{row['opening_loud_mm']:.1f} / {row['opening_quiet_mm']:.1f}"),
    ("range, mm", lambda row: f"{row['opening_range_mm']:.1f}"),
    ("diversity, mm", lambda row: f"{row['diversity_mm']:.2f}"),
    ("moved > 0.01", lambda row: f"{100 * row['moved_share']:.2f} %"),
    ("x real time", lambda row: f"{row['times_real_time']:.0f}"),
)
JAW_COLUMNS = (
    ("clip", lambda row: row["clip"]),
    ("r jaw", lambda row: f"{row['jaw']['r']:.2f} ± {row['jaw']['spread']:.2f}"),
    ("lag", lambda row: f"{row['jaw']['lag_frames']:+d}"),
    ("chance", lambda row: f"{row['jaw']['chance']:.2f}"),
    ("mean of takes", lambda row: f"{row['mean_take_to_jaw']['r']:.2f}"),
    ("level alone", lambda row: f"{row['level_to_jaw']['r']:.2f} (lag {row['level_to_jaw']['lag_frames']:+d})"),
)


def table(rows: list[dict[str, Any]], columns: tuple) -> str:
    """Rows as a Markdown table."""
    lines = [[name for name, _ in columns], ["---"] * len(columns)]
    lines += [[text(row) for _, text in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of every number; the lag is the median one."""
    mean: dict[str, Any] = {"clip": f"mean of {len(rows)}"}
    for key, first in rows[0].items():
        if isinstance(first, dict):
            mean[key] = {name: float(np.mean([row[key][name] for row in rows])) for name in first}
            mean[key]["lag_frames"] = int(np.median([row[key]["lag_frames"] for row in rows]))
        elif key != "clip":
            mean[key] = float(np.mean([row[key] for row in rows]))
    return mean


def markdown(groups: dict[str, list[dict[str, Any]]], args: argparse.Namespace, bundle: str) -> str:
    """The whole report as Markdown."""
    cut = f"first {args.seconds:g} s of each" if args.seconds else "whole recordings"
    parts = [f"Bundle {bundle[:12]}, {args.takes} takes, seed {args.seed}, {cut}."]
    for name, rows in groups.items():
        parts += [f"### {name}", table([*rows, mean_row(rows)], COLUMNS)]
        captured = [row for row in rows if "jaw" in row]
        if captured:
            parts.append(table([*captured, mean_row(captured)], JAW_COLUMNS))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="a bundle's folder")
    parser.add_argument("speech", nargs="+", type=Path, help="folders of recordings, or files")
    parser.add_argument("--takes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="use the first seconds only; 0 is all")
    parser.add_argument("--clips", type=int, default=0, help="a random choice of so many, always the same; 0 is all")
    parser.add_argument("--jaw", default="mouth_stretch_c", help="captured channel that opens the jaw")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pages", action="store_true", help="also write a page of the takes for each recording")
    parser.add_argument("--out", type=Path, default=Path("out/real_speech"))
    args = parser.parse_args()
    talker, paths = load_talker(args.bundle, args.device), recordings(args.speech)
    if args.clips:
        chosen = np.random.default_rng(0).choice(len(paths), min(args.clips, len(paths)), replace=False)
        paths = [paths[index] for index in sorted(chosen)]
    if not paths:
        parser.error(f"there are no recordings in {', '.join(map(str, args.speech))}")
    talker.perform(load_waveform(paths[0]), takes=1)  # the first pass loads and allocates
    groups: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        row, takes = measure(talker, path, args)
        groups.setdefault(path.parent.name, []).append(row)
        print(json.dumps(row), flush=True)
        if args.pages:
            page = Page(f"Takes of {path.name}", f"Seed {args.seed}.", [page_scene(path.name, takes)])
            write_page(args.out / f"{path.stem}.html", page, load_rig(talker.rig.name))
    settings = {name: str(value) for name, value in vars(args).items()}
    sha256 = talker.bundle.sha256
    write_json(args.out / "real_speech.json", {"bundle": sha256, "settings": settings, "groups": groups})
    text = markdown(groups, args, sha256)
    write_text(args.out / "real_speech.md", text)
    print(text)


if __name__ == "__main__":
    main()
