"""Each likelihood against SciPy, its gradients against finite differences; what is missing counts nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy import stats
from scipy.special import expit, softmax

from models.zoo.glue.decoders import DECODERS, Decoder
from models.zoo.glue.likelihoods import EPS, CountMatrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.zoo.glue.likelihoods import SparseCounts

    Floats = NDArray[np.float64]

N, F, M = 9, 7, 3
COUNTED = ("nb", "zinb")


def softplus(x: Floats) -> Floats:
    return np.logaddexp(0, x)


def values(name: str, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    present = rng.random((N, F)) < 0.6
    drawn = {
        "nb": rng.poisson(2, (N, F)).astype(float),
        "zinb": rng.poisson(2, (N, F)).astype(float),
        "normal": rng.normal(size=(N, F)),
        "zin": present * rng.normal(size=(N, F)),
        "ziln": present * rng.lognormal(size=(N, F)),
        "bernoulli": present.astype(float),
        "beta": present * rng.beta(2, 3, (N, F)),  # zeros are clamped
    }
    return drawn[name]


def made(name: str, n_batches: int = 1, seed: int = 1) -> tuple[Decoder, torch.Tensor, torch.Tensor]:
    """Return a decoder away from its symmetric start, u and v, in float64."""
    generator = torch.Generator().manual_seed(seed)
    decoder = DECODERS[name](F, n_batches).double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            assert not parameter.any()
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    u, v = (torch.randn(n, M, generator=generator, dtype=torch.float64) for n in (N, F))
    return decoder, u, v


def of(x: Floats) -> SparseCounts:
    held = CountMatrix.of(sp.csr_matrix(x), torch.device("cpu")).take(torch.arange(len(x)))
    return type(held)(held.row, held.column, held.value.double(), held.library.double(), held.n_features, held.missing)


def reference(name: str, decoder: Decoder, u: torch.Tensor, v: torch.Tensor, x: Floats, batch: int = 0) -> Floats:
    """Return log-likelihoods from SciPy."""
    own = {k: p[batch].detach().numpy() for k, p in decoder.named_parameters()}
    a = softplus(own["scale"]) * (u.detach() @ v.detach().T).numpy() + own["bias"]
    if name in COUNTED:
        mu, theta = softmax(a, axis=1) * np.nansum(x, 1, keepdims=True), np.exp(own["log_theta"])
        plain = stats.nbinom.logpmf(x, theta, theta / (theta + mu + EPS))
    elif name in {"normal", "zin"}:
        plain = stats.norm.logpdf(x, a, softplus(own["spread"]) + EPS)
    elif name == "ziln":
        chance = -softplus(-own["zero_logit"])
        positive = stats.lognorm.logpdf(np.where(x == 0, 1, x), softplus(own["spread"]) + EPS, scale=np.exp(a))
        return np.asarray(np.where(x == 0, chance, positive - softplus(own["zero_logit"])))
    elif name == "bernoulli":
        plain = stats.bernoulli.logpmf(x, expit(a))
    else:
        size = np.minimum(softplus(own["size"]), 1000)
        plain = stats.beta.logpdf(np.clip(x, EPS, 1 - EPS), expit(a) * size + EPS, (1 - expit(a)) * size + EPS)
    if "zero_logit" not in own:
        return np.asarray(plain)
    zero = expit(own["zero_logit"])  # with chance zero it is 0, else as above
    floor = EPS * (1 - zero)
    return np.asarray(np.where(x == 0, np.log(zero + (1 - zero) * np.exp(plain) + floor), np.log1p(-zero) + plain))


@pytest.mark.parametrize("name", DECODERS)
def test_equals_scipy(name: str) -> None:
    decoder, u, v = made(name)
    x = values(name)
    expected = -reference(name, decoder, u, v, x).mean()
    assert float(decoder(u, v, of(x), 0).detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "nb"])  # nb: test_likelihoods
def test_gradients_are_those_of_the_value(name: str) -> None:
    decoder, u, v = made(name)
    x = of(np.where(np.random.default_rng(0).random((N, F)) < 0.2, np.nan, values(name)))
    inputs = [u.requires_grad_(), v.requires_grad_(), *decoder.parameters()]

    def value(*_: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = decoder(u, v, x, 0)
        return loss

    assert torch.autograd.gradcheck(value, inputs)


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "nb"])
def test_what_was_not_measured_counts_nowhere(name: str) -> None:
    decoder, u, v = made(name)
    x = values(name, 2)
    x[np.random.default_rng(3).random(x.shape) < 0.4] = np.nan
    x[4] = np.nan
    held = of(x)
    assert held.measured == np.isfinite(x).sum()
    expected = -np.nanmean(reference(name, decoder, u, v, x))
    loss = decoder(u.requires_grad_(), v, held, 0)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (grad,) = torch.autograd.grad(loss, u)
    assert bool(grad.isfinite().all())
    assert not grad[4].any()


@pytest.mark.parametrize("name", DECODERS)
def test_a_batch_has_parameters_of_its_own(name: str) -> None:
    decoder, u, v = made(name, 2)
    x = values(name)
    losses = [float(decoder(u, v, of(x), batch).detach()) for batch in (0, 1)]
    expected = [-reference(name, decoder, u, v, x, batch).mean() for batch in (0, 1)]
    assert losses == pytest.approx(expected, rel=1e-6)
    assert losses[0] != pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("far", [-60.0, 60.0])
def test_far_from_the_data_losses_and_gradients_are_finite(name: str, far: float) -> None:
    decoder, u, v = made(name)
    decoder.float()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.fill_(far)
    u, v = u.float().requires_grad_(), v.float()
    held = of(values(name))
    single = type(held)(held.row, held.column, held.value.float(), held.library.float(), F, held.missing)
    loss = decoder(u, v, single, 0)
    assert bool(loss.isfinite())
    assert bool(torch.autograd.grad(loss, u)[0].isfinite().all())
