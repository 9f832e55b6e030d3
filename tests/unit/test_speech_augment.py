import io

import numpy as np
import pytest
import soundfile
from scipy import signal

from deeptalk.errors import UserError
from deeptalk.speech.augment import (
    CODECS,
    NOISES,
    Augmentation,
    AugmentConfig,
    active_power,
    apply_augmentation,
    augment,
    band_limited,
    coded,
    draw_augmentation,
    noise_like,
    room_response,
    with_gain,
    with_noise,
    with_room,
)

ALWAYS = AugmentConfig(room=1.0, noise=1.0, level=1.0, band=1.0, codec=1.0)
NEVER = AugmentConfig(room=0.0, noise=0.0, level=0.0, band=0.0, codec=0.0)


def speech_like(seconds=2.0, seed=0):
    """Give syllables of a 140 Hz voice between pauses, and hisses, all at known times."""
    generator = np.random.default_rng(seed)
    times = np.arange(int(seconds * 16000)) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 25))
    hiss = signal.sosfilt(signal.butter(2, 3000, "high", fs=16000, output="sos"), generator.normal(size=len(times)))
    syllables = np.clip(np.sin(2 * np.pi * 3 * times), 0, 1)
    hisses = np.clip(-np.sin(2 * np.pi * 3 * times) - 0.8, 0, 1)
    return (0.05 * syllables * voice + 0.2 * hisses * hiss).astype(np.float32)


def lag(changed, samples):
    """Samples by which one comes after the other, where they match best."""
    correlation = signal.correlate(changed, samples, mode="full", method="fft")
    return int(correlation.argmax()) - (len(samples) - 1)


def decibels(ratio):
    return 10 * np.log10(ratio)


def test_same_seed_same_samples_other_seed_others():
    samples = speech_like()
    first, again, other = (augment(samples, seed, ALWAYS) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, samples)


@pytest.mark.parametrize("length", [1, 7, 159, 16000, 35212])
def test_length_and_type_stay(length):
    samples = speech_like(3.0)[:length]
    for seed in range(4):
        changed = augment(samples, seed, ALWAYS)
        assert changed.shape == (length,)
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()


def test_nothing_goes_over_full_scale():
    loud = speech_like() * np.float32(0.98) / np.abs(speech_like()).max()
    for seed in range(12):
        assert np.abs(augment(loud, seed, ALWAYS)).max() <= 0.9901


def test_silence_stays_silent_but_for_the_codec():
    changed = augment(np.zeros(8000, np.float32), 0, AugmentConfig(room=1.0, noise=1.0, codec=0.0))
    assert not changed.any()


def test_nothing_happens_by_chance_zero():
    samples = speech_like()
    assert np.array_equal(augment(samples, 5, NEVER), samples)
    assert draw_augmentation(5, NEVER) == Augmentation(5, **_sizes(draw_augmentation(5, ALWAYS)))


def _sizes(drawn):
    return {"direct_decibels": drawn.direct_decibels, "snr_decibels": drawn.snr_decibels, "quality": drawn.quality}


def test_chances_and_ranges_are_those_of_the_config():
    config = AugmentConfig(room=0.25, noise=0.5, band=0.75, codec=0.4)
    drawn = [draw_augmentation(seed, config) for seed in range(2000)]
    for name, chance in (("rt60_seconds", 0.25), ("noise", 0.5), ("band_hz", 0.75), ("codec", 0.4)):
        assert np.mean([getattr(one, name) is not None for one in drawn]) == pytest.approx(chance, abs=0.04)
    rt60 = [one.rt60_seconds for one in drawn if one.rt60_seconds is not None]
    assert config.least_rt60_seconds <= min(rt60) < 0.2 < 0.65 < max(rt60) <= config.most_rt60_seconds
    gains = [one.gain_decibels for one in drawn]
    assert -6 <= min(gains) < -5 < 17 < max(gains) <= 18
    assert {one.noise for one in drawn} == {None, *NOISES}
    assert {one.codec for one in drawn} == {None, *CODECS}


def test_one_chance_does_not_change_the_sizes_of_another():
    few, many = AugmentConfig(room=0.0, noise=1.0), AugmentConfig(room=1.0, noise=1.0)
    assert draw_augmentation(9, few).snr_decibels == draw_augmentation(9, many).snr_decibels


def test_what_was_drawn_can_be_done_again():
    samples = speech_like()
    assert np.array_equal(augment(samples, 11, ALWAYS), apply_augmentation(samples, draw_augmentation(11, ALWAYS)))


@pytest.mark.parametrize("rt60_seconds", [0.2, 0.4, 0.7])
def test_a_room_has_its_reverberation_time(rt60_seconds):
    measured = []
    for seed in range(6):
        response = room_response(rt60_seconds, 5.0, np.random.default_rng(seed)).astype(np.float64)
        # Low frequencies: treble falls faster by design. Schroeder's backward integral between -5 and -25 dB.
        tail = signal.sosfilt(signal.butter(4, 1000, fs=16000, output="sos"), response[160:])
        energy = decibels(np.cumsum(np.square(tail)[::-1])[::-1] / np.square(tail).sum())
        fit = (energy < -5) & (energy > -25)
        slope = np.polyfit(np.flatnonzero(fit) / 16000, energy[fit], 1)[0]
        measured.append(-60 / slope)
    assert np.mean(measured) == pytest.approx(rt60_seconds, rel=0.12)


@pytest.mark.parametrize("direct_decibels", [0.0, 12.0])
def test_the_direct_sound_comes_first_with_its_share(direct_decibels):
    response = room_response(0.4, direct_decibels, np.random.default_rng(0)).astype(np.float64)
    assert response[0] == 1.0
    assert decibels(1.0 / np.square(response[1:]).sum()) == pytest.approx(direct_decibels, abs=0.01)


