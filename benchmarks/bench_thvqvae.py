"""A training step of the motion priors: time, memory, the share outside matrix products, and what quantising costs.

    python benchmarks/bench_thvqvae.py

Steps are of `THVQVAETraining` at the published sizes with 256 windows of 32 frames: forward, losses on vertices,
backward and AdamW. The hierarchy is timed against its single-level rivals and against itself with the quantiser of
vector-quantize-pytorch; the quantiser alone against that library and against a loop over codes. Memory is the peak of a
process that only trains. One thread.
"""

import multiprocessing
import resource
from collections.abc import Callable

import torch
from timing import median_seconds, milliseconds, print_table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from vector_quantize_pytorch import VectorQuantize

from deeptalk.face import compact_vertices, load_rig
from thvqvae import (
    EMAQuantizer,
    MotionVAEConfig,
    ProductVQVAEConfig,
    Quantized,
    THVQVAEConfig,
    THVQVAETraining,
    THVQVAETrainingConfig,
)

WINDOWS, FRAMES, CHANNELS = 256, 32, 52
REGION_WEIGHTS = {"face": 1.0, "lips": 4.0, "upper_face": 1.0}
MATRIX_PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "convolution", "scaled_dot_product")
SYSTEMS = {
    "hierarchy": THVQVAEConfig(),
    "hierarchy, vector-quantize-pytorch": THVQVAEConfig(),
    "one level, product code": ProductVQVAEConfig(),
    "VAE": MotionVAEConfig(),
}


class LibraryQuantizer(nn.Module):
    """vector-quantize-pytorch's quantiser with the settings of ours, in its place."""

    def __init__(self, ours: EMAQuantizer):
        super().__init__()
        self.codes = ours.codes
        dead = ours.dead_code_share
        self.library = VectorQuantize(
            dim=ours.size, codebook_size=ours.codes, decay=ours.decay, kmeans_init=True, threshold_ema_dead_code=dead
        )

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """As ours."""
        vectors, indices, loss = self.library(latents, mask=mask)
        counts = torch.bincount(indices.flatten(), minlength=self.codes).float()
        return Quantized(vectors, indices, loss.sum(), counts, torch.zeros((), dtype=torch.int64))


class CodeLoop(EMAQuantizer):
    """Our quantiser with a Python loop over codes for distances and sums, as the plainest reading of the paper."""

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """As ours."""
        flat = latents.detach().flatten(0, 1)
        distances = torch.stack([(flat - code).square().sum(dim=1) for code in self.codebook], dim=1)
        indices = distances.argmin(dim=1)
        codes = self.codebook[indices].view_as(latents)
        chosen = [flat[indices == code] for code in range(self.codes)]
        counts = torch.tensor([float(len(own)) for own in chosen])
        self._update(counts, torch.stack([own.sum(dim=0) for own in chosen]))
        loss = (latents - codes).square().mean()
        vectors = codes + (latents - latents.detach())
        none = torch.zeros((), dtype=torch.int64)
        return Quantized(vectors, indices.view(latents.shape[:2]), loss, counts, none)


