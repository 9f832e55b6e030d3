"""Naming emotions from embeddings: by the nearest prototype, and what is mistaken for what."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dee.gaussian import GaussianEmbedding
from dee.prototypes import Prototypes

INTENSITIES = (0.25, 0.5, 0.75, 1.0)
"""Where a path of prototypes is looked at."""


@torch.no_grad()
def prototype_distances(
    embedding: GaussianEmbedding, prototypes: Prototypes, intensities: tuple[float, ...] = INTENSITIES
) -> Float[Tensor, "clip emotion"]:
    """Squared distance of each clip's mean to the nearest of some points on each emotion's path.

    Emotions that were not fitted are infinitely far. Raises ValueError where none was fitted.
    """
    if not prototypes.fitted.any():
        raise ValueError("No prototype is fitted; call fit_prototypes with labelled clips first.")
    distances = torch.full((len(embedding), len(prototypes.emotions)), torch.inf, device=embedding.mean.device)
    for emotion in prototypes.fitted.nonzero().flatten().tolist():
        levels = torch.tensor(intensities if emotion else (0.0,), device=embedding.mean.device)
        points = prototypes(torch.full_like(levels, emotion, dtype=torch.long), levels).mean
        distances[:, emotion] = torch.cdist(embedding.mean, points).square().amin(dim=1)
    return distances


def nearest_prototypes(embedding: GaussianEmbedding, prototypes: Prototypes) -> Int[Tensor, "clip"]:
    """Index of the emotion whose path comes nearest to each clip's mean."""
    return prototype_distances(embedding, prototypes).argmin(dim=1)


def confusion_matrix(
    truth: Int[Tensor, "clip"], predicted: Int[Tensor, "clip"], classes: int
) -> Int[Tensor, "truth predicted"]:
    """How many clips of each class (rows) were called each class (columns); unknown truth (-1) takes no part.

    Raises ValueError for a class of `classes` or more, or a negative prediction.
    """
    known = truth >= 0
    truth, predicted = truth[known], predicted[known]
    if len(truth) and (max(int(truth.max()), int(predicted.max())) >= classes or int(predicted.min()) < 0):
        raise ValueError(f"Classes must be 0 to {classes - 1}; found {truth.tolist()} called {predicted.tolist()}.")
    return torch.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def nearest_label(distance: Float[Tensor, "query item"], labels: Int[Tensor, "item"]) -> Int[Tensor, "query"]:
    """Label of the nearest item that has one (not -1). Raises ValueError where none has."""
    known = (labels >= 0).nonzero().flatten()
    if not len(known):
        raise ValueError("No item has a label.")
    return labels[known[distance[:, known].argmin(dim=1)]]
