"""Recordings: any file that soundfile reads, or any array, as 16 kHz mono float32, or a clear error."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from deeptalk.errors import UserError
from deeptalk.speech.frames import SAMPLE_RATE

GIT_LFS_START = b"version https://git-lfs"
# Float samples are 1.0 at full scale; overs of a few dB happen, 40 dB above it is an integer range that was not scaled.
LARGEST_PEAK = 100.0
LEAST_RATE, GREATEST_RATE = 1_000, 768_000
"""Hz; no recorder of speech lies outside."""
MOST_CHANNELS = 64
LONGEST_SECONDS = 4 * 3600.0
"""Longer recordings are refused before they are read: four hours are 0.9 GB of mono float32 at 16 kHz."""
MOST_VALUES = 4_000_000_000
"""Samples times channels read at once, 16 GB of float32: four hours of stereo at 96 kHz are 2.8e9."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """A checked recording: 16 kHz mono float32, full scale 1.0."""

    samples: Float32[np.ndarray, " sample"]
    seconds: float
    """Length of `samples`."""
    original_rate: int
    original_channels: int
    path: Path | None = None
    """The file it was read from; None for an array."""


def load_waveform(path: str | Path) -> Waveform:
    """Read a recording of any rate, channel count and bit depth as 16 kHz mono.

    Channels are averaged, the rate is converted by soxr at its very high quality. Raises UserError for whatever is not
    a readable recording with at least one sample, all of them finite, and, before anything is read, where the header
    promises a rate outside 1,000..768,000 Hz, over 64 channels, over four hours or more than the file can hold.
    """
    path = Path(path)
    _check_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, promised, container = file.samplerate, file.frames, file.format
            _check_size(str(path), rate, file.channels, promised)
            samples = file.read(dtype="float32", always_2d=True)
    except MemoryError as error:
        raise UserError(
            f"{path} does not fit into memory ({promised} samples a channel); cut it into parts."
        ) from error
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:  # TypeError: headerless .raw
        raise UserError(
            f"{path} is not audio that can be read ({_reason(error)}). Expected WAV, FLAC, OGG, MP3 or AIFF; "
            "convert other formats first, for example with ffmpeg -i INPUT OUTPUT.wav."
        ) from error
    if len(samples) < promised and container != "MP3":  # the length of an MP3 is an estimate
        raise UserError(
            f"{path} is cut short: its header promises {promised} samples a channel, {len(samples)} could be read. "
            "Copy or download it again."
        )
    return _check(samples, rate, str(path), path)


def check_samples(samples: np.ndarray, sample_rate: Any) -> Waveform:
    """Check and convert an array as `load_waveform` does a file.

    `samples` is (sample,) or (sample, channel): floats with full scale 1.0, or integers with the full scale of their
    type (int16: 32768; uint8 is centred on 128). `sample_rate` is a whole number in Hz, 1,000 to
    768,000; whatever else it is, text too, is a UserError.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] == 0):
        raise UserError(f"The samples have shape {samples.shape}; expected (sample,) or (sample, channel).")
    if samples.ndim == 2 and samples.shape[1] > max(samples.shape[0], 2):
        raise UserError(
            f"The samples have shape {samples.shape}, which is more channels than samples; expected (sample, channel). "
            "If channels come first, give samples.T."
        )
    numbers = (int, float, np.integer, np.floating)
    is_number = isinstance(sample_rate, numbers) and not isinstance(sample_rate, bool)
    if not is_number or not np.isfinite(sample_rate) or sample_rate % 1:
        raise UserError(f"The sample rate is {sample_rate!r}; expected a positive whole number of Hz, such as 16000.")
    rate, channels = int(sample_rate), 1 if samples.ndim == 1 else samples.shape[1]
    _check_size("The array", rate, channels, len(samples))
    return _check(_to_float(samples), rate, "The array", None)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path} does not exist; give the path of a recording, such as a WAV file.")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the path of one recording in it.")
    try:
        with open(path, "rb") as file:
            start = file.read(len(GIT_LFS_START))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if not start:
        raise UserError(f"{path} is empty (0 bytes); expected a recording. Copy or download it again.")
    if start == GIT_LFS_START:
        raise UserError(
            f"{path} is a Git LFS pointer, not the recording itself. Run git lfs pull in its repository to fetch it."
        )


