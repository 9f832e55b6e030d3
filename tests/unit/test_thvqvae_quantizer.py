"""The quantiser: moving averages against a reference library, placement, revival, masks, gradients."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from vector_quantize_pytorch import VectorQuantize

from thvqvae.quantizer import PADDING, EMAQuantizer, k_means, nearest_code, perplexity, usage


def placed(codes: int = 8, size: int = 4, **options) -> EMAQuantizer:
    """A quantiser whose codebook counts as placed: random codes of unit scale with unequal counts."""
    torch.manual_seed(0)
    quantizer = EMAQuantizer(codes, size, **options)
    quantizer.codebook.normal_()
    quantizer.ema_count.uniform_(1, 5)
    quantizer.ema_sum.copy_(quantizer.codebook * quantizer.ema_count[:, None])
    quantizer.updates.fill_(1)
    return quantizer


def state(quantizer: EMAQuantizer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def test_moving_averages_equal_vector_quantize_pytorch():
    ours = placed(16, 6, decay=0.9, epsilon=1e-5, dead_code_share=0.0).train()
    theirs = VectorQuantize(dim=6, codebook_size=16, decay=0.9, eps=1e-5, threshold_ema_dead_code=0).train()
    book = theirs._codebook
    book.embed.data.copy_(ours.codebook[None])
    book.cluster_size.data.copy_(ours.ema_count[None])
    book.embed_avg.data.copy_(ours.ema_sum[None])
    for _ in range(4):
        latents = torch.randn(3, 20, 6)
        result = ours(latents)
        vectors, indices, loss = theirs(latents)
        assert torch.equal(result.indices, indices)
        torch.testing.assert_close(result.vectors, vectors)
        torch.testing.assert_close(result.commitment_loss, loss.sum())
        torch.testing.assert_close(ours.ema_count, book.cluster_size[0])
        torch.testing.assert_close(ours.ema_sum, book.embed_avg[0])
        torch.testing.assert_close(ours.codebook, book.embed[0], rtol=1e-4, atol=1e-5)


def test_a_code_that_is_never_chosen_stays_where_it_is():
    """The released code lets such codes fly off to a norm of thousands, then fall to the origin."""
    quantizer = placed(dead_code_share=0.0).train()
    quantizer.codebook[3] = 100.0
    quantizer.ema_sum[3] = 100.0 * quantizer.ema_count[3]
    for _ in range(20):
        assert (quantizer(torch.randn(4, 50, 4)).indices != 3).all()
    torch.testing.assert_close(quantizer.codebook[3], torch.full((4,), 100.0), rtol=1e-3, atol=0.0)


def test_straight_through_gradient_is_exactly_one():
    quantizer = placed().train()
    latents = torch.randn(2, 5, 4, requires_grad=True)
    result = quantizer(latents)
    result.vectors.sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))


def test_vectors_are_the_codes_to_the_last_bit():
    quantizer = placed().eval()
    result = quantizer(torch.randn(2, 5, 4))
    assert torch.equal(result.vectors, quantizer.vectors(result.indices))
    assert torch.equal(result.vectors, quantizer.codebook[result.indices])


def test_one_hots_give_the_codes_and_carry_a_gradient():
    quantizer = placed()
    indices = torch.tensor([[1, 7, 0]])
    one_hots = torch.nn.functional.one_hot(indices, 8).float().requires_grad_()
    vectors = quantizer.vectors(one_hots)
    torch.testing.assert_close(vectors, quantizer.vectors(indices))
    vectors[0, 1].sum().backward()
    torch.testing.assert_close(one_hots.grad[0, 1], quantizer.codebook.sum(dim=1))


def test_commitment_loss_by_hand():
    quantizer = placed(2, 2).eval()
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0]]))
    latents = torch.tensor([[[1.0, 1.0], [10.0, 2.0], [500.0, 500.0]]], requires_grad=True)
    result = quantizer(latents, torch.tensor([[True, True, False]]))
    assert result.indices.tolist() == [[0, 1, PADDING]]
    assert result.commitment_loss.item() == pytest.approx(((1 + 1) / 2 + 4 / 2) / 2)
    result.commitment_loss.backward()
    assert latents.grad.tolist() == [[[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]]


def test_padding_counts_nowhere():
    latents = torch.randn(2, 6, 4)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    padded, alone = placed(dead_code_share=0.5).train(), placed(dead_code_share=0.5).train()
    garbage = latents.masked_fill(~mask[..., None], 1e4)
    revived = 0
    for _ in range(40):
        with_padding = padded(garbage, mask)
        without = alone(latents[mask][None])
        revived += int(with_padding.revived)
    assert revived > 0  # the draws of revival are covered too
    torch.testing.assert_close(with_padding.commitment_loss, without.commitment_loss)
    assert torch.equal(with_padding.indices[mask], without.indices[0])
    assert (with_padding.vectors[~mask] == 0).all()
    assert with_padding.counts.sum() == 8
    assert padded.codebook.abs().max() < 100
    for name in ("ema_count", "ema_sum", "codebook"):
        torch.testing.assert_close(state(padded)[name], state(alone)[name])


def test_first_batch_places_the_codes():
    """Four clusters far from the random initial codes: every code finds one, none is left behind."""
    centres = 50 + 20 * torch.eye(4)
    latents = (centres[torch.arange(200) % 4] + 0.1 * torch.randn(200, 4)).view(4, 50, 4)
    quantizer = EMAQuantizer(8, 4).train()
    quantizer(latents)
    assert quantizer.updates == 1
    assert torch.cdist(quantizer.codebook, centres).min(dim=1).values.max() < 1
    torch.testing.assert_close(quantizer.ema_sum / quantizer.ema_count[:, None], quantizer.codebook, rtol=1e-3, atol=0)


def test_fewer_latents_than_codes():
    quantizer = EMAQuantizer(32, 4).train()
    latents = torch.randn(1, 3, 4)
    result = quantizer(latents)
    assert torch.isfinite(quantizer.codebook).all()
    assert result.commitment_loss < 0.05
    assert len(torch.unique(quantizer.codebook, dim=0)) == 32


def test_evaluation_changes_nothing():
    quantizer = EMAQuantizer(8, 4).eval()
    before = state(quantizer)
    quantizer(torch.randn(2, 9, 4))
    assert all(torch.equal(before[name], value) for name, value in state(quantizer).items())


def test_dead_codes_come_back():
    """A codebook far off, one code near: without revival one code does all the work, with it nearly all are used."""

    def train(share: float) -> tuple[float, int]:
        quantizer = placed(64, 4, dead_code_share=share).train()
        quantizer.codebook[1:] += 1000
        quantizer.ema_sum.copy_(quantizer.codebook * quantizer.ema_count[:, None])
        generator = torch.Generator().manual_seed(1)
        revived = 0
        for _ in range(150):
            result = quantizer(torch.randn(8, 64, 4, generator=generator))
            revived += int(result.revived)
        return float(usage(result.counts)), revived

    assert train(0.0) == (1 / 64, 0)
    share_used, revived = train(0.1)
    assert share_used > 0.9
    assert revived >= 63


def test_without_revival_an_unused_code_stays_then_shrinks_to_zero():
    quantizer = placed(2, 2, dead_code_share=0.0).train()
    far = torch.tensor([[0.1, 0.1], [10.0, 20.0]])
    quantizer.codebook.copy_(far)
    quantizer.ema_sum.copy_(far * quantizer.ema_count[:, None])
    latents = torch.full((1, 32, 2), 0.1)
    for _ in range(50):
        quantizer(latents)
    torch.testing.assert_close(quantizer.codebook[1], far[1], rtol=1e-2, atol=0.0)
    for _ in range(950):
        quantizer(latents)
    assert quantizer.codebook[1].norm() < 1e-6


def test_same_seed_same_codebook_and_resume_from_state():
    def train(quantizer: EMAQuantizer, first: int, last: int) -> EMAQuantizer:
        for step in range(first, last):
            quantizer(2 * torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(step)))
        return quantizer

    straight = train(EMAQuantizer(32, 4, dead_code_share=0.5, seed=3).train(), 0, 40)
    half = train(EMAQuantizer(32, 4, dead_code_share=0.5, seed=3).train(), 0, 20)
    resumed = EMAQuantizer(32, 4, dead_code_share=0.5, seed=3).train()
    resumed.load_state_dict(state(half))
    torch.manual_seed(99)  # the global generator must not matter
    train(resumed, 20, 40)
    assert all(torch.equal(state(straight)[name], value) for name, value in state(resumed).items())
    other = train(EMAQuantizer(32, 4, dead_code_share=0.5, seed=4).train(), 0, 40)
    assert not torch.equal(other.codebook, straight.codebook)


def test_float32_under_mixed_precision():
    quantizer = placed().train()
    latents = torch.randn(2, 9, 4)
    expected = placed().train()(latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = quantizer(latents)
    assert result.vectors.dtype == torch.float32
    assert torch.equal(result.indices, expected.indices)


def test_k_means_lowers_the_distance():
    points = torch.randn(300, 3)
    few = k_means(points, 10, torch.Generator().manual_seed(0), iterations=0)[0]
    centres, counts = k_means(points, 10, torch.Generator().manual_seed(0))

    def error(codebook: torch.Tensor) -> float:
        return float((points - codebook[nearest_code(points, codebook)]).square().sum())

    assert counts.sum() == 300
    assert error(centres) < 0.9 * error(few)


def test_nearest_code_is_the_nearest():
    points, codebook = torch.randn(200, 5), torch.randn(30, 5)
    assert torch.equal(nearest_code(points, codebook), torch.cdist(points, codebook).argmin(dim=1))


def test_perplexity_and_usage_by_hand():
    assert perplexity(torch.tensor([5.0, 5.0, 5.0, 5.0])).item() == pytest.approx(4, rel=1e-5)
    assert perplexity(torch.tensor([7.0, 0.0])).item() == pytest.approx(1, rel=1e-5)
    assert usage(torch.tensor([7.0, 0.0, 1.0, 0.0])).item() == 0.5


def test_two_processes_learn_the_codebook_of_one(tmp_path):
    script = tmp_path / "process.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            import torch.distributed as dist
            from thvqvae.quantizer import EMAQuantizer

            rank, folder = int(sys.argv[1]), sys.argv[2]
            dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
            state = torch.load(f"{folder}/start.pt", weights_only=True)
            quantizer = EMAQuantizer(8, 4, dead_code_share=0.0).train()
            quantizer.load_state_dict(state["quantizer"])
            for latents in state["latents"]:
                quantizer(latents[rank::2])
            fresh = EMAQuantizer(8, 4, dead_code_share=0.9).train()
            for latents in state["latents"]:
                fresh(latents[rank::2])
            torch.save({"shared": quantizer.state_dict(), "fresh": fresh.state_dict()}, f"{folder}/end{rank}.pt")
            dist.destroy_process_group()
            """
        )
    )
    one = placed(dead_code_share=0.0).train()
    latents = [torch.randn(4, 10, 4) for _ in range(5)]
    torch.save({"quantizer": state(one), "latents": latents}, tmp_path / "start.pt")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)], env=environment) for rank in range(2)
    ]
    assert [process.wait(timeout=100) for process in processes] == [0, 0]
    for batch in latents:
        one(batch)
    ends = [torch.load(tmp_path / f"end{rank}.pt", weights_only=True) for rank in range(2)]
    for name, value in state(one).items():
        torch.testing.assert_close(ends[0]["shared"][name], value)
        # placement and revival draw alike in all processes
        assert torch.equal(ends[0]["fresh"][name], ends[1]["fresh"][name])
