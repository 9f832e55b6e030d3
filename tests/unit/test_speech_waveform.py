import os

import numpy as np
import pytest
import soundfile

from deeptalk.errors import UserError
from deeptalk.speech import SAMPLE_RATE, check_samples, frame_count, load_waveform


def tone(seconds, rate, hertz=1000.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate", "tolerance"),
    [
        ("wav", "PCM_U8", 16000, 1e-2),
        ("wav", "PCM_16", 44100, 1e-3),
        ("wav", "PCM_24", 8000, 1e-3),
        ("wav", "FLOAT", 22050, 1e-3),
        ("wav", "DOUBLE", 96000, 1e-3),
        ("flac", "PCM_16", 48000, 1e-3),
        ("aiff", "PCM_24", 32000, 1e-3),
        ("ogg", "VORBIS", 44100, 5e-2),
        ("mp3", "MPEG_LAYER_III", 44100, 5e-2),
    ],
)
def test_every_format_gives_the_same_tone_at_16_khz(tmp_path, suffix, subtype, rate, tolerance):
    path = tmp_path / f"tone.{suffix}"
    stereo = np.stack([tone(1.0, rate), tone(1.0, rate)], axis=1)
    soundfile.write(path, stereo, rate, subtype=subtype)
    waveform = load_waveform(path)
    assert waveform.samples.dtype == np.float32
    assert (waveform.original_rate, waveform.original_channels, waveform.path) == (rate, 2, path)
    assert len(waveform.samples) == pytest.approx(SAMPLE_RATE, abs=0.06 * SAMPLE_RATE if suffix == "mp3" else 0)
    assert waveform.seconds == len(waveform.samples) / SAMPLE_RATE
    middle = slice(4000, 12000)
    np.testing.assert_allclose(waveform.samples[middle], tone(1.0, SAMPLE_RATE)[middle], atol=tolerance)


def test_resampling_lets_nothing_above_8_khz_through():
    waveform = check_samples(tone(1.0, 48000, hertz=9000.0), 48000)
    assert np.abs(waveform.samples[2000:-2000]).max() < 1e-4


def test_channels_are_averaged():
    samples = np.array([[0.5, 0.1], [0.2, -0.4]])
    np.testing.assert_allclose(check_samples(samples, 16000).samples, [0.3, -0.1], atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "half"), [(np.int16, 16384), (np.int32, 2**30), (np.uint8, 192), (np.float32, 0.5), (np.float64, 0.5)]
)
def test_integers_are_scaled_by_their_type(dtype, half):
    np.testing.assert_array_equal(check_samples(np.full(400, half, dtype), 16000).samples, 0.5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_silence_and_ten_milliseconds_are_fine(tmp_path, rate):
    soundfile.write(tmp_path / "short.wav", np.zeros(rate // 100), rate)
    waveform = load_waveform(tmp_path / "short.wav")
    assert len(waveform.samples) == 160
    assert frame_count(len(waveform.samples)) == 1
    assert not waveform.samples.any()


def pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n")


def flac_promising(samples, rate=16000):
    """Maker of a FLAC file of two seconds whose header (36 bits of STREAMINFO) promises another length or rate."""

    def make(path):
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32000), 16000, format="FLAC")
        content = bytearray(path.read_bytes())
        channels_and_bits = int.from_bytes(content[18:26], "big") >> 36 & 0xFF
        content[18:26] = (rate << 44 | channels_and_bits << 36 | samples).to_bytes(8, "big")
        path.write_bytes(content)

    return make


def cut_flac(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 40000), 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[:20000])


BAD_FILES = {
    "missing": (lambda path: None, "does not exist"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("this is not a recording " * 20), "not audio that can be read"),
    "pointer": (pointer, "Git LFS pointer.*git lfs pull"),
    "no samples": (lambda path: soundfile.write(path, np.zeros((0, 2)), 16000), "0 samples"),
    "header only": (lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVE"), "not audio that can be read"),
    "nan": (lambda path: soundfile.write(path, np.array([0, np.nan, 0, np.inf]), 16000, "FLOAT"), "2 samples.*0.000 s"),
    "promises a year": (flac_promising(2**36 - 1), "1193.0 hours; at most 4 hours"),
    "promises three hours": (flac_promising(3 * 3600 * 16000), "cut short|not audio"),
    "slow": (lambda path: soundfile.write(path, np.zeros(100), 999), "sample rate of 999 Hz; expected 1000 to 768000"),
    "fast": (lambda path: soundfile.write(path, np.zeros(100), 2_000_000), "sample rate of 2000000 Hz"),
    "crowd": (lambda path: soundfile.write(path, np.zeros((100, 65)), 16000), "65 channels; expected at most 64"),
    "cut short": (cut_flac, "cut short|not audio"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_told_apart(tmp_path, kind):
    make, words = BAD_FILES[kind]
    path = tmp_path / "speech.wav"
    make(path)
    with pytest.raises(UserError, match=words) as error:
        load_waveform(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_headerless_file_is_said_so(tmp_path):
    (tmp_path / "speech.raw").write_bytes(bytes(3200))
    with pytest.raises(UserError, match="not audio that can be read"):
        load_waveform(tmp_path / "speech.raw")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_said_so(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(UserError, match="permission"):
        load_waveform(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros((2, 3, 4)), 16000, "shape"),
        (np.zeros((2, 16000)), 16000, "channels come first"),
        (np.zeros(0), 16000, "0 samples"),
        (np.zeros(100), 0, "sample rate"),
        (np.zeros(100), -8000, "sample rate"),
        (np.zeros(100), 16000.5, "sample rate"),
        (np.zeros(100), 999, "sample rate"),
        (np.zeros(100), 2**40, "sample rate"),
        (np.zeros(100), "abc", "sample rate is 'abc'"),
        (np.zeros(100), None, "sample rate is None"),
        (np.zeros(100), np.nan, "sample rate is nan"),
        (np.zeros(100), np.inf, "sample rate is inf"),
        (np.zeros((100, 65)), 16000, "65 channels"),
        (np.broadcast_to(np.float32(0), 1000 * 3600 * 5), 1000, "5.0 hours; at most 4"),
        (np.zeros(100, dtype=complex), 16000, "type complex"),
        (np.array([0.0, np.nan]), 16000, "not finite"),
        (np.array([0.0, 1e300]), 16000, "full scale"),
        (np.full(100, 12000.0), 16000, "divided by"),
        (np.full((100, 2), [0.5, -0.5]), 16000, "cancel"),
        (np.full(1, 0.5), 192000, "less than one"),
    ],
)
def test_bad_arrays_are_told_apart(samples, rate, words):
    with pytest.raises(UserError, match=words):
        check_samples(samples, rate)
