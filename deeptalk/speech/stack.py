"""Encoders by name, alone or stacked: `whisper+prosody`."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.speech.encoder import SpeechEncoder
from deeptalk.speech.frames import FRAME_RATE
from deeptalk.speech.logmel import LogMelEncoder
from deeptalk.speech.prosody import ProsodyEncoder
from deeptalk.speech.waveform import Waveform
from deeptalk.speech.whisper import WhisperEncoder

ENCODERS = ("whisper", "prosody", "logmel")


class StackedEncoder(SpeechEncoder):
    """Several encoders side by side: their features concatenated in the order of the name."""

    def __init__(self, encoders: Sequence[SpeechEncoder]) -> None:
        super().__init__(
            "+".join(encoder.name for encoder in encoders),
            sum(encoder.feature_size for encoder in encoders),
            encoders[0].frame_rate,
        )
        self.encoders = nn.ModuleList(encoders)

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, sum of the feature sizes)."""
        return torch.cat([part.encode(waveforms, sample_lengths, frame_lengths) for part in self._parts()], dim=-1)

    def identity(self) -> dict[str, Any]:
        """Return the identities of the parts in order."""
        return {"stack": [part.identity() for part in self._parts()]}

    def set_speaker_reference(self, waveforms: Iterable[Waveform | np.ndarray]) -> None:
        """Hand the reference to the parts that can use one (prosody); UserError where there is none."""
        users = [part for part in self._parts() if isinstance(part, ProsodyEncoder)]
        if not users:
            super().set_speaker_reference(waveforms)
        recordings = list(waveforms)
        for part in users:
            part.set_speaker_reference(recordings)

    def _parts(self) -> list[SpeechEncoder]:
        return [part for part in self.encoders if isinstance(part, SpeechEncoder)]


def build_encoder(
    name: str = "whisper+prosody", source: str | Path | None = None, frame_rate: float = FRAME_RATE
) -> SpeechEncoder:
    """Build the encoder of that name, a stack where names are joined by '+'.

    `whisper:2s` is Whisper heard in windows of 2 s that overlap by half, any length from 1 to 30 s.
    `source` says where Whisper's weights are: None for the installed package with tiny.en, a folder in transformers'
    format, or a hub name such as openai/whisper-base.en. Raises UserError for an unknown or repeated name, a source
    without whisper, and weights that are missing or damaged.
    """
    names = [part.strip() for part in name.split("+")]
    kinds = [part.partition(":")[0] for part in names]
    for part, kind in zip(names, kinds):
        if kind not in ENCODERS:
            raise UserError(f"'{part}' is not a speech encoder; {_suggestion(kind)}")
        if kinds.count(kind) > 1:
            raise UserError(f"The speech encoder '{name}' has {kind} more than once; name it once.")
    if source is not None and "whisper" not in kinds:
        raise UserError(f"source={source} was given for the speech encoder '{name}', but only whisper takes one.")
    encoders = [_build_one(part, source, frame_rate) for part in names]
    return encoders[0] if len(encoders) == 1 else StackedEncoder(encoders)


def _build_one(name: str, source: str | Path | None, frame_rate: float) -> SpeechEncoder:
    kind, colon, window = name.partition(":")
    if kind == "whisper":
        return WhisperEncoder.load(source, frame_rate, _window_seconds(name, window) if colon else None)
    if colon:
        raise UserError(f"'{name}' asks for a window, but only whisper has one, such as whisper:2s.")
    return ProsodyEncoder(frame_rate) if kind == "prosody" else LogMelEncoder(frame_rate)


def _window_seconds(name: str, window: str) -> float:
    try:
        seconds = float(window.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 30.0:
        raise UserError(f"'{name}' names no window of 1 to 30 s; write it as whisper:2s.")
    return seconds


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, ENCODERS, n=1)
    known = f"expected one of {', '.join(ENCODERS)}, or several joined by '+'"
    return f"did you mean '{close[0]}'? ({known})" if close else f"{known}, such as whisper+prosody."
