import math

import numpy as np
import pytest
import torch
from scipy import signal

from deeptalk.speech import frame_counts, load_waveform, pad_waveforms
from deeptalk.speech.prosody import (
    CHANNELS,
    HIGH_BAND,
    IRREGULARITY,
    LEVEL,
    LOG_F0,
    LOW_BAND,
    NORMALISED,
    QUIETEST_DB,
    TILT,
    VOICING,
    ProsodyEncoder,
    fill_gaps,
    prosody,
    voiced_frames,
)
from deeptalk.speech.statistics import population_statistics


def voice(hertz, seconds=1.0, amplitude=0.1):
    """Give harmonics up to 4 kHz that fall by 6 dB an octave."""
    times = np.arange(round(seconds * 16000)) / 16000
    wave = sum(np.sin(2 * np.pi * k * hertz * times) / k for k in range(1, int(4000 / hertz)))
    return (amplitude * wave).astype(np.float32)


def raw(samples):
    waveforms, sample_lengths = pad_waveforms([samples])
    return prosody(waveforms, sample_lengths, frame_counts(sample_lengths), 25.0)[0]


def middle(samples):
    return raw(samples)[5:-5]


@pytest.mark.parametrize("hertz", [80.0, 120.0, 200.0, 220.0, 440.0])
def test_log_f0_is_the_logarithm_of_the_pitch(hertz):
    channels = middle(voice(hertz))
    torch.testing.assert_close(channels[:, LOG_F0], torch.full((15,), math.log(hertz)), atol=0.01, rtol=0)
    assert (channels[:, VOICING] > 0.8).all()


def test_a_step_in_pitch_has_its_size_in_standard_deviations():
    encoder = ProsodyEncoder()
    low, high = (encoder(*pad_waveforms([voice(hertz)]))[0][0, 5:-5].mean(dim=0) for hertz in (200.0, 220.0))
    expected = math.log(1.1) / population_statistics()["prosody"]["log_f0"]["std"]
    assert float(high[LOG_F0] - low[LOG_F0]) == pytest.approx(expected, abs=0.02)


def test_level_is_the_mean_square_in_decibels_and_follows_the_gain():
    tone = 0.1 * np.sin(2 * np.pi * 400 * np.arange(16000) / 16000).astype(np.float32)
    torch.testing.assert_close(middle(tone)[:, LEVEL], torch.full((15,), -23.01), atol=0.05, rtol=0)
    speech = voice(150.0)
    difference = middle(2 * speech) - middle(speech)
    torch.testing.assert_close(difference[:, LEVEL], torch.full((15,), 20 * math.log10(2)), atol=1e-3, rtol=0)
    torch.testing.assert_close(difference[:, TILT], torch.zeros(15), atol=1e-3, rtol=0)


def test_an_offset_of_the_recording_is_not_level():
    speech = voice(150.0)
    torch.testing.assert_close(middle(speech + 0.3)[:, LEVEL], middle(speech)[:, LEVEL], atol=0.05, rtol=0)


def test_a_low_pass_lowers_the_tilt_and_little_else():
    speech = voice(150.0)
    dull = signal.sosfilt(signal.butter(4, 1000, fs=16000, output="sos"), speech).astype(np.float32)
    difference = (middle(dull) - middle(speech)).mean(dim=0)
    assert difference[TILT] < -8
    assert abs(difference[LOG_F0]) < 0.01
    assert abs(difference[LEVEL]) < 2


def test_the_bands_are_shares_of_the_energy():
    times = np.arange(16000) / 16000
    low, high = (np.sin(2 * np.pi * hertz * times) for hertz in (300.0, 5000.0))
    mixed = middle((0.3 * low + 0.03 * high).astype(np.float32))
    share = 10 * math.log10(0.01 / 1.01)
    torch.testing.assert_close(mixed[:, HIGH_BAND], torch.full((15,), share), atol=0.05, rtol=0)
    torch.testing.assert_close(mixed[:, LOW_BAND], torch.full((15,), 10 * math.log10(1 / 1.01)), atol=0.05, rtol=0)
    louder = middle((0.6 * low + 0.06 * high).astype(np.float32))
    torch.testing.assert_close(louder[:, [LOW_BAND, HIGH_BAND]], mixed[:, [LOW_BAND, HIGH_BAND]], atol=1e-3, rtol=0)