def step_of(name: str) -> Callable[[], None]:
    """One step of training of a system as a function; the codes are placed by the first."""
    torch.manual_seed(0)
    vertices = compact_vertices(load_rig("arkit"), REGION_WEIGHTS)
    module = THVQVAETraining(SYSTEMS[name], THVQVAETrainingConfig(), vertices).train()
    if "vector-quantize" in name:
        module.model.top_quantizer = LibraryQuantizer(module.model.top_quantizer)
        module.model.bottom_quantizer = LibraryQuantizer(module.model.bottom_quantizer)
    batch = {"motion": torch.rand(WINDOWS, FRAMES, CHANNELS), "lengths": torch.full((WINDOWS,), FRAMES)}
    optimizer = torch.optim.AdamW(module.model.parameters(), lr=5e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        module.loss(*module.reconstruct(batch)).backward()
        optimizer.step()

    return step


def shares(step: Callable[[], None]) -> tuple[float, list[tuple[str, float]]]:
    """Share of the time in matrix products, convolutions and fused attention, and the largest other operations."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    own = {event.key: float(event.self_cpu_time_total) for event in profiler.key_averages()}
    total = sum(own.values())
    products = {name for name in own if any(part in name for part in MATRIX_PRODUCTS)}
    rest = sorted(((name, own[name] / total) for name in own.keys() - products), key=lambda item: -item[1])
    return sum(own[name] for name in products) / total, rest[:6]


def peak_gigabytes(name: str, steps: int) -> float:
    """Peak memory of this process after some steps; 0 steps is torch alone."""
    torch.set_num_threads(1)
    if steps:
        step = step_of(name)
        for _ in range(steps):
            step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_own_process(name: str, steps: int) -> float:
    """`peak_gigabytes` of a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_gigabytes, (name, steps))


def quantise(quantizer: nn.Module, latents: Tensor) -> Callable[[], Quantized]:
    """Forward, update of the codebook and backward of a quantiser as a function."""

    def run() -> Quantized:
        latents.grad = None
        result = quantizer.train()(latents)
        (result.vectors.sum() + result.commitment_loss).backward()
        return result

    return run


def quantizer_row(tokens: int, size: int, codes: int) -> list[str]:
    """One row: the quantisers on the same latents; the library and the loop must choose the same codes as ours."""
    torch.manual_seed(0)
    latents = torch.randn(WINDOWS, tokens, size, requires_grad=True)
    ours, loop = EMAQuantizer(codes, size), CodeLoop(codes, size)
    ours.train()(latents)
    loop.load_state_dict(ours.state_dict())
    library = LibraryQuantizer(ours)
    quantise(library, latents)()
    book = library.library._codebook
    book.embed.data.copy_(ours.codebook[None])
    book.cluster_size.data.copy_(ours.ema_count[None])
    book.embed_avg.data.copy_(ours.ema_sum[None])
    runs = {"ours": quantise(ours, latents), "library": quantise(library, latents), "loop": quantise(loop, latents)}
    chosen = [run().indices for run in runs.values()]
    assert all(float((other == chosen[0]).float().mean()) > 0.999 for other in chosen), "the quantisers differ"
    seconds = median_seconds(runs, 0.1)
    ratios = [f"{seconds[name] / seconds['ours']:.1f}" for name in ("library", "loop")]
    return [f"{WINDOWS} x {tokens} x {size}, {codes}", *(milliseconds(value) for value in seconds.values()), *ratios]


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    baseline = in_own_process("hierarchy", 0)
    steps = {name: step_of(name) for name in SYSTEMS}
    seconds = median_seconds(steps, 0.1)
    rows, others = [], []
    for name, step in steps.items():
        products, largest = shares(step)
        rows.append(
            [
                name,
                milliseconds(seconds[name]),
                f"{WINDOWS * FRAMES / seconds[name]:.0f}",
                f"{seconds[name] / seconds['hierarchy']:.2f}",
                f"{products:.0%}",
                f"{1 - products:.0%}",
                f"{in_own_process(name, 2):.2f} GB",
            ]
        )
        others.append([name, ", ".join(f"{key} {share:.1%}" for key, share in largest)])
    header = ["system", "step", "frames a second", "ratio", "matrix products", "outside", "peak"]
    title = f"A training step of {WINDOWS} x {FRAMES} frames; {baseline:.2f} GB is torch alone"
    print_table(title, header, rows)
    print_table("Largest outside matrix products", ["system", "share of the step"], others)
    header = ["windows x codes x channels, codebook", "ours", "library", "loop", "library / ours", "loop / ours"]
    print_table("Quantiser alone, with backward", header, [quantizer_row(8, 128, 256), quantizer_row(16, 256, 256)])


if __name__ == "__main__":
    main()
