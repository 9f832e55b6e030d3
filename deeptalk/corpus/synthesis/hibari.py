"""Speech synthesis with exact phone times and control of the voice, by pip `hibari-tts` (Apache-2.0, extra `voice`)."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, Phone, SpeechEvent
from deeptalk.corpus.synthesis.phonemes import UNIT_SECONDS, phones_from_durations
from deeptalk.corpus.synthesis.spectra import Spectra, edited
from deeptalk.corpus.synthesis.voices import Voice
from deeptalk.errors import UserError

ENGINE_RATE = 24_000
NEUTRAL_LEVEL_DECIBELS = -28.0
"""RMS over the spoken part, relative to full scale, of speech at affect level 0."""
PEAK_LIMIT = 0.95
LEADING_SECONDS, TRAILING_SECONDS = 0.12, 0.16
"""Silence kept before and after the words."""
_DURATION_OUTPUT = "/Clip_output_0"
_MISSING = (
    "Speech synthesis needs the package hibari-tts, which is not installed. "
    'Install it with: pip install "deeptalk[voice]" - or use the vendored demo speech '
    "(deeptalk.corpus.synthesis.demo_speech), which needs no extra package."
)


def _field(number: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field."""
    size, length = len(payload), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def with_graph_output(model: bytes, name: str) -> bytes:
    """ONNX model bytes whose graph also returns the float tensor `name`.

    A protobuf message that occurs twice is merged, so a second `graph` field (7) that holds nothing but the new
    `output` (12) is enough: the package `onnx` is not needed.
    """
    float_tensor = _field(2, _field(1, bytes([1 << 3, 1])))
    return model + _field(7, _field(12, _field(1, name.encode()) + float_tensor))


class _Engine:
    """Hibari's network with the durations among its outputs."""

    def __init__(self) -> None:
        try:
            import hibari
            import onnxruntime
        except ImportError as error:
            raise UserError(_MISSING) from error
        from hibari import dsp

        self.tts: Any = hibari.Hibari()
        self.vocoder: Any = dsp
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = with_graph_output(Path(self.tts.model_path).read_bytes(), _DURATION_OUTPUT)
        self.session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def phonemes(self, text: str) -> str:
        """Phoneme string of one sentence; UserError where the text is none or several."""
        sentences = self.tts.phonemize(text)
        if len(sentences) != 1:
            raise UserError(f"Expected one sentence to synthesise, got {len(sentences)} in {text!r}; split the text.")
        return "".join(mark for mark in sentences[0] if mark in self.tts.vocab)

    def run(self, phonemes: str, rate_factor: float) -> tuple[Spectra, np.ndarray]:
        """Spectra and durations (phoneme + 2,) in units of 25 ms."""
        inputs = {
            "ids": np.asarray([self.tts.ids(phonemes)], np.int64),
            "speed": np.asarray([rate_factor], np.float32),
        }
        names = ["lh", "theta", "ln", "lr", "phi", "f0", _DURATION_OUTPUT]
        *parts, durations = self.session.run(names, inputs)
        return Spectra(*(part[0] for part in parts)), np.asarray(durations, np.float64).reshape(-1)

    def vocode(self, spectra: Spectra, seed: int) -> np.ndarray:
        """Waveform (sample,) at 24 kHz."""
        return self.vocoder.synth(
            spectra.harmonic_log,
            spectra.harmonic_phase,
            spectra.noise_log,
            spectra.free_log,
            spectra.free_phase,
            spectra.f0_hertz,
            np.random.default_rng(seed),
        )


@functools.lru_cache(maxsize=1)
def _engine() -> _Engine:
    return _Engine()


def synthesize(
    text: str, affect: AffectCode, voice: Voice, seed: int = 0, *, sentence: str = "", split: str | None = None
) -> SpeechEvent:
    """Speak one sentence; depends on the text, the affect, the voice and the seed of the noise only.

    Raises UserError where the extra `voice` is missing, where the text is not one sentence, or where it has a sound
    without ARPAbet counterpart.
    """
    engine = _engine()
    phonemes = engine.phonemes(text)
    spectra, durations = engine.run(phonemes, affect.rate_factor)
    wide = engine.vocode(edited(spectra, affect, voice), seed)
    samples = soxr.resample(wide, ENGINE_RATE, SAMPLE_RATE).astype(np.float32)
    phones = phones_from_durations(phonemes, durations, len(samples) / SAMPLE_RATE)
    samples, phones = trim(samples, end_with_sound(samples, phones))
    return SpeechEvent(
        samples=at_level(samples, phones, NEUTRAL_LEVEL_DECIBELS + affect.level_decibels),
        phones=tuple(phones),
        text=text,
        speaker=voice.name,
        sentence=sentence or text,
        affect=affect,
        split=split,
    )


def end_with_sound(samples: np.ndarray, phones: list[Phone]) -> list[Phone]:
    """End the last spoken phone where the sound ends: the network gives it the silence that follows.

    The end is the last 10 ms whose level is within 40 dB of the loudest.
    """
    spoken = [place for place, phone in enumerate(phones) if phone.symbol != SILENCE]
    if not spoken:
        raise UserError("The text has no spoken sounds; give words.")
    last = spoken[-1]
    block = SAMPLE_RATE // 100
    power = (samples[: len(samples) // block * block].reshape(-1, block) ** 2).mean(1)
    audible_end = (np.flatnonzero(power > power.max() * 1e-4)[-1] + 1) * block / SAMPLE_RATE
    end = min(max(audible_end, phones[last].start_seconds + UNIT_SECONDS), len(samples) / SAMPLE_RATE - UNIT_SECONDS)
    ended = Phone(phones[last].symbol, phones[last].start_seconds, end, phones[last].stress)
    return [*phones[:last], ended, Phone(SILENCE, end, len(samples) / SAMPLE_RATE)]


def trim(samples: np.ndarray, phones: list[Phone]) -> tuple[np.ndarray, list[Phone]]:
    """Cut silence at both ends to what is kept; phone times move with it."""
    first, last = phones[0], phones[-1]
    begin = max(first.end_seconds - LEADING_SECONDS, 0.0) if first.symbol == SILENCE else 0.0
    begin_sample = round(begin * SAMPLE_RATE)
    end_sample = min(round((last.start_seconds + TRAILING_SECONDS) * SAMPLE_RATE), len(samples))
    begin, seconds = begin_sample / SAMPLE_RATE, (end_sample - begin_sample) / SAMPLE_RATE
    moved = [
        Phone(
            phone.symbol,
            max(phone.start_seconds - begin, 0.0),
            seconds if phone is last else phone.end_seconds - begin,
            phone.stress,
        )
        for phone in phones
    ]
    return samples[begin_sample:end_sample], moved


def at_level(samples: np.ndarray, phones: list[Phone], level_decibels: float) -> np.ndarray:
    """Scale so that the spoken part has this RMS; peaks are held at 0.95 by scaling the whole clip down."""
    spoken = slice(round(phones[0].end_seconds * SAMPLE_RATE), round(phones[-1].start_seconds * SAMPLE_RATE))
    rms = float(np.sqrt(np.mean(samples[spoken].astype(np.float64) ** 2)))
    gain = 10.0 ** (level_decibels / 20.0) / max(rms, 1e-6)
    gain = min(gain, PEAK_LIMIT / max(float(np.abs(samples).max()), 1e-6))
    return (samples * gain).astype(np.float32)
