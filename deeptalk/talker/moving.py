"""An emotion that moves inside a take: at every moment, codes are as likely as in a take of that emotion throughout.

The predictor learned from clips with one emotion vector each. Given one a frame, its attention mixes them over the
whole clip (`docs/steering.md` has the numbers). So it is asked at points along the path of the emotion, each where the
path is near and some way around, and every token's logits are those of the two points next to it, by nearness.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from deeptalk.talker.predictor import BOTTOM, TOP, Choose, IndexPredictor
from thvqvae import THVQVAE
from thvqvae.hierarchy import STRIDE, level_frames

POINT_RADIANS = 0.2
"""Largest angle between neighbouring points; with an eighth of it 2 of 100 codes of the demo's talker are others."""
CONTEXT_FRAMES = 100
"""Frames on either side that a point's pass sees beyond where it counts, 4 s; hearing all changes 2 codes in 100."""


def path_points(
    path: Float[Tensor, "frame emotion"],
) -> tuple[Float[Tensor, "point emotion"], Float[Tensor, "frame"]]:
    """Points at equal angles along a path of unit vectors, and each frame's place: 1.5 is midway from 1 to 2."""
    steps = 2 * torch.atan2((path[1:] - path[:-1]).norm(dim=-1), (path[1:] + path[:-1]).norm(dim=-1))
    gone = torch.cat([steps.new_zeros(1), steps]).double().cumsum(dim=0)
    total = float(gone[-1])
    if total == 0:
        return path[:1], torch.zeros_like(gone)
    count = max(1, math.ceil(total / POINT_RADIANS - 1e-6))
    place = gone / total * count
    wanted = torch.arange(count + 1, device=path.device, dtype=place.dtype)
    after = torch.searchsorted(place, wanted).clamp(1, len(path) - 1)
    step = (place[after] - place[after - 1]).clamp(min=1e-12)  # the path may stand still at first
    share = ((wanted - place[after - 1]) / step).clamp(0, 1).to(path)
    return functional.normalize(torch.lerp(path[after - 1], path[after], share[:, None]), dim=-1), place


def predict_moving(
    predictor: IndexPredictor,
    features: Float[Tensor, "1 frame feature"],
    path: Float[Tensor, "frame emotion"],
    speaker: Int[Tensor, "1"],
    motion_prior: THVQVAE,
    choose: Choose,
) -> Float[Tensor, "frame channel"]:
    """Motion of one clip whose emotion vector follows `path`, a unit vector a frame.

    With a path that stands still it is exactly that of `IndexPredictor.forward`. The time it takes grows with the
    length of the path.
    """
    frames = features.shape[1]
    points, place = path_points(path)
    top, bottom, full = level_frames(frames)
    place = torch.cat([place, place[-1:].expand(full - frames)])
    passes = list(_passes(predictor, features, points, place, speaker))
    lengths = torch.tensor([frames], device=features.device)
    logits = features.new_zeros(1, top, predictor.config.top_codes)
    for number, start, face, own in passes:
        found = predictor.top_logits(face, own)
        logits[:, start : start + found.shape[1]] += _nearness(place, number, STRIDE, start, found) * found
    top_vectors = motion_prior.top_vectors(choose(logits, TOP))
    decoded = motion_prior.decode_top(top_vectors, lengths)
    logits = features.new_zeros(1, bottom, predictor.config.bottom_codes)
    for number, start, face, own in passes:
        there = slice(2 * start, 2 * start + face.shape[1] * 2 // STRIDE)
        found = predictor.bottom_logits(face, decoded[:, there], own)
        logits[:, there] += _nearness(place, number, STRIDE // 2, 2 * start, found) * found
    bottom_vectors = motion_prior.bottom_vectors(choose(logits, BOTTOM))
    return motion_prior.decode_latents(top_vectors, bottom_vectors, lengths)[0, :frames]


def _passes(
    predictor: IndexPredictor, features: Tensor, points: Tensor, place: Tensor, speaker: Tensor
) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """For each point: its number, the first top token of its stretch, face features of that stretch, and its length."""
    for number, point in enumerate(points):
        near = ((place - number).abs() < 1).nonzero()[:, 0]
        if not len(near):  # jumped over from one frame to the next
            continue
        start = max(0, int(near[0]) - CONTEXT_FRAMES) // STRIDE
        stop = min(features.shape[1], STRIDE * math.ceil((int(near[-1]) + 1 + CONTEXT_FRAMES) / STRIDE))
        own = torch.tensor([stop - STRIDE * start], device=features.device)
        face = predictor.face_features(features[:, STRIDE * start : stop], point[None], speaker, own)
        yield number, start, face, own


def _nearness(place: Tensor, number: int, stride: int, start: int, logits: Tensor) -> Tensor:
    """(token, 1) how much a point counts for each token of its stretch; those of two neighbours add up to 1."""
    weight = (1 - (place - number).abs()).clamp(min=0).reshape(-1, stride).mean(dim=1)
    return weight[start : start + logits.shape[1], None].to(logits)
