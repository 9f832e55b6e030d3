"""What `scripts/build_head.py` mends in its source: shapes that are no mirror images, and lips that do not meet."""

from collections.abc import Sequence

import numpy as np
from head_regions import edge_graph
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from deeptalk.face.channels import mirrored_channel

OVERLAP_METRES = 1e-4  # where lips only just touch, an edge of the coarser one lets a line of teeth show
CORNER_METRES = 3e-3  # the overlap fades out over this width at the corners of the mouth
REACH_METRES = 6e-3  # skin this far from the meeting lips stays where it is
ROUNDS = 50


def mirror_steps(steps: np.ndarray, twin: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Offsets (channel, vertex, 3) in whole steps, each the mean of itself and its twin channel's mirror image.

    A channel is then the exact mirror image of its twin, and one of the middle of itself.
    """
    others = [list(channels).index(mirrored_channel(name)) for name in channels]
    mirrored = steps[others][:, twin].astype(np.int64) * [-1, 1, 1]
    return np.rint((steps + mirrored) / 2).astype(steps.dtype)


def close_lips(neutral: np.ndarray, skin: np.ndarray, contact: np.ndarray, upper_middle: int) -> np.ndarray:
    """Heights (vertex,) in metres to add to the neutral, so that the lips meet as seen from the front.

    The gap is measured between the upper and the lower half of the contact loop; each half moves towards the other
    until they overlap a little, and the skin around follows, less and less up to `REACH_METRES` along the surface.

    Args:
        neutral: (vertex, 3) metres.
        skin: (quad, 4) quads of the skin with its linings.
        contact: vertices of the loop along which the lips meet.
        upper_middle: the vertex of the loop in the middle of the upper lip.
    """
    graph = edge_graph(skin, len(neutral))
    corners = contact[[neutral[contact, 0].argmin(), neutral[contact, 0].argmax()]]
    upper, lower = _halves(graph, contact, corners, upper_middle, neutral[:, 0])
    overlap = OVERLAP_METRES * np.clip((neutral[corners, 0].max() - np.abs(neutral[:, 0])) / CORNER_METRES, 0, 1)
    height = neutral[:, 1].copy()
    for _ in range(ROUNDS):  # a vertex faces an edge of the other half, which moves when its ends do
        for half, facing, sign in ((upper, lower, 1.0), (lower, upper, -1.0)):
            gap = sign * (height[half] - np.interp(neutral[half, 0], neutral[facing, 0], height[facing]))
            height[half] -= sign * np.maximum(gap + overlap[half], 0) / 2
    height[corners] = neutral[corners, 1]

    graph.data = np.linalg.norm(neutral[graph.tocoo().row] - neutral[graph.indices], axis=1)
    away = dijkstra(graph, indices=contact, limit=REACH_METRES)
    share = 1 / np.maximum(away, 1e-9) ** 2
    moved = (share * (height - neutral[:, 1])[contact, None]).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-9)
    nearness = np.clip(1 - away.min(axis=0) / REACH_METRES, 0, 1)
    return moved * nearness**2 * (3 - 2 * nearness)


def _halves(
    graph: csr_matrix, contact: np.ndarray, corners: np.ndarray, upper_middle: int, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower half of the loop in the order of x, both with the corners."""
    inner = np.setdiff1d(contact, corners)
    _, label = connected_components(graph[inner][:, inner])
    is_upper = label == label[np.searchsorted(inner, upper_middle)]
    halves = (np.union1d(inner[chosen], corners) for chosen in (is_upper, ~is_upper))
    upper, lower = (half[np.argsort(x[half])] for half in halves)
    return upper, lower
