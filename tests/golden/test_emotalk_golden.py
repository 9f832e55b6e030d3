"""The fusion decoder against the released code's, run with random weights (shared/goldens/emotalk)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deeptalk.baselines.emotalk_decoder import FusionDecoder, alignment_bias, causal_periodic_bias

GOLDENS = Path(__file__).parents[3] / "shared" / "goldens" / "emotalk"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not GOLDENS.is_dir(), reason="shared/goldens/emotalk is not there"),
]

RELEASED_KEYS = {
    "audio_feature_map_cont.": "content.",
    "audio_feature_map_emo.": "emotion_memory.",
    "audio_feature_map_emo2.": "emotion_query.",
    "obj_vector_level.": "level.",
    "obj_vector_person.": "person.",
    "transformer_decoder.layers.0.self_attn.in_proj_": "layer.self_attention.in_projection.",
    "transformer_decoder.layers.0.self_attn.out_proj.": "layer.self_attention.out_projection.",
    "transformer_decoder.layers.0.multihead_attn.in_proj_": "layer.emotion_attention.in_projection.",
    "transformer_decoder.layers.0.multihead_attn.out_proj.": "layer.emotion_attention.out_projection.",
    "transformer_decoder.layers.0.linear1.": "layer.expand.",
    "transformer_decoder.layers.0.linear2.": "layer.contract.",
    "transformer_decoder.layers.0.norm1.": "layer.norms.0.",
    "transformer_decoder.layers.0.norm2.": "layer.norms.1.",
    "transformer_decoder.layers.0.norm3.": "layer.norms.2.",
    "bs_map_r.": "output.",
}


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDENS / "decoder_io.safetensors")


@pytest.fixture(scope="module")
def decoder():
    sizes = {"content_size": 512, "emotion_size": 256, "level_size": 32, "person_size": 32, "feedforward": 832}
    model = FusionDecoder(hidden_size=1024, channels=52, people=24, heads=4, dropout=0.1, bias_period=30, **sizes)
    weights = {}
    for key, value in load_file(GOLDENS / "weights_decoder.safetensors").items():
        prefix = max((p for p in RELEASED_KEYS if key.startswith(p)), key=len)
        weights[RELEASED_KEYS[prefix] + key.removeprefix(prefix)] = value
    model.load_state_dict(weights)
    return model.eval()


def test_masks(golden):
    assert torch.equal(causal_periodic_bias(4, 90, 30), golden["biased_mask_90"])
    assert torch.equal(alignment_bias(90) != 0, golden["memory_mask_90"])


@pytest.mark.parametrize(("level", "person"), [(0, 3), (1, 3), (1, 0), (0, 23)])
def test_motion(golden, decoder, level, person):
    with torch.no_grad():
        motion = decoder(
            golden["hidden_content"], golden["hidden_emotion"], torch.tensor([level]), torch.tensor([person])
        )
    torch.testing.assert_close(motion, golden[f"level{level}_person{person}.output"], atol=1e-4, rtol=0)


def test_intermediate_values(golden, decoder):
    def expect(actual, name):
        torch.testing.assert_close(actual, golden[f"level1_person3.{name}"], atol=1e-4, rtol=0)

    with torch.no_grad():
        content, memory = decoder.content(golden["hidden_content"]), decoder.emotion_memory(golden["hidden_emotion"])
        expect(content, "content_512")
        expect(memory, "emotion_832")
        expect(decoder.emotion_query(memory), "emotion_256_prerelu")
        stream = decoder.query_stream(golden["hidden_content"], memory, torch.tensor([1]), torch.tensor([3]))
        expect(stream[0, 0, 768:800], "level_32")
        expect(stream[0, 40, 800:], "person_32")
        layer, bias = decoder.layer, causal_periodic_bias(4, 90, 30)
        attended = layer.self_attention(stream, stream, bias)
        expect(attended, "self_attn")
        middle = layer.norms[0](stream + attended)
        expect(layer.emotion_attention(middle, memory, alignment_bias(90)), "cross_attn")
        expect(layer(stream, memory, bias, alignment_bias(90)), "decoder_out")


def test_two_clips_in_one_batch(golden, decoder):
    with torch.no_grad():
        motion = decoder(
            golden["hidden_content"].repeat(2, 1, 1),
            golden["hidden_emotion"].repeat(2, 1, 1),
            torch.tensor([0, 1]),
            torch.tensor([23, 0]),
        )
    expected = torch.cat([golden["level0_person23.output"], golden["level1_person0.output"]])
    torch.testing.assert_close(motion, expected, atol=1e-4, rtol=0)
