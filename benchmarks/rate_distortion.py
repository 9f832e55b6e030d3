"""What a motion prior loses at which rate: the hierarchy against one level of the same bits, and a VAE.

    python benchmarks/rate_distortion.py --corpus corpus/ --also captured/livelink captured/facegood --out rate.json
    python benchmarks/rate_tables.py rate.json
    python benchmarks/rate_picture.py rate.json rate_distortion.png

Every system is trained on the training split of `--corpus` for the same number of steps, on the same windows. The
learning rate of a kind of system is the one of `--learning-rates` with the lowest validation loss at the first seed.
Measured is the root mean square vertex distance over the whole face, the lips and the upper face, on the test split
of `--corpus` (unseen speakers) and of the other corpora (captured motion; all of it where there is no test split).
The rate of codes is their number of bits; that of a VAE is the divergence of its posterior from the prior, and its
motion is decoded from a draw. One thread, one process.
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rate_tables import REGIONS, print_tables
from torch import Tensor

from deeptalk.corpus import Corpus, MotionWindows, MotionWindowsConfig, motion_statistics
from deeptalk.face import Rig, compact_vertices, load_rig
from deeptalk.files import write_json
from thvqvae import THVQVAE, Codes, MotionVAE, MotionVAEConfig, ProductVQVAEConfig, THVQVAEConfig, THVQVAETraining
from thvqvae.training import AutoencoderConfig, THVQVAETrainingConfig

REGION_WEIGHTS = {"face": 1.0, "lips": 4.0, "upper_face": 1.0}
LONGEST_FRAMES = 750
VALIDATION_WINDOWS = 1024
DAMAGED = 0.1
DAMAGED_CLIPS = 24


@dataclasses.dataclass(frozen=True)
class System:
    """A row: an architecture, its name, the family that shares a learning rate, and what a VAE's rate costs."""

    name: str
    family: str
    config: AutoencoderConfig
    kl_weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of motion in memory."""

    motion: Tensor
    """(window, frame, channel)"""
    lengths: Tensor
    """(window,) real frames of each."""

    def __len__(self) -> int:
        return len(self.motion)

    def batch(self, index: Tensor | slice) -> dict[str, Tensor]:
        """Some of them, as the training module takes them."""
        return {"motion": self.motion[index], "lengths": self.lengths[index]}


@dataclasses.dataclass(frozen=True)
class Clip:
    """A motion to measure on, and whom or what it belongs to: intervals draw groups with replacement."""

    group: str
    motion: Tensor
    """(1, frame, channel)"""


@dataclasses.dataclass(frozen=True)
class Task:
    """What all systems share: windows to train and validate on, statistics, vertices, and clips to measure on."""

    training: Windows
    validation: Windows
    statistics: tuple[Tensor, Tensor]
    rig: Rig
    sets: dict[str, list[Clip]]


def systems(size: int, channels: int, bits: Sequence[int]) -> list[System]:
    """Rows by rate: 18.75 bit/s for each bit of a code, and VAEs of several weights of the divergence."""
    sizes = {
        "channels": channels,
        "hidden_size": size,
        "heads": 4,
        "feedforward_size": 2 * size,
        "decoder_feedforward_size": 4 * size,
        "dropout": 0.0,
    }
    rows = []
    for count in bits:
        codes = 2**count
        paper = THVQVAEConfig(**sizes, top_codes=codes, bottom_codes=codes)
        rows += [
            System("hierarchy", "hierarchy", paper),
            System("hierarchy, projected", "hierarchy", dataclasses.replace(paper, project_bottom=True)),
            System("one level, 3 codes every 4 frames", "one level", ProductVQVAEConfig(**sizes, codes=codes)),
        ]
    fine = ProductVQVAEConfig(**sizes, stride=2, codebooks=2, codes=64)
    rows.append(System("one level, 2 codes every 2 frames", "one level", fine))
    rows += [System("VAE", "VAE", MotionVAEConfig(**sizes), weight) for weight in (0.3, 0.1, 0.03)]
    return rows


def code_bits_per_second(config: AutoencoderConfig, frame_rate: float) -> float:
    """Bits that the codes of a system carry."""
    if isinstance(config, THVQVAEConfig):
        return frame_rate * (math.log2(config.top_codes) / 4 + math.log2(config.bottom_codes) / 2)
    assert isinstance(config, ProductVQVAEConfig)
    return frame_rate * config.bits_per_frame


def load_windows(corpus: Corpus, count: int) -> tuple[Windows, Windows]:
    """So many random windows of the training split, and evenly chosen ones of the validation split."""
    data = MotionWindows(corpus, MotionWindowsConfig(batch_size=256, samples_per_epoch=count))
    loaded = []
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batches = list(loader)
        loaded.append(Windows(*(torch.cat([batch[name] for batch in batches]) for name in ("motion", "lengths"))))
    step = max(1, len(loaded[1]) // VALIDATION_WINDOWS)
    return loaded[0], Windows(loaded[1].motion[::step], loaded[1].lengths[::step])


def clips(corpus: Corpus, split: str | None, limit: int) -> list[Clip]:
    """Evenly chosen motions of a split, or of the whole corpus, cut to pieces of 30 s."""
    chosen = corpus.performances_in(split) if split else range(len(corpus.performances))
    pieces = []
    for index in list(chosen)[:: max(1, len(chosen) // limit)]:
        group = corpus.performances[index].speaker if len(corpus.speakers(split or "train")) > 1 else str(index)
        motion = torch.from_numpy(corpus.motion(index))
        for number, piece in enumerate(motion.split(LONGEST_FRAMES)):
            if len(piece) >= 8:
                pieces.append(Clip(group if split else f"{group}-{number}", piece[None]))
    return pieces


def train(
    system: System, learning_rate: float, task: Task, options: argparse.Namespace, seed: int
) -> tuple[THVQVAETraining, float]:
    """A trained system and its validation loss."""
    torch.manual_seed(seed)
    seeded = {} if isinstance(system.config, MotionVAEConfig) else {"seed": seed}
    config = dataclasses.replace(system.config, **seeded)
    settings = THVQVAETrainingConfig(kl_weight=system.kl_weight)
    module = THVQVAETraining(config, settings, compact_vertices(task.rig, REGION_WEIGHTS))
    module.model.set_statistics(*task.statistics)
    optimizer = torch.optim.AdamW(module.model.parameters(), lr=learning_rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    for step in range(options.steps):
        # linear warm-up over a tenth, then a cosine to a hundredth: short runs end settled
        share = (step + 1) / options.steps
        scale = min(1.0, 10 * share) * (0.505 + 0.495 * math.cos(math.pi * share))
        optimizer.param_groups[0]["lr"] = learning_rate * scale
        picks = torch.randint(len(task.training), (options.batch_size,), generator=generator)
        loss = module.loss(*module.reconstruct(task.training.batch(picks)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.model.parameters(), 1.0)
        optimizer.step()
    module.eval()
    with torch.no_grad():
        losses = [
            module.loss(*module.reconstruct(task.validation.batch(slice(first, first + 128))))
            for first in range(0, len(task.validation), 128)
        ]
    return module, float(torch.stack(losses).mean())


@torch.no_grad()
def distortion(module: THVQVAETraining, clips: Sequence[Clip], rig: Rig) -> dict[str, dict[str, list[float]]]:
    """Of each group: frames, summed squared vertex distance of each region in square mm, and the rate in bits."""
    torch.manual_seed(0)
    maps = {region: compact_vertices(rig, {region: 1.0}) for region in REGIONS}
    sums: dict[str, dict[str, float]] = {}
    for clip in clips:
        own = sums.setdefault(clip.group, dict.fromkeys(("frames", "kl_bits", *REGIONS), 0.0))
        model = module.model
        result = model(clip.motion, draw=True) if isinstance(model, MotionVAE) else model(clip.motion)
        frames = clip.motion.shape[1]
        own["frames"] += frames
        own["kl_bits"] += 0.0 if result.kl is None else float(result.kl) * frames / math.log(2)
        for region, vertices in maps.items():
            own[region] += 1e6 * float((vertices(result.motion) - vertices(clip.motion)).square().sum())
    return sums


@torch.no_grad()
def code_use(module: THVQVAETraining, windows: Windows) -> dict[str, float]:
    """Share of each codebook that the first 4,096 training windows use."""
    counts: dict[str, Tensor] = {}
    for first in range(0, min(len(windows), 4096), 128):
        levels = module.reconstruct(windows.batch(slice(first, first + 128)))[0].levels
        counts = {name: level.counts + counts.get(name, 0) for name, level in levels.items()}
    return {name: float((count > 0).float().mean()) for name, count in counts.items()}


@torch.no_grad()
def damage(module: THVQVAETraining, clips: Sequence[Clip], rig: Rig) -> dict[str, float]:
    """Face distance in mm where a tenth of the codes, of all or of one level, is drawn anew; as a talker may err."""
    model = module.model
    if isinstance(model, MotionVAE):
        return {}
    face = compact_vertices(rig, {"face": 1.0})
    kinds = {"none": (0.0, 0.0), "all": (DAMAGED, DAMAGED)}
    if isinstance(model, THVQVAE):
        kinds |= {"top": (DAMAGED, 0.0), "bottom": (0.0, DAMAGED)}
    squares, frames = dict.fromkeys(kinds, 0.0), 0
    for clip in clips:
        frames += clip.motion.shape[1]
        for kind, (top, bottom) in kinds.items():
            codes = model.encode(clip.motion)
            if isinstance(codes, Codes):
                assert isinstance(model, THVQVAE)
                books = (model.config.top_codes, model.config.bottom_codes)
                codes = Codes(redrawn(codes.top, books[0], top), redrawn(codes.bottom, books[1], bottom))
            else:
                codes = redrawn(codes, model.config.codes, top)
            decoded = model.decode(codes, clip.motion.shape[1])
            squares[kind] += float((face(decoded) - face(clip.motion)).square().sum())
    return {kind: 1e3 * math.sqrt(total / frames) for kind, total in squares.items()}


def redrawn(codes: Tensor, count: int, share: float) -> Tensor:
    """A share of the codes replaced by even draws, the same in every call."""
    generator = torch.Generator().manual_seed(codes.numel())
    wrong = torch.rand(codes.shape, generator=generator) < share
    return torch.where(wrong, torch.randint(count, codes.shape, generator=generator), codes)


def measure(system: System, learning_rate: float, task: Task, options: argparse.Namespace, frame_rate: float) -> dict:
    """One row: the distortion on every set, the use of codes and the validation loss for every seed."""
    row = {**dataclasses.asdict(system), "learning_rate": learning_rate, "seeds": []}
    if not isinstance(system.config, MotionVAEConfig):
        row["bits_per_second"] = code_bits_per_second(system.config, frame_rate)
    for seed in range(options.seeds):
        module, validation = train(system, learning_rate, task, options, seed)
        row["parameters"] = sum(parameter.numel() for parameter in module.model.parameters())
        sets = {name: distortion(module, own, task.rig) for name, own in task.sets.items()}
        own = next(iter(task.sets.values()))
        damaged = damage(module, own[:: max(1, len(own) // DAMAGED_CLIPS)], task.rig)
        use = code_use(module, task.training)
        row["seeds"].append({"val_loss": validation, "sets": sets, "damaged": damaged, "code_use": use})
    return row


def choose_learning_rates(
    rows: Sequence[System], task: Task, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Validation loss at each learning rate of the middle system of each family."""
    losses = {}
    for family in dict.fromkeys(system.family for system in rows):
        members = [system for system in rows if system.family == family]
        middle = members[len(members) // 2]
        losses[family] = {str(rate): train(middle, rate, task, options, 0)[1] for rate in options.learning_rates}
        print(family, losses[family], flush=True)
    return losses


def load_task(options: argparse.Namespace) -> tuple[Task, Corpus]:
    """Read everything that is trained and measured on."""
    corpus = Corpus.open(options.corpus)
    sets = {f"{options.corpus.name}, test": clips(corpus, "test", options.clips)}
    for folder in options.also:
        other = Corpus.open(folder)
        split = "test" if "test" in other.performances.column("split") else None
        sets[folder.name] = clips(other, split, options.clips)
    training, validation = load_windows(corpus, options.windows)
    return Task(training, validation, motion_statistics(corpus), load_rig(corpus.rig), sets), corpus


def main() -> None:
    """Train, measure, print Markdown tables and write every number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="corpora of captured motion")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="channels of the encoders (128 in the paper)")
    parser.add_argument("--bits", type=int, nargs="+", default=[6, 8, 10], help="of each code")
    parser.add_argument("--windows", type=int, default=25_600, help="training windows held in memory")
    parser.add_argument("--clips", type=int, default=200, help="clips measured of each set, evenly chosen")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3])
    parser.add_argument("--out", type=Path, default=Path("rate_distortion.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    task, corpus = load_task(options)
    rows = systems(options.size, len(task.statistics[0]), options.bits)
    losses = choose_learning_rates(rows, task, options)
    done = []
    for system in rows:
        rate = float(min(losses[system.family], key=losses[system.family].__getitem__))
        done.append(measure(system, rate, task, options, corpus.frame_rate))
        content = {name: value for name, value in vars(options).items() if isinstance(value, int)}
        content |= {"corpus": corpus.hash, "trials": losses, "rows": done, "seconds": time.perf_counter() - started}
        write_json(options.out, content)
        print(f"{system.name}, {content['seconds']:.0f} s", flush=True)
    print_tables(content)


if __name__ == "__main__":
    main()
