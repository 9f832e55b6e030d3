import pytest
import torch
from torch.nn.functional import normalize

from dee import GaussianEmbedding
from dee.evaluation import confusion_matrix, nearest_label, nearest_prototypes, prototype_distances
from dee.prototypes import Prototypes
from dee.retrieval import recall, retrieval_ranks

NAMES = ["neutral", "happy", "sad"]


def fitted(clips=60, noise=0.05):
    """Prototypes of three emotions in three directions, and the clips they were fitted on."""
    generator = torch.Generator().manual_seed(0)
    emotion = torch.arange(clips) % 3
    intensity = torch.where(emotion == 0, 0.0, 0.3 + 0.7 * torch.rand(clips, generator=generator))
    mean = torch.eye(3, 8)[emotion] * intensity.clamp(min=0.2)[:, None] + torch.eye(3, 8)[0] * 0.3
    mean = normalize(mean + noise * torch.randn(clips, 8, generator=generator), dim=-1)
    embedding = GaussianEmbedding(mean, torch.full_like(mean, -4.0))
    prototypes = Prototypes(NAMES, 8)
    prototypes.fit(embedding, emotion, intensity)
    return prototypes, embedding, emotion


def test_the_nearest_prototype_is_the_own_one():
    prototypes, embedding, emotion = fitted()
    assert torch.equal(nearest_prototypes(embedding, prototypes), emotion)


def test_emotions_that_were_not_fitted_are_infinitely_far():
    prototypes, embedding, emotion = fitted()
    prototypes.fitted[1] = False
    distances = prototype_distances(embedding, prototypes)
    assert torch.isinf(distances[:, 1]).all()
    assert torch.isfinite(distances[:, [0, 2]]).all()
    prototypes.fitted.zero_()
    with pytest.raises(ValueError, match="No prototype is fitted"):
        prototype_distances(embedding, prototypes)


def test_confusion_matrix_counts_rows_of_truth():
    truth = torch.tensor([0, 0, 1, 2, -1])
    predicted = torch.tensor([0, 2, 1, 1, 0])
    assert confusion_matrix(truth, predicted, 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="Classes must be 0 to 1"):
        confusion_matrix(truth, predicted, 2)


def test_nearest_label_skips_items_without_one():
    distance = torch.tensor([[0.1, 0.2, 0.3], [0.3, 0.9, 0.1]])
    assert nearest_label(distance, torch.tensor([-1, 4, 5])).tolist() == [4, 5]
    with pytest.raises(ValueError, match="No item has a label"):
        nearest_label(distance, torch.tensor([-1, -1, -1]))


def test_ranks_within_a_gallery_against_a_loop():
    generator = torch.Generator().manual_seed(1)
    distance = torch.rand(30, 12, generator=generator)
    distance[:, 5] = distance[:, 6]  # ties
    target = torch.randint(0, 12, (30,), generator=generator)
    gallery = torch.rand(30, 12, generator=generator) < 0.5
    gallery[torch.arange(30), target] = True
    ranks = retrieval_ranks(distance, target, gallery)
    for query in range(30):
        own = distance[query, target[query]]
        items = [item for item in range(12) if gallery[query, item]]
        assert ranks[query] == sum(distance[query, item] <= own for item in items)
    whole = retrieval_ranks(distance, target)
    assert (whole >= ranks).all()
    assert torch.equal(retrieval_ranks(distance[:12]), retrieval_ranks(distance[:12], torch.arange(12)))


def test_a_gallery_must_hold_the_true_item():
    gallery = torch.ones(3, 3, dtype=torch.bool)
    gallery[1, 1] = False
    with pytest.raises(ValueError, match="true item of 1 queries"):
        retrieval_ranks(torch.rand(3, 3), gallery=gallery)


def test_recall_of_known_ranks():
    metrics = recall(torch.tensor([1, 1, 4, 20]))
    assert metrics == {"recall_at_1": 0.5, "recall_at_5": 0.75, "recall_at_10": 0.75, "median_rank": 2.5}
