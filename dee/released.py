"""Reading the authors' checkpoints, DEE.pt and the expression recogniser's: their tensor names -> ours.

Weights are handed in as a mapping; reading files safely is the caller's part. Every tensor is mapped, known to be dead,
or refused by name.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from dee.emotion2vec import Emotion2Vec, Emotion2VecConfig
from dee.encoders import EncoderConfig
from dee.model import DEE, DEEConfig
from dee.positions import sinusoidal_positions
from dee.recogniser import ExpressionRecogniser, RecogniserConfig
from dee.saving import load_weights

RELEASED_CONFIG = DEEConfig(
    speech_features=768,
    motion_channels=53,
    recogniser=RecogniserConfig(motion_channels=53, features="released"),
    speech_encoder=EncoderConfig(width=768, layers=2, project_input=False),
    motion_encoder=EncoderConfig(width=512, layers=6),
)
"""Architecture of the released model: emotion2vec features on one side, expression recogniser features on the other."""

_EMOTION2VEC = "audio_encoder.embedding_model."
_AUDIO = f"{_EMOTION2VEC}modality_encoders.AUDIO."
_BLOCK = {
    "norm1": "attention_norm",
    "attn.qkv": "qkv",
    "attn.proj": "attention_output",
    "norm2": "output_norm",
    "mlp.fc1": "expand",
    "mlp.fc2": "contract",
}
DEAD_PATTERN = re.compile(
    r"(audio|exp)_encoder\.(audio|exp)_(encoder|mean|uncertainty)_layer\."  # cloned into the encoders, then kept
    r"|audio_encoder\.embedding_model\.modality_encoders\.AUDIO\.decoder\."  # of emotion2vec's pretraining
)
"""Tensors of DEE.pt that its own code stores and never runs."""
_POSITIONS = {
    "audio_encoder.audio_pos_encoder.pos_enc": "speech",
    "exp_encoder.exp_pos_encoder.pos_enc": "motion",
}
"""Tables of positions, which are computed here; they are compared and left out."""


def _emotion2vec_pairs(config: Emotion2VecConfig) -> Iterator[tuple[str, str]]:
    yield f"{_AUDIO}extra_tokens", "extra_tokens"
    yield f"{_AUDIO}alibi_scale", "alibi_scale"
    for number in range(7):
        yield f"{_AUDIO}local_encoder.conv_layers.{number}.0.weight", f"convolutions.{number}.weight"
    for kind in ("weight", "bias"):
        for number in range(7):
            theirs = f"{_AUDIO}local_encoder.conv_layers.{number}.2.1.{kind}"
            yield theirs, f"convolution_norms.{number}.norm.{kind}"
        yield f"{_AUDIO}project_features.1.{kind}", f"feature_norm.{kind}"
        yield f"{_AUDIO}project_features.2.{kind}", f"feature_projection.{kind}"
        yield f"{_AUDIO}context_encoder.norm.{kind}", f"context_norm.{kind}"
        for number in range(config.position_layers):
            theirs = f"{_AUDIO}relative_positional_encoder.{number + 1}.0.{kind}"
            yield theirs, f"position_convolutions.{number}.{kind}"
        for theirs, ours, count in (
            (f"{_AUDIO}context_encoder.blocks", "context_blocks", config.context_blocks),
            (f"{_EMOTION2VEC}blocks", "blocks", config.blocks),
        ):
            for number in range(count):
                for name, mine in _BLOCK.items():
                    yield f"{theirs}.{number}.{name}.{kind}", f"{ours}.{number}.{mine}.{kind}"


def _encoder_name(key: str) -> str | None:
    """Our name of a tensor of one of the two clip encoders; None where it is none of theirs."""
    short, dot, inside = key.partition("_encoder.")
    side = {"audio": "speech_encoder.", "exp": "motion_encoder."}.get(short)
    if side is None or not dot:
        return None
    parts = {
        f"{short}_map.": "input.",
        f"{short}_encoder.layers.": "layers.",
        f"{short}_mean_encoder.layers.0.": "mean_head.layer.",
        "mean_feature_map.": "mean_head.linear.",
        "mean_pool.": "mean_head.pool.",
        f"{short}_uncertainty_encoder.layers.0.": "log_variance_head.layer.",
        "std_feature_map.": "log_variance_head.linear.",
        "std_pool.": "log_variance_head.pool.",
    }
    for theirs, ours in parts.items():
        if inside.startswith(theirs):
            return side + ours + inside.removeprefix(theirs)
    return None


def load_released(
    weights: Mapping[str, Tensor],
    recogniser: Mapping[str, Tensor],
    config: DEEConfig = RELEASED_CONFIG,
    speech_config: Emotion2VecConfig | None = None,
) -> tuple[DEE, Emotion2Vec]:
    """The released DEE with its recogniser inside, and emotion2vec as it was fine-tuned with it, both in eval mode.

    The emotion2vec is not part of the DEE; `DEE.embed_waveform` takes it as `model.speech`, which is set. The released
    model takes raw FLAME parameters (50 expression, 3 jaw), so the standardisation is the identity, and it has no
    label prototypes until `fit_prototypes` is called.

    Args:
        weights: state_dict of DEE.pt, any float dtype; computed in float32.
        recogniser: state_dict of the expression recogniser.
        config, speech_config: architecture; the released one unless a test asks for a smaller one.

    Raises ValueError naming tensors that are missing, not known, or of another shape.
    """
    speech = Emotion2Vec(speech_config)
    model = DEE(config, speech=speech)
    emotion2vec_names = dict(_emotion2vec_pairs(speech.config))
    states: dict[str, dict[str, Tensor]] = {"dee": {}, "emotion2vec": {}}
    unknown = []
    for key, value in weights.items():
        value = value.float() if value.is_floating_point() else value
        if key in emotion2vec_names:
            mine = emotion2vec_names[key]
            states["emotion2vec"][mine] = value.squeeze() if mine in ("extra_tokens", "alibi_scale") else value
        elif (mine_of_encoder := _encoder_name(key)) is not None:
            states["dee"][mine_of_encoder] = value
        elif key in ("criterion.negative_scale", "criterion.shift"):
            states["dee"][{"negative_scale": "match.scale", "shift": "match.shift"}[key.split(".")[1]]] = value
        elif key in _POSITIONS:
            _check_positions(key, value)
        elif not DEAD_PATTERN.match(key):
            unknown.append(key)
    if unknown:
        raise ValueError(f"These are not the weights of the released DEE: unknown {', '.join(sorted(unknown))}.")
    loaded = load_released_recogniser(recogniser, config.recogniser)
    own = model.state_dict()
    kept = {key: own[key] for key in own if key.startswith("prototypes.") or key.endswith(("_mean", "_std"))}
    inside = {f"recogniser.{key}": value for key, value in loaded.state_dict().items()}
    load_weights(model, {**kept, **states["dee"], **inside}, "the released DEE")
    load_weights(speech, states["emotion2vec"], "the released DEE's emotion2vec")
    return model.eval(), speech.eval()


def _check_positions(key: str, value: Tensor) -> None:
    expected = sinusoidal_positions(value.shape[-2], value.shape[-1])
    if not torch.allclose(value[0], expected, atol=1e-3):
        raise ValueError(f"{key} is not the table of sinusoidal positions that the released DEE uses.")


def load_released_recogniser(
    weights: Mapping[str, Tensor], config: RecogniserConfig | None = None
) -> ExpressionRecogniser:
    """The released expression recogniser, in eval mode, from its state_dict (any float dtype; computed in float32).

    Raises ValueError naming tensors that are missing, not known, or of another shape.
    """
    state = {}
    for key, value in weights.items():
        mine = re.sub(r"^hidden_layers\.(\d+)\.", lambda found: f"hidden.{int(found[1]) + 1}.", key)
        mine = mine.replace("in_fc.", "hidden.0.").replace("out_fc.", "output.").replace("bn_layers.", "norms.")
        state[mine] = value.float() if value.is_floating_point() else value
    model = ExpressionRecogniser(config or RecogniserConfig(features="released"))
    own = model.state_dict()
    kept = {key: own[key] for key in ("motion_mean", "motion_std")}
    load_weights(model, {**kept, **state}, "the released expression recogniser")
    return model.eval()
