"""Reading the authors' TH-VQVAE weights: their tensor names -> ours."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from thvqvae.attention import TORCH_LAYER_KEYS
from thvqvae.model import THVQVAE, THVQVAEConfig
from thvqvae.saving import load_weights

DEAD_KEYS = frozenset({"decoder_b.post_transformer_linear.weight", "decoder_b.post_transformer_linear.bias"})
"""Tensors of the released checkpoint whose result its own code throws away: 147,840 values, left out here."""

_BLOCKS = {
    "encoder_b": ("bottom_encoder", "squasher", "encoder", "encoder_linear_embedding.net"),
    "encoder_t": ("top_encoder", "squasher", "encoder", "encoder_linear_embedding.net"),
    "decoder_t": ("top_decoder", "expander", "decoder", "decoder_linear_embedding"),
    "decoder_b": ("bottom_decoder", "expander", "decoder", "decoder_linear_embedding"),
}
_QUANTIZERS = {"quantize_t": "top_quantizer", "quantize_b": "bottom_quantizer"}
_QUANTIZER_KEYS = {"codebook.weight": "codebook", "ema_count": "ema_count", "ema_weight": "ema_sum"}
_NORM_KEYS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _key_pairs() -> Iterator[tuple[str, str]]:
    for theirs, (ours, strided, kind, projection) in _BLOCKS.items():
        for key in ("weight", "bias"):
            yield f"{theirs}.{strided}.0.0.{key}", f"{ours}.convolution.{key}"
            yield f"{theirs}.{projection}.{key}", f"{ours}.activate.projection.{key}"
        for key in _NORM_KEYS:
            yield f"{theirs}.{strided}.0.2.{key}", f"{ours}.activate.norm.{key}"
        for key, mine in TORCH_LAYER_KEYS.items():
            yield f"{theirs}.{kind}_transformer.layers.0.{key}", f"{ours}.transformer.layers.0.{mine}"
    for theirs, ours in _QUANTIZERS.items():
        for key, mine in _QUANTIZER_KEYS.items():
            yield f"{theirs}.{key}", f"{ours}.{mine}"
    for key in ("weight", "bias"):
        yield f"upsample_t.{key}", f"upsample_top.{key}"
        yield f"decoder_b.cross_smooth_layer.{key}", f"output.{key}"


KEY_MAP: Mapping[str, str] = dict(_key_pairs())
"""Every live tensor name of the released TH-VQVAE -> its name here."""


def load_released(weights: Mapping[str, Tensor]) -> THVQVAE:
    """The released TH-VQVAE, in evaluation mode, from its state_dict (any float dtype; computed in float32).

    The released model takes raw FLAME parameters, so the standardisation here is the identity. Raises ValueError naming
    the tensors that are missing or not known.
    """
    unknown = sorted(set(weights) - set(KEY_MAP) - DEAD_KEYS)
    missing = sorted(set(KEY_MAP) - set(weights))
    if unknown or missing:
        parts = [f"misses {', '.join(missing)}"] if missing else []
        parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
        raise ValueError(f"These are not the weights of the released TH-VQVAE: it {'; it '.join(parts)}.")
    channels = weights["decoder_b.cross_smooth_layer.bias"].shape[0]
    model = THVQVAE(THVQVAEConfig(channels=channels))
    renamed = {
        mine: weights[theirs].float() if weights[theirs].is_floating_point() else weights[theirs]
        for theirs, mine in KEY_MAP.items()
    }
    kept = {"motion_mean": model.motion_mean, "motion_std": model.motion_std}
    # The codebooks are trained: further training must not place them anew.
    kept |= {f"{name}.updates": torch.ones((), dtype=torch.int64) for name in _QUANTIZERS.values()}
    load_weights(model, renamed | kept, "The released TH-VQVAE")
    return model.eval()