def _check_size(what: str, rate: int, channels: int, frames: int) -> None:
    """Raise UserError for a size that no recording of speech has, before memory is asked for it."""
    if not LEAST_RATE <= rate <= GREATEST_RATE:
        raise UserError(
            f"{what} has a sample rate of {rate} Hz; expected {LEAST_RATE} to {GREATEST_RATE} Hz, such as 16000."
        )
    if channels > MOST_CHANNELS:
        raise UserError(f"{what} has {channels} channels; expected at most {MOST_CHANNELS}. Give one of them.")
    if frames > LONGEST_SECONDS * rate or frames * channels > MOST_VALUES:
        raise UserError(
            f"{what} says it holds {frames} samples in each of {channels} channels at {rate} Hz, "
            f"{frames / rate / 3600:.1f} hours; at most {LONGEST_SECONDS / 3600:.0f} hours, and {MOST_VALUES} samples "
            "in all, are read. Cut it into parts; if it is not that long, its header is broken: export it again."
        )


def _reason(error: Exception) -> str:
    """Return libsndfile's own words without the path, which the message names already."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _to_float(samples: np.ndarray) -> np.ndarray:
    if np.issubdtype(samples.dtype, np.floating):
        # The range is checked in the given type: a float64 beyond float32 must not turn into infinity.
        return samples
    if not np.issubdtype(samples.dtype, np.integer):
        raise UserError(f"The samples are of type {samples.dtype}; expected floats (full scale 1.0) or integers.")
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = full_scale if np.issubdtype(samples.dtype, np.unsignedinteger) else 0.0
    return (samples.astype(np.float64) - offset) / full_scale


def _check(samples: np.ndarray, rate: int, what: str, path: Path | None) -> Waveform:
    if len(samples) == 0:
        raise UserError(f"{what} holds 0 samples; expected a recording with sound in it.")
    finite = np.isfinite(samples)
    if not finite.all():
        bad = np.argwhere(~finite)[0][0]
        raise UserError(
            f"{what} holds {np.size(finite) - np.count_nonzero(finite)} samples that are not finite (NaN or infinity), "
            f"the first at {bad / rate:.3f} s; export the recording again."
        )
    peak = float(np.abs(samples).max())
    if peak > LARGEST_PEAK:
        raise UserError(
            f"{what} reaches {peak:.0f} where full scale is 1.0; integer samples held as floats must be divided by "
            "their full scale first (16 bit: 32768)."
        )
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    mono = samples if samples.ndim == 1 else _mix(samples, what)
    mono = np.ascontiguousarray(mono, dtype=np.float32)
    if rate != SAMPLE_RATE:
        mono = np.ascontiguousarray(soxr.resample(mono, rate, SAMPLE_RATE, quality="VHQ"))
        if len(mono) == 0:
            raise UserError(
                f"{what} holds {len(samples)} sample(s) at {rate} Hz, less than one at {SAMPLE_RATE} Hz; "
                "give a longer recording."
            )
    return Waveform(mono, len(mono) / SAMPLE_RATE, rate, channels, path)


def _mix(samples: np.ndarray, what: str) -> np.ndarray:
    mono = samples.mean(axis=1, dtype=np.float64)
    channel_power = np.mean(np.square(samples, dtype=np.float64))
    if np.mean(np.square(mono)) < 1e-4 * channel_power:
        raise UserError(
            f"{what} has {samples.shape[1]} channels that cancel each other when mixed (one is the other turned "
            "upside down); give one channel."
        )
    return mono
