"""wav2vec2, hubert, wavlm and emotion2vec as encoders: against transformers, their windows, layers and sources."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_speech import (
    BLOCKS_WITH_NORM_FIRST,
    change_config,
    classes,
    write_emotion2vec,
    write_selfsupervised,
    write_tiny,
)

from dee.emotion2vec import Emotion2Vec
from deeptalk.errors import UserError
from deeptalk.speech import build_encoder, pad_waveforms, read_sources
from deeptalk.speech.windows import Windows

VARIANTS = {
    "wav2vec2": ("wav2vec2", {}),
    "wav2vec2 large": ("wav2vec2", BLOCKS_WITH_NORM_FIRST),
    "hubert": ("hubert", {}),
    "hubert large": ("hubert", BLOCKS_WITH_NORM_FIRST),
    "wavlm": ("wavlm", {"num_buckets": 8, "max_bucket_distance": 40}),
    "wavlm large": ("wavlm", BLOCKS_WITH_NORM_FIRST),
}


def speechlike(num_samples, seed=0):
    random = np.random.default_rng(seed)
    levels = np.interp(np.arange(num_samples), 800 * np.arange(num_samples // 800 + 2), random.uniform(
        0, 1, num_samples // 800 + 2))  # fmt: skip
    return (0.03 + 0.1 * levels * random.normal(size=num_samples)).astype(np.float32)


@pytest.fixture(scope="module", params=VARIANTS)
def model(request, tmp_path_factory):
    """(kind, folder) of each variant."""
    kind, config = VARIANTS[request.param]
    return kind, write_selfsupervised(tmp_path_factory.mktemp("model"), kind, **config)


def states_of_transformers(kind, folder, samples):
    """All hidden states of one clip alone, the last after the final norm, as transformers gives them."""
    with torch.no_grad():
        given = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))[None]
        return classes(kind)[1].from_pretrained(folder).eval()(given, output_hidden_states=True)


def states(encoder, samples):
    local = encoder.local_frames(torch.from_numpy(samples), len(samples))
    with torch.no_grad():
        return encoder.contextual(local[None], torch.tensor([len(local)]))[0]


def test_states_equal_transformers(model):
    kind, folder = model
    samples = speechlike(20000)
    expected = states_of_transformers(kind, folder, samples)
    encoder = build_encoder(kind, source=folder)
    assert (encoder.name, encoder.feature_size) == (kind, 32)
    torch.testing.assert_close(states(encoder, samples), expected.last_hidden_state[0], atol=1e-4, rtol=1e-4)
    assert expected.last_hidden_state.std() > 0.1


@pytest.mark.parametrize("layer", [1, 2])
def test_layers_equal_transformers(model, layer):
    kind, folder = model
    samples = speechlike(20000)
    expected = states_of_transformers(kind, folder, samples).hidden_states
    encoder = build_encoder(f"{kind}:L{layer}", source=folder)
    assert (encoder.name, len(encoder.blocks)) == (f"{kind}:L{layer}", layer)
    torch.testing.assert_close(states(encoder, samples), expected[layer][0], atol=1e-4, rtol=1e-4)
    assert (expected[layer] - expected[layer + 1]).abs().max() > 0.1


def test_the_last_layer_by_number_is_the_last(model):
    kind, folder = model
    inputs = pad_waveforms([speechlike(9000)])
    last, named = build_encoder(kind, source=folder), build_encoder(f"{kind}:L3", source=folder)
    assert torch.equal(last(*inputs)[0], named(*inputs)[0])
    assert last.cache_key() != named.cache_key()


def test_emotion2vec_equals_the_module(tmp_path):
    folder = write_emotion2vec(tmp_path / "emotion2vec")
    samples = speechlike(20000)
    with torch.no_grad():
        expected, _ = Emotion2Vec.from_pretrained(folder)(*pad_waveforms([samples]))
    torch.testing.assert_close(
        states(build_encoder("emotion2vec", source=folder), samples), expected[0], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm", "emotion2vec"])
def test_frames_lie_where_their_sound_is(kind, tmp_path):
    """A state hears 400 samples around 12.5 ms + 20 ms k. Turned over, a piece of noise keeps its mean and level."""
    encoder = build_encoder(kind, source=write_tiny(tmp_path / "weights", kind))
    encoder.contextual = lambda local, lengths: local  # blocks hear everything
    waveforms, length = pad_waveforms([speechlike(40 * 640)])
    for frame in (0, 8, 21, 39):
        changed = waveforms.clone()
        changed[0, frame * 640 + 240 : frame * 640 + 400] *= -1
        change = (encoder(changed, length)[0] - encoder(waveforms, length)[0])[0].norm(dim=-1)
        assert int(change.argmax()) == frame
        assert change.median() < 0.1 * change.max()


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm", "emotion2vec"])
def test_short_windows_hear_no_further(kind, tmp_path):
    folder = write_tiny(tmp_path / "weights", kind)
    encoder, whole = build_encoder(f"{kind}:1s", source=folder), build_encoder(kind, source=folder)
    assert encoder.name == f"{kind}:1s"
    assert encoder.cache_key() != whole.cache_key()
    local = torch.randn(1, 230, 32, generator=torch.Generator().manual_seed(0))

    def heard(encoder, local):
        with torch.no_grad():
            return encoder.windows.states(encoder.contextual, list(local.clone()), 32)[0]

    changed = local.clone()
    changed[:, 130:] += 1.0
    torch.testing.assert_close(heard(encoder, changed)[:75], heard(encoder, local)[:75])
    assert (heard(whole, changed) - heard(whole, local))[:75].abs().max() > 1e-3
    torch.testing.assert_close(heard(encoder, local[:, :50]), heard(whole, local[:, :50]))


def test_windows_fade_into_each_other_and_give_back_what_passes_unchanged():
    clips = [torch.randn(length, 3, generator=torch.Generator().manual_seed(length)) for length in (1, 7, 400, 231)]
    for windows in (Windows.of(1.0, 1500), Windows.of(None, 1500), Windows(40, 6)):
        states = windows.states(lambda steps, lengths: steps, clips, 3)
        for own, clip in zip(states, clips):
            torch.testing.assert_close(own[: len(clip)], clip)
            assert not own[len(clip) :].any()


def test_a_preprocessor_without_normalisation_is_honoured(tmp_path):
    folder = write_selfsupervised(tmp_path / "wavlm", "wavlm", **BLOCKS_WITH_NORM_FIRST)
    normalised = build_encoder("wavlm", source=folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "sampling_rate": 16000}))
    plain = build_encoder("wavlm", source=folder)
    assert (normalised.do_normalize, plain.do_normalize) == (True, False)
    assert normalised.cache_key() != plain.cache_key()
    inputs = pad_waveforms([speechlike(9000)])
    assert (plain(*inputs)[0] - normalised(*inputs)[0]).abs().max() > 1e-3
    (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8000}))
    with pytest.raises(UserError, match="speech at 8000 Hz; expected one for 16000"):
        build_encoder("wavlm", source=folder)


def test_cache_keys_tell_weights_and_layout_apart(tmp_path):
    keys = set()
    for number, config in enumerate(({}, {"num_attention_heads": 2}, {"num_conv_pos_embedding_groups": 4})):
        folder = write_selfsupervised(tmp_path / f"{number}", "hubert", **config)
        keys.add(build_encoder("hubert", source=folder).cache_key())
    keys.add(build_encoder("hubert", source=write_selfsupervised(tmp_path / "seed", "hubert", seed=1)).cache_key())
    assert len(keys) == 3  # the third is the first


@pytest.mark.parametrize("kind", ["wav2vec2", "emotion2vec", "whisper"])
def test_sources_by_kind_and_from_runs_and_bundles(kind, tmp_path):
    folder = write_tiny(tmp_path / "run" / "speech", kind)
    key = build_encoder(kind, source=folder).cache_key()
    for source in (str(folder), folder.parent, {kind: folder}):
        assert build_encoder(kind, source=source).cache_key() == key
    stack = build_encoder(f"{kind}+logmel+hubert:L1", source={
        kind: folder, "hubert": write_tiny(tmp_path / "hubert", "hubert")})  # fmt: skip
    assert stack.feature_size == 32 + 80 + 32
    inputs = pad_waveforms([speechlike(9000), speechlike(700)])
    torch.testing.assert_close(stack(*inputs)[0][..., :32], build_encoder(kind, source=folder)(*inputs)[0])


@pytest.mark.parametrize("prefix", ["", "wav2vec2."])
def test_older_names_heads_and_several_files_load(tmp_path, prefix):
    folder = write_selfsupervised(tmp_path / "new", "wav2vec2")
    tensors = load_file(folder / "model.safetensors")
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    (older / "model.safetensors").unlink()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    parts = {"model-00001-of-00002.safetensors": {"lm_head.weight": torch.ones(3, 32)}}
    parts["model-00002-of-00002.safetensors"] = {f"{prefix}masked_spec_embed": torch.ones(32)}
    for place, (name, values) in enumerate(tensors.items()):
        for new, old in names.items():
            name = name.replace(new, old)
        parts[sorted(parts)[place % 2]][prefix + name] = values
    for file, content in parts.items():
        save_file(content, older / file)
    index = {"weight_map": {name: file for file, content in parts.items() for name in content}}
    (older / "model.safetensors.index.json").write_text(json.dumps(index))
    assert build_encoder("wav2vec2", source=older).cache_key() == build_encoder("wav2vec2", source=folder).cache_key()


def drop_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("encoder.layers.1.attention.k_proj.bias")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json does not exist"),
        (change_config(model_type="wavlm"), "describes 'wavlm'; expected model_type 'hubert'"),
        (change_config(num_hidden_layers=2), "do not fit.*layers.2"),
        (change_config(num_hidden_layers=4), "do not fit.*layers.3"),
        (change_config(num_attention_heads=5), "not a usable hubert config"),
        (change_config(conv_stride=[5, 2, 2, 2, 2, 2, 1]), "every 160 samples; expected every 320"),
        (change_config(conv_pos_batch_norm=True), "batch norm before its position convolution"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), r"pickled \.bin files"),
        (drop_weight, "do not fit.*k_proj.bias"),
    ],
)
def test_damaged_folders_are_told_apart(tmp_path, damage, words):
    folder = write_selfsupervised(tmp_path / "hubert", "hubert")
    damage(folder)
    with pytest.raises(UserError, match=words):
        build_encoder("hubert", source=folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model_type": "wav2vec2"}, "describes 'wav2vec2', expected 'emotion2vec'"),
        ({"model": "dee", "config": {}}, "describes 'dee'"),
        ({"model": "emotion2vec", "config": {"width": 7}}, "emotion2vec cannot be read.*width 7"),
    ],
)
def test_folders_that_are_no_emotion2vec_are_refused(tmp_path, content, words):
    folder = write_emotion2vec(tmp_path / "emotion2vec")
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        build_encoder("emotion2vec", source=folder)


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("wav2vec2", None, "wav2vec2 comes without weights.*facebook/wav2vec2-base-960h"),
        ("emotion2vec", None, "emotion2vec comes without weights.*import-checkpoint"),
        ("wavlm", "absent folder", "neither a folder nor a hub name"),
        ("wav2vec2+hubert", "x/y", r"say of which, such as wav2vec2=x/y"),
        ("wav2vec2+prosody", {"hubert": "x/y"}, "were given for hubert; .* wav2vec2 takes weights"),
        ("wav2vec2:L0", None, "names no block from 1 on; write it as wav2vec2:L6"),
        ("hubert:2s:3s", None, "gives two windows"),
        ("hubert:L2:L3", None, "gives two layers"),
        ("emotion2vec:L3", None, "names no window of 1 to 30 s; write it as emotion2vec:2s"),
        ("logmel:L3", None, "has options, which only whisper, wav2vec2"),
    ],
)
def test_names_and_sources_that_make_no_sense_are_refused(name, source, words):
    with pytest.raises(UserError, match=words):
        build_encoder(name, source=source)


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ([], None),
        (["folder"], "folder"),
        (["/with=sign/folder"], "/with=sign/folder"),
        (["whisper=openai/whisper-base.en"], {"whisper": "openai/whisper-base.en"}),
        (["wav2vec2=a=b", "emotion2vec=c"], {"wav2vec2": "a=b", "emotion2vec": "c"}),
    ],
)
def test_words_of_a_command_become_sources(words, source):
    assert read_sources(words) == source


@pytest.mark.parametrize("words", [["a", "b"], ["wavlm=a", "wavlm=b"], ["wavlm=a", "b"]])
def test_words_that_leave_open_which_is_which_are_refused(words):
    with pytest.raises(UserError, match=r"Speech weights were given as .*; give one FOLDER, or KIND=FOLDER once"):
        read_sources(words)


def test_a_layer_beyond_the_last_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"hubert:L4 asks for block 4; .* has 3"):
        build_encoder("hubert:L4", source=write_selfsupervised(tmp_path / "hubert", "hubert"))


def test_a_hub_name_is_fetched_as_safetensors_and_json_only(monkeypatch, tmp_path):
    folder, asked = write_selfsupervised(tmp_path / "hubert", "hubert"), {}

    def snapshot_download(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert build_encoder("hubert", source="facebook/hubert").feature_size == 32
    assert asked["name"] == "facebook/hubert"
    assert all(pattern.endswith((".json", ".safetensors")) for pattern in asked["patterns"])


def test_no_network_is_one_clear_sentence(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise OSError("no network\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=r"of wavlm could not be fetched.*'someone/wavlm' \(no network\).*local folder"):
        build_encoder("wavlm", source="someone/wavlm")
