"""Networks hear long speech in windows that overlap; in an overlap one fades into the next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STATE_RATE = 50.0
"""States a second of every network here."""
LONGEST_SECONDS = 30.0
"""Longest window: what Whisper has places for. The others were trained on less."""
STATES_AT_ONCE = 6000
"""In one pass of a network, over all windows: a bound on memory, not on the length of the speech."""
# Windows are padded together only up to this factor, beyond it the padding costs more than the batch saves.
LARGEST_STRETCH = 1.25

Network = Callable[[Tensor, Tensor], Tensor]
"""(window, step, channel) padded, and the steps of each -> (window, state, size)."""


@dataclass(frozen=True)
class Windows:
    """How a network hears a sequence of any length."""

    steps: int
    """Steps of the input in a window."""
    overlap: int
    """Steps that a window shares with the next, an even number of states."""
    stride: int = 1
    """Steps of the input for one state."""

    @classmethod
    def of(cls, seconds: float | None, longest: int, stride: int = 1) -> "Windows":
        """Windows of so many seconds that overlap by half; None for the `longest` steps, overlapping by a sixth."""
        if seconds is None:
            return cls(longest, 2 * max(1, longest // 12), stride)
        steps = min(longest, 2 * stride * round(seconds * STATE_RATE / 2))
        return cls(steps, steps // 2, stride)

    def states(self, network: Network, inputs: Sequence[Tensor], size: int) -> Tensor:
        """Return (batch, state, size), zero beyond each end, for sequences (step, channel) of any length."""
        lengths = [len(sequence) for sequence in inputs]
        stride, fading = self.stride, self.overlap // self.stride
        shape = (len(inputs), -(-max(lengths) // stride), size)
        states = inputs[0].new_zeros(shape, dtype=torch.float32)  # in full where a run is of mixed precision
        for windows in self._batches(lengths):
            steps = torch.tensor([end - start for _, start, end in windows], device=states.device)
            cut = [inputs[clip][start:end] for clip, start, end in windows]
            heard = network(nn.utils.rnn.pad_sequence(cut, batch_first=True), steps)
            for own, (clip, start, end) in zip(heard, windows):
                count = -(-(end - start) // stride)
                fade = torch.ones(count, 1, device=states.device)
                rise = (torch.arange(fading, device=states.device)[:, None] + 0.5) / fading
                if start > 0:
                    fade[:fading] = rise
                if end < lengths[clip]:
                    fade[-fading:] = 1 - rise
                states[clip, start // stride : start // stride + count] += fade * own[:count]
        return states

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
        """Yield windows (clip, start, end), those of like size together, a bounded number at once."""
        windows = [(clip, start, end) for clip, length in enumerate(lengths) for start, end in self._places(length)]
        windows.sort(key=lambda one: one[2] - one[1])
        batch: list[tuple[int, int, int]] = []
        for one in windows:
            size = one[2] - one[1]
            alike = batch and size <= LARGEST_STRETCH * (batch[0][2] - batch[0][1])
            if batch and not (alike and (len(batch) + 1) * size <= STATES_AT_ONCE * self.stride):
                yield batch
                batch = []
            batch.append(one)
        yield batch

    def _places(self, length: int) -> Iterator[tuple[int, int]]:
        start = 0
        while start + self.steps < length:
            yield start, start + self.steps
            start += self.steps - self.overlap
        yield start, length
