"""Regions of the ARKit head, from its geometry and from which channels move a vertex."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

LIP_BORDER_RINGS = 6  # edge loops from the contact line to the vermilion border
MOVING_METRES = 1e-3  # skin that no channel moves further than this is scalp, neck or ear
JAW_SHARE = 0.35  # of the furthest that jawOpen moves any skin
UPPER = ("brow", "eye")  # channels that act on the upper face
SHARED = ("cheekSquint", "noseSneer")  # these act on both halves and decide nothing


def edge_graph(vertices: np.ndarray, faces: np.ndarray, unit_length: bool = False) -> csr_matrix:
    """Symmetric graph of the triangle edges, weighted by length in metres (or 1 each)."""
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    weights = np.ones(len(edges)) if unit_length else lengths
    graph = coo_matrix((weights, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2)
    return (graph + graph.T).tocsr()


def split_mouth_lining(vertices: np.ndarray, skin: np.ndarray, upper: int, lower: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the line where the lips meet and what lies behind it.

    Args:
        vertices: (vertex, 3) metres, symmetric in x.
        skin: (face, 3) triangles of the body.
        upper: vertex of the upper inner lip on the midline.
        lower: the same for the lower lip.

    Returns:
        Sorted vertices of the contact line, a closed loop through both mouth corners; and a (vertex,) mask of the
        mouth lining behind it.
    """
    graph = edge_graph(vertices, skin)
    loop: set[int] = set()
    for side in (1.0, -1.0):
        allowed = vertices[:, 0] * side > 1e-6
        allowed[[upper, lower]] = True
        inside = csr_matrix(graph.multiply(allowed[:, None]).multiply(allowed[None, :]))
        _, previous = dijkstra(inside, indices=upper, return_predecessors=True)
        vertex = lower
        while vertex != upper:
            loop.add(int(vertex))
            vertex = previous[vertex]
    loop.add(upper)
    ring = np.array(sorted(loop))
    open_graph = graph.tolil()
    open_graph[ring] = 0
    open_graph[:, ring] = 0
    _, label = connected_components(open_graph.tocsr())
    on_skin = np.zeros(len(vertices), dtype=bool)
    on_skin[skin] = True
    on_skin[ring] = False
    counts = np.bincount(label[on_skin])
    outer = counts.argmax()
    return ring, on_skin & (label != outer)


def find_regions(
    vertices: np.ndarray, skin: np.ndarray, deltas: np.ndarray, channels: Sequence[str], ring: np.ndarray
) -> dict[str, np.ndarray]:
    """Vertex indices of lips, upper_face, jaw and face; all lie on the outer skin.

    Args:
        vertices: (vertex, 3) metres.
        skin: (face, 3) triangles of the outer skin, without the mouth lining.
        deltas: (channel, vertex, 3) metres.
        channels: names of the channels.
        ring: vertices of the line where the lips meet.
    """
    outer = np.unique(skin)
    moved = np.linalg.norm(deltas, axis=2)
    is_upper = np.array([name.startswith(UPPER) for name in channels])
    is_shared = np.array([name.startswith(SHARED) for name in channels])
    upper_pull = moved[is_upper].max(axis=0)
    lower_pull = moved[~is_upper & ~is_shared].max(axis=0)

    steps_from_ring = dijkstra(edge_graph(vertices, skin, unit_length=True), indices=ring, min_only=True)
    lips = outer[steps_from_ring[outer] <= LIP_BORDER_RINGS]
    face = outer[moved.max(axis=0)[outer] > MOVING_METRES]
    upper_face = face[upper_pull[face] > lower_pull[face]]
    jaw_open = moved[list(channels).index("jawOpen")]
    jaw = face[(jaw_open[face] > JAW_SHARE * jaw_open[outer].max()) & ~np.isin(face, lips)]
    return {"lips": lips, "upper_face": upper_face, "jaw": np.setdiff1d(jaw, upper_face), "face": face}
