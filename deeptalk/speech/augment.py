"""Augmentation: the same speech as other rooms, microphones and channels would give it, moment by moment the same.

Everything keeps the length and the time of every sound (the direct sound of a room comes first, filters have no phase,
the codecs' delay is taken out by libsndfile), so phone times stay true. Speed, pitch and formants are not touched:
those are other voices, made by the synthesis.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
from jaxtyping import Float, Float32
from scipy.signal import fftconvolve

from deeptalk.errors import UserError
from deeptalk.speech.frames import SAMPLE_RATE

Samples = Float32[np.ndarray, " sample"]

BLOCK_SAMPLES = SAMPLE_RATE // 50
ACTIVE_DECIBELS = 30.0
"""Blocks of 20 ms that are at most so far below the loudest count as speech."""
PEAK_LIMIT = 0.99
NOISES = ("white", "pink", "babble")
TALKERS = 6
"""Voices in the babble."""
SPEECH_CORNER_HZ, SPEECH_FALL = 500.0, 9.0
"""The babble's spectrum is flat up to the corner and falls by so many dB an octave above it, as long-term averages of
speech do (Byrne et al. 1994)."""
EARLY_SECONDS = 0.03
TREBLE_RT60 = 0.6
"""Reverberation time at 8 kHz as a share of that at low frequencies: air and soft things swallow treble first."""
CODECS = {"opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "telephone": None}


@dataclass(frozen=True)
class AugmentConfig:
    """What may happen to a recording; every part happens by its own chance, the sizes are drawn uniformly."""

    room: float = 0.4
    """Chance of a room."""
    least_rt60_seconds: float = 0.15
    """Reverberation time of the driest room."""
    most_rt60_seconds: float = 0.7
    """Reverberation time of the most live room."""
    least_direct_decibels: float = 0.0
    """Energy of the direct sound over that of all reflections, for the farthest microphone."""
    most_direct_decibels: float = 15.0
    """The same for the nearest microphone."""
    noise: float = 0.6
    """Chance of noise: white, pink or babble, equally often."""
    least_snr_decibels: float = 8.0
    """Level of the active speech over that of the noise, at the noisiest."""
    most_snr_decibels: float = 40.0
    """The same at the quietest."""
    level: float = 1.0
    """Chance of another recording level."""
    least_gain_decibels: float = -6.0
    """The quietest recording level, relative to the level as it is."""
    most_gain_decibels: float = 18.0
    """The loudest; a clip that would go over full scale gets less. The performer's neutral speech lies at -36 dB of
    full scale to leave room for shouting, people's recordings mostly between -40 and -20 dB."""
    band: float = 0.3
    """Chance of a microphone or line that leaves out bass and treble."""
    most_low_edge_hz: float = 300.0
    """Lower edge of the band, from 50 Hz to this."""
    least_high_edge_hz: float = 3400.0
    """Upper edge of the band, from this to 7600 Hz."""
    codec: float = 0.3
    """Chance of a codec: Opus, MP3, Vorbis, or a telephone line (8 kHz, mu-law), equally often."""

    def __post_init__(self) -> None:
        chances = {name: getattr(self, name) for name in ("room", "noise", "level", "band", "codec")}
        for name, chance in chances.items():
            if not 0.0 <= chance <= 1.0:
                raise UserError(f"The augmentation's chance of {name} is {chance}; expected 0 to 1.")
        for least, most in (
            ("least_rt60_seconds", "most_rt60_seconds"),
            ("least_direct_decibels", "most_direct_decibels"),
            ("least_snr_decibels", "most_snr_decibels"),
            ("least_gain_decibels", "most_gain_decibels"),
        ):
            if not getattr(self, least) <= getattr(self, most):
                raise UserError(f"The augmentation's {least} is above its {most}; give the smaller one first.")
        if not 0.02 <= self.least_rt60_seconds <= self.most_rt60_seconds <= 5.0:
            raise UserError("The augmentation's reverberation times must lie within 0.02 to 5 s.")
        if not 50.0 <= self.most_low_edge_hz < self.least_high_edge_hz <= 7600.0:
            raise UserError("The augmentation's band edges must rise from 50 Hz over low and high to 7600 Hz.")


@dataclass(frozen=True)
class Augmentation:
    """What happens to one recording; None where nothing of the kind does."""

    seed: int
    rt60_seconds: float | None = None
    direct_decibels: float = 0.0
    noise: str | None = None
    snr_decibels: float = 0.0
    gain_decibels: float = 0.0
    band_hz: tuple[float, float] | None = None
    codec: str | None = None
    quality: float = 0.0
    """0..1, least to most compressed."""


