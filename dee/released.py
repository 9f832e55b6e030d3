"""Names of the authors' checkpoint (DEE.pt) for the two encoders and the matching loss."""

from collections.abc import Mapping

from torch import Tensor

from dee.encoders import EncoderConfig
from dee.model import DEEConfig, Side

RELEASED_CONFIG = DEEConfig(
    speech_features=768,
    motion_channels=128,
    speech_encoder=EncoderConfig(width=768, layers=2, project_input=False),
    motion_encoder=EncoderConfig(width=512, layers=6),
)
"""Architecture of the released model: emotion2vec features on one side, expression recogniser features on the other."""


def released_encoder_state(released: Mapping[str, Tensor], side: Side) -> dict[str, Tensor]:
    """State of a `ClipEncoder` of `RELEASED_CONFIG` out of the released one.

    Takes only what that encoder uses: not emotion2vec, the position tables (computed here), nor the prototype layers
    (`*_layer`) that the checkpoint stores and never runs.
    """
    short = {"speech": "audio", "motion": "exp"}[side]
    names = {
        f"{short}_map.": "input.",
        f"{short}_encoder.layers.": "layers.",
        f"{short}_mean_encoder.layers.0.": "mean_head.layer.",
        "mean_feature_map.": "mean_head.linear.",
        "mean_pool.": "mean_head.pool.",
        f"{short}_uncertainty_encoder.layers.0.": "log_variance_head.layer.",
        "std_feature_map.": "log_variance_head.linear.",
        "std_pool.": "log_variance_head.pool.",
    }
    state = {}
    for key, value in released.items():
        inside = key.removeprefix(f"{short}_encoder.")
        for theirs, ours in names.items():
            if inside != key and inside.startswith(theirs):
                state[ours + inside.removeprefix(theirs)] = value
    return state


def released_match_state(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of `MatchLogits` out of the released one."""
    return {"scale": released["criterion.negative_scale"], "shift": released["criterion.shift"]}
