"""The smallest modules that fit each other, with random weights, for the tests of talker, bundle and pipeline."""

from pathlib import Path

import torch

from dee import DEE, DEEConfig, EncoderConfig
from deeptalk.bundle import Part, SpeechFeatures, weights_sha256, write_part
from deeptalk.talker import IndexPredictor, IndexPredictorConfig
from thvqvae import THVQVAE, THVQVAEConfig

FEATURES = 80  # those of logmel
CHANNELS = 52


def tiny_prior(seed: int = 0, codes: int = 12) -> THVQVAE:
    torch.manual_seed(seed)
    prior = THVQVAE(
        THVQVAEConfig(
            hidden_size=16,
            heads=2,
            feedforward_size=16,
            decoder_feedforward_size=16,
            top_codes=codes,
            bottom_codes=codes + 2,
            dropout=0.2,
        )
    )
    # Codes far apart, so that each decodes to a motion of its own.
    for quantizer in (prior.top_quantizer, prior.bottom_quantizer):
        quantizer.codebook.normal_()
    prior.set_statistics(torch.full((CHANNELS,), 0.3), torch.full((CHANNELS,), 0.1))
    return prior.eval()


def tiny_dee(seed: int = 1, features: int = FEATURES) -> DEE:
    torch.manual_seed(seed)
    encoder = EncoderConfig(width=16, layers=1, heads=2, feedforward=16)
    dee = DEE(
        DEEConfig(
            speech_features=features,
            embedding_size=8,
            speech_encoder=encoder,
            motion_encoder=encoder,
            log_variance_bias=-1.0,
        )
    )
    return dee.eval()


def tiny_config(**changes: object) -> IndexPredictorConfig:
    sizes: dict = {
        "feature_size": FEATURES,
        "emotion_size": 8,
        "num_speakers": 3,
        "top_codes": 12,
        "bottom_codes": 14,
        "decoded_top_size": 16,
        "content_size": 16,
        "identity_size": 4,
        "style_size": 16,
        "face_size": 12,
        "size": 16,
        "heads": 2,
        "feedforward": 16,
        "layers": 2,
    }
    return IndexPredictorConfig(**{**sizes, **changes})


def tiny_predictor(seed: int = 2, **changes: object) -> IndexPredictor:
    torch.manual_seed(seed)
    predictor = IndexPredictor(tiny_config(**changes))
    # As decided as a trained predictor: logits far apart, emotion and speaker that matter.
    for layer in (predictor.top_output, predictor.bottom_output, predictor.emotion):
        layer.weight.data.mul_(8)
    predictor.identity.weight.data.mul_(2)
    return predictor.eval()


def tiny_batch(lengths: list[int], seed: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames = max(lengths)
    clips = len(lengths)
    return {
        "features": torch.randn(clips, frames, FEATURES, generator=generator),
        "motion": torch.rand(clips, frames, CHANNELS, generator=generator) * 0.6,
        "lengths": torch.tensor(lengths),
        "speaker": torch.arange(clips) % 3,
        "emotion": torch.arange(clips) % 8,
        "intensity": torch.full((clips,), 0.5),
        "speech": torch.arange(clips),
    }


def write_tiny_parts(
    folder: Path, cache_key: str, encoder: str = "logmel", features: int = FEATURES, dee_config: dict | None = None
) -> dict[str, Path]:
    """Three parts on disk that fit each other; `dee_config` is the config that DEE's run is said to have had."""
    batch = tiny_batch([12] * 16)
    batch["features"] = torch.nn.functional.pad(batch["features"], (0, features - FEATURES))
    dee = tiny_dee(features=features)
    dee.fit_prototypes([{**batch, "intensity": torch.where(batch["emotion"] > 0, 0.5, 0.0)}])
    speech = SpeechFeatures(encoder, features, cache_key)
    for prototypes in dee.prototypes.values():  # a trained DEE keeps its emotions apart
        prototypes.anchors.copy_(torch.nn.functional.normalize(torch.randn(8, 1, 8), dim=-1).expand(8, 2, 8))
    predictor = tiny_predictor(feature_size=features)
    predictor.set_statistics(torch.full((features,), 1.6), torch.full((features,), 0.7))
    models = {"thvqvae": tiny_prior(), "dee": dee, "talker": predictor}
    folders: dict[str, Path] = {}
    for name, model in models.items():
        fields: dict = {
            "name": name,
            "rig": "arkit",
            "frame_rate": 25.0,
            "speech": None if name == "thvqvae" else speech,
            "parents": {p: weights_sha256(folders[p]) for p in folders} if name == "talker" else {},
            "corpus": "0123456789abcdef",
            "speakers": ["anna", "ben", "cleo"] if name == "talker" else [],
            "config": dee_config or {} if name == "dee" else {},
        }
        folders[name] = write_part(folder / name, model, Part(**fields))
    return folders
