"""Metrics of the benchmark, as plain functions on vertices or on compact coordinates; everything in millimetres.

A *take* is a generated motion, a *reference* a motion drawn from the truth for the same speech. Distances between whole
motions are d(x, y) = sqrt(mean over frames of the mean over the vertices of the face of |x - y|^2): a Hilbert norm, so
the energy score is strictly proper. They are computed on `compact_vertices` coordinates, whose squared differences sum
to exactly that mean over vertices. Takes and references must have equal frame counts; nothing is cut.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from deeptalk.errors import UserError

MILLIMETRES = 1000.0


def maximum_vertex_error(
    predicted: Float[Tensor, "*batch frame vertex 3"], reference: Float[Tensor, "*other reference_frame vertex 3"]
) -> Float[Tensor, "*any"]:
    """Mean over frames of the largest vertex distance of the frame, mm: (1/T) sum_t max_v |x_tv - y_tv|.

    With lip vertices this is LVE, with eye and forehead vertices EVE, as EmoTalk's text defines them (section 4.2).
    Vertices in metres; leading axes broadcast.
    """
    return MILLIMETRES * _squared_distances(predicted, reference).amax(dim=-1).sqrt().mean(dim=-1)


def maximum_squared_vertex_error(
    predicted: Float[Tensor, "*batch frame vertex 3"], reference: Float[Tensor, "*other reference_frame vertex 3"]
) -> Float[Tensor, "*any"]:
    """Mean over frames of the largest squared vertex distance, mm^2: what CodeTalker's script (in m^2) calls LVE."""
    return MILLIMETRES**2 * _squared_distances(predicted, reference).amax(dim=-1).mean(dim=-1)


def dynamics_deviation(
    predicted: Float[Tensor, "*batch frame vertex 3"],
    reference: Float[Tensor, "*other reference_frame vertex 3"],
    neutral: Float[Tensor, "vertex 3"],
) -> Float[Tensor, "*any"]:
    """FDD of CodeTalker, mm^2, signed: mean over vertices of std_t(|y - neutral|^2) - std_t(|x - neutral|^2).

    Positive where the prediction x moves less than the reference y. Population standard deviation over time; use the
    vertices of the upper face.
    """
    _check_frames(predicted.shape[-3], reference.shape[-3])
    moved_reference = (reference - neutral).square().sum(dim=-1).std(dim=-2, correction=0)
    moved_predicted = (predicted - neutral).square().sum(dim=-1).std(dim=-2, correction=0)
    return MILLIMETRES**2 * (moved_reference - moved_predicted).mean(dim=-1)


def motion_distances(
    first: Float[Tensor, "first frame coordinate"], second: Float[Tensor, "second second_frame coordinate"]
) -> Float[Tensor, "first second"]:
    """d of every pair, mm (see the module). Equal motions are at exactly zero."""
    _check_frames(first.shape[1], second.shape[1])
    # Float64 and no matrix-product shortcut: the difference of near motions must not drown in rounding.
    flat_first, flat_second = first.double().flatten(1), second.double().flatten(1)
    distances = torch.cdist(flat_first, flat_second, compute_mode="donot_use_mm_for_euclid_dist")
    return MILLIMETRES * distances / first.shape[1] ** 0.5


def diversity(takes: Float[Tensor, "take frame coordinate"]) -> float:
    """Mean of d over the pairs of different takes, mm. Exactly 0 for a deterministic system.

    Raises UserError for fewer than two takes.
    """
    return _mean_of_pairs(motion_distances(takes, takes), "Diversity")


def mean_estimate_error(
    takes: Float[Tensor, "take frame coordinate"], references: Float[Tensor, "reference reference_frame coordinate"]
) -> float:
    """d(mean of the takes, mean of the references), mm: how well the average performance is known."""
    return float(motion_distances(takes.double().mean(0)[None], references.double().mean(0)[None]))


def coverage_error(
    takes: Float[Tensor, "take frame coordinate"], references: Float[Tensor, "reference reference_frame coordinate"]
) -> float:
    """Mean over references of d to the nearest take, mm. Falls with the number of takes: compare equal numbers."""
    return float(motion_distances(takes, references).amin(dim=0).mean())


def energy_score(
    takes: Float[Tensor, "take frame coordinate"], references: Float[Tensor, "reference reference_frame coordinate"]
) -> float:
    """Fair energy score, mm, lower is better: E d(x, y) - 1/2 E d(x, x').

    x, x' are different takes, y a reference; averaged over the references. The second mean runs over pairs of different
    takes only, which makes the estimate unbiased for any number of takes (Gneiting and Raftery 2007, section 4.3; the
    fair version of Ferro 2014). Its expectation is least, 1/2 E d(y, y'), when takes have the distribution of the
    references.

    Raises UserError for fewer than two takes.
    """
    accuracy = float(motion_distances(takes, references).mean())
    return accuracy - 0.5 * _mean_of_pairs(motion_distances(takes, takes), "The energy score")


def _mean_of_pairs(distances: Tensor, name: str) -> float:
    takes = len(distances)
    if takes < 2:
        raise UserError(f"{name} needs at least 2 takes, got {takes}.")
    return float(distances.sum() / (takes * (takes - 1)))


def _squared_distances(predicted: Tensor, reference: Tensor) -> Tensor:
    _check_frames(predicted.shape[-3], reference.shape[-3])
    x, y, z = (predicted - reference).unbind(dim=-1)  # three times as fast as a sum over the last axis
    return x * x + y * y + z * z


def _check_frames(predicted: int, reference: int) -> None:
    if predicted != reference:
        raise UserError(
            f"A take has {predicted} frames and its reference {reference}; metrics need equal frame counts, "
            "so generate at the reference's frame rate and length."
        )
