"""Speech: recordings in, features at the motion's frame rate out."""

from deeptalk.speech.encoder import SpeechEncoder, pad_waveforms
from deeptalk.speech.frames import FRAME_RATE, SAMPLE_RATE, frame_count, frame_counts
from deeptalk.speech.reference import prosody_columns, speaker_offset
from deeptalk.speech.stack import ENCODERS, NETWORKS, Source, StackedEncoder, build_encoder, read_sources, with_tuned
from deeptalk.speech.tuning import TunedFeatures
from deeptalk.speech.waveform import Waveform, check_samples, load_waveform
from deeptalk.speech.weights import TUNED

__all__ = [
    "ENCODERS",
    "FRAME_RATE",
    "NETWORKS",
    "SAMPLE_RATE",
    "TUNED",
    "Source",
    "SpeechEncoder",
    "StackedEncoder",
    "TunedFeatures",
    "Waveform",
    "build_encoder",
    "check_samples",
    "frame_count",
    "frame_counts",
    "load_waveform",
    "pad_waveforms",
    "prosody_columns",
    "read_sources",
    "speaker_offset",
    "with_tuned",
]
