"""Regions of the ARKit head, from its geometry and from which channels move a vertex."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags_array
from scipy.sparse.csgraph import connected_components, dijkstra

LIP_LOOPS = 7  # edge loops from the contact line to the vermilion border
MOVING_METRES = 1e-3  # skin that no channel moves further than this is scalp, neck or ear
JAW_SHARE = 0.4  # of the furthest that jawOpen moves any skin
UPPER = ("brow", "eye")  # channels that act on the upper face
SHARED = ("cheekSquint", "noseSneer")  # these act on both halves and decide nothing


def edge_graph(quads: np.ndarray, vertex_count: int) -> csr_matrix:
    """Symmetric graph of the quads' edges, 1 each; the diagonals of later triangles are no steps."""
    edges = np.concatenate([quads[:, [corner, (corner + 1) % 4]] for corner in range(4)])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(vertex_count, vertex_count)).tocsr()
    return ((graph + graph.T) > 0).astype(float)


def edge_loop(quads: np.ndarray, first: int, second: int) -> np.ndarray:
    """Follow an edge straight on through vertices of four edges, until the loop closes; sorted vertices.

    Raises ValueError where the mesh does not go straight on, so that there is no loop.
    """
    loop = [first, second]
    while loop[-1] != first:
        here, before = loop[-1], loop[-2]
        around = quads[(quads == here).any(axis=1)]
        beside = around[(around == before).any(axis=1)]
        steps = edge_graph(around, int(quads.max()) + 1)[here].indices
        ahead = np.setdiff1d(steps, beside)
        if len(around) != 4 or len(ahead) != 1:
            raise ValueError(
                f"The edge loop from {first} over {second} ends at vertex {here} with {len(around)} quads."
            )
        loop.append(int(ahead[0]))
    return np.array(sorted(set(loop)))


def behind_loop(quads: np.ndarray, loop: np.ndarray, vertex_count: int) -> np.ndarray:
    """Mask (vertex,) of the smaller of the two pieces into which a loop of vertices cuts a surface."""
    on_surface = np.zeros(vertex_count, dtype=bool)
    on_surface[quads] = True
    on_surface[loop] = False
    outside_loop = diags_array(on_surface.astype(float))
    _, label = connected_components(outside_loop @ edge_graph(quads, vertex_count) @ outside_loop)
    labels, sizes = np.unique(label[on_surface], return_counts=True)
    return on_surface & (label != labels[sizes.argmax()])


def fill_holes(chosen: np.ndarray, within: np.ndarray, graph: csr_matrix) -> np.ndarray:
    """Add to the vertices `chosen` all pieces of the rest of `within` but the largest; sorted vertices."""
    rest = np.setdiff1d(within, chosen)
    _, label = connected_components(graph[rest][:, rest])
    return np.union1d(chosen, rest[label != np.bincount(label).argmax()])


def find_regions(
    neutral: np.ndarray,
    skin: np.ndarray,
    deltas: np.ndarray,
    channels: Sequence[str],
    lip_contact: np.ndarray,
    jaw_line: tuple[int, int],
) -> dict[str, np.ndarray]:
    """Vertex indices of lips, upper_face, jaw and face.

    All lie on the outer skin and in `face`; lips, upper_face and jaw share no vertex. A vertex belongs to the upper
    face where a brow or eye channel moves it further than any channel of the mouth, jaw or cheek does.

    Args:
        neutral: (vertex, 3) metres.
        skin: (quad, 4) quads of the outer skin, without the linings of mouth and eye sockets.
        deltas: (channel, vertex, 3) metres.
        channels: names of the channels.
        lip_contact: vertices of the loop along which the lips meet.
        jaw_line: a vertex at the throat below the chin and one at the ear lobe; the neck lies below their line.
    """
    outer = np.unique(skin)
    graph = edge_graph(skin, len(neutral))
    moved = np.linalg.norm(deltas, axis=2)
    is_upper = np.array([name.startswith(UPPER) for name in channels])
    is_shared = np.array([name.startswith(SHARED) for name in channels])
    upper_pull = moved[is_upper].max(axis=0)
    lower_pull = moved[~is_upper & ~is_shared].max(axis=0)
    jaw_pull = moved[list(channels).index("jawOpen")]

    (_, throat_y, throat_z), (_, lobe_y, lobe_z) = neutral[list(jaw_line)]
    neck_top = lobe_y + (neutral[:, 2] - lobe_z) * (throat_y - lobe_y) / (throat_z - lobe_z)
    moving = (moved.max(axis=0) > MOVING_METRES) & (neutral[:, 1] >= neck_top)
    face = fill_holes(outer[moving[outer]], outer, graph)
    loops_from_contact = dijkstra(graph, indices=lip_contact, min_only=True)
    lips = outer[loops_from_contact[outer] <= LIP_LOOPS]
    upper_face = fill_holes(face[upper_pull[face] > lower_pull[face]], face, graph)
    jaw = face[jaw_pull[face] > JAW_SHARE * jaw_pull[outer].max()]
    return {"lips": lips, "upper_face": upper_face, "jaw": np.setdiff1d(jaw, lips), "face": face}
