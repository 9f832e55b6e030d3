"""Every shipped preset composes, and the model it describes can be built."""

import pytest

from dee import DEE, ExpressionRecogniser
from deeptalk.baselines import EmoTalk
from deeptalk.benchmark import BenchmarkConfig
from deeptalk.config import compose, find_preset, presets_folder
from deeptalk.corpus import CorpusConfig
from deeptalk.stages import STAGES
from deeptalk.talker import IndexPredictor
from thvqvae import THVQVAE

SCHEMAS = {name: stage.config for name, stage in STAGES.items()} | {
    "corpus": CorpusConfig,
    "benchmark": BenchmarkConfig,
}
MODELS = {
    "thvqvae": THVQVAE,
    "recogniser": ExpressionRecogniser,
    "dee": DEE,
    "talker": IndexPredictor,
    "emotalk": EmoTalk,
}
PRESETS = sorted(path.relative_to(presets_folder()).with_suffix("") for path in presets_folder().glob("*/*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=str)
def test_preset_composes_and_builds(preset):
    config = compose(SCHEMAS[preset.parent.name], [find_preset(preset.parent.name, preset.name)])
    assert config != SCHEMAS[preset.parent.name](), "a preset that changes nothing is no preset"
    if preset.parent.name in MODELS:
        model = MODELS[preset.parent.name](config.model)
        assert sum(parameter.numel() for parameter in model.parameters()) > 10_000


def test_every_stage_has_the_presets_that_the_help_names():
    wanted = {f"{stage}/{name}" for stage in SCHEMAS for name in ("tiny", "base")} | {
        f"{name}/paper" for name in STAGES
    }
    assert wanted == {str(preset) for preset in PRESETS}
