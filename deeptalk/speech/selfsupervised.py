"""wav2vec 2.0 (arXiv 2006.11477), HuBERT (2106.07447) and WavLM (2110.13900), as transformers builds them."""

import importlib
import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from deeptalk.errors import UserError
from deeptalk.files import read_json
from deeptalk.speech.frames import FRAME_RATE, SAMPLE_RATE, length_mask
from deeptalk.speech.network import WaveformNetworkEncoder
from deeptalk.speech.weights import fill, read_model_config, read_tensors, save_transformers, weights_folder
from deeptalk.speech.windows import STATE_RATE

MODELS = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
"""Kind to the prefix of transformers' class names; the kinds are its model types."""
EXAMPLES = {
    "wav2vec2": "facebook/wav2vec2-base-960h",
    "hubert": "facebook/hubert-large-ls960-ft",
    "wavlm": "microsoft/wavlm-base-plus",
}
# Heads, quantisers, the vector of masked frames and language adapters on top are left out.
ENCODER_WEIGHT = r"(?:(?:wav2vec2|hubert|wavlm)\.)?((?:feature_extractor|feature_projection|encoder)\..*)"
WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""Names of the position convolution's weight in older files to those of today's."""
LAYOUT = (
    *("hidden_act", "feat_extract_activation", "feat_extract_norm", "conv_kernel", "conv_stride", "layer_norm_eps"),
    *("num_attention_heads", "num_conv_pos_embedding_groups", "do_stable_layer_norm", "feat_proj_layer_norm"),
    *("num_buckets", "max_bucket_distance"),
)
"""Settings that change the features and do not show in the shapes of the weights."""
VARIANCE_FLOOR = 1e-7
"""Of transformers' Wav2Vec2FeatureExtractor."""


