"""Which items an epoch holds, as a pure function of (seed, epoch, position)."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


def _item_seeds(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 2**63 - 1, size=count)


def _shuffled_rounds(items: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` draws: all items in random order, then all in another, and so on."""
    rounds = -(-count // len(items))
    return np.concatenate([rng.permutation(items) for _ in range(rounds)])[:count]


class SeededSampler(Sampler[tuple[int, int]]):
    """Yields (index, item_seed): every item once before any comes again, in an order that `set_epoch` changes.

    Whatever is random inside an item is drawn from its seed, so a run resumed at an epoch's end sees the data that the
    uninterrupted run would have seen. Lightning calls `set_epoch` with the number of finished epochs. On several
    devices each rank yields its own share of the same stream.

    Args:
        size: number of items.
        samples_per_epoch: draws in one epoch over all ranks, more or fewer than `size`.
        seed: of the whole stream.
        groups: a group (e.g. an emotion) for each item; if given, groups take turns, so batches are balanced.
        rank: place of this process among `world_size`.
        world_size: number of processes.
    """

    def __init__(
        self,
        size: int,
        samples_per_epoch: int,
        seed: int,
        groups: Sequence[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ):
        if size < 1 or samples_per_epoch < 1:
            raise ValueError(f"size {size} and samples_per_epoch {samples_per_epoch} must be at least 1.")
        if groups is not None and len(groups) != size:
            raise ValueError(f"groups has {len(groups)} entries for {size} items.")
        self.size, self.seed, self.epoch = size, seed, 0
        self.rank, self.world_size = rank, world_size
        self.samples_per_rank = -(-samples_per_epoch // world_size)
        labels = np.zeros(size, dtype=np.int64) if groups is None else np.asarray(groups)
        self._groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples_per_rank

    def __iter__(self) -> Iterator[tuple[int, int]]:
        count = self.samples_per_rank * self.world_size
        rng = np.random.default_rng([self.seed, self.epoch])
        turns = -(-count // len(self._groups))
        # Row t holds the t-th draw of every group, in an order of its own, so no group always comes first.
        rows = np.stack([_shuffled_rounds(group, turns, rng) for group in self._groups], axis=1)
        order = rng.permuted(rows, axis=1).reshape(-1)[:count]
        seeds = _item_seeds(rng, count)
        for position in range(self.rank, count, self.world_size):
            yield int(order[position]), int(seeds[position])


class InOrderSampler(Sampler[tuple[int, int]]):
    """Yields every item once, in order, with a seed that no epoch changes: for validation."""

    def __init__(self, size: int, seed: int, rank: int = 0, world_size: int = 1):
        self.size, self.rank, self.world_size = size, rank, world_size
        self._seeds = _item_seeds(np.random.default_rng([seed, size]), size)

    def __len__(self) -> int:
        return len(range(self.rank, self.size, self.world_size))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in range(self.rank, self.size, self.world_size):
            yield index, int(self._seeds[index])
