"""How well one side finds the other: instance recall, median rank, label accuracy."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from dee.gaussian import GaussianEmbedding
from dee.losses import sampled_distance

RECALL_AT = (1, 5, 10)


def retrieval_ranks(
    distance: Float[Tensor, "query item"],
    target: Int[Tensor, "query"] | None = None,
    gallery: Bool[Tensor, "query item"] | None = None,
) -> Int[Tensor, "query"]:
    """Rank (1 = nearest) of each query's true item among the items of its gallery; ties count against it.

    So an embedding that maps everything to one point gets the worst ranks, not the best.

    Args:
        distance: of every query to every item.
        target: true item of each query; None where item i is the true one of query i.
        gallery: items that each query is compared with, the true one among them; None is all of them.

    Raises ValueError where a true item is not in its query's gallery.
    """
    own = distance.diagonal()[:, None] if target is None else distance.gather(1, target[:, None])
    nearer = distance <= own
    if gallery is None:
        return nearer.sum(dim=1)
    present = gallery.diagonal() if target is None else gallery.gather(1, target[:, None]).squeeze(1)
    if not present.all():
        raise ValueError(f"The true item of {int((~present).sum())} queries is not in their gallery; add it.")
    return (nearer & gallery).sum(dim=1)


def recall(ranks: Int[Tensor, "query"]) -> dict[str, float]:
    """Share of queries whose true item is among the nearest 1, 5 and 10, and the median rank."""
    shares = {f"recall_at_{k}": (ranks <= k).float().mean().item() for k in RECALL_AT}
    return shares | {"median_rank": ranks.float().quantile(0.5).item()}


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
        metrics |= {f"{name}_{metric}": value for metric, value in recall(retrieval_ranks(matrix)).items()}
        metrics[f"{name}_label_accuracy"] = label_accuracy(matrix, labels)
    return metrics
