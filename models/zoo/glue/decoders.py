"""Decoders: how the values of a modality follow from cells and features, one decoder for each likelihood.

All share a = scale * <u, v> + bias, with scale and bias for each feature and batch; they differ in what a is the
mean of. NB and ZINB explain counts, given a cell's library size; Normal and ZIN any number; ZILN numbers that are not
negative and often zero, such as a methylation ratio over its cell's level; Bernoulli yes or no; Beta shares from 0
to 1. Values that are NaN were not measured and never count (Cao & Gao 2022, doi 10.1038/s41587-022-01284-4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Beta, LogNormal, NegativeBinomial, Normal

from models.zoo.glue.likelihoods import EPS, sparse_nb_nll

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.zoo.glue.likelihoods import SparseCounts

FILLER = 0.5  # replaces NaN before a likelihood is computed and masked; all of them allow it
MAX_SIZE = 1000.0  # concentration of a Beta; beyond it the density is a spike


class Decoder(nn.Module):
    """The base of all decoders; all parameters start at zero.

    Shapes: u (n, m), v (F, m), values of n cells of one batch -> () mean negative log-likelihood of measured values.
    """

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__()
        self.shape = n_batches, n_features
        self.scale, self.bias = self.parameter(), self.parameter()

    def parameter(self) -> nn.Parameter:
        """Return one number for each batch and feature."""
        return nn.Parameter(torch.zeros(self.shape))

    def loading(self, v: Tensor, batch: int) -> Tensor:
        """Return scaled feature embeddings, (F, m)."""
        return F.softplus(self.scale[batch])[:, None] * v

    def forward(self, u: Tensor, v: Tensor, values: SparseCounts, batch: int) -> Tensor:
        """Return the mean negative log-likelihood of the values."""
        a = torch.addmm(self.bias[batch], u, self.loading(v, batch).t())
        x = values.dense()
        library = values.library[:, None]
        if not values.missing:
            return -self.log_p(a, x, library, batch).mean()
        measured = ~x.isnan()
        log_p = self.log_p(a, x.nan_to_num(FILLER), library, batch)
        return -log_p[measured].sum() / measured.sum().clamp_min(1)

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-likelihood of each value. Shapes: a, x (n, F), library (n, 1) -> (n, F)."""
        raise NotImplementedError


class NegativeBinomialDecoder(Decoder):
    """Counts: mean softmax(a) * library, inverse dispersion exp(log_theta); fused and sparse."""

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__(n_features, n_batches)
        self.log_theta = self.parameter()

    def forward(self, u: Tensor, v: Tensor, values: SparseCounts, batch: int) -> Tensor:
        """Return the mean negative log-likelihood of the counts."""
        return sparse_nb_nll(u, self.loading(v, batch), self.bias[batch], self.log_theta[batch], values)


class ZeroInflatedNegativeBinomialDecoder(Decoder):
    """Counts as above, with a share of zeros that the mean does not explain."""

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__(n_features, n_batches)
        self.log_theta, self.zero_logit = self.parameter(), self.parameter()

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-likelihood of each count."""
        log_theta, mu = self.log_theta[batch], torch.softmax(a, 1) * library
        count = NegativeBinomial(log_theta.exp(), logits=(mu + EPS).log() - log_theta, validate_args=False)
        return zero_inflated(count.log_prob(x), x, self.zero_logit[batch])  # type: ignore[no-untyped-call]


class NormalDecoder(Decoder):
    """Any number: mean a, and a standard deviation for each feature and batch."""

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__(n_features, n_batches)
        self.spread = self.parameter()

    def std(self, batch: int) -> Tensor:
        """Return the standard deviation of each feature."""
        return F.softplus(self.spread[batch]) + EPS

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-density of each value."""
        del library
        log_p: Tensor = Normal(a, self.std(batch), validate_args=False).log_prob(x)  # type: ignore[no-untyped-call]
        return log_p


class ZeroInflatedNormalDecoder(NormalDecoder):
    """Any number, with more zeros than a normal has."""

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__(n_features, n_batches)
        self.zero_logit = self.parameter()

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-density of each value as in scglue: a zero adds a probability to a density."""
        return zero_inflated(super().log_p(a, x, library, batch), x, self.zero_logit[batch])


class ZeroInflatedLogNormalDecoder(ZeroInflatedNormalDecoder):
    """Zero with some probability, else log-normal; for example methylation ratios over the level of their cell."""

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-probability of a zero, the log-density of anything else."""
        del library
        zero, zero_logit = x.abs() < EPS, self.zero_logit[batch]
        positive = LogNormal(a, self.std(batch), validate_args=False)
        log_p = positive.log_prob(x.masked_fill(zero, 1.0))  # type: ignore[no-untyped-call]
        return torch.where(zero, zero_logit, log_p) - F.softplus(zero_logit)


class BernoulliDecoder(Decoder):
    """Yes (1) or no (0), with log-odds a."""

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-probability of each value."""
        del library, batch
        return x * a - F.softplus(a)


class BetaDecoder(Decoder):
    """Shares from 0 to 1: mean sigmoid(a), concentration softplus(size) up to 1,000."""

    def __init__(self, n_features: int, n_batches: int) -> None:
        super().__init__(n_features, n_batches)
        self.size = self.parameter()

    def log_p(self, a: Tensor, x: Tensor, library: Tensor, batch: int) -> Tensor:
        """Return the log-density of each share."""
        del library
        mean, size = torch.sigmoid(a), F.softplus(self.size[batch]).clamp(max=MAX_SIZE)
        share = Beta(mean * size + EPS, (1 - mean) * size + EPS, validate_args=False)
        log_p: Tensor = share.log_prob(x.clamp(EPS, 1 - EPS))  # type: ignore[no-untyped-call]
        return log_p


def zero_inflated(log_p: Tensor, x: Tensor, zero_logit: Tensor) -> Tensor:
    """Return the same likelihood when some zeros come from elsewhere, with log-odds `zero_logit`."""
    at_zero = (log_p.exp() + zero_logit.exp() + EPS).log()
    return torch.where(x.abs() < EPS, at_zero, log_p) - F.softplus(zero_logit)


DECODERS: Mapping[str, type[Decoder]] = {
    "nb": NegativeBinomialDecoder,
    "zinb": ZeroInflatedNegativeBinomialDecoder,
    "normal": NormalDecoder,
    "zin": ZeroInflatedNormalDecoder,
    "ziln": ZeroInflatedLogNormalDecoder,
    "bernoulli": BernoulliDecoder,
    "beta": BetaDecoder,
}