class SelfSupervisedEncoder(WaveformNetworkEncoder):
    """Hidden states of wav2vec2, hubert or wavlm after the last block or after block `layer`, on motion frames.

    The waveform is brought to mean 0 and variance 1 by the clip, where the weights were trained so. Each clip has the
    features that transformers gives for it alone, without padding.
    """

    def __init__(
        self,
        network: nn.Module,
        do_normalize: bool = True,
        frame_rate: float = FRAME_RATE,
        window_seconds: float | None = None,
        layer: int | None = None,
    ) -> None:
        config: Any = network.config
        options = [] if layer is None else [f"L{layer}"]
        options += [] if window_seconds is None else [f"{window_seconds:g}s"]
        name = ":".join([config.model_type, *options])
        field, stride = _field_samples(config)
        if SAMPLE_RATE / stride != STATE_RATE:
            raise UserError(f"{name} gives a state every {stride} samples; expected every 320, 50 states a second.")
        super().__init__(name, network, config.hidden_size, frame_rate, window_seconds, field)
        self.do_normalize = do_normalize
        self._options = (do_normalize, frame_rate, window_seconds, layer)

    @classmethod
    def load(
        cls,
        kind: str,
        source: str | Path | None,
        frame_rate: float = FRAME_RATE,
        window_seconds: float | None = None,
        layer: int | None = None,
    ) -> "SelfSupervisedEncoder":
        """Load weights from a source as `weights_folder` describes; nothing of it is run. Raises UserError."""
        alternatives = (
            f"give --speech-weights (in Python source=) the folder or hub name of a {kind} in transformers' format, "
            f"saved as safetensors, such as {EXAMPLES[kind]}, or use an encoder that needs none, such as logmel+prosody"
        )
        if source is None:
            raise UserError(f"{kind} comes without weights: {alternatives}.")
        folder = weights_folder(kind, source, alternatives)
        content = read_model_config(folder, kind)
        network = empty_network(kind, content, folder, layer)
        tensors = {_modern(name): values for name, values in read_tensors(folder, ENCODER_WEIGHT).items()}
        if layer is not None:
            tensors = {name: values for name, values in tensors.items() if _is_used(name, network)}
        fill(network, tensors, folder)
        preprocessor = folder / "preprocessor_config.json"
        settings = read_json(preprocessor) if preprocessor.is_file() else content
        rate = settings.get("sampling_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise UserError(f"{folder} is a {kind} for speech at {rate} Hz; expected one for {SAMPLE_RATE} Hz.")
        return cls(network, bool(settings.get("do_normalize", True)), frame_rate, window_seconds, layer)

    @property
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks, the lowest first."""
        return list(self._parts.encoder.layers)

    @property
    def _parts(self) -> Any:
        """The network, whose modules transformers names and types do not show."""
        return self.network

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the encoder in transformers' format, with what the waveform needs in its config.json."""
        config = self._parts.config.to_dict() | {"do_normalize": self.do_normalize, "final_norm": self._final_norm}
        save_transformers(folder, config, self.network.state_dict())

    @property
    def _final_norm(self) -> bool:
        return not isinstance(self._parts.encoder.layer_norm, nn.Identity)

    def local_frames(self, samples: Float[Tensor, " sample"], length: int) -> Float[Tensor, "state size"]:
        """Return the frames of a clip after the convolutions."""
        if self.do_normalize:
            variance, mean = torch.var_mean(samples[:length], correction=0)
            samples = F.pad((samples[:length] - mean) / (variance + VARIANCE_FLOOR).sqrt(), (0, len(samples) - length))
        projected = self._parts.feature_projection(self._parts.feature_extractor(samples[None]).mT)
        return (projected if isinstance(projected, Tensor) else projected[0])[0]

    def contextual(
        self, local: Float[Tensor, "window state size"], lengths: Tensor
    ) -> Float[Tensor, "window state size"]:
        """Return the frames after the blocks."""
        padded = int(lengths.min()) < local.shape[1]
        # the encoder silences padding in place
        mask = length_mask(lengths, local.shape[1]) if padded else None
        return self._parts.encoder(local, attention_mask=mask).last_hidden_state

    def identity(self) -> dict[str, Any]:
        """Return the name, the hash of the weights and what they do not tell."""
        config = self._parts.config
        layout = {key: getattr(config, key) for key in LAYOUT if hasattr(config, key)}
        return {**super().identity(), "layout": layout, "normalised": self.do_normalize, "norm": self._final_norm}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies go by the weights: torch does not pickle the position convolution's weight norm."""
        content = self._parts.config.to_dict() | {"final_norm": self._final_norm}
        return _restore, (content, self.network.state_dict(), self._options)


def _restore(content: dict[str, Any], tensors: dict[str, Tensor], options: tuple) -> SelfSupervisedEncoder:
    network = empty_network(content["model_type"], content, Path("a copy"), options[-1])
    network.load_state_dict(tensors)
    return SelfSupervisedEncoder(network, *options)


def empty_network(kind: str, content: dict[str, Any], folder: Path, layer: int | None = None) -> nn.Module:
    """Return the network that a config.json describes, with random weights, cut off after a layer.

    Raises UserError, which names `folder`, for a config that makes none.
    """
    module = importlib.import_module(f"transformers.models.{kind}")
    unused = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "add_adapter": False}
    try:
        config = getattr(module, f"{MODELS[kind]}Config").from_dict({**content, **unused})
        config._attn_implementation = "eager" if kind == "wavlm" else "sdpa"
        network = getattr(module, f"{MODELS[kind]}Model")(config)
        if kind == "wavlm":
            _fuse_attention(network)
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}/config.json is not a usable {kind} config: {first_line}.") from error
    if getattr(config, "conv_pos_batch_norm", False):
        raise UserError(f"{folder} has a batch norm before its position convolution, which padding would reach.")
    depth = len(network.encoder.layers)
    if layer is not None:
        if layer > depth:
            raise UserError(f"{kind}:L{layer} asks for block {layer}; {folder} has {depth}.")
        network.encoder.layers = network.encoder.layers[:layer]
        config.num_hidden_layers = layer
    # where blocks begin with their norm, one more follows the last block, and only it
    is_last = content.get("final_norm", True) and layer in (None, depth)
    if config.do_stable_layer_norm and not is_last:
        network.encoder.layer_norm = nn.Identity()
    return network.eval()


def _fuse_attention(network: Any) -> None:
    """WavLM's gated position bias through torch's fused attention, which transformers has for the other two only."""
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    class FusedAttention(WavLMAttention):
        def torch_multi_head_self_attention(
            self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
        ) -> tuple[Tensor, Any]:
            projections = (self.q_proj, self.k_proj, self.v_proj)
            query, key, value = (
                projection(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                for projection in projections
            )
            bias = gated_position_bias.unflatten(0, (len(hidden_states), self.num_heads))
            if attention_mask is not None:
                bias = bias.masked_fill(~attention_mask[:, None, None], -torch.inf)
            heard = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
            return self.out_proj(heard.transpose(1, 2).flatten(2)), None

    for layer in network.encoder.layers:
        layer.attention.__class__ = FusedAttention


def _modern(name: str) -> str:
    for old, new in WEIGHT_NORM.items():
        name = re.sub(rf"\.{old}$", f".{new}", name)
    return name


def _is_used(name: str, network: Any) -> bool:
    """Whether a tensor is of a part that was not cut off."""
    layer = re.match(r"encoder\.layers\.(\d+)\.", name)
    if layer:
        return int(layer[1]) < len(network.encoder.layers)
    return not (name.startswith("encoder.layer_norm.") and isinstance(network.encoder.layer_norm, nn.Identity))


def _field_samples(config: Any) -> tuple[int, int]:
    """Samples that one state hears through the convolutions, and samples from one state to the next."""
    field, stride = 1, 1
    for kernel, step in zip(config.conv_kernel, config.conv_stride):
        field += (kernel - 1) * stride
        stride *= step
    return field, stride