def trembling(semitones, rate_hertz=12.0):
    """Give 150 Hz whose pitch swings by a sine of that size (root mean square)."""
    times = np.arange(16000) / 16000
    hertz = 150.0 * 2 ** (math.sqrt(2) * semitones / 12 * np.sin(2 * np.pi * rate_hertz * times))
    phase = 2 * np.pi * np.cumsum(hertz) / 16000
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 20))).astype(np.float32)


def test_irregularity_grows_with_how_much_the_pitch_trembles():
    steady, little, much = (float(middle(trembling(size))[:, IRREGULARITY].mean()) for size in (0.0, 0.25, 0.5))
    # Of a sine sampled every 16 ms: 2 (1 - cos(2 pi f T)) times its mean size, which is 2 / pi of its peak.
    bend = 2 * (1 - math.cos(2 * math.pi * 12 * 0.016)) * 2 / math.pi * math.sqrt(2) * 0.25
    assert steady < math.log(0.08)
    assert little == pytest.approx(math.log(bend + 0.02), abs=0.35)
    assert much - little == pytest.approx(math.log(2), abs=0.2)


def test_a_glide_is_not_irregular():
    times = np.arange(16000) / 16000
    hertz = 120.0 * 2 ** (6 * times / 12)
    glide = (0.1 * sum(np.sin(k * 2 * np.pi * np.cumsum(hertz) / 16000) / k for k in range(1, 20))).astype(np.float32)
    assert float(middle(glide)[:, IRREGULARITY].mean()) < math.log(0.1)


def test_pitch_is_interpolated_across_the_unvoiced_and_voicing_says_where():
    gap = 0.001 * np.random.default_rng(0).normal(size=16000).astype(np.float32)
    samples = np.concatenate([voice(120.0), gap, voice(240.0)])
    features = ProsodyEncoder()(*pad_waveforms([samples]))[0][0]
    assert (features[28:47, VOICING] < 0.4).all()
    assert (features[5:20, VOICING] > 0.8).all()
    values = features[20:55, LOG_F0]
    slope = values[10:25].diff()
    torch.testing.assert_close(slope, slope.mean().expand(14), atol=1e-4, rtol=0)
    assert slope.mean() > 0.01
    assert float(features[60, LOG_F0] - features[10, LOG_F0]) == pytest.approx(
        math.log(2) / population_statistics()["prosody"]["log_f0"]["std"], abs=0.05
    )


def test_gaps_are_filled_between_and_held_at_the_ends():
    nan = math.nan
    gaps = torch.tensor([[nan, nan], [1.0, nan], [nan, nan], [nan, nan], [4.0, nan], [nan, nan]])
    expected = torch.tensor([[1.0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [4, 0]])
    torch.testing.assert_close(fill_gaps(gaps), expected)


def test_silence_is_the_lowest_level_and_otherwise_the_population_mean():
    encoder = ProsodyEncoder()
    features = encoder(*pad_waveforms([np.zeros(16000)]))[0][0]
    stored = population_statistics()["prosody"]["level"]
    assert not features[:, [LOG_F0, VOICING, TILT, LOW_BAND, HIGH_BAND, IRREGULARITY]].any()
    lowest = torch.full((25,), (QUIETEST_DB - stored["mean"]) / stored["std"])
    torch.testing.assert_close(features[:, LEVEL], lowest)


def test_a_clip_is_never_normalised_by_itself():
    encoder = ProsodyEncoder()
    quiet_low, loud_high = (
        encoder(*pad_waveforms([samples]))[0][0].mean(dim=0) for samples in (voice(110.0), voice(220.0, amplitude=0.3))
    )
    assert loud_high[LOG_F0] - quiet_low[LOG_F0] > 1.5
    assert loud_high[LEVEL] - quiet_low[LEVEL] > 1.5


@pytest.mark.shared
def test_the_stored_statistics_are_those_of_the_recordings(pytestconfig):
    folder = pytestconfig.rootpath.parent / "shared" / "data" / "nvidia_a2f_emotional_audio"
    if not folder.is_dir():
        pytest.skip("needs shared/data/nvidia_a2f_emotional_audio")
    frames = torch.cat([voiced_frames(load_waveform(path)) for path in sorted(folder.glob("Mark_*.flac"))])
    stored = population_statistics()["speakers"]["nvidia Mark"]
    assert len(frames) == stored["voiced_frames"]
    for channel in NORMALISED:
        assert float(frames[:, channel].mean()) == pytest.approx(stored["voiced_mean"][CHANNELS[channel]], abs=1e-3)
