"""The fused sparse likelihood against torch.distributions, value and every gradient."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.distributions import NegativeBinomial

from models import likelihoods
from models.likelihoods import EPS, CountMatrix, elementwise, sparse_nb_nll

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


@pytest.mark.parametrize("block", [1, 500_000])  # eight rows at a time, or all
@pytest.mark.parametrize(("n", "f", "rate"), [(1, 7, 2.0), (5, 3, 40.0), (70, 50, 0.1), (33, 400, 1.0)])
def test_equals_torch_distributions(n: int, f: int, rate: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihoods, "BLOCK", block)
    *parameters, x = problem(n, f, 6, rate, n, torch.float64)
    exact = [p.requires_grad_() for p in parameters]
    expected = dense_nll(exact[0], exact[1], exact[2], exact[3], x)
    expected_grads = torch.autograd.grad(expected, exact)
    csr = sp.csr_matrix(x.numpy())
    counts = CountMatrix.of(csr, CPU).take(torch.arange(n))
    ours = [p.detach().float().requires_grad_() for p in parameters]
    loss = sparse_nb_nll(ours[0], ours[1], ours[2], ours[3], counts)
    assert float(loss.detach()) == pytest.approx(expected.item(), rel=2e-5)
    for mine, theirs in zip(torch.autograd.grad(3 * loss, ours), expected_grads, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(mine.double() / 3, theirs, rtol=2e-4, atol=5e-5 * scale)


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


def test_log1pkeeps_small_numbers() -> None:
    x = torch.tensor([0.0, 1e-9, 1e-3, 1.0, 1e6])
    np.testing.assert_allclose(
        elementwise("log1p", x, torch.empty_like(x)).numpy(), np.log1p(x.double().numpy()), rtol=3e-7
    )
