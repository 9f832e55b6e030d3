"""A training step of DEE: time, memory, share outside matrix products, and what pooling costs.

    python benchmarks/bench_dee.py              # sizes of preset base
    python benchmarks/bench_dee.py --published  # also speech 768 wide, motion 512 wide and 6 layers (minutes)

A step is forward, backward and Adam of `DEETraining` on 64 clips. Generalised pooling (GPO) is timed against the plain
mean, and against weights computed anew for every clip from packed sequences, as the authors do. Every row of steps is
of a process of its own, whose peak of memory is taken before the mean is timed beside GPO. All seconds are the
processor's, of one thread.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from timing import milliseconds, print_table
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.profiler import ProfilerActivity, profile

from dee import DEEConfig, DEETraining, DEETrainingConfig
from dee.pooling import GeneralizedPooling, MeanPooling
from dee.positions import length_mask, sinusoidal_positions

CLIPS, FRAME_RATE, WINDOW_SECONDS = 64, 25, 2.0
FEATURES = 391
"""Channels of whisper:2s+prosody."""
MATRIX_PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm")
ATTENTION = "scaled_dot_product"


class PoolingPerClip(GeneralizedPooling):
    """Rank weights computed for every clip of every call from packed sequences, also where lengths are equal."""

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """As generalised pooling, with the same result."""
        frames = values.shape[1]
        ranks = sinusoidal_positions(frames, self.rank_size).expand(len(lengths), -1, -1)
        packed = pack_padded_sequence(ranks, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        scores = self.linear(sum(hidden.chunk(2, dim=-1)) / 2).squeeze(-1) / self.temperature
        real = length_mask(lengths, frames)
        weights = scores.masked_fill(~real, -torch.inf).softmax(dim=-1)[..., None]
        ordered = values.masked_fill(~real[..., None], -torch.inf).sort(dim=1, descending=True).values
        return (weights * ordered.masked_fill(~real[..., None], 0.0)).sum(dim=1)


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


def shares(step: Callable[[], object]) -> tuple[float, float, float, list[tuple[str, float]]]:
    """Processor seconds, shares of the time in matrix products and in fused attention, the largest of the rest."""
    started = time.process_time()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    seconds = time.process_time() - started
    own = {event.key: float(event.self_cpu_time_total) for event in profiler.key_averages()}
    total = sum(own.values())
    products = sum(own.get(name, 0.0) for name in MATRIX_PRODUCTS)
    attention = sum(value for name, value in own.items() if ATTENTION in name)
    others = {name: v for name, v in own.items() if name not in MATRIX_PRODUCTS and ATTENTION not in name}
    largest = sorted(others.items(), key=lambda item: -item[1])[:5]
    return seconds, products / total, attention / total, [(name, value / total) for name, value in largest]


def processor_seconds(functions: Mapping[str, Callable[[], object]], laps: int) -> dict[str, float]:
    """Median processor seconds of each function, taken in turn: of one thread, whatever else the machine does."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for lap in range(laps + 1):
        for name, function in functions.items():
            started = time.process_time()
            function()
            if lap:  # the first loads and allocates
                found[name].append(time.process_time() - started)
    return {name: sorted(values)[laps // 2] for name, values in found.items()}


def peak_gigabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, small: bool) -> list[list[str]]:
    """A row of the table of steps, and one of what is largest outside matrix products."""
    torch.set_num_threads(1)
    batch, before = batch_of(torch.full((CLIPS,), round(WINDOW_SECONDS * FRAME_RATE))), peak_gigabytes()
    steps = {"gpo": step_of(training("gpo", small), batch)}
    steps["gpo"]()  # the first loads and allocates
    seconds, products, attention, largest = shares(steps["gpo"])
    row = [name, f"{seconds:.1f} s", f"{CLIPS / seconds:.0f}"]
    row += [f"{100 * share:.0f} %" for share in (products, attention, 1 - products - attention)]
    row += [f"{peak_gigabytes():.2f} GB", f"{before:.2f} GB"]
    if small:
        steps["mean"] = step_of(training("mean", small), batch)
        laps = processor_seconds(steps, 3)
        row.append(f"{laps['gpo'] / laps['mean']:.2f}")
    else:
        row.append("not timed")
    return [row, [name, ", ".join(f"{key} {100 * share:.1f} %" for key, share in largest)]]


def pooled(pool: nn.Module, values: Tensor, lengths: Tensor) -> Callable[[], Tensor]:
    """Forward and backward of one pooling as a function."""

    def run() -> Tensor:
        values.grad = None
        output = pool(values, lengths)
        output.square().sum().backward()
        return output.detach()

    return run


def pooling_row(name: str, lengths: Tensor) -> list[str]:
    """One row: the poolings on the same values."""
    torch.manual_seed(0)
    ours, per_clip = GeneralizedPooling(), PoolingPerClip()
    per_clip.load_state_dict(ours.state_dict())
    values = torch.randn(CLIPS, int(lengths.max()), 128, requires_grad=True)
    runs = {
        "mean": pooled(MeanPooling(), values, lengths),
        "ours": pooled(ours, values, lengths),
        "per clip": pooled(per_clip, values, lengths),
    }
    differs = float((runs["ours"]() - runs["per clip"]()).abs().max())
    seconds = processor_seconds(runs, 7)
    ratios = [f"{seconds[name] / seconds['ours']:.2f}" for name in ("mean", "per clip")]
    return [name, *(milliseconds(value) for value in seconds.values()), *ratios, f"{differs:.0e}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", action="store_true", help="also the published sizes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = [("base", True), ("published", False)][: 1 + args.published]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows, others = zip(*(pool.apply(measure, setting) for setting in settings))
    header = [
        "sizes",
        "step",
        "clips a second",
        "products",
        "fused attention",
        "outside",
        "peak",
        "before",
        "GPO / mean",
    ]
    print_table(f"DEE, a training step of {CLIPS} clips of 2 s", header, rows)
    print_table("Largest outside matrix products and attention", ["sizes", "share of the step"], others)
    header = ["64 clips of", "mean", "GPO", "GPO a clip", "mean / GPO", "a clip / GPO", "differs by"]
    spread = torch.linspace(FRAME_RATE, 6 * FRAME_RATE, CLIPS).round().long()
    lengths = {"2 s": torch.full((CLIPS,), 50), "6 s": torch.full((CLIPS,), 150), "1 to 6 s": spread}
    rows = [pooling_row(name, values) for name, values in lengths.items()]
    print_table("Pooling of 128 channels, forward and backward", header, rows)


if __name__ == "__main__":
    main()