def draw_augmentation(seed: int, config: AugmentConfig) -> Augmentation:
    """What `augment` does for this seed, to be kept beside the recording."""
    generator = np.random.default_rng([seed, 0])
    happens = generator.random(5) < (config.room, config.noise, config.level, config.band, config.codec)
    # Everything is drawn whether it happens or not: one part's chance does not change another's sizes.
    rt60 = generator.uniform(config.least_rt60_seconds, config.most_rt60_seconds)
    direct = generator.uniform(config.least_direct_decibels, config.most_direct_decibels)
    noise = NOISES[generator.integers(len(NOISES))]
    snr = generator.uniform(config.least_snr_decibels, config.most_snr_decibels)
    gain = generator.uniform(config.least_gain_decibels, config.most_gain_decibels)
    band = (generator.uniform(50.0, config.most_low_edge_hz), generator.uniform(config.least_high_edge_hz, 7600.0))
    codec = list(CODECS)[generator.integers(len(CODECS))]
    quality = generator.uniform(0.3, 0.9)
    return Augmentation(
        seed=seed,
        rt60_seconds=rt60 if happens[0] else None,
        direct_decibels=direct,
        noise=noise if happens[1] else None,
        snr_decibels=snr,
        gain_decibels=gain if happens[2] else 0.0,
        band_hz=band if happens[3] else None,
        codec=codec if happens[4] else None,
        quality=quality,
    )


def augment(samples: Samples, seed: int, config: AugmentConfig | None = None) -> Samples:
    """Return the recording (16 kHz mono) changed by what the seed draws from the config: same length, same times.

    Rooms leave the level of the speech as it is: how loud it is changes by the gain alone.
    The same samples, seed and config give the same samples (codecs: with the same libsndfile).
    """
    return apply_augmentation(samples, draw_augmentation(seed, config or AugmentConfig()))


def apply_augmentation(samples: Samples, change: Augmentation) -> Samples:
    """Return the recording after room, noise, gain, band and codec, in that order.

    Where that goes over full scale, the whole is scaled down to a peak of 0.99.
    """
    generator = np.random.default_rng([change.seed, 1])
    changed = np.asarray(samples, np.float32)
    if change.rt60_seconds is not None:
        changed = with_room(changed, change.rt60_seconds, change.direct_decibels, generator)
    if change.noise is not None:
        changed = with_noise(changed, change.noise, change.snr_decibels, generator)
    if change.gain_decibels:
        changed = with_gain(changed, change.gain_decibels)
    if change.band_hz is not None:
        changed = band_limited(changed, *change.band_hz)
    if change.codec is not None:
        changed = coded(changed, change.codec, change.quality)
    return with_gain(changed, 0.0) if np.abs(changed).max() > PEAK_LIMIT else changed


def active_power(samples: Float[np.ndarray, " sample"]) -> float:
    """Mean square of the 20 ms blocks that lie within 30 dB of the loudest; 0 for silence."""
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % BLOCK_SAMPLES))
    blocks = np.square(padded).reshape(-1, BLOCK_SAMPLES).mean(axis=1)
    active = blocks[blocks >= blocks.max() * 10 ** (-ACTIVE_DECIBELS / 10)]
    return float(active.mean())


def room_response(
    rt60_seconds: float, direct_decibels: float, generator: np.random.Generator
) -> Float32[np.ndarray, " sample"]:
    """Return the impulse response of a made-up room, the direct sound of size 1 at sample 0.

    A few early reflections, then noise whose amplitude falls by 60 dB in `rt60_seconds` (Polack's statistical model of
    late reverberation), faster at high frequencies; all reflections together hold `direct_decibels` less energy than
    the direct sound.
    """
    count = round(1.1 * rt60_seconds * SAMPLE_RATE) + 1
    seconds = np.arange(count) / SAMPLE_RATE
    noise = generator.standard_normal(count)
    low = _low_passed(noise, 2000.0)
    fall = np.log(1000.0) / rt60_seconds
    tail = low * np.exp(-fall * seconds) + (noise - low) * np.exp(-fall / TREBLE_RT60 * seconds)
    tail *= np.minimum(seconds / EARLY_SECONDS, 1.0)
    early = np.zeros(count)
    places = generator.uniform(0.002, min(EARLY_SECONDS, 0.9 * rt60_seconds), size=8)
    places = np.minimum((places * SAMPLE_RATE).astype(int), count - 1)
    early[places] = generator.choice([-1.0, 1.0], size=8) * np.exp(-fall * places / SAMPLE_RATE)
    early *= np.sqrt(0.5 * np.square(tail).sum() / max(np.square(early).sum(), 1e-12))
    reflections = early + tail
    reflections[0] = 0.0
    reflections *= 10 ** (-direct_decibels / 20) / np.sqrt(np.square(reflections).sum())
    reflections[0] = 1.0
    return reflections.astype(np.float32)


