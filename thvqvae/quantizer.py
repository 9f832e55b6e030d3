"""Vector quantiser whose codebook follows the latents by exponential moving averages."""

import logging
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

logger = logging.getLogger(__name__)

PADDING = -1
"""Index written where a frame is padding; no code has it."""


def perplexity(counts: Float[Tensor, " code"]) -> Float[Tensor, ""]:
    """Exponential of the entropy of code use: the number of codes used, if they were used equally often."""
    share = counts / counts.sum().clamp(min=1)
    return torch.exp(-(share * torch.log(share + 1e-10)).sum())


def usage(counts: Float[Tensor, " code"]) -> Float[Tensor, ""]:
    """Share of the codes that were used at all, 0..1."""
    return (counts > 0).to(counts.dtype).mean()


class Quantized(NamedTuple):
    """What the quantiser makes of latents."""

    vectors: Float[Tensor, "batch frame size"]
    """Nearest codes; zero at padding. Their gradient passes to the latents unchanged (straight-through)."""
    indices: Int[Tensor, "batch frame"]
    """Index of the nearest code, `PADDING` at padding."""
    commitment_loss: Float[Tensor, ""]
    """Mean square of latent minus code over real frames and channels; its gradient reaches the latents only."""
    counts: Float[Tensor, " code"]
    """How often each code was chosen in this batch, over all processes while training."""
    revived: Int[Tensor, ""]
    """Number of dead codes replaced after this batch."""


def _sum_over_processes(tensor: Tensor) -> None:
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(tensor)


def _take_from_first_process(tensor: Tensor) -> None:
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(tensor, src=0)


