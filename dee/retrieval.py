"""How well one side finds the other: instance recall, median rank, label accuracy."""

from jaxtyping import Float, Int
from torch import Tensor

from dee.gaussian import GaussianEmbedding
from dee.losses import sampled_distance

RECALL_AT = (1, 5, 10)


def retrieval_ranks(distance: Float[Tensor, "query item"]) -> Int[Tensor, "query"]:
    """Rank (1 = nearest) of item i among all items for query i; ties count against it.

    So an embedding that maps everything to one point gets the worst ranks, not the best.
    """
    own = distance.diagonal()[:, None]
    return (distance <= own).sum(dim=1)


def label_accuracy(distance: Float[Tensor, "query item"], labels: Int[Tensor, "query"]) -> float:
    """Share of queries whose nearest item has the query's label; clips of unknown label (-1) take no part.

    The gallery holds the query's own partner too, as in the paper's evaluation (facts 1.8). NaN with no known label.
    """
    known = labels >= 0
    nearest = distance[known][:, known].argmin(dim=1) if known.any() else labels[known]
    return (labels[known][nearest] == labels[known]).float().mean().item()


def retrieval_metrics(
    speech: GaussianEmbedding, motion: GaussianEmbedding, labels: Int[Tensor, "clip"]
) -> dict[str, float]:
    """Recall at 1, 5 and 10, median rank and label accuracy, both ways.

    Clip i of one side belongs to clip i of the other. Distances are closed-form sampled distances, as in the loss.
    Chance of recall at k is k / (number of clips).
    """
    distance = sampled_distance(speech, motion)
    metrics: dict[str, float] = {}
    for name, matrix in (("speech_to_motion", distance), ("motion_to_speech", distance.T)):
        ranks = retrieval_ranks(matrix)
        for k in RECALL_AT:
            metrics[f"{name}_recall_at_{k}"] = (ranks <= k).float().mean().item()
        metrics[f"{name}_median_rank"] = ranks.float().quantile(0.5).item()
        metrics[f"{name}_label_accuracy"] = label_accuracy(matrix, labels)
    return metrics
