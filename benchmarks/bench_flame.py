"""FLAME for 1,000 frames: our rig against smplx's way, frame by frame and batched, in one run.

    python benchmarks/bench_flame.py                            # random arrays of FLAME's shapes
    python benchmarks/bench_flame.py --flame FILE --threads 2

smplx (its licence forbids to depend on it) is used where it can be imported; otherwise `published_skinning` below
stands for it, which is the same formulas in the same steps: one blend for all directions, joints regressed from the
shaped vertices, one 4 x 4 matrix for every vertex.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import median_seconds, milliseconds, print_table
from torch import Tensor

from deeptalk.face.flame import build_flame, rotation_matrices
from deeptalk.face.flame_file import PARENTS, FlameModel, read_flame

VERTICES, FACES, SHAPES, EXPRESSIONS = 5023, 9976, 300, 100


def random_flame(seed: int = 0) -> FlameModel:
    """Random arrays of FLAME's shapes and about its sizes; no face, but the same work."""
    random = np.random.default_rng(seed)
    weights = random.random((VERTICES, 5)) ** 4
    regressor = random.random((5, VERTICES)) ** 8
    return FlameModel(
        template=random.uniform(-0.13, 0.13, (VERTICES, 3)),
        faces=random.integers(0, VERTICES, (FACES, 3)),
        shape_directions=random.normal(0, 1e-3, (VERTICES, 3, SHAPES)),
        expression_directions=random.normal(0, 1e-3, (VERTICES, 3, EXPRESSIONS)),
        pose_directions=random.normal(0, 1e-3, (VERTICES, 3, 36)),
        joint_regressor=regressor / regressor.sum(axis=1, keepdims=True),
        weights=weights / weights.sum(axis=1, keepdims=True),
        masks={},
    )


def published_skinning(betas: Tensor, pose: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """Vertices (frame, vertex, 3) of coefficients (frame, direction) and axis-angle (frame, 15), step by step."""
    frames = len(betas)
    shaped = arrays["template"] + torch.einsum("fd,vcd->fvc", betas, arrays["directions"])
    joints = torch.einsum("jv,fvc->fjc", arrays["regressor"], shaped)
    rotations = rotation_matrices(pose.unflatten(-1, (5, 3)))
    features = (rotations[:, 1:] - torch.eye(3)).flatten(1)
    posed = shaped + (features @ arrays["pose_directions"]).unflatten(-1, (-1, 3))
    local = torch.zeros(frames, 5, 4, 4)
    local[..., :3, :3], local[..., 3, 3] = rotations, 1
    local[:, 0, :3, 3] = joints[:, 0]
    local[:, 1:, :3, 3] = joints[:, 1:] - joints[:, list(PARENTS[1:])]
    chain = [local[:, 0]]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        chain.append(chain[parent] @ local[:, joint])
    placed = torch.stack(chain, dim=1).clone()
    placed[..., :3, 3] -= (placed[..., :3, :3] @ joints.unsqueeze(-1)).squeeze(-1)
    matrices = torch.einsum("vj,fjab->fvab", arrays["weights"], placed)
    homogeneous = torch.cat([posed, torch.ones(frames, posed.shape[1], 1)], dim=-1)
    return (matrices @ homogeneous.unsqueeze(-1))[..., :3, 0]


def smplx_skinning(betas: Tensor, pose: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """The same by the smplx package."""
    from smplx.lbs import lbs

    template = arrays["template"].expand(len(betas), -1, -1)
    order = ("directions", "pose_directions", "regressor", "parents", "weights")
    return lbs(betas, pose, template, *(arrays[name] for name in order))[0]


def peer_arrays(model: FlameModel, expressions: int) -> dict[str, Tensor]:
    """A model's arrays as smplx lays them out, float32."""
    arrays = {
        "template": model.template,
        "directions": model.expression_directions[..., :expressions],
        "pose_directions": model.pose_directions.reshape(-1, 36).T,
        "regressor": model.joint_regressor,
        "weights": model.weights,
    }
    tensors = {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}
    return {**tensors, "parents": torch.tensor(PARENTS)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flame", type=Path, help="your FLAME file; without it, random arrays of its shapes")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    try:
        import smplx  # noqa: F401

        peer, peer_name = smplx_skinning, "smplx"
    except ImportError:
        peer, peer_name = published_skinning, "published formulas (smplx is not installed)"
    model = read_flame(arguments.flame) if arguments.flame else random_flame()
    random = torch.Generator().manual_seed(1)
    rows = []
    for name, expressions in (("flame", 50), ("flame100", 100)):
        rig, arrays = build_flame(model, name), peer_arrays(model, expressions)
        motion = torch.randn(arguments.frames, expressions + 3, generator=random)
        motion[:, -3:] *= 0.1
        pose = torch.zeros(arguments.frames, 15)
        pose[:, 6:9] = motion[:, -3:]
        betas = motion[:, :expressions].contiguous()

        def in_a_loop(betas: Tensor = betas, pose: Tensor = pose, arrays: dict[str, Tensor] = arrays) -> Tensor:
            pairs = zip(betas.split(1), pose.split(1), strict=True)
            return torch.cat([peer(one, turn, arrays) for one, turn in pairs])

        ways: dict[str, Callable[[], Tensor]] = {
            "ours": functools.partial(rig.vertices, motion),
            "batched": functools.partial(peer, betas, pose, arrays),
            "loop": in_a_loop,
        }
        difference = float((ways["ours"]() - ways["batched"]()).abs().max())
        seconds = median_seconds(ways, 4.0)
        rows.append(
            [
                name,
                *(milliseconds(seconds[way]) for way in ways),
                f"{seconds['batched'] / seconds['ours']:.1f}",
                f"{seconds['loop'] / seconds['ours']:.1f}",
                f"{1000 * difference:.0e} mm",
            ]
        )
    header = ["rig", "ours", "peer batched", "peer in a loop", "batched / ours", "loop / ours", "largest difference"]
    source = "the file given" if arguments.flame else "random arrays of FLAME's shapes"
    print_table(f"{arguments.frames} frames of {source}; peer: {peer_name}", header, rows)


if __name__ == "__main__":
    main()
