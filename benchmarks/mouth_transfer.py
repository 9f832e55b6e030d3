"""Does a mouth that learned from the performer alone follow people? Correlation with a captured jaw, lips that close.

    python benchmarks/mouth_transfer.py DATA --out out/mouth_transfer

DATA holds `facegood_zh_blendshapes` and `ravdess16k`. A small convolution over time learns jaw and lip opening of the
performer's neutral articulation (100 Hz control points, taken at 50 Hz) from the features of synthetic speech; nothing
in it has heard a person except the frozen Whisper. It is then tested as it is.

Jaw: Pearson correlation over a whole session with the captured channel, at no lag, at the centres of the captured
frames. Closure: of the /B/ in "by", how many have a least lip opening (frames whose centres lie within the phone as
pocketsphinx aligned it, or the nearest one) below 35 % of the largest opening in the vowels next to it; and how many
below 1 mm. The same shares of /D/ in "door" and /K/ in "talking" say whether the mouth closes there only, those of the
performer itself, told the phones, what can be asked. RAVDESS's actors 01 to 14 are for tuning; `--actors 15-18` is for
the one report at the end.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from deeptalk.corpus.importers.phone_times import Segment, read_phone_times, tiled_phones
from deeptalk.corpus.performer import Performer, SpeechEvent
from deeptalk.corpus.performer.event import VOWELS
from deeptalk.corpus.synthesis import plan_speech, speak
from deeptalk.corpus.synthesis.plan import SHARES
from deeptalk.face import load_rig
from deeptalk.files import file_sha256, write_json, write_text
from deeptalk.speech import SAMPLE_RATE, SpeechEncoder, build_encoder, load_waveform, pad_waveforms
from deeptalk.speech.augment import AugmentConfig, augment

FRAME_RATE = 50.0
JAW, OPENING = 0, 1
TARGET_SCALE = (0.1, 5.0)
"""Jaw channel and lip opening in mm are divided by these, about their standard deviations."""
CLOSED_MILLIMETRES = 1.0
CLOSURE_WEIGHT = 4.0
"""Weight in the loss of frames whose lips are closed: they are few, and they matter."""
CONTEXT_DILATIONS = (1, 2, 4)
CLOSED_SHARE = 0.35
JAW_CHANNEL = "mouth_stretch_c"
CLOSURES = (("B", "by"), ("D", "door"), ("K", "talking"))

Array = NDArray[np.float32]


class MouthModel(nn.Module):
    """Features (batch, frame, feature) to jaw and lip opening (batch, frame, 2), with 15 frames of context each way."""

    mean: Tensor
    std: Tensor

    def __init__(self, feature_size: int, width: int = 128, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_size))
        self.register_buffer("std", torch.ones(feature_size))
        self.narrow = nn.Linear(feature_size, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation), nn.GELU(), nn.Dropout(dropout)
            )
            for dilation in CONTEXT_DILATIONS
        )
        self.out = nn.Linear(width, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return the targets in units of `TARGET_SCALE`."""
        hidden = self.dropout(nn.functional.gelu(self.narrow((features - self.mean) / self.std))).transpose(1, 2)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.out(hidden.transpose(1, 2))


def targets(performer: Performer, event: SpeechEvent, frames: int) -> Array:
    """Jaw and lip opening (frame, 2) of the performer's articulation without emotion, mean over two styles."""
    unknown = replace(event, affect=None)
    curves = []
    for acting in performer.draw(unknown, 2, label=(0, 0.0)):
        motion = torch.from_numpy(performer.control_motion(unknown, acting))
        opening = 1000.0 * performer.rig.mouth_opening(motion)
        jaw = motion[:, performer.rig.channels.index("jawOpen")]
        curves.append(torch.stack([jaw / TARGET_SCALE[JAW], opening / TARGET_SCALE[OPENING]], dim=-1).numpy())
    control = np.mean(curves, axis=0)
    places = 1 + 2 * np.arange(frames)  # the centre of frame k is 10 + 20 k ms
    return control[np.minimum(places, len(control) - 1)].astype(np.float32)


def features_of(encoder: SpeechEncoder, samples: np.ndarray) -> Array:
    """Features (frame, feature) at 50 Hz as float32."""
    return encoder(*pad_waveforms([samples]))[0][0].numpy()


def training_pairs(
    encoder: SpeechEncoder, performer: Performer, clips: int, shares: dict[str, float], augmented: bool, seed: int
) -> list[tuple[Array, Array]]:
    """Features and targets of synthetic speech; each clip clean and, if `augmented`, once more in another room."""
    plans = [line for line in plan_speech(clips=clips, shares=shares, seed=seed) if line.split == "train"]
    pairs = []
    for number, plan in enumerate(track(plans, description="speech")):
        event = speak(plan)
        versions = [event.samples]
        if augmented:
            versions.append(augment(event.samples, seed + number, AugmentConfig()))
        for samples in versions:
            features = features_of(encoder, samples)
            pairs.append((features, targets(performer, event, len(features))))
    return pairs


