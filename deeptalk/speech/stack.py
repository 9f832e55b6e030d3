"""Encoders by name, alone or stacked: `whisper+prosody`."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.files import read_json
from deeptalk.speech.emotion2vec import Emotion2VecEncoder
from deeptalk.speech.encoder import SpeechEncoder
from deeptalk.speech.frames import FRAME_RATE
from deeptalk.speech.logmel import LogMelEncoder
from deeptalk.speech.prosody import ProsodyEncoder
from deeptalk.speech.selfsupervised import MODELS, SelfSupervisedEncoder
from deeptalk.speech.whisper import WhisperEncoder
from deeptalk.speech.windows import LONGEST_SECONDS

NETWORKS = ("whisper", *MODELS, "emotion2vec")
"""Encoders with weights."""
ENCODERS = (*NETWORKS, "prosody", "logmel")

Source = str | Path | Mapping[str, str | Path] | None
"""Where weights are, see `build_encoder`."""


class StackedEncoder(SpeechEncoder):
    """Several encoders side by side: their features concatenated in the order of the name."""

    def __init__(self, encoders: Sequence[SpeechEncoder]) -> None:
        super().__init__(
            "+".join(encoder.name for encoder in encoders),
            sum(encoder.feature_size for encoder in encoders),
            encoders[0].frame_rate,
        )
        self.encoders = nn.ModuleList(encoders)
        self.train(False)

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, sum of the feature sizes)."""
        return torch.cat([part.encode(waveforms, sample_lengths, frame_lengths) for part in self.parts()], dim=-1)

    def identity(self) -> dict[str, Any]:
        """Return the identities of the parts in order."""
        return {"stack": [part.identity() for part in self.parts()]}

    def parts(self) -> list[SpeechEncoder]:
        """The encoders in the order of the name."""
        return [part for part in self.encoders if isinstance(part, SpeechEncoder)]


def build_encoder(
    name: str = "whisper+prosody", source: Source = None, frame_rate: float = FRAME_RATE
) -> SpeechEncoder:
    """Build the encoder of that name, a stack where names are joined by '+'.

    Options follow a colon: `whisper:2s` is heard in windows of 2 s that overlap by half, any length from 1 to 30 s;
    `wavlm:L6` gives the states after block 6, `wavlm:L6:2s` both.

    `source` says where weights are: a folder, a run or a bundle that keeps its tuned encoder, or a hub name such as
    openai/whisper-base.en; a mapping such as {"wavlm": folder} where a stack has several encoders with weights. Whisper
    needs none: the installed package has tiny.en. Raises UserError for an unknown or repeated name, a source for an
    encoder that takes none or is not there, and weights that are missing or damaged.
    """
    parts = [_parse(part.strip()) for part in name.split("+")]
    kinds = [part.kind for part in parts]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise UserError(f"The speech encoder '{name}' has {kind} more than once; name it once.")
    sources = _by_kind(source, name, kinds)
    encoders = [_build_one(part, sources.get(part.kind), frame_rate) for part in parts]
    return encoders[0] if len(encoders) == 1 else StackedEncoder(encoders)


def read_sources(words: Sequence[str]) -> Source:
    """Return the sources that the words of a command give: FOLDER, or KIND=FOLDER as often as there are kinds."""
    named = [word.partition("=") for word in words if word.partition("=")[0] in ENCODERS]
    if not named and len(words) <= 1:
        return words[0] if words else None
    if len(named) != len(words) or len({kind for kind, _, _ in named}) != len(named):
        raise UserError(
            f"Speech weights were given as {', '.join(words)}; give one FOLDER, or KIND=FOLDER once for each of "
            f"{', '.join(NETWORKS)}."
        )
    return {kind: folder for kind, _, folder in named}


def with_tuned(name: str, source: Source, tuned: str | Path | None) -> Source:
    """Return the sources for a stack, those of `source` and the folder of a tuned encoder, which says its own kind.

    A tuned encoder that is not in the stack is left out: what stands on it is then found not to fit.
    """
    kinds = [_parse(part.strip()).kind for part in name.split("+")]
    config = {} if tuned is None else read_json(Path(tuned) / "config.json")
    kind = config.get("model_type", config.get("model"))
    if tuned is None or kind not in kinds:
        return source
    return {kind: tuned} | _by_kind(source, name, kinds)


@dataclass(frozen=True)
class _Named:
    """One part of a stack's name."""

    text: str
    kind: str
    window_seconds: float | None = None
    layer: int | None = None


def _parse(text: str) -> _Named:
    kind, *options = text.split(":")
    if kind not in ENCODERS:
        raise UserError(f"'{text}' is not a speech encoder; {_suggestion(kind)}")
    if options and kind not in NETWORKS:
        raise UserError(f"'{text}' has options, which only {', '.join(NETWORKS)} take, such as whisper:2s.")
    found: dict[str, Any] = {}
    for option in options:
        is_layer = option.startswith("L") and kind in MODELS
        key, value = ("layer", _layer(text, option)) if is_layer else ("window_seconds", _window_seconds(text, option))
        if key in found:
            raise UserError(f"'{text}' gives two {'layers' if is_layer else 'windows'}; give one.")
        found[key] = value
    return _Named(text, kind, **found)


def _by_kind(source: Source, name: str, kinds: Sequence[str]) -> dict[str, str | Path]:
    networks = [kind for kind in kinds if kind in NETWORKS]
    if source is None:
        return {}
    if not isinstance(source, Mapping):
        if len(networks) != 1:
            several = f"say of which, such as {networks[0]}={source}" if networks else "none of its parts has any"
            raise UserError(f"Weights {source} were given for the speech encoder '{name}': {several}.")
        return {networks[0]: source}
    for kind in source:
        if kind not in networks:
            taking = ", ".join(networks) or "none of its parts"
            raise UserError(f"Weights were given for {kind}; in the speech encoder '{name}', {taking} takes weights.")
    return dict(source)


def _build_one(part: _Named, source: str | Path | None, frame_rate: float) -> SpeechEncoder:
    if part.kind == "whisper":
        return WhisperEncoder.load(source, frame_rate, part.window_seconds)
    if part.kind == "emotion2vec":
        return Emotion2VecEncoder.load(source, frame_rate, part.window_seconds)
    if part.kind in MODELS:
        return SelfSupervisedEncoder.load(part.kind, source, frame_rate, part.window_seconds, part.layer)
    return ProsodyEncoder(frame_rate) if part.kind == "prosody" else LogMelEncoder(frame_rate)


def _layer(text: str, option: str) -> int:
    if not re.fullmatch(r"L[1-9]\d*", option):
        raise UserError(f"'{text}' names no block from 1 on; write it as {text.partition(':')[0]}:L6.")
    return int(option[1:])


def _window_seconds(text: str, window: str) -> float:
    try:
        seconds = float(window.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= LONGEST_SECONDS:
        kind = text.partition(":")[0]
        layer = f", or a block as {kind}:L6" if kind in MODELS else ""
        raise UserError(f"'{text}' names no window of 1 to 30 s; write it as {kind}:2s{layer}.")
    return seconds


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, ENCODERS, n=1)
    known = f"expected one of {', '.join(ENCODERS)}, or several joined by '+'"
    return f"did you mean '{close[0]}'? ({known})" if close else f"{known}, such as whisper+prosody."
