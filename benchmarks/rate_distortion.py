"""What a motion prior loses at which rate: the hierarchy against one level of the same bits, and a VAE.

    python benchmarks/rate_distortion.py --corpus corpus/ --also captured/livelink captured/facegood --out rate.json

Every system is trained on the training split of `--corpus` for the same number of steps at each of the learning rates,
the one with the lowest validation loss is kept, then it is trained again for each seed. Measured is the root mean
square vertex distance in mm over the whole face, the lips and the upper face, on the test split of `--corpus` (unseen
speakers) and on everything in the other corpora (captured motion). The rate of codes is their number of bits; that of a
VAE is the divergence of its posterior from the prior, and its motion is decoded from a draw. One thread, one process.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from timing import print_table

from deeptalk.corpus import Corpus, MotionWindows, MotionWindowsConfig, motion_statistics
from deeptalk.face import LinearRig, compact_vertices, load_rig
from deeptalk.files import write_json
from thvqvae import MotionVAE, MotionVAEConfig, ProductVQVAEConfig, THVQVAEConfig, THVQVAETraining
from thvqvae.training import AutoencoderConfig, THVQVAETrainingConfig

REGIONS = ("face", "lips", "upper_face")
LEARNING_RATES = (1e-3, 2e-3)
REGION_WEIGHTS = {"face": 1.0, "lips": 4.0, "upper_face": 1.0}
LONGEST = 750
"""Frames of captured motion that are encoded at once."""


@dataclasses.dataclass(frozen=True)
class System:
    """A row: an architecture, and how much a VAE's rate costs."""

    name: str
    config: AutoencoderConfig
    kl_weight: float = 0.0


def systems(size: int, channels: int) -> list[System]:
    """Rows by rate: 112.5, 150 and 187.5 bit/s of codes, and VAEs of three weights of the divergence."""
    sizes = {
        "channels": channels,
        "hidden_size": size,
        "feedforward_size": 2 * size,
        "decoder_feedforward_size": 4 * size,
        "dropout": 0.0,
    }
    rows = []
    for bits in (6, 8, 10):
        codes = 2**bits
        rows.append(System("hierarchy", THVQVAEConfig(**sizes, top_codes=codes, bottom_codes=codes)))
        rows.append(System("one level, 3 codes every 4 frames", ProductVQVAEConfig(**sizes, codes=codes)))
    rows.append(
        System("one level, 2 codes every 2 frames", ProductVQVAEConfig(**sizes, stride=2, codebooks=2, codes=64))
    )
    for weight in (3.0, 1.0, 0.3, 0.1):
        rows.append(System("VAE", MotionVAEConfig(**sizes), kl_weight=weight))
    return rows


def code_bits_per_frame(config: AutoencoderConfig) -> float:
    """Bits a motion frame of a system of codes."""
    if isinstance(config, THVQVAEConfig):
        return math.log2(config.top_codes) / 4 + math.log2(config.bottom_codes) / 2
    assert isinstance(config, ProductVQVAEConfig)
    return config.bits_per_frame


def batches(data: MotionWindows, steps: int) -> Iterator[dict[str, torch.Tensor]]:
    """So many training batches, epoch after epoch."""
    loader = data.train_dataloader()
    given, epoch = 0, 0
    while True:
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            if given == steps:
                return
            given += 1
            yield batch
        epoch += 1


def train(
    system: System, learning_rate: float, corpus: Corpus, data: MotionWindows, steps: int, seed: int
) -> tuple[THVQVAETraining, float]:
    """A trained system and its validation loss."""
    torch.manual_seed(seed)
    config = (
        system.config if isinstance(system.config, MotionVAEConfig) else dataclasses.replace(system.config, seed=seed)
    )
    settings = THVQVAETrainingConfig(learning_rate=learning_rate, warmup_steps=200, kl_weight=system.kl_weight)
    module = THVQVAETraining(config, settings, compact_vertices(load_rig(corpus.rig), REGION_WEIGHTS))
    module.model.set_statistics(*motion_statistics(corpus))
    optimizer = torch.optim.AdamW(module.model.parameters(), lr=learning_rate, fused=True)
    for step, batch in enumerate(batches(data, steps)):
        # linear warm-up, then a cosine to a hundredth: short runs end settled
        scale = min(1.0, (step + 1) / settings.warmup_steps) * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = learning_rate * scale
        result, errors = module._reconstruct(batch, "train")
        loss = module._loss(errors, result)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.model.parameters(), 1.0)
        optimizer.step()
    module.eval()
    with torch.no_grad():
        losses = [float(module._loss(*module._reconstruct(batch, "val")[::-1])) for batch in data.val_dataloader()]
    return module, float(np.mean(losses))