def test_a_room_keeps_level_and_time_and_fills_the_pauses():
    samples = speech_like()
    wet = with_room(samples, 0.6, 3.0, np.random.default_rng(0))
    assert decibels(active_power(wet) / active_power(samples)) == pytest.approx(0, abs=0.01)
    assert abs(lag(wet, samples)) <= 1
    quiet = np.abs(samples) < 1e-4
    assert np.square(wet[quiet]).mean() > 20 * np.square(samples[quiet]).mean()


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("snr_decibels", [5.0, 25.0])
def test_noise_lies_as_far_below_the_speech_as_asked(kind, snr_decibels):
    samples = speech_like()
    noise = with_noise(samples, kind, snr_decibels, np.random.default_rng(0)).astype(np.float64) - samples
    assert decibels(active_power(samples) / np.square(noise).mean()) == pytest.approx(snr_decibels, abs=0.01)


def spectrum(samples):
    hertz, power = signal.welch(samples, 16000, nperseg=2048)
    return hertz, decibels(power)


def test_noises_have_their_spectra():
    slopes = {}
    for kind in NOISES:
        hertz, level = spectrum(noise_like(kind, 160000, np.random.default_rng(0)))
        band = (hertz > 700) & (hertz < 6000)
        slopes[kind] = np.polyfit(np.log2(hertz[band]), level[band], 1)[0]
    assert slopes["white"] == pytest.approx(0, abs=0.2)
    assert slopes["pink"] == pytest.approx(-3.01, abs=0.3)
    assert slopes["babble"] == pytest.approx(-9, abs=0.6)


def test_babble_swells_and_steady_noise_does_not():
    def unsteadiness(kind):
        noise = noise_like(kind, 160000, np.random.default_rng(1))
        return decibels(np.square(noise).reshape(-1, 800).mean(axis=1)).std()

    assert unsteadiness("babble") > 2 * unsteadiness("pink")


def test_gain_stops_at_full_scale_and_never_clips():
    samples = speech_like()
    for gain in (-6.0, 6.0):
        assert np.allclose(with_gain(samples, gain), samples * 10 ** (gain / 20), rtol=1e-5)
    loud = with_gain(samples, 60.0)
    assert np.abs(loud).max() == pytest.approx(0.99, abs=1e-3)
    assert np.corrcoef(loud, samples)[0, 1] == pytest.approx(1)
    over = with_gain(2.0 * samples / np.abs(samples).max(), 3.0)
    assert np.abs(over).max() == pytest.approx(0.99, abs=1e-3)


def test_a_band_has_its_edges_and_no_delay():
    noise = np.random.default_rng(0).normal(size=64000).astype(np.float32)
    narrow = band_limited(noise, 300.0, 3400.0)
    hertz, before = spectrum(noise)
    change = spectrum(narrow)[1] - before
    assert change[np.argmin(abs(hertz - 300))] == pytest.approx(-3, abs=0.7)
    assert change[np.argmin(abs(hertz - 3400))] == pytest.approx(-3, abs=0.7)
    assert change[np.argmin(abs(hertz - 1000))] == pytest.approx(0, abs=0.3)
    assert change[np.argmin(abs(hertz - 6800))] == pytest.approx(-24, abs=2)
    assert lag(narrow, noise) == 0
    impulse = np.zeros(4001, np.float32)
    impulse[2000] = 1
    response = band_limited(impulse, 100.0, 5000.0)
    assert np.allclose(response, response[::-1], atol=1e-6)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [3000, 35212])
def test_codecs_change_the_sound_but_not_its_time(codec, length):
    samples = speech_like(2.5)[:length]
    decoded = coded(samples, codec, 0.8)
    assert decoded.shape == samples.shape
    assert abs(lag(decoded, samples)) <= 1
    correlation = np.corrcoef(decoded, samples)[0, 1]
    assert 0.5 < correlation < 0.9999


def test_more_compression_loses_more():
    samples = speech_like()
    for codec in ("opus", "mp3", "vorbis"):
        errors = [np.square(coded(samples, codec, quality) - samples).mean() for quality in (0.1, 0.9)]
        assert errors[1] > 1.2 * errors[0]


def test_a_telephone_has_no_treble():
    hertz, level = spectrum(coded(speech_like(), "telephone", 0.5))
    before = spectrum(speech_like())[1]
    high = hertz > 6000
    assert (level[high] - before[high]).mean() < -15


def test_overs_survive_the_codec():
    samples = 3.0 * speech_like() / np.abs(speech_like()).max()
    assert np.abs(coded(samples, "opus", 0.3)).max() > 2.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(room=1.5), "chance of room is 1.5"),
        (dict(least_snr_decibels=50.0), "least_snr_decibels"),
        (dict(least_gain_decibels=20.0), "least_gain_decibels"),
        (dict(most_rt60_seconds=9.0), "0.02 to 5 s"),
        (dict(most_low_edge_hz=4000.0), "band edges"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        AugmentConfig(**settings)


def test_unknown_noise_and_codec_are_refused():
    with pytest.raises(UserError, match="'brown' is not a noise; expected one of white, pink, babble"):
        noise_like("brown", 100, np.random.default_rng(0))
    with pytest.raises(UserError, match="'amr' is not a codec; expected one of opus"):
        coded(np.zeros(100, np.float32), "amr", 0.5)


def test_the_codecs_are_those_of_libsndfile():
    for target in filter(None, CODECS.values()):
        soundfile.write(io.BytesIO(), np.zeros(1600, np.float32), 16000, format=target[0], subtype=target[1])