def fit(pairs: Sequence[tuple[Array, Array]], epochs: int, seed: int) -> MouthModel:
    """Train on windows of 2 s; the squared error counts more where the lips are closed."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    model = MouthModel(pairs[0][0].shape[1])
    every = np.concatenate([features for features, _ in pairs])
    model.mean.copy_(torch.from_numpy(every.mean(0)))
    model.std.copy_(torch.from_numpy(every.std(0)) + 1e-4)
    size, batch = 100, 32
    steps = epochs * sum(len(features) for features, _ in pairs) // (size * batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(steps, 4))
    chances = np.array([len(features) for features, _ in pairs], float)
    chances /= chances.sum()
    for _ in track(range(max(steps, 4)), description="training"):
        window = [_window(*pairs[index], size, generator) for index in generator.choice(len(pairs), batch, p=chances)]
        features, wanted, real = (torch.from_numpy(np.stack(part)) for part in zip(*window))
        closed = wanted[..., OPENING] * TARGET_SCALE[OPENING] < CLOSED_MILLIMETRES
        weight = real * torch.where(closed, CLOSURE_WEIGHT, 1.0)
        error = (model(features) - wanted).square().sum(-1)
        loss = (weight * error).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _window(features: Array, wanted: Array, size: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """A random piece of a clip of `size` frames, padded with zeros where the clip is shorter, and which are real."""
    start = int(generator.integers(max(len(features) - size, 0) + 1))
    piece, goal = features[start : start + size], wanted[start : start + size]
    missing = size - len(piece)
    real = np.pad(np.ones(len(piece), np.float32), (0, missing))
    return np.pad(piece, ((0, missing), (0, 0))), np.pad(goal, ((0, missing), (0, 0))), real


@torch.no_grad()
def predict(model: MouthModel, features: Array) -> Array:
    """Jaw channel and lip opening in mm (frame, 2) at 50 Hz."""
    return model(torch.from_numpy(features)[None])[0].numpy() * np.array(TARGET_SCALE, np.float32)


def jaw_correlation(jaw: np.ndarray, captured: np.ndarray, rate: float, held: np.ndarray | None = None) -> float:
    """Pearson correlation of a curve at 50 Hz with a captured one, at the centres of the captured frames.

    With `held` (at 50 Hz) the partial correlation: of what a linear function of `held` leaves of both.
    """
    centres = (np.arange(len(captured)) + 0.5) / rate
    curves = [np.interp(centres, (np.arange(len(jaw)) + 0.5) / FRAME_RATE, jaw), captured]
    if held is not None:
        line = np.polynomial.Polynomial.fit
        known = np.interp(centres, (np.arange(len(held)) + 0.5) / FRAME_RATE, held)
        curves = [curve - line(known, curve, 1)(known) for curve in curves]
    return float(np.corrcoef(*curves)[0, 1])


def openings(opening: np.ndarray, rows: Sequence[Segment], phone: str, word: str) -> list[tuple[float, float]]:
    """For each such phone: its least opening (mm) and the largest in the vowels next to it."""
    found = []
    for place, (spoken, symbol, start, length) in enumerate(rows):
        if symbol == phone and spoken.split("(")[0] == word:
            vowels = [_frames(opening, *_nearest_vowel(rows, place, step)) for step in (-1, 1)]
            peak = max(piece.max() for piece in vowels)
            found.append((float(_frames(opening, start, length).min()), float(peak)))
    return found


def _nearest_vowel(rows: Sequence[Segment], place: int, step: int) -> tuple[int, int]:
    """Start and length of the next vowel in one direction, of the phone itself where there is none."""
    places = range(place + step, len(rows) if step > 0 else -1, step)
    found = next((index for index in places if rows[index][1] in VOWELS), place)
    return rows[found][2], rows[found][3]


def _frames(curve: np.ndarray, start: int, length: int) -> np.ndarray:
    """The frames of a 50 Hz curve whose centres lie within a phone, or the one nearest to its middle."""
    first, last = int(np.ceil(start / 2 - 0.5)), int(np.floor((start + length) / 2 - 0.5))
    if last < first:
        first = last = round((start + length / 2) / 2 - 0.5)
    first, last = (min(max(index, 0), len(curve) - 1) for index in (first, last))
    return curve[first : last + 1]


def jaw_of_people(model: MouthModel, encoder: SpeechEncoder, folder: Path) -> dict[str, dict[str, float]]:
    """Correlation of jaw, of lip opening and of the level alone with the captured jaw, for every session."""
    rows = {}
    for path in sorted(folder.glob("*.flac")):
        samples = load_waveform(path).samples
        curves = predict(model, features_of(encoder, samples))
        with np.load(path.with_suffix(".npz")) as stored:
            captured = stored["weights"][:, stored["names"].tolist().index(JAW_CHANNEL)]
            rate = float(stored["fps"])
        power = np.convolve(np.square(samples, dtype=np.float64), np.ones(640) / 640, "same")
        level = 10 * np.log10(power[160 :: SAMPLE_RATE // 50] + 1e-6)
        rows[path.stem] = {
            "jaw": jaw_correlation(curves[:, JAW], captured, rate),
            "opening": jaw_correlation(curves[:, OPENING], captured, rate),
            "level_alone": jaw_correlation(level, captured, rate),
            "jaw_level_held": jaw_correlation(curves[:, JAW], captured, rate, held=level),
        }
    return rows


def closure_of_people(
    model: MouthModel, encoder: SpeechEncoder, performer: Performer, folder: Path, actors: range
) -> dict[str, Any]:
    """Closure of /B/, and of /D/ and /K/ as controls, by the model and by the performer that is told the phones."""
    times = read_phone_times(folder / "align_pocketsphinx.json")
    names = [name for name in sorted(times) if int(name[-2:]) in actors]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {"model": {}, "performer": {}}
    for name in track(names, description="RAVDESS"):
        samples = load_waveform(folder / f"{name}.flac").samples
        features = features_of(encoder, samples)
        phones = tuple(tiled_phones(times[name], len(samples) / SAMPLE_RATE, {}))
        told = targets(performer, SpeechEvent(samples, phones, name, name[-2:], name), len(features))
        curves = {"model": predict(model, features)[:, OPENING], "performer": told[:, OPENING] * TARGET_SCALE[OPENING]}
        for who, curve in curves.items():
            for phone, word in CLOSURES:
                found[who].setdefault(phone, []).extend(openings(curve, times[name], phone, word))
    shares = {who: {phone: closure_shares(pairs) for phone, pairs in by.items()} for who, by in found.items()}
    return {"clips": len(names), **shares}


def closure_shares(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Of (least opening, vowel peak) in mm: how many are below 35 % of the peak, how many below 1 mm."""
    least, peak = np.array(pairs).T
    return {
        "count": len(pairs),
        "below_35_percent": float(np.mean(least < CLOSED_SHARE * peak)),
        "below_1_mm": float(np.mean(least < CLOSED_MILLIMETRES)),
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["| session | r jaw | r lip opening | r level alone | r jaw, level held |", "| --- |" + " ---: |" * 4]
    rows = report["jaw"]
    mean = {key: float(np.mean([row[key] for row in rows.values()])) for key in next(iter(rows.values()))}
    for name, row in {**rows, "mean": mean}.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |")
    lines += ["", f"RAVDESS {report['settings']['actors']}, {report['closure']['clips']} clips:", ""]
    lines += ["| mouth of | phone | count | below 35 % of the vowels | below 1 mm |", "| --- | --- |" + " ---: |" * 3]
    for who in ("model", "performer"):
        for phone, row in report["closure"][who].items():
            shares = " | ".join(f"{100 * row[key]:.1f} %" for key in ("below_35_percent", "below_1_mm"))
            lines.append(f"| {who} | {phone} | {row['count']} | {shares} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train on the performer, test on people, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with facegood_zh_blendshapes and ravdess16k")
    parser.add_argument("--speech", default="whisper:2s+prosody", help="speech encoder")
    parser.add_argument("--clips", type=int, default=400, help="clips of synthetic speech")
    mix = ",".join(f"{engine}={share:g}" for engine, share in SHARES.items())
    parser.add_argument("--shares", default=mix, help="seconds by engine; those of a corpus unless given")
    parser.add_argument("--plain", action="store_true", help="without augmentation")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--actors", default="1-14", help="RAVDESS actors for closure; 15-18 once, at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/mouth_transfer"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    shares = {name: float(value) for name, value in (part.split("=") for part in args.shares.split(","))}
    encoder, performer = build_encoder(args.speech, frame_rate=FRAME_RATE), Performer(load_rig("arkit"))
    pairs = training_pairs(encoder, performer, args.clips, shares, not args.plain, args.seed)
    model = fit(pairs, args.epochs, args.seed)
    first, last = (int(actor) for actor in args.actors.split("-"))
    report = {
        "settings": {name: str(value) for name, value in vars(args).items()},
        "performer": performer.version,
        "script": file_sha256(Path(__file__)),
        "training_minutes": sum(len(features) for features, _ in pairs) / FRAME_RATE / 60,
        "jaw": jaw_of_people(model, encoder, args.data / "facegood_zh_blendshapes"),
        "closure": closure_of_people(model, encoder, performer, args.data / "ravdess16k", range(first, last + 1)),
        "seconds": time.perf_counter() - started,
    }
    write_json(args.out / "mouth_transfer.json", report)
    write_text(args.out / "mouth_transfer.md", table(report))
    print(table(report))


if __name__ == "__main__":
    main()
