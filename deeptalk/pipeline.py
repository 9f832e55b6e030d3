"""From speech to takes: `load()` finds a bundle, `Talker.perform()` acts."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from dee import GaussianEmbedding
from deeptalk import __version__
from deeptalk.arguments import Speech, as_waveform, number, whole
from deeptalk.bundle import Bundle, read_bundle, tuned_speech
from deeptalk.emotion_request import Emotion, EmotionRequest, References, read_request
from deeptalk.emotion_source import EmotionSource
from deeptalk.errors import UserError
from deeptalk.face import load_rig
from deeptalk.files import write_text
from deeptalk.speech import Source, SpeechEncoder, Waveform, build_encoder, with_tuned
from deeptalk.take import Take
from deeptalk.talker.moving import predict_moving
from deeptalk.talker.sampling import Drawn, gumbel_noise, take_generator
from thvqvae.hierarchy import level_frames

LONGEST_SECONDS = 120.0
"""Longest speech performed in one pass: attention needs memory with the square of the length, about 1 GB here."""


@dataclass(frozen=True)
class _Settings:
    """What a call of `perform` asks for, checked."""

    takes: int
    seed: int
    emotion: EmotionRequest
    spread: float
    temperatures: tuple[float, float]
    speaker: str | None


class Talker:
    """A loaded bundle that performs speech; made by `deeptalk.load`.

    Args:
        bundle: the trained parts; they are moved to `device`.
        encoder: the speech encoder that the parts were trained with.
        device: where to compute.

    Raises UserError where the encoder is not the one of the bundle.
    """

    def __init__(self, bundle: Bundle, encoder: SpeechEncoder, device: torch.device | str = "cpu"):
        expected = bundle.talker.speech
        if expected is not None and expected.cache_key != encoder.cache_key():
            raise UserError(
                f"Bundle {bundle.folder} was trained on speech features {expected.name} ({expected.cache_key}), the "
                f"encoder at hand gives {encoder.name} ({encoder.cache_key()}). Use the encoder and weights it was "
                "trained with, or train it again."
            )
        self.bundle = bundle
        self.encoder = encoder.to(device)
        self.device = torch.device(device)
        self.rig = load_rig(bundle.talker.rig)
        for module in (bundle.motion_prior, bundle.dee, bundle.predictor):
            module.to(device).eval()

    @property
    def frame_rate(self) -> float:
        """Frames per second of the takes."""
        return self.bundle.talker.frame_rate

    @overload
    def perform(self, speech: Speech, *args: Any, **settings: Any) -> list[Take]: ...

    @overload
    def perform(self, speech: list[Speech], *args: Any, **settings: Any) -> list[list[Take]]: ...

    def perform(
        self,
        speech: Speech | list[Speech],
        takes: int = 4,
        seed: int = 0,
        emotion: Emotion | None = None,
        intensity: float | int | Sequence[float | int] | str | None = None,
        spread: float | int = 1.0,
        temperature: float | int | tuple[float, float] = 1.0,
        speaker: str | None = None,
        emotion_from: References | None = None,
        emotion_weight: float | int = 1.0,
        emotion_windows: float | int | None = None,
        speaker_reference: Speech | list[Speech] | None = None,
        on_take: Callable[[], object] | None = None,
    ) -> list[Take] | list[list[Take]]:
        """Different performances of the same speech.

        Take i depends on the speech, the settings and (seed, i); not on `takes`, nor on what else is performed.
        With spread 0 and temperature 0 all takes are the same.

        Args:
            speech: a file, a `Waveform`, (samples, rate), or a list of those, which gives a list of lists.
            takes: how many, at least 1.
            seed: any whole number.
            emotion: act this label (`deeptalk.emotions.EMOTIONS`); a blend, `{"happy": 0.7, "sad": 0.3}`; or key points
                in seconds, `[(0, "happy"), (4, "sad")]`, between which it moves. None draws from what the speech sounds
                like. `deeptalk.emotion_request` says how all this is written as text.
            intensity: strength of `emotion`, 0 (neutral) to 1 (strong); 0.5 (normal) if not given. One for all key
                points, or a list with one for each.
            spread: scale of DEE's standard deviation when the emotion vector is drawn, 0 or more.
            temperature: of the draw of the codes, for both levels or as (top, bottom), 0 or more.
            speaker: a speaker of the training corpus; None is the mean of all.
            emotion_from: take the emotion of other speech, or of a motion (a `Take` or its file); several are blended,
                as a list, or with weights as a mapping.
            emotion_weight: how far to go from the speech's own emotion (0) to the one asked for (1).
            emotion_windows: hear the speech's own emotion in windows of this many seconds, so that it moves over time.
            speaker_reference: plain speech of the same speaker and microphone, or a list of such, best a minute; the
                speech's own emotion is then heard relative to it. For a DEE trained so (`data.centred_share`).
            on_take: called after each take, for a progress bar.

        Returns:
            Takes with round(seconds x frame rate) frames. Values beyond the rig's limits are set to the limit; the
            recipe says how many there were.

        Raises UserError for speech that cannot be read, or a setting out of its range.
        """
        request = read_request(emotion, intensity, emotion_from, emotion_weight, emotion_windows, speaker_reference)
        settings = _check_settings(takes, seed, request, spread, temperature, speaker)
        self._speaker_number(settings.speaker)
        with torch.inference_mode():
            source = EmotionSource(request, self.bundle, self.encoder, self.device)
            if isinstance(speech, list):
                return [self._perform(as_waveform(one), settings, source, on_take) for one in speech]
            return self._perform(as_waveform(speech), settings, source, on_take)

    def _perform(
        self, waveform: Waveform, settings: _Settings, emotions: EmotionSource, on_take: Callable[[], object] | None
    ) -> list[Take]:
        """All takes of one recording.

        Each take is a pass of its own. In one batch the sums inside would round differently with the number of takes,
        and a code that is nearly as likely as another would then now and then change a whole take.
        """
        check_length(waveform)
        settings.emotion.check_end(waveform.seconds, str(waveform.path or "the speech"))
        samples = torch.from_numpy(waveform.samples)[None].to(self.device)
        features, lengths = self.encoder(samples, torch.tensor([samples.shape[1]], device=self.device))
        source = emotions.gaussian(features, lengths, waveform.seconds)
        recipe = self._recipe(waveform, settings)
        takes = []
        for index in range(settings.takes):
            motion = self._draw(features, lengths, source, settings, index)
            limited, excess = self._limit(motion)
            takes.append(
                Take(
                    motion=limited,
                    rig=self.rig.name,
                    frame_rate=self.frame_rate,
                    recipe={**recipe, "take": index, "limited": excess},
                    samples=waveform.samples,
                )
            )
            if on_take is not None:
                on_take()
        return takes

    def _draw(
        self,
        features: Tensor,
        lengths: Tensor,
        source: GaussianEmbedding,
        settings: _Settings,
        index: int,
    ) -> np.ndarray:
        """(frame, channel) float32 of one take: emotion vector first, then top codes, then bottom codes."""
        generator = take_generator(settings.seed, index)
        vector = source.sample(generator, settings.spread, shared_noise=True)
        predictor = self.bundle.predictor
        top, bottom, _ = level_frames(features.shape[1])
        noise = (
            gumbel_noise(top, predictor.config.top_codes, generator)[None],
            gumbel_noise(bottom, predictor.config.bottom_codes, generator)[None],
        )
        speaker = torch.tensor([self._speaker_number(settings.speaker)], device=self.device)
        choose = Drawn(noise, settings.temperatures)
        prior = self.bundle.motion_prior
        if len(vector) == 1:
            motion = predictor(features, vector, speaker, lengths, prior, choose).motion[0]
        else:
            motion = predict_moving(predictor, features, vector, speaker, prior, choose)
        return motion.float().cpu().numpy()

    def _limit(self, motion: np.ndarray) -> tuple[np.ndarray, dict[str, float | int]]:
        """Motion within the rig's limits, and how many values were beyond and by how much at most."""
        limits = np.asarray(self.rig.limits, np.float32)
        limited = np.clip(motion, limits[:, 0], limits[:, 1])
        beyond = np.abs(motion - limited)
        return limited, {"values": int(np.count_nonzero(beyond)), "largest_excess": float(beyond.max())}

    def _speaker_number(self, speaker: str | None) -> int:
        if speaker is None:
            return -1
        known = self.bundle.talker.speakers
        if speaker not in known:
            raise UserError(f"This bundle knows no speaker {speaker!r}; it knows {', '.join(known) or 'none'}.")
        return known.index(speaker)

    def _recipe(self, waveform: Waveform, settings: _Settings) -> dict[str, Any]:
        """What all takes of one call share."""
        return {
            "version": __version__,
            "bundle": self.bundle.sha256,
            "speech": waveform.path.name if waveform.path else None,
            "speech_sha256": hashlib.sha256(waveform.samples.tobytes()).hexdigest(),
            "seed": settings.seed,
            **settings.emotion.recipe(),
            "spread": settings.spread,
            "temperature": list(settings.temperatures),
            "speaker": settings.speaker,
            "device": self.device.type,
        }


