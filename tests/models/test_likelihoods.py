"""The fused sparse likelihood against torch.distributions, value and every gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma, gammaln
from torch import Tensor
from torch.distributions import NegativeBinomial

from models.zoo.glue import kernels, likelihoods
from models.zoo.glue.likelihoods import EPS, CountMatrix, sparse_nb_nll

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")


def dense_nll(u: Tensor, w: Tensor, bias: Tensor, log_theta: Tensor, x: Tensor) -> Tensor:
    mu = torch.softmax(u @ w.T + bias, 1) * x.sum(1, keepdim=True)
    each: Tensor = NegativeBinomial(log_theta.exp(), logits=(mu + EPS).log() - log_theta).log_prob(x)  # type: ignore[no-untyped-call]
    return -each.mean()


def problem(n: int, f: int, m: int, rate: float, seed: int, dtype: torch.dtype) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.poisson(rate * rng.gamma(1.0, size=(n, f))).astype(float)
    arrays = [rng.normal(size=(n, m)), rng.normal(size=(f, m)) / 4, rng.normal(size=f), rng.normal(size=f) * 2, x]
    return [torch.tensor(a, dtype=dtype) for a in arrays]


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3], indirect=True)
@pytest.mark.parametrize("way", ["_Compiled", "_Work"])
@pytest.mark.parametrize("block", [1, 500_000])  # eight rows at a time, or all
@pytest.mark.parametrize(("n", "f", "rate"), [(1, 7, 2.0), (5, 3, 40.0), (70, 50, 0.1), (33, 400, 1.0)])
@pytest.mark.usefixtures("threads")
def test_equals_torch_distributions(
    n: int, f: int, rate: float, block: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihoods, "BLOCK", block)
    monkeypatch.setattr(likelihoods, "_Compiled", getattr(likelihoods, way))
    *parameters, x = problem(n, f, 6, rate, n, torch.float64)
    exact = [p.requires_grad_() for p in parameters]
    expected = dense_nll(exact[0], exact[1], exact[2], exact[3], x)
    expected_grads = torch.autograd.grad(expected, exact)
    csr = sp.csr_matrix(x.numpy())
    counts = CountMatrix.of(csr, CPU).take(torch.arange(n))
    ours = [p.detach().float().requires_grad_() for p in parameters]
    loss = sparse_nb_nll(ours[0], ours[1], ours[2], ours[3], counts)
    assert float(loss.detach()) == pytest.approx(expected.item(), rel=2e-5)
    for own_grad, expected_grad in zip(torch.autograd.grad(3 * loss, ours), expected_grads, strict=True):
        scale = float(expected_grad.abs().max())
        torch.testing.assert_close(own_grad.double() / 3, expected_grad, rtol=2e-4, atol=5e-5 * scale)


def test_value_without_gradients_is_the_same() -> None:
    u, w, bias, log_theta, x = problem(40, 30, 5, 0.5, 0, torch.float32)
    counts = CountMatrix.of(sp.csr_matrix(x.numpy()), CPU).take(torch.arange(40))
    with_grad = sparse_nb_nll(u.requires_grad_(), w, bias, log_theta, counts)
    with torch.no_grad():
        assert float(sparse_nb_nll(u, w, bias, log_theta, counts)) == float(with_grad.detach())


def test_rows_are_taken_in_the_order_asked_for() -> None:
    rng = np.random.default_rng(1)
    dense = rng.poisson(0.3, (20, 9)).astype(np.float32)
    dense[4] = 0
    csr = sp.csr_matrix(dense)
    rows = torch.tensor([19, 4, 0, 4, 7, 19])
    counts = CountMatrix.of(csr, CPU).take(rows)
    back = torch.zeros(6, 9)
    back[counts.row, counts.column] = counts.value
    np.testing.assert_array_equal(back.numpy(), dense[rows.numpy()])
    np.testing.assert_array_equal(counts.library.numpy(), dense[rows.numpy()].sum(1))


def test_a_cell_without_counts_costs_nothing_and_pulls_nowhere() -> None:
    u, w, bias, log_theta, x = problem(3, 12, 5, 0.5, 0, torch.float32)
    x[1] = 0
    counts = CountMatrix.of(sp.csr_matrix(x.numpy()), CPU).take(torch.arange(3))
    loss = sparse_nb_nll(u.requires_grad_(), w, bias, log_theta, counts)
    (grad,) = torch.autograd.grad(loss, u)
    assert float(grad[1].abs().max()) == 0
    others = CountMatrix.of(sp.csr_matrix(x[[0, 2]].numpy()), CPU).take(torch.arange(2))
    two = sparse_nb_nll(u[[0, 2]], w, bias, log_theta, others)
    assert float(loss.detach()) == pytest.approx(float(two.detach()) * 2 / 3, rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(value: float) -> None:
    u, w, bias, log_theta, x = problem(40, 30, 5, 0.5, 0, torch.float32)
    u[17, 2] = value
    counts = CountMatrix.of(sp.csr_matrix(x.numpy()), CPU).take(torch.arange(40))
    assert not np.isfinite(float(sparse_nb_nll(u, w, bias, log_theta, counts)))


@given(st.floats(1e-6, 1e6), st.one_of(st.integers(1, 5000), st.floats(0.1, 5000)), st.floats(1e-6, 1e6))
def test_a_count_adds_what_gamma_functions_say(theta: float, x: float, mu: float) -> None:
    odds = 1 + theta / mu
    loss, slope = kernels._count_terms(theta, float(x), odds)
    terms = [x * np.log(odds), gammaln(x + 1), gammaln(theta), gammaln(theta + x)]
    size = max(map(abs, terms))
    assert loss == pytest.approx(terms[0] + terms[1] + terms[2] - terms[3], rel=1e-9, abs=1e-12 * size)
    assert slope == pytest.approx(digamma(theta + x) - digamma(theta), rel=1e-9, abs=1e-13 * abs(digamma(theta)))
