"""Speech: recordings in, features at the motion's frame rate out."""

from deeptalk.speech.encoder import SpeechEncoder, pad_waveforms
from deeptalk.speech.frames import FRAME_RATE, SAMPLE_RATE, frame_count, frame_counts
from deeptalk.speech.stack import ENCODERS, StackedEncoder, build_encoder
from deeptalk.speech.waveform import Waveform, check_samples, load_waveform

__all__ = [
    "ENCODERS",
    "FRAME_RATE",
    "SAMPLE_RATE",
    "SpeechEncoder",
    "StackedEncoder",
    "Waveform",
    "build_encoder",
    "check_samples",
    "frame_count",
    "frame_counts",
    "load_waveform",
    "pad_waveforms",
]
