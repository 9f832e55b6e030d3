"""Speech synthesis with exact phone times and control of the voice, by pip `hibari-tts` (Apache-2.0, extra `voice`)."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE
from deeptalk.corpus.synthesis.onnx_graph import with_graph_output
from deeptalk.corpus.synthesis.phonemes import phones_from_durations
from deeptalk.corpus.synthesis.sound import Sound
from deeptalk.corpus.synthesis.spectra import Spectra, edited, stretched
from deeptalk.corpus.synthesis.voices import Voice
from deeptalk.errors import UserError

ENGINE_RATE = 24_000
_DURATION_OUTPUT, _WANTED_OUTPUT = "/Clip_output_0", "/Div_40_output_0"
"""Durations of the phonemes in whole units of 25 ms, and what they were before they were rounded."""
_MISSING = (
    "Speech synthesis needs the package hibari-tts, which is not installed. "
    'Install it with: pip install "deeptalk[voice]" - or use the vendored demo speech '
    "(deeptalk.corpus.synthesis.demo_speech), which needs no extra package."
)


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
        model = Path(self.tts.model_path).read_bytes()
        for name in (_DURATION_OUTPUT, _WANTED_OUTPUT):
            model = with_graph_output(model, name)
        self.session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def phonemes(self, text: str) -> str:
        """Phoneme string of one sentence; UserError where the text is none or several."""
        sentences = self.tts.phonemize(text)
        if len(sentences) != 1:
            raise UserError(f"Expected one sentence to synthesise, got {len(sentences)} in {text!r}; split the text.")
        return "".join(mark for mark in sentences[0] if mark in self.tts.vocab)

    def run(self, phonemes: str, rate_factor: float) -> tuple[Spectra, np.ndarray]:
        """Spectra and durations (phoneme + 2,) in units of 25 ms.

        The network rounds durations, so that speech asked to be 1.2 times as fast comes 1.08 times as fast; all
        is stretched evenly in time until it is as long as the durations before rounding.
        """
        inputs = {
            "ids": np.asarray([self.tts.ids(phonemes)], np.int64),
            "speed": np.asarray([rate_factor], np.float32),
        }
        names = ["lh", "theta", "ln", "lr", "phi", "f0", _DURATION_OUTPUT, _WANTED_OUTPUT]
        *parts, durations, wanted = self.session.run(names, inputs)
        spectra = Spectra(*(part[0] for part in parts))
        frames = len(spectra.f0_hertz)
        stretched_frames = round(frames * float(wanted.sum() / durations.sum()))
        units = np.asarray(durations, np.float64).reshape(-1) * (stretched_frames / frames)
        return stretched(spectra, stretched_frames), units

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


def say(text: str, affect: AffectCode, voice: Voice, seed: int) -> Sound:
    """Speak one sentence.

    Raises UserError where the extra `voice` is missing, where the text is not one sentence, or where it has a sound
    without ARPAbet counterpart.
    """
    engine = _engine()
    phonemes = engine.phonemes(text)
    spectra, durations = engine.run(phonemes, affect.rate_factor * voice.rate_factor)
    wide = engine.vocode(edited(spectra, affect, voice, seed), seed)
    samples = soxr.resample(wide, ENGINE_RATE, SAMPLE_RATE).astype(np.float32)
    return Sound(samples, phones_from_durations(phonemes, durations, len(samples) / SAMPLE_RATE))


def phonemes_of(text: str) -> str:
    """Hibari's phoneme string of one sentence, for engines that have no pronunciations of their own."""
    return _engine().phonemes(text)


def sentences_of(text: str) -> list[str]:
    """Phoneme strings of the sentences of a text."""
    engine = _engine()
    return ["".join(mark for mark in part if mark in engine.tts.vocab) for part in engine.tts.phonemize(text)]
