"""Choosing codes from logits: one noise source a take when performing, straight-through one-hots when training."""

import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def take_generator(seed: int, take: int) -> torch.Generator:
    """The CPU generator of one take.

    It depends on (seed, take) and on nothing else, so take 3 is the same performance whether 4 or 100 were asked for.
    A hash, not seed + take, so that take 1 of seed 0 is not take 0 of seed 1.
    """
    digest = hashlib.sha256(f"take {take} of seed {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def gumbel_noise(count: int, codes: int, generator: torch.Generator) -> Float[Tensor, "token code"]:
    """Standard Gumbel noise (count, codes) on the CPU: -log of an exponential draw."""
    return -torch.empty(count, codes).exponential_(generator=generator).clamp_min(1e-30).log()


def choose_codes(
    logits: Float[Tensor, "batch token code"], noise: Float[Tensor, "batch token code"], temperature: float
) -> Int[Tensor, "batch token"]:
    """A draw from softmax(logits / temperature), or the most likely code at temperature 0.

    `argmax(logits + temperature * noise)` with Gumbel noise is that draw for every temperature above 0. The same noise
    serves all temperatures, so turning the temperature down moves a take smoothly towards the most likely one.
    """
    return (logits + temperature * noise).argmax(dim=-1)


@dataclass(frozen=True)
class MostLikely:
    """Chooses the most likely code at both levels; the same result every time."""

    def __call__(self, logits: Float[Tensor, "batch token code"], level: int) -> Float[Tensor, "batch token code"]:
        """One-hot of the largest logit."""
        return one_hot(logits.argmax(dim=-1), logits.shape[-1])


@dataclass(frozen=True)
class StraightThrough:
    """Draws codes with gradients: a hard one-hot forward, the Gumbel-softmax's gradient backward.

    The hard draw is at temperature 1 whatever `tau` is; `tau` shapes the gradient only. Large: smooth, biased, low
    variance, which is what an untrained predictor needs; small: close to unbiased and noisy. So it is annealed over
    training (paper: 2 to 0.1, facts 3.3).
    """

    tau: float
    """Gumbel-softmax temperature of the gradient."""

    def __call__(self, logits: Float[Tensor, "batch token code"], level: int) -> Float[Tensor, "batch token code"]:
        """One-hot draws; the noise comes from torch's global generator."""
        # float32: in half precision noise ties, and ties all go to the first code
        return F.gumbel_softmax(logits.float(), tau=self.tau, hard=True)


@dataclass(frozen=True)
class Drawn:
    """Chooses codes with noise and a temperature for each level (0 is top, 1 is bottom)."""

    noise: tuple[Float[Tensor, "batch top top_code"], Float[Tensor, "batch bottom bottom_code"]]
    """Gumbel noise of the top and of the bottom level."""
    temperatures: tuple[float, float]
    """Temperature of the top and of the bottom level; 0 is the most likely code."""

    def __call__(self, logits: Float[Tensor, "batch token code"], level: int) -> Float[Tensor, "batch token code"]:
        """One-hot of the drawn codes."""
        noise = self.noise[level].to(logits)
        return one_hot(choose_codes(logits, noise, self.temperatures[level]), logits.shape[-1])


def one_hot(codes: Int[Tensor, "batch token"], size: int) -> Float[Tensor, "batch token code"]:
    """Float one-hot vectors of codes."""
    return F.one_hot(codes, size).float()