def check_length(waveform: Waveform) -> None:
    """Raises UserError for speech too long to be performed in one pass."""
    if waveform.seconds > LONGEST_SECONDS:
        raise UserError(
            f"{waveform.path or 'The speech'} lasts {waveform.seconds:.1f} s; up to {LONGEST_SECONDS:g} s can be "
            "performed at once. Cut it at a pause."
        )


def _check_settings(
    takes: Any, seed: Any, emotion: EmotionRequest, spread: Any, temperature: Any, speaker: str | None
) -> _Settings:
    """Settings in their canonical form; raises UserError for the first that is out of range."""
    if whole("takes", takes) < 1:
        raise UserError(f"takes is {takes}; expected at least 1.")
    if isinstance(temperature, Sequence) and not isinstance(temperature, str):
        if len(temperature) != 2:
            raise UserError(f"temperature has {len(temperature)} values; expected one number, or two as (top, bottom).")
        levels = [number("temperature", level, "numbers of 0 or more") for level in temperature]
    else:
        levels = [number("temperature", temperature, "a number of 0 or more")] * 2
    return _Settings(
        takes=whole("takes", takes),
        seed=whole("seed", seed),
        emotion=emotion,
        spread=number("spread", spread, "a number of 0 or more"),
        temperatures=(levels[0], levels[1]),
        speaker=speaker,
    )


