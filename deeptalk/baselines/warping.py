"""Dynamic time warping between two feature sequences."""

import numpy as np
from jaxtyping import Float, Int


def warp_path(
    query: Float[np.ndarray, "query_frame feature"], reference: Float[np.ndarray, "reference_frame feature"]
) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"]]:
    """Frames (of the query, of the reference) along the cheapest path from both starts to both ends.

    A step moves one frame on in either or in both; the cost of a path is the sum of the Euclidean distances of its
    pairs. Each row of the cost table is one vectorised pass: a path that enters row i at column k and walks right to j
    costs enter[k] + sum(local[k..j]), which is a running minimum of enter[k] minus the prefix sums of the row.
    """
    local = _distances(query, reference)
    rows, columns = local.shape
    total = np.empty_like(local)
    total[0] = np.cumsum(local[0])
    for i in range(1, rows):
        above = total[i - 1]
        enter = np.minimum(above, np.concatenate([[np.inf], above[:-1]]))
        prefix = np.cumsum(local[i])
        total[i] = prefix + np.minimum.accumulate(enter - (prefix - local[i]))
    path = [(rows - 1, columns - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        path.append(min((p for p in before if min(p) >= 0), key=lambda p: total[p]))
    steps = np.array(path[::-1])
    return steps[:, 0], steps[:, 1]


def warp(
    sequence: Float[np.ndarray, "reference_frame channel"],
    query_steps: Int[np.ndarray, " step"],
    reference_steps: Int[np.ndarray, " step"],
) -> Float[np.ndarray, "query_frame channel"]:
    """`sequence` on the query's timeline: each query frame is the mean of the reference frames on its path."""
    frames = int(query_steps[-1]) + 1
    sums = np.zeros((frames, sequence.shape[1]))
    np.add.at(sums, query_steps, sequence[reference_steps])
    counts = np.bincount(query_steps, minlength=frames)
    return (sums / counts[:, None]).astype(sequence.dtype)


def _distances(
    query: Float[np.ndarray, "query_frame feature"], reference: Float[np.ndarray, "reference_frame feature"]
) -> Float[np.ndarray, "query_frame reference_frame"]:
    q, r = query.astype(np.float64), reference.astype(np.float64)
    squared = (q**2).sum(1)[:, None] + (r**2).sum(1)[None] - 2 * q @ r.T
    return np.sqrt(np.maximum(squared, 0.0))
