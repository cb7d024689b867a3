"""The networks against the written model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from models.zoo.glue.layers import DataEncoder, Discriminator, Dropout, GraphEncoder, edge_nll, posterior
from models.zoo.glue.likelihoods import EPS
from models.zoo.glue.propagation import Propagation
from tests.models.toy import edges_of, random_edges

if TYPE_CHECKING:
    from models.inputs.edges import Edges

CPU = torch.device("cpu")


def leaves(*shape: int, seed: int = 0, scale: float = 2.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(*shape, generator=generator)).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled, and torch's own
@pytest.mark.parametrize("scale", [0.1, 2.0, 15.0])  # of the raw spread
def test_posterior_samples_and_diverges_as_a_normal(scale: float, dtype: torch.dtype) -> None:
    mean, raw = (leaf.detach().to(dtype).requires_grad_() for leaf in leaves(7, 5))
    spread = scale * raw
    torch.manual_seed(1)
    sample, kl = posterior(mean, spread)
    torch.manual_seed(1)
    normal = Normal(mean, torch.nn.functional.softplus(spread) + EPS)
    expected = normal.mean + normal.stddev * torch.randn(7, 5, dtype=dtype)
    expected_kl = kl_divergence(normal, Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(sample, expected)
    torch.testing.assert_close(kl, expected_kl)
    weight = torch.randn(7, 5, dtype=dtype)
    ours = torch.autograd.grad((sample * weight).sum() + 0.3 * kl, (mean, raw), retain_graph=True)
    theirs = torch.autograd.grad((expected * weight).sum() + 0.3 * expected_kl, (mean, raw))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_spread_of_any_size_is_a_number() -> None:
    raw = torch.tensor([-200.0, -80.0, -20.0, -9.0, 0.0, 5.0, 79.0, 81.0, 500.0])
    torch.manual_seed(1)
    sample, kl = posterior(torch.zeros(len(raw), 1), raw[:, None])
    torch.manual_seed(1)
    std = torch.nn.functional.softplus(raw.double()) + EPS
    torch.testing.assert_close(sample[:, 0].double() / torch.randn(len(raw), 1)[:, 0].double(), std, rtol=2e-6, atol=0)
    torch.testing.assert_close(kl.double(), (0.5 * (std**2 - 1) - std.log()).sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("of", [0, 1])  # the mean, the spread
def test_a_posterior_that_is_not_finite_says_so(value: float, of: int) -> None:
    both = torch.zeros(2, 3000, 3)
    both[of, 1, 2] = value
    sample, kl = posterior(both[0].requires_grad_(), both[1])
    assert not torch.isfinite(kl)
    assert not torch.isfinite(sample[1, 2])
    assert torch.isfinite(sample[2000:]).all()


def test_dropout_keeps_the_mean_and_rests_when_it_should() -> None:
    torch.manual_seed(0)
    layer, x = Dropout(0.2), torch.ones(1001, 33)
    kept = layer(x)
    assert set(kept.unique().tolist()) == {0.0, 1.25}
    assert float((kept == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose((kept == 0).float().mean(0), 0.2, atol=0.06)
    torch.testing.assert_close(layer.eval()(x), x)


def test_graph_encoder_starts_with_equal_vertices_and_can_learn() -> None:
    torch.manual_seed(0)
    encoder = GraphEncoder(Propagation(random_edges(4, 9, 12, 0), CPU), 5)
    mean, raw = encoder()
    torch.testing.assert_close(mean, encoder.mean.bias.expand(13, 5))
    torch.testing.assert_close(raw, encoder.spread.bias.expand(13, 5))
    (mean * torch.randn(13, 5)).sum().backward()
    assert encoder.vertices.grad is not None
    assert bool((encoder.vertices.grad.abs().sum(1) > 0).all())


def test_a_vertex_nobody_points_to_but_itself_follows_its_loop_alone() -> None:
    edges: Edges = edges_of([(0, 1, 0.5, -1)], 3)
    encoder = GraphEncoder(Propagation(edges, CPU), 2)
    with torch.no_grad():
        encoder.vertices.copy_(torch.arange(6.0).view(3, 2))
        hidden = encoder.graph(encoder.vertices)
    torch.testing.assert_close(hidden[2], encoder.vertices[2].detach())
    torch.testing.assert_close(hidden[0], (encoder.vertices[0] - 0.5 * encoder.vertices[1]).detach() / math.sqrt(1.5))


def test_encoder_activates_before_it_normalises() -> None:
    torch.manual_seed(0)
    encoder = DataEncoder([6, 8, 8], 3, 0.0).train()
    x = torch.randn(40, 6)
    hidden = encoder.hidden[0](x)
    torch.testing.assert_close(hidden.mean(0), torch.zeros(8), atol=1e-6, rtol=0)
    block = encoder.hidden[0]
    assert isinstance(block, torch.nn.Sequential)
    active = torch.nn.functional.leaky_relu(block[0](x), 0.2)
    expected = (active - active.mean(0)) / (active.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-5)


def test_discriminator_has_no_batch_norm() -> None:
    discriminator = Discriminator([3, 8, 8], 2, 0.0)
    x = torch.randn(5, 3)
    torch.testing.assert_close(discriminator(x)[:1], discriminator(x[:1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled, and torch's own
@pytest.mark.parametrize("kinds", [[1, 0, 0, 0, 1], [1, 1], [0, 0, 0]])
def test_edge_nll_balances_real_and_absent(kinds: list[int], dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    v = (4 * torch.randn(6, 4, dtype=dtype)).requires_grad_()
    source, target = (torch.from_numpy(rng.integers(6, size=len(kinds))) for _ in range(2))
    sign, present = torch.from_numpy(rng.choice([-1.0, 1.0], len(kinds))).to(dtype), torch.tensor(kinds, dtype=dtype)
    each = [
        -Bernoulli(logits=s * (v[i] @ v[j])).log_prob(p)  # type: ignore[no-untyped-call]
        for i, j, s, p in zip(source, target, sign, present, strict=True)
    ]
    means = [torch.stack([e for e, p in zip(each, kinds, strict=True) if p == kind]).mean() for kind in set(kinds)]
    expected = torch.stack(means).mean()
    ours = edge_nll(v, source, target, sign, present)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, v)[0], torch.autograd.grad(expected, v)[0])