def shipped_bundle() -> Path:
    """Folder of the bundle that comes with the package; it may not be there."""
    return Path(__file__).parent / "bundles" / "default"


def last_demo_file() -> Path:
    """File in the user's cache that names the bundle of the last `deeptalk demo`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "deeptalk" / "last_demo"


def remember_demo(bundle: str | Path) -> None:
    """Make `load()` find this bundle when it is given nothing."""
    write_text(last_demo_file(), f"{Path(bundle).resolve()}\n")


def load(where: str | Path | None = None, speech_source: Source = None, device: str | None = None) -> Talker:
    """The talker of a bundle.

    Args:
        where: a bundle's folder or a hub name. None: the variable DEEPTALK_BUNDLE, else the shipped bundle, else that
            of the last `deeptalk demo`.
        speech_source: where the weights of speech encoders are, see `deeptalk.speech.build_encoder`; one that was
            trained with DEE is in the bundle.
        device: torch's word for where to compute; None is the GPU if there is one, else the CPU.

    Raises UserError where there is no bundle, it is damaged, its parts do not fit, or its encoder is not to be had.
    """
    bundle = read_bundle(find_bundle(where))
    speech = bundle.talker.speech
    if speech is None:
        raise UserError(f"Bundle {bundle.folder} does not say which speech features it reads; write it again.")
    source = with_tuned(speech.name, speech_source, tuned_speech(bundle.folder / "dee"))
    encoder = build_encoder(speech.name, source, bundle.talker.frame_rate)
    return Talker(bundle, encoder, device or ("cuda" if torch.cuda.is_available() else "cpu"))


def find_bundle(where: str | Path | None = None) -> Path:
    """Folder of the bundle that `load(where)` reads; a hub name is downloaded (safetensors, JSON and Markdown only)."""
    if where is None:
        where = os.environ.get("DEEPTALK_BUNDLE") or None
    if where is not None:
        folder = Path(where)
        if folder.is_dir():
            return folder
        return _download(str(where))
    if shipped_bundle().is_dir():
        return shipped_bundle()
    note = last_demo_file()
    if note.is_file():
        folder = Path(note.read_text(encoding="utf-8").strip())
        if folder.is_dir():
            return folder
        raise UserError(
            f"The bundle of the last demo, {folder}, is gone. Run `deeptalk demo` again, or give a bundle's folder."
        )
    raise UserError(
        "No bundle found: none was given, DEEPTALK_BUNDLE is not set, none is shipped, and no demo was run. "
        "Run `deeptalk demo` (minutes) or `deeptalk train`, or give a bundle's folder or hub name."
    )


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"There is no bundle at {name}; give a bundle's folder, or a hub name such as owner/name.")
    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.md"]))
    except HFValidationError as error:
        raise UserError(f"{name!r} is neither a folder nor a hub name ({error}).") from error
    except Exception as error:  # the hub client raises errors of its own, of requests and of the system
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"There is no folder {name}, and the hub did not give it: {reason.rstrip('.')}.") from error
