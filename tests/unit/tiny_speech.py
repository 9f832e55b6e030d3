"""Tiny encoders with random weights, in the folders that their real weights come in."""

import importlib
import json

import torch

from dee.emotion2vec import Emotion2Vec, Emotion2VecConfig

SIZES = {
    "conv_dim": (16,) * 7,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
BLOCKS_WITH_NORM_FIRST = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""As the large models of all three kinds are; without, as the base models are."""
NAMES = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}


def classes(kind):
    module = importlib.import_module(f"transformers.models.{kind}")
    return getattr(module, f"{NAMES[kind]}Config"), getattr(module, f"{NAMES[kind]}Model")


def shake(module, seed):
    """Weights of a size at which every part of the network shows in its output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name or name.endswith("original0"):  # scales and shifts of norms, sizes of kernels
                parameter.copy_((0.0 if name.endswith("bias") else 1.0) + 0.1 * noise)
            else:
                parameter.copy_(noise * (1.0 if parameter.dim() < 2 else parameter[0].numel() ** -0.5))
    return module


def write_selfsupervised(folder, kind, seed=0, **config):
    """A folder as transformers writes it; returns the folder."""
    config_class, model_class = classes(kind)
    shake(model_class(config_class(**{**SIZES, **config})), seed).save_pretrained(folder)
    return folder


def write_emotion2vec(folder, seed=0):
    config = Emotion2VecConfig(
        convolution_size=16, width=32, heads=4, feedforward=48, context_blocks=1, blocks=2,
        extra_tokens=2, position_layers=2, position_kernel=5, position_groups=4,
    )  # fmt: skip
    shake(Emotion2Vec(config), seed).save_pretrained(folder)
    return folder


def write_whisper(folder, seed=0, positions=1500):
    """A folder as transformers writes it; returns the folder."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48}
    encoder = WhisperEncoder(WhisperConfig(max_source_positions=positions, **sizes))
    places = encoder.embed_positions.weight.clone()
    shake(encoder, seed).embed_positions.weight.data.copy_(places)  # sinusoids, smooth in time
    encoder.save_pretrained(folder)
    return folder


def write_tiny(folder, kind, seed=0):
    """Any kind."""
    if kind == "emotion2vec":
        return write_emotion2vec(folder, seed)
    return write_whisper(folder, seed) if kind == "whisper" else write_selfsupervised(folder, kind, seed)


def change_config(**changes):
    """Damage of a saved folder: these values in its config.json."""

    def change(folder):
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change
