"""Where the mouth of a mesh is: its inner rim, and the pairs of inner-lip vertices whose gap is measured."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from deeptalk.errors import UserError

PAIR_PLACES = {"centre": 0.0, "left_5mm": 0.005, "left_10mm": 0.010, "right_5mm": -0.005, "right_10mm": -0.010}
"""Pairs by name and distance from the middle in metres, positive to the character's left."""
_BESIDE_METRES = 2.5e-3
_WIDEST_SHARE = 0.5  # of the mesh's width: wider rims are where the mesh ends, at the neck
_LEAST_SPREAD = 0.2  # of jaw weights along the rim: one lip goes with the jaw, the other stays


@dataclass(frozen=True, eq=False)
class MouthRim:
    """The open edge inside the mouth of a mesh without a mouth cavity."""

    upper: np.ndarray
    """Vertices of the upper lip's half, in the order of x, corners included."""
    lower: np.ndarray
    """Those of the lower lip's."""


def edge_lengths(vertices: np.ndarray, faces: np.ndarray) -> csr_matrix:
    """Symmetric graph of a triangle mesh's edges with their lengths."""
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    one_way = coo_matrix((np.maximum(length, 1e-12), edges.T), shape=(len(vertices), len(vertices)))
    return (one_way + one_way.T).tocsr()


def distance_along(vertices: np.ndarray, faces: np.ndarray, start: np.ndarray, limit: float) -> np.ndarray:
    """Distance (vertex,) along the mesh's edges to the nearest start vertex; infinite beyond the limit."""
    return dijkstra(edge_lengths(vertices, faces), indices=start, min_only=True, limit=limit)


def find_mouth_rim(vertices: np.ndarray, faces: np.ndarray, jaw_weight: np.ndarray) -> MouthRim | None:
    """The open edge of a mesh along which the jaw's skinning weight changes most, or None where there is none.

    Args:
        vertices: (vertex, 3) metres.
        faces: (face, 3) triangles of the skin.
        jaw_weight: (vertex,) 0..1.
    """
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    open_edges = edges[count == 1]
    if not len(open_edges):
        return None
    graph = coo_matrix((np.ones(len(open_edges)), open_edges.T), shape=(len(vertices), len(vertices))).tocsr()
    _, label = connected_components(graph, directed=False)
    rims = [np.flatnonzero(label == index) for index in np.unique(label[open_edges])]
    rims = [rim for rim in rims if np.ptp(vertices[rim, 0]) < _WIDEST_SHARE * np.ptp(vertices[faces, 0])]
    if not rims:
        return None
    rim = max(rims, key=lambda members: np.ptp(jaw_weight[members]))
    corners = rim[[vertices[rim, 0].argmin(), vertices[rim, 0].argmax()]]
    inner = np.setdiff1d(rim, corners)
    if np.ptp(jaw_weight[rim]) < _LEAST_SPREAD or len(inner) < 4:
        return None
    pieces, label = connected_components((graph + graph.T)[inner][:, inner], directed=False)
    if pieces != 2:
        return None
    halves = sorted((inner[label == piece] for piece in (0, 1)), key=lambda half: jaw_weight[half].mean())
    upper, lower = (np.union1d(half, corners) for half in halves)
    return MouthRim(upper[np.argsort(vertices[upper, 0])], lower[np.argsort(vertices[lower, 0])])


def central_pairs(vertices: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Vertices (pair, 2) of upper and lower lip, facing each other at the places of `PAIR_PLACES`.

    Of the candidates near a place the lowest of the upper lip and the highest of the lower lip are taken. Raises
    UserError where a lip has no candidate.
    """
    if not len(upper) or not len(lower):
        raise UserError("No lips were found on the mesh: nothing stays, or nothing drops, when the jaw opens.")
    pairs = []
    for place in PAIR_PLACES.values():
        pair = []
        for lip, downward in ((upper, 1.0), (lower, -1.0)):
            beside = np.abs(vertices[lip, 0] - place)
            near = lip[beside <= max(float(beside.min()) + 1e-6, _BESIDE_METRES)]
            pair.append(near[np.lexsort((np.abs(vertices[near, 0] - place), downward * vertices[near, 1]))[0]])
        pairs.append(pair)
    return np.array(pairs, dtype=np.int64)
