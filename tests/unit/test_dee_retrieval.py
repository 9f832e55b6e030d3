import math

import pytest
import torch

from dee import GaussianEmbedding
from dee.retrieval import label_accuracy, retrieval_metrics, retrieval_ranks


def slow_metrics(distance, labels):
    ranks, hits = [], []
    for query, row in enumerate(distance.tolist()):
        ranks.append(1 + sum(d <= row[query] for item, d in enumerate(row) if item != query))
        if labels[query] >= 0:
            known = [item for item in range(len(row)) if labels[item] >= 0]
            hits.append(labels[min(known, key=lambda item: row[item])] == labels[query])
    return ranks, sum(hits) / len(hits)


def test_against_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    distance = torch.rand(40, 40, generator=generator)
    distance[:, 3] = distance[:, 4]  # ties
    labels = torch.randint(-1, 4, (40,), generator=generator)
    ranks, accuracy = slow_metrics(distance, labels.tolist())
    assert retrieval_ranks(distance).tolist() == ranks
    assert label_accuracy(distance, labels) == pytest.approx(accuracy)


def test_both_directions_and_recall():
    means = torch.eye(12, 16)
    swapped = means.clone()
    swapped[[0, 1]] = means[[1, 0]]  # two clips whose motion looks like the other's
    certain = torch.full_like(means, -30.0)
    speech, motion = GaussianEmbedding(means, certain), GaussianEmbedding(swapped, certain)
    metrics = retrieval_metrics(speech, motion, torch.arange(12))
    for direction in ("speech_to_motion", "motion_to_speech"):
        assert metrics[f"{direction}_recall_at_1"] == pytest.approx(10 / 12)
        assert metrics[f"{direction}_recall_at_10"] == pytest.approx(10 / 12)  # the swapped ones tie with all others
        assert metrics[f"{direction}_median_rank"] == 1
        assert metrics[f"{direction}_label_accuracy"] == pytest.approx(10 / 12)


def test_one_point_for_everything_is_the_worst_embedding():
    same = GaussianEmbedding(torch.eye(1, 8).expand(20, -1), torch.zeros(20, 8))
    metrics = retrieval_metrics(same, same, torch.arange(20))
    assert metrics["speech_to_motion_recall_at_10"] == 0
    assert metrics["speech_to_motion_median_rank"] == 20


def test_no_known_label():
    assert math.isnan(label_accuracy(torch.rand(3, 3), torch.full((3,), -1)))
