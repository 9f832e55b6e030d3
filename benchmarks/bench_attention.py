"""Our transformer layer (SDPA with a bias) against `torch.nn.TransformerEncoderLayer` with the same weights and bias.

The peer runs on its slow path: its fused path for evaluation reads the float bias as a boolean mask (see
`thvqvae.attention`), so it is faster only at a wrong result; how wrong is the last column.
"""

import torch
from timing import median_seconds, milliseconds, print_table
from torch import nn

from thvqvae.attention import TORCH_LAYER_KEYS, TransformerLayer, symmetric_alibi_bias

SIZE, HEADS, FEEDFORWARD = 256, 8, 512


def same_layers() -> tuple[TransformerLayer, nn.TransformerEncoderLayer]:
    """Our layer and torch's, with the same weights."""
    torch.manual_seed(0)
    peer = nn.TransformerEncoderLayer(SIZE, HEADS, FEEDFORWARD, dropout=0.0, activation="gelu", batch_first=True)
    ours = TransformerLayer(SIZE, HEADS, FEEDFORWARD, dropout=0.0)
    ours.load_state_dict({TORCH_LAYER_KEYS[name]: values for name, values in peer.state_dict().items()})
    return ours.eval(), peer.eval()


def compare(batch: int, frames: int, training: bool) -> list[str]:
    """One row: our time, torch's, and how far the outputs differ."""
    ours, peer = same_layers()
    inputs = torch.randn(batch, frames, SIZE)
    bias = symmetric_alibi_bias(HEADS, frames)
    peer_bias = bias.repeat(batch, 1, 1)

    def step(layer: nn.Module, mask: torch.Tensor) -> torch.Tensor:
        if not training:
            with torch.inference_mode():
                return layer(inputs, mask)
        output = layer(inputs, mask)
        torch.autograd.grad(output.square().mean(), list(layer.parameters()))
        return output.detach()

    torch.backends.mha.set_fastpath_enabled(False)
    difference = float((step(ours, bias) - step(peer, peer_bias)).abs().max())
    seconds = median_seconds({"ours": lambda: step(ours, bias), "peer": lambda: step(peer, peer_bias)}, 0.8)
    torch.backends.mha.set_fastpath_enabled(True)
    fused = "not used" if training else f"{float((step(ours, bias) - step(peer, peer_bias)).abs().max()):.1g}"
    return [
        f"{batch} x {frames}",
        "forward and backward" if training else "forward",
        str(torch.get_num_threads()),
        milliseconds(seconds["ours"]),
        milliseconds(seconds["peer"]),
        f"{seconds['peer'] / seconds['ours']:.2f}",
        f"{difference:.0e}",
        fused,
    ]


def main() -> None:
    """Measure and print."""
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for batch, frames in ((1, 50), (1, 500), (16, 50)):
            rows += [compare(batch, frames, training) for training in (False, True)]
    header = ["batch x frames", "pass", "threads", "ours", "torch", "ratio", "differs by", "fused path differs by"]
    print_table(f"One layer of {SIZE} channels, {HEADS} heads, ALiBi", header, rows)


if __name__ == "__main__":
    main()