def with_room(samples: Samples, rt60_seconds: float, direct_decibels: float, generator: np.random.Generator) -> Samples:
    """Return the recording as heard in a made-up room, at the same level of active speech; the tail is cut off."""
    response = room_response(rt60_seconds, direct_decibels, generator)
    heard = fftconvolve(samples.astype(np.float64), response)[: len(samples)]
    power = active_power(heard)
    return (heard * np.sqrt(active_power(samples) / power) if power > 0 else heard).astype(np.float32)


def noise_like(kind: str, count: int, generator: np.random.Generator) -> Float32[np.ndarray, " sample"]:
    """Return noise of mean square 1: white, pink (3 dB an octave less) or babble (several voices, without words).

    Raises UserError for another kind.
    """
    if kind not in NOISES:
        raise UserError(f"'{kind}' is not a noise; expected one of {', '.join(NOISES)}.")
    if kind == "babble":
        noise = sum(_murmur(count, generator) for _ in range(TALKERS))
    else:
        noise = generator.standard_normal(count)
        if kind == "pink":
            noise = _filtered(noise, lambda hertz: 1.0 / np.sqrt(np.maximum(hertz, 20.0)))
    return (noise / np.sqrt(np.mean(np.square(noise)))).astype(np.float32)


def with_noise(samples: Samples, kind: str, snr_decibels: float, generator: np.random.Generator) -> Samples:
    """Return the recording plus noise, `snr_decibels` under its active speech."""
    size = np.sqrt(active_power(samples) * 10 ** (-snr_decibels / 10))
    return (samples + size * noise_like(kind, len(samples), generator)).astype(np.float32)


def with_gain(samples: Samples, gain_decibels: float) -> Samples:
    """Return the recording louder by the gain, or by as much of it as keeps the peaks within full scale."""
    peak = float(np.abs(samples).max())
    factor = min(10 ** (gain_decibels / 20), PEAK_LIMIT / max(peak, 1e-9))
    return (samples * np.float32(factor)).astype(np.float32)


def band_limited(samples: Samples, low_hz: float, high_hz: float) -> Samples:
    """Return the recording between two frequencies, 24 dB an octave beyond them (3 dB at them), without phase."""
    return _filtered(
        samples,
        lambda hertz: 1.0 / np.sqrt((1.0 + (low_hz / np.maximum(hertz, 1e-3)) ** 8) * (1.0 + (hertz / high_hz) ** 8)),
    ).astype(np.float32)


def coded(samples: Samples, codec: str, quality: float) -> Samples:
    """Return the recording after coding and decoding in memory; `quality` 0 is the least compressed, 1 the most.

    Raises UserError for an unknown codec.
    """
    if codec not in CODECS:
        raise UserError(f"'{codec}' is not a codec; expected one of {', '.join(CODECS)}.")
    peak = max(1.0, float(np.abs(samples).max()) / PEAK_LIMIT)
    written = samples / np.float32(peak)
    target = CODECS[codec]
    if target is None:
        narrow = band_limited(written, 300.0, 3400.0)
        decoded = _through_file(narrow, "WAV", "ULAW", None)
    else:
        decoded = _through_file(written, *target, quality)
    if len(decoded) != len(samples):
        raise RuntimeError(f"libsndfile gave {len(decoded)} of {len(samples)} samples back through {codec}")
    return (decoded * np.float32(peak)).astype(np.float32)


def _through_file(samples: Samples, container: str, subtype: str, compression: float | None) -> Samples:
    file = io.BytesIO()
    options = {} if compression is None else {"compression_level": compression}
    soundfile.write(file, samples, SAMPLE_RATE, format=container, subtype=subtype, **options)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def _murmur(count: int, generator: np.random.Generator) -> np.ndarray:
    """One voice of the babble: noise with the spectrum of speech, swelling at the rate of syllables."""
    noise = _filtered(
        generator.standard_normal(count),
        lambda hertz: (np.maximum(hertz, SPEECH_CORNER_HZ) / SPEECH_CORNER_HZ) ** (-SPEECH_FALL / 6.02) * (hertz > 80),
    )
    swell = _filtered(generator.standard_normal(count), lambda hertz: np.exp(-(((hertz - 4.0) / 2.5) ** 2)))
    swell /= np.sqrt(np.mean(np.square(swell))) + 1e-12
    return noise / np.sqrt(np.mean(np.square(noise))) * np.exp(0.8 * swell)


def _low_passed(samples: np.ndarray, high_hz: float) -> np.ndarray:
    return _filtered(samples, lambda hertz: 1.0 / (1.0 + (hertz / high_hz) ** 4))


def _filtered(samples: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Multiply the spectrum by a real gain (of Hz): no phase, so nothing moves in time."""
    size = len(samples) + SAMPLE_RATE // 10  # zeros between the end and the start, which the transform joins
    spectrum = np.fft.rfft(samples, size)
    return np.fft.irfft(spectrum * gain(np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)), size)[: len(samples)]