def k_means(
    points: Float[Tensor, "point size"], clusters: int, generator: torch.Generator, iterations: int = 10
) -> tuple[Float[Tensor, "{clusters} size"], Float[Tensor, " {clusters}"]]:
    """Lloyd's algorithm from distinct random points; returns centres and the number of points of each.

    Fewer points than clusters is allowed: points are then taken more than once, the copies a little apart.
    A cluster that loses its points stays where it is with count 0.
    """
    order = torch.randperm(len(points), generator=generator)
    picks = order.repeat(-(-clusters // len(points)))[:clusters]
    centres = points[picks.to(points.device)].clone()
    if clusters > len(points):
        spread = points.std(dim=0, correction=0).clamp(min=1e-4)
        jitter = torch.randn(centres.shape, generator=generator).to(points.device)
        centres[len(points) :] += 0.01 * (spread * jitter)[len(points) :]
    counts = torch.zeros(clusters, device=points.device)
    for _ in range(iterations):
        chosen = F.one_hot(nearest_code(points, centres), clusters).to(points.dtype)
        counts = chosen.sum(dim=0)
        means = (chosen.T @ points) / counts.clamp(min=1)[:, None]
        centres = torch.where(counts[:, None] > 0, means, centres)
    return centres, counts


def nearest_code(latents: Float[Tensor, "point size"], codebook: Float[Tensor, "code size"]) -> Int[Tensor, " point"]:
    """Index of the code at the smallest Euclidean distance; the lowest index on a tie."""
    # |z - e|^2 without |z|^2, which is the same for every code.
    return torch.addmm(codebook.square().sum(dim=1), latents, codebook.T, alpha=-2).argmin(dim=1)


class EMAQuantizer(nn.Module):
    """Nearest-code quantiser with a codebook learnt by exponential moving averages (VQ-VAE, arXiv 1711.00937, A.1).

    The first training batch places the codes by k-means. While training, a code's count and vector sum decay and take
    in the latents that chose it; counts are Laplace-smoothed with the total count, so a code that is not chosen keeps
    its place as long as its count is far above `epsilon`. A code whose count falls below `dead_code_share` of an even
    share is put onto a random latent of the batch. Everything is computed in float32, also under mixed precision, and
    over all processes of a distributed run.
    All random draws are a function of `seed` and the number of updates, so that a resumed run repeats them.

    Args:
        codes: size of the codebook.
        size: channels of a code.
        decay: what is kept of counts and sums at each update, 0..1.
        epsilon: Laplace smoothing of the counts.
        dead_code_share: share of an even use below which a code counts as dead; 0 never revives. The count of a code
            that is never chosen then decays below `epsilon`, and smoothing draws the code towards zero.
        seed: seeds initialisation and revival.

    Buffers:
        codebook (code, size), ema_count (code), ema_sum (code, size): float32, the state of the averages.
        updates: int64, training batches seen; 0 means the codebook is still random.
    """

    codebook: Tensor
    ema_count: Tensor
    ema_sum: Tensor
    updates: Tensor

    def __init__(
        self,
        codes: int,
        size: int,
        decay: float = 0.95,
        epsilon: float = 1e-5,
        dead_code_share: float = 0.1,
        seed: int = 0,
    ):
        super().__init__()
        self.codes = codes
        self.size = size
        self.decay = decay
        self.epsilon = epsilon
        self.dead_code_share = dead_code_share
        self.seed = seed
        codebook = torch.empty(codes, size).uniform_(-1 / codes, 1 / codes, generator=self._generator(0))
        self.register_buffer("codebook", codebook)
        # Count and sum agree from the start: sum / count is the code itself.
        self.register_buffer("ema_count", torch.ones(codes))
        self.register_buffer("ema_sum", codebook.clone())
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def _generator(self, updates: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * 1_000_003 + updates) % 2**63)

    def vectors(
        self, codes: Int[Tensor, "batch frame"] | Float[Tensor, "batch frame code"]
    ) -> Float[Tensor, "batch frame size"]:
        """Code vectors of indices (zero at `PADDING`), or of one-hots, whose gradient then reaches the one-hots."""
        if codes.is_floating_point():
            return codes @ self.codebook.to(codes.dtype)
        found = F.embedding(codes.clamp(min=0), self.codebook)
        return found.masked_fill((codes < 0)[..., None], 0.0)

    def forward(
        self, latents: Float[Tensor, "batch frame size"], mask: Bool[Tensor, "batch frame"] | None = None
    ) -> Quantized:
        """Quantise latents (batch, frame, size); frames where `mask` is False count nowhere.

        In training mode the codebook is updated, after it was used.
        """
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            flat = latents.detach().flatten(0, 1)
            weight = torch.ones_like(flat[:, 0]) if mask is None else mask.flatten().to(flat.dtype)
            if self.training and int(self.updates) == 0:
                self._place(flat[weight > 0])
            indices = nearest_code(flat, self.codebook)
            codes = F.embedding(indices, self.codebook).view_as(latents)
            chosen = F.one_hot(indices, self.codes).to(flat.dtype) * weight[:, None]
            counts = chosen.sum(dim=0)
            error = (latents - codes).square().mean(dim=-1).flatten()
            commitment_loss = (error * weight).sum() / weight.sum()
            # The sum is the code to the last bit, with gradient one to the latents.
            vectors = codes + (latents - latents.detach())
            revived = torch.zeros((), dtype=torch.int64, device=flat.device)
            if self.training:
                sums = chosen.T @ flat
                _sum_over_processes(counts)
                _sum_over_processes(sums)
                self._update(counts, sums)
                revived = self._revive(flat, weight, counts)
        indices = indices.view(latents.shape[:2])
        if mask is not None:
            indices = indices.masked_fill(~mask, PADDING)
            vectors = vectors.masked_fill(~mask[..., None], 0.0)
        return Quantized(vectors, indices, commitment_loss, counts, revived)

    @torch.no_grad()
    def _place(self, latents: Float[Tensor, "point size"]) -> None:
        """Put the codes onto the first batch's latents by k-means, each with the count of its cluster (at least 1)."""
        centres, counts = k_means(latents, self.codes, self._generator(0))
        self.codebook.copy_(centres)
        self.ema_count.copy_(counts.clamp(min=1))
        _take_from_first_process(self.codebook)
        _take_from_first_process(self.ema_count)
        self.ema_sum.copy_(self.codebook * self.ema_count[:, None])

    @torch.no_grad()
    def _update(self, counts: Float[Tensor, " code"], sums: Float[Tensor, "code size"]) -> None:
        self.ema_count.lerp_(counts, 1 - self.decay)
        self.ema_sum.lerp_(sums, 1 - self.decay)
        total = self.ema_count.sum()
        smoothed = (self.ema_count + self.epsilon) / (total + self.codes * self.epsilon) * total
        self.codebook.copy_(self.ema_sum / smoothed[:, None])
        self.updates += 1

    @torch.no_grad()
    def _revive(
        self, latents: Float[Tensor, "point size"], weight: Float[Tensor, " point"], counts: Float[Tensor, " code"]
    ) -> Int[Tensor, ""]:
        """Put every dead code onto a random real latent of the batch, with an even share of the counts."""
        even_share = counts.sum() / self.codes
        dead = self.ema_count < self.dead_code_share * even_share
        number = dead.sum()
        if int(number) == 0:
            return number
        # A draw for every code, so that all processes draw alike; the first process' latents serve all.
        real = latents[weight > 0]
        picks = torch.randint(len(real), (self.codes,), generator=self._generator(int(self.updates)))
        candidates = real[picks.to(latents.device)]
        _take_from_first_process(candidates)
        self.codebook.copy_(torch.where(dead[:, None], candidates, self.codebook))
        self.ema_count.copy_(torch.where(dead, even_share, self.ema_count))
        self.ema_sum.copy_(torch.where(dead[:, None], candidates * even_share, self.ema_sum))
        logger.debug("update %d: %d of %d codes revived", int(self.updates), int(number), self.codes)
        return number
