"""A vertex loss on compact vertices against the same loss on the vertices themselves, forward and backward."""

import torch
from timing import median_seconds, milliseconds, print_table

from deeptalk.face import compact_vertices, load_rig

REGION_WEIGHTS = {"face": 1.0, "lips": 4.0, "upper_face": 1.0}
"""Those of the training stages."""


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    rig = load_rig("arkit")
    compact = compact_vertices(rig, REGION_WEIGHTS)
    weight = torch.zeros(len(rig.neutral))
    for name, value in REGION_WEIGHTS.items():
        weight[torch.from_numpy(rig.regions[name].copy())] += value
    weighted = weight.nonzero()[:, 0]
    share = weight[weighted] / weight.sum()
    deltas = torch.from_numpy(rig.deltas.copy())[:, weighted].flatten(1)

    def all_vertices(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        first, second = ((motion @ deltas).unflatten(-1, (-1, 3)) for motion in (predicted, truth))
        return ((first - second).square().sum(-1) * share).sum(-1).mean()

    def compact_coordinates(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return (compact(predicted) - compact(truth)).square().sum(-1).mean()

    rows = []
    for batch, frames in ((1, 50), (16, 32), (16, 150)):
        predicted = torch.rand(batch, frames, 52, requires_grad=True)
        truth = torch.rand(batch, frames, 52)
        losses = {"all": all_vertices, "compact": compact_coordinates}
        values: dict[str, float] = {}
        gradients: dict[str, torch.Tensor] = {}
        for name, loss in losses.items():
            loss_value = loss(predicted, truth)
            gradients[name] = torch.autograd.grad(loss_value, predicted)[0]
            values[name] = loss_value.item()
        steps = {
            name: lambda loss=loss: torch.autograd.grad(loss(predicted, truth), predicted)  # noqa: B023
            for name, loss in losses.items()
        }
        seconds = median_seconds(steps, 1.5)
        difference = (gradients["all"] - gradients["compact"]).norm() / gradients["all"].norm()
        rows.append(
            [
                f"{batch} x {frames}",
                milliseconds(seconds["all"]),
                milliseconds(seconds["compact"]),
                f"{seconds['all'] / seconds['compact']:.0f}",
                f"{abs(values['all'] / values['compact'] - 1):.0e}",
                f"{float(difference):.0e}",
            ]
        )
    header = ["batch x frames", f"{len(weighted)} vertices", "compact", "ratio", "loss differs", "gradient differs"]
    print_table("Weighted vertex loss, forward and backward", header, rows)


if __name__ == "__main__":
    main()