def clips(corpus: Corpus, split: str | None, limit: int) -> list[torch.Tensor]:
    """Motions (1, frame, channel) of a split, or of the whole corpus, cut to pieces of 30 s."""
    chosen = [i for i, row in enumerate(corpus.performances) if split is None or row.split == split]
    pieces = []
    for index in chosen[:: max(1, len(chosen) // limit)]:
        motion = torch.from_numpy(corpus.motion(index))
        pieces += [piece[None] for piece in motion.split(LONGEST) if len(piece) >= 8]
    return pieces


@torch.no_grad()
def distortion(module: THVQVAETraining, motions: Sequence[torch.Tensor], rig: LinearRig) -> dict[str, float]:
    """Root mean square vertex distance of each region in mm, over all frames, and the rate in bits a second."""
    torch.manual_seed(0)
    maps = {region: compact_vertices(rig, {region: 1.0}) for region in REGIONS}
    squares, divergence, frames = dict.fromkeys(REGIONS, 0.0), 0.0, 0
    model = module.model
    for motion in motions:
        result = model(motion, draw=True) if isinstance(model, MotionVAE) else model(motion)
        frames += motion.shape[1]
        if result.kl is not None:
            divergence += float(result.kl) * motion.shape[1]
        for region, vertices in maps.items():
            squares[region] += float((vertices(result.motion) - vertices(motion)).square().sum())
    values = {region: 1e3 * math.sqrt(total / frames) for region, total in squares.items()}
    if isinstance(model, MotionVAE):
        return {**values, "bits_per_second": 25.0 * divergence / frames / math.log(2)}
    return {**values, "bits_per_second": 25.0 * code_bits_per_frame(model.config)}


@torch.no_grad()
def code_use(module: THVQVAETraining, motions: Sequence[torch.Tensor]) -> dict[str, float]:
    """Share of each codebook that the motions use."""
    counts: dict[str, torch.Tensor] = {}
    for motion in motions:
        for name, level in module.model(motion).levels.items():
            counts[name] = counts.get(name, torch.zeros_like(level.counts)) + level.counts
    return {name: float((count > 0).float().mean()) for name, count in counts.items()}


def measure(system: System, corpus: Corpus, sets: dict[str, list[torch.Tensor]], options: argparse.Namespace) -> dict:
    """One row: the chosen learning rate, and the distortion on every set for every seed."""
    data = MotionWindows(corpus, MotionWindowsConfig(batch_size=64, samples_per_epoch=6400))
    data.setup("fit")
    trials = {rate: train(system, rate, corpus, data, options.steps, seed=100)[1] for rate in options.learning_rates}
    rate = min(trials, key=trials.__getitem__)
    row = {"system": system.name, "kl_weight": system.kl_weight, "learning_rate": rate, "seeds": []}
    row["parameters"] = 0
    rig = load_rig(corpus.rig)
    assert isinstance(rig, LinearRig)
    training = clips(corpus, "train", 400)
    for seed in range(options.seeds):
        module, validation = train(system, rate, corpus, data, options.steps, seed)
        row["parameters"] = sum(parameter.numel() for parameter in module.model.parameters())
        values = {name: distortion(module, motions, rig) for name, motions in sets.items()}
        row["seeds"].append({"val_loss": validation, "sets": values, "code_use": code_use(module, training)})
    return row


def cells(row: dict, sets: Sequence[str]) -> list[str]:
    """A row of the table: means over seeds, with the spread of the seeds."""

    def cell(values: Sequence[float]) -> str:
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        return f"{np.mean(values):.3f}{spread}"

    first = [seed["sets"][sets[0]]["bits_per_second"] for seed in row["seeds"]]
    use = [min(seed["code_use"].values()) for seed in row["seeds"] if seed["code_use"]]
    texts = [row["system"], f"{np.mean(first):.0f}", f"{row['parameters'] / 1e6:.2f} M"]
    texts.append(f"{min(use):.0%}" if use else "-")
    for name in sets:
        texts += [cell([seed["sets"][name][region] for seed in row["seeds"]]) for region in REGIONS]
    return texts


def main() -> None:
    """Train, measure, print a Markdown table and write every number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="corpora of captured motion, measured whole")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="channels of the encoders (128 in the paper)")
    parser.add_argument("--clips", type=int, default=200, help="clips measured of each set, evenly chosen")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=list(LEARNING_RATES))
    parser.add_argument("--out", type=Path, default=Path("rate_distortion.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus.open(options.corpus)
    sets = {f"{corpus.name}, unseen speakers": clips(corpus, "test", options.clips)}
    for folder in options.also:
        other = Corpus.open(folder)
        sets[other.name] = clips(other, None, options.clips)
    rows = []
    for system in systems(options.size, len(load_rig(corpus.rig).channels)):
        rows.append(measure(system, corpus, sets, options))
        print(" | ".join(cells(rows[-1], list(sets))), flush=True)
        write_json(options.out, {"corpus": corpus.hash, "steps": options.steps, "size": options.size, "rows": rows})
    header = ["system", "bit/s", "parameters", "codes used"]
    header += [f"{name}: {region}, mm" for name in sets for region in REGIONS]
    print_table("Rate and distortion", header, [cells(row, list(sets)) for row in rows])


if __name__ == "__main__":
    main()
