"""From what is asked of the emotion to the Gaussians that emotion vectors are drawn from."""

import itertools
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dee import GaussianEmbedding
from dee.steering import blend, track, window_starts
from deeptalk.bundle import Bundle
from deeptalk.emotion_request import EmotionRequest, KeyPoint, ReferenceClip
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.speech import SpeechEncoder, Waveform, speaker_offset
from deeptalk.take import Take

INTENSITY_STEPS = 8
"""Points on the way from key to key where the intensity changes: a label's way from neutral to strong has bends."""
LARGEST_RATE_DIFFERENCE = 1e-3
"""Frames a second by which a reference motion may differ from the bundle's."""


class EmotionSource:
    """Gaussians of one request, piece of speech by piece of speech.

    Labels are looked up on the side of DEE whose draws trained the talker, other speech is heard by the speech side,
    a motion is seen by the motion side. Labels and references are embedded once, on making.

    Raises UserError for a label that the bundle cannot act, a motion of another rig or frame rate than its takes, or a
    speaker reference that is too short or that its DEE was not trained for.
    """

    def __init__(self, request: EmotionRequest, bundle: Bundle, encoder: SpeechEncoder, device: torch.device):
        self.request = request
        self.bundle = bundle
        self.device = device
        self.offset = self._speaker_offset(encoder)
        self.asked: GaussianEmbedding | None = None
        self.points = [] if not request.keys else [(0, 0.0, request.keys[0])]
        for number, (first, second) in enumerate(itertools.pairwise(request.keys)):
            self.points += [(number, share, between(first, second, share)) for share in _shares(first, second)]
        if self.points:
            self.asked = GaussianEmbedding.concatenate([self._labelled(point) for _, _, point in self.points])
        elif request.references:
            parts = [self._reference(clip, encoder) for clip in request.references]
            self.asked = self._blend(parts, [clip.weight for clip in request.references])

    def gaussian(
        self, features: Float[Tensor, "1 frame feature"], lengths: Int[Tensor, "1"], seconds: float
    ) -> GaussianEmbedding:
        """A Gaussian for one piece of speech: one row, or one a frame where the emotion moves."""
        frames, rate, weight = features.shape[1], self.bundle.talker.frame_rate, self.request.weight
        centres = (torch.arange(frames, device=self.device, dtype=torch.float64) + 0.5) / rate
        asked = self.asked
        if asked is not None and len(asked) > 1:
            asked = track(asked, self._times(seconds).to(self.device), centres)
        if asked is not None and weight == 1:
            return asked
        own = self._own(features, lengths, centres)
        if asked is None:
            return own
        rows = max(len(own), len(asked))
        return _rows(own, rows).interpolate(_rows(asked, rows), weight)

    def _times(self, seconds: float) -> Float[Tensor, "point"]:
        """When the points lie, in speech of this length."""
        keys = [key.seconds if math.isfinite(key.seconds) else seconds for key in self.request.keys]
        return torch.tensor(
            [keys[number] + share * (keys[number + 1] - keys[number]) for number, share, _ in self.points],
            dtype=torch.float64,
        )

    def _own(self, features: Tensor, lengths: Tensor, centres: Tensor) -> GaussianEmbedding:
        """The emotion of the speech itself: as a whole, or in windows whose Gaussians hold at their centres."""
        if self.offset is not None:
            features = features - self.offset
        frames, window = features.shape[1], features.shape[1]
        if self.request.window_seconds is not None:
            window = max(1, round(self.request.window_seconds * self.bundle.talker.frame_rate))
        if frames <= window:
            return self.bundle.dee.embed_speech(features, lengths)
        starts = window_starts(frames, window).to(self.device)
        place = starts[:, None] + torch.arange(window, device=self.device)
        heard = self.bundle.dee.embed_speech(features[0][place], torch.full_like(starts, window))
        return track(heard, (starts + window / 2).double() / self.bundle.talker.frame_rate, centres)

    def _speaker_offset(self, encoder: SpeechEncoder) -> Float[Tensor, "feature"] | None:
        if not self.request.speaker_reference:
            return None
        if not self.bundle.parts["dee"].config.get("data", {}).get("centred_share"):
            raise UserError(
                f"The DEE of bundle {self.bundle.folder} was not trained to hear speech relative to its speaker; leave "
                "the speaker reference out, or train a DEE with data.centred_share=0.5."
            )
        return torch.from_numpy(speaker_offset(encoder, self.request.speaker_reference)).to(self.device)

    def _labelled(self, key: KeyPoint) -> GaussianEmbedding:
        dee, side = self.bundle.dee, self.bundle.predictor.config.emotion_source
        strength = torch.tensor([key.intensity], device=self.device)
        parts = []
        for name, _ in key.labels:
            try:
                label = torch.tensor([dee.config.emotions.index(name)], device=self.device)
                parts.append(dee.emotion_vector(label, strength, side))
            except ValueError as error:
                raise UserError(f"Bundle {self.bundle.folder} cannot act {name!r}: {error}") from error
        return self._blend(parts, [weight for _, weight in key.labels])

    def _blend(self, parts: list[GaussianEmbedding], weights: list[float]) -> GaussianEmbedding:
        try:
            return blend(GaussianEmbedding.concatenate(parts), torch.tensor(weights, device=self.device))
        except ValueError as error:
            raise UserError(f"These emotions cannot be blended: {error}") from error

    def _reference(self, clip: ReferenceClip, encoder: SpeechEncoder) -> GaussianEmbedding:
        if isinstance(clip.content, Take):
            return self._seen(clip.content, clip.name or "The reference motion")
        return self._heard(clip.content, encoder)

    def _heard(self, waveform: Waveform, encoder: SpeechEncoder) -> GaussianEmbedding:
        samples = torch.from_numpy(waveform.samples)[None].to(self.device)
        features, lengths = encoder(samples, torch.tensor([samples.shape[1]], device=self.device))
        return self.bundle.dee.embed_speech(features, lengths)

    def _seen(self, take: Take, name: str) -> GaussianEmbedding:
        part = self.bundle.talker
        if take.rig != part.rig:
            raise UserError(
                f"{name} is of rig {take.rig!r}, the bundle of rig {part.rig!r}; give a motion with the channels of "
                f"{part.rig!r}."
            )
        if abs(take.frame_rate - part.frame_rate) > LARGEST_RATE_DIFFERENCE:
            raise UserError(
                f"{name} has {take.frame_rate:g} frames a second, the bundle {part.frame_rate:g}; resample it first, "
                "with `deeptalk.corpus.resample.resample_motion`."
            )
        motion = torch.from_numpy(take.motion)[None].to(self.device)
        return self.bundle.dee.embed_motion(motion, torch.tensor([motion.shape[1]], device=self.device))


def between(first: KeyPoint, second: KeyPoint, share: float) -> KeyPoint:
    """The point this share of the way from one key point to the next: weights and intensity go there in proportion.

    Its time is that of the second, where it ends.
    """
    if share == 1:
        return second
    weights = dict.fromkeys(EMOTIONS, 0.0)
    for key, part in ((first, 1 - share), (second, share)):
        total = sum(weight for _, weight in key.labels)
        for label, weight in key.labels:
            weights[label] += part * weight / total
    labels = tuple((label, weight) for label, weight in weights.items() if weight > 0)
    return KeyPoint(second.seconds, labels, first.intensity + share * (second.intensity - first.intensity))


def _shares(first: KeyPoint, second: KeyPoint) -> list[float]:
    """Where to look up labels on the way; at the end alone where the intensity stays, as the way is an arc then."""
    count = 1 if first.intensity == second.intensity else INTENSITY_STEPS
    return [(step + 1) / count for step in range(count)]


def _rows(embedding: GaussianEmbedding, count: int) -> GaussianEmbedding:
    if len(embedding) == count:
        return embedding
    return GaussianEmbedding(embedding.mean.expand(count, -1), embedding.log_variance.expand(count, -1))
