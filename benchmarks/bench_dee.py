"""A training step of DEE: time, memory, share outside matrix products, and what pooling costs.

    python benchmarks/bench_dee.py              # sizes of preset base
    python benchmarks/bench_dee.py --published  # also speech 768 wide, motion 512 wide and 6 layers (minutes)

A step is forward, backward and Adam of `DEETraining` on 64 clips. Generalised pooling (GPO) is timed against the plain
mean, and against weights computed anew for every clip, as the authors do. Every row is of a process of its own, whose
peak of memory is taken before the mean is timed beside GPO.
"""

import argparse
import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import replace

import torch
from timing import median_seconds, milliseconds, print_table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from dee import DEEConfig, DEETraining, DEETrainingConfig
from dee.pooling import GeneralizedPooling, MeanPooling

CLIPS, FRAME_RATE, WINDOW_SECONDS = 64, 25, 2.0
FEATURES = 391
"""Channels of whisper:2s+prosody."""
MATRIX_PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm")
ATTENTION = "scaled_dot_product"


class PoolingPerClip(GeneralizedPooling):
    """Rank weights computed for every clip of every call, also where lengths are equal."""

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """As generalised pooling, with the same result."""
        ordered = values.sort(dim=1, descending=True).values
        return (self.rank_weights(lengths.tolist())[..., None] * ordered).sum(dim=1)


def batch_of(lengths: Tensor) -> dict[str, Tensor]:
    """Random clips of these lengths in frames."""
    generator = torch.Generator().manual_seed(0)
    frames = int(lengths.max())
    return {
        "features": torch.randn(len(lengths), frames, FEATURES, generator=generator),
        "motion": torch.rand(len(lengths), frames, 52, generator=generator),
        "lengths": lengths,
        "emotion": torch.arange(len(lengths)) % 8,
        "speech": torch.arange(len(lengths)),
    }


def training(pooling: str, small: bool = False) -> DEETraining:
    """DEE at the published sizes, or those of preset `base`."""
    torch.manual_seed(0)
    config = DEEConfig(speech_features=FEATURES)
    sizes = {"width": 256, "feedforward": 1024} if small else {}
    speech = replace(config.speech_encoder, pooling=pooling, **sizes)
    motion = replace(config.motion_encoder, pooling=pooling, **sizes, **({"layers": 3} if small else {}))
    return DEETraining(replace(config, speech_encoder=speech, motion_encoder=motion), DEETrainingConfig()).train()


def step_of(module: DEETraining, batch: dict[str, Tensor]) -> Callable[[], None]:
    """One step of training as a function."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        embeddings = module.model(batch)
        module.losses(embeddings["speech"], embeddings["motion"], batch)["loss"].backward()
        optimizer.step()

    return step


def shares(step: Callable[[], None]) -> tuple[float, float, list[tuple[str, float]]]:
    """Shares of the time in matrix products and in fused attention, and the largest other operations."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    own = {event.key: float(event.self_cpu_time_total) for event in profiler.key_averages()}
    total = sum(own.values())
    products = sum(own.get(name, 0.0) for name in MATRIX_PRODUCTS)
    attention = sum(value for name, value in own.items() if ATTENTION in name)
    others = {name: v for name, v in own.items() if name not in MATRIX_PRODUCTS and ATTENTION not in name}
    largest = sorted(others.items(), key=lambda item: -item[1])[:5]
    return products / total, attention / total, [(name, value / total) for name, value in largest]


def peak_gigabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, small: bool, lengths: Tensor) -> tuple[list[str], list[str]]:
    """A row of the table of steps, and one of what is largest outside matrix products."""
    torch.set_num_threads(1)
    batch, before = batch_of(lengths), peak_gigabytes()
    steps = {"gpo": step_of(training("gpo", small), batch)}
    products, attention, largest = shares(warm(steps["gpo"]))
    peak = peak_gigabytes()
    if small:
        steps["mean"] = step_of(training("mean", small), batch)
    seconds = median_seconds(steps, 0.1)
    row = [name, milliseconds(seconds["gpo"]), f"{CLIPS / seconds['gpo']:.0f}"]
    row += [f"{seconds['gpo'] / seconds['mean']:.2f}" if small else "not timed"]
    row += [f"{100 * share:.0f} %" for share in (products, attention, 1 - products - attention)]
    row += [f"{peak:.2f} GB", f"{before:.2f} GB"]
    return row, [name, ", ".join(f"{key} {100 * share:.1f} %" for key, share in largest)]


def warm(step: Callable[[], None]) -> Callable[[], None]:
    """The step after it ran once: the first loads and allocates."""
    step()
    return step


def pooled(pool: nn.Module, values: Tensor, lengths: Tensor) -> Callable[[], Tensor]:
    """Forward and backward of one pooling as a function."""

    def run() -> Tensor:
        values.grad = None
        output = pool(values, lengths)
        output.square().sum().backward()
        return output.detach()

    return run


def pooling_row(frames: int, seconds_each: float) -> list[str]:
    """One row: the poolings on the same values, all clips `frames` long."""
    torch.manual_seed(0)
    ours, per_clip = GeneralizedPooling(), PoolingPerClip()
    per_clip.load_state_dict(ours.state_dict())
    values, lengths = torch.randn(CLIPS, frames, 128, requires_grad=True), torch.full((CLIPS,), frames)
    runs = {
        "mean": pooled(MeanPooling(), values, lengths),
        "ours": pooled(ours, values, lengths),
        "per clip": pooled(per_clip, values, lengths),
    }
    differs = float((runs["ours"]() - runs["per clip"]()).abs().max())
    seconds = median_seconds(runs, seconds_each)
    ratios = [f"{seconds[name] / seconds['ours']:.2f}" for name in ("mean", "per clip")]
    return [f"{CLIPS} x {frames}", *(milliseconds(value) for value in seconds.values()), *ratios, f"{differs:.0e}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", action="store_true", help="also the published sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    equal = torch.full((CLIPS,), round(WINDOW_SECONDS * FRAME_RATE))
    mixed = torch.linspace(FRAME_RATE, 6 * FRAME_RATE, CLIPS).round().long()
    settings = [("base, 2 s", True, equal), ("base, 1 to 6 s", True, mixed)]
    settings += [("published, 2 s", False, equal)] if args.published else []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows, others = zip(*(pool.apply(measure, setting) for setting in settings))
    header = ["sizes, windows", "step", "clips a second", "GPO / mean", "products", "attention", "outside", "peak"]
    print_table(f"DEE, a training step of {CLIPS} clips", [*header, "before the model"], rows)
    print_table("Largest outside matrix products and attention", ["sizes, windows", "share of the step"], others)
    header = ["clips x frames", "mean", "GPO", "GPO a clip", "mean / GPO", "a clip / GPO", "differs by"]
    print_table("Pooling, forward and backward", header, [pooling_row(frames, 0.3) for frames in (50, 150)])


if __name__ == "__main__":
    main()
