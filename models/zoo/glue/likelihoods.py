"""The negative binomial of sparse counts, in as few passes over (cells x features) as possible.

With mean mu = softmax(a) * library and inverse dispersion theta (Cao & Gao 2022, NB decoder),

    -log p(x) = theta * log1p(mu / theta)                                   every entry
              + x * (log1p(r) - log r) - lgamma(theta + x) + ...            entries with x > 0 only

where r = (mu + EPS) / theta. The first line is the whole cost at single-cell sparsity, so loss and gradients are
computed together, one block of rows at a time, while the block is in cache, and no (cells x features) matrix outlives
its block.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from models.zoo.glue.kernels import Nonzeros, nb_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import scipy.sparse as sp
    from numpy.typing import NDArray

EPS = 1e-7
BLOCK = 6_400_000  # entries of a block per CPU thread; smaller ones read the features from memory too often
TINY = 1e-12


@dataclass(frozen=True)
class SparseCounts:
    """Counts (or other values) of some cells as their nonzeros.

    Attributes:
        row, column: (nonzeros,) int64, rows ascending.
        value: (nonzeros,) float32; NaN means not measured.
        library: (cells,) float32 row sums of measured values.
        n_features: columns of the full matrix.
        missing: whether any cell of the whole matrix has a NaN.
    """

    row: Tensor
    column: Tensor
    value: Tensor
    library: Tensor
    n_features: int
    missing: bool = False

    @property
    def measured(self) -> int:
        """Number of entries that are not NaN."""
        entries = len(self.library) * self.n_features
        return entries - int(self.value.isnan().sum()) if self.missing else entries

    def dense(self) -> Tensor:
        """Return (cells, features), with zeros filled in."""
        full = self.value.new_zeros(len(self.library), self.n_features)
        full[self.row, self.column] = self.value
        return full


class CountMatrix:
    """A CSR matrix on a device that hands out rows."""

    def __init__(self, indptr: Tensor, indices: Tensor, data: Tensor, n_features: int) -> None:
        self.indptr, self.indices, self.data, self.n_features = indptr, indices, data, n_features
        row = torch.repeat_interleave(torch.arange(len(indptr) - 1, device=data.device), indptr.diff())
        self.missing = bool(data.isnan().any())
        self.library = torch.zeros(len(indptr) - 1, device=data.device).index_add_(0, row, data.nan_to_num(0.0))

    @classmethod
    def of(cls, counts: sp.csr_matrix, device: torch.device) -> CountMatrix:
        """Return the same matrix on `device`."""
        indptr, indices = (torch.as_tensor(a.astype(np.int64), device=device) for a in (counts.indptr, counts.indices))
        data = torch.as_tensor(counts.data.astype(np.float32), device=device)
        return cls(indptr, indices, data, counts.shape[1])

    def take(self, rows: Tensor) -> SparseCounts:
        """Return the given rows, in the given order; a row may come twice."""
        length = self.indptr[rows + 1] - self.indptr[rows]
        row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), length)
        first = self.indptr[rows] - (length.cumsum(0) - length)  # of a row in `data`, less its place in the batch
        at = torch.arange(len(row), device=rows.device) + first[row]
        return SparseCounts(row, self.indices[at], self.data[at], self.library[rows], self.n_features, self.missing)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def in_threads(work: Callable[..., float], threads: int, *arguments: Any) -> list[float]:
    """Return what `work(thread, *arguments)` returns, for each thread; `work` must release the interpreter's lock."""
    if threads == 1:
        return [work(0, *arguments)]
    return list(_pool(threads).map(work, range(threads), *([argument] * threads for argument in arguments)))


def sparse_nb_nll(u: Tensor, w: Tensor, bias: Tensor, log_theta: Tensor, counts: SparseCounts) -> Tensor:
    """Return the mean negative log-likelihood over cells and features.

    Args:
        u: (cells, m) cell embeddings.
        w: (features, m) scaled feature embeddings; the logits of the mean are u w^T + bias.
        bias, log_theta: (features,).
        counts: of these cells.
    """
    needed = torch.is_grad_enabled() and any(t.requires_grad for t in (u, w, bias, log_theta))
    loss: Tensor = _SparseNB.apply(u, w, bias, log_theta, counts, needed)
    return loss


class _SparseNB(torch.autograd.Function):
    """Computes its gradients in the forward pass and scales them in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        w: Tensor,
        bias: Tensor,
        log_theta: Tensor,
        counts: SparseCounts,
        needed: bool,  # noqa: FBT001
    ) -> Tensor:
        compiled = u.device.type == "cpu" and u.dtype == torch.float32
        work = (_Compiled if compiled else _Work)(u, w, bias, log_theta, counts, needed=needed)
        for start in range(0, len(u), work.rows):
            work.block(slice(start, min(start + work.rows, len(u))))
        loss, grads = work.finish()
        ctx.save_for_backward(*grads)
        return loss

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        scale = outputs[0]
        return (*(grad.mul_(scale) for grad in ctx.saved_tensors), None, None)


class _Compiled:
    """Running sums over blocks of rows on the CPU: products by torch, the rest in compiled loops."""

    def __init__(
        self, u: Tensor, w: Tensor, bias: Tensor, log_theta: Tensor, counts: SparseCounts, *, needed: bool
    ) -> None:
        self.u, self.w, self.needed = u, w, needed
        self.theta = log_theta.exp()
        self.offset = bias - log_theta
        self.w_theta = w * self.theta[:, None]
        self.threads = min(torch.get_num_threads(), len(u))
        self.rows = min(max(BLOCK * self.threads // len(w), 8 * self.threads), len(u))
        self.logits = u.new_empty(self.rows, len(w))
        self.into = np.zeros((self.threads, 4, len(w)))
        start = torch.searchsorted(counts.row, torch.arange(len(u) + 1))
        spare = torch.empty_like(counts.value) if needed else counts.value[:0]
        nonzeros = Nonzeros(*(t.numpy() for t in (counts.library, start, counts.column, counts.value)))
        self.constants = (self.theta.numpy(), nonzeros, spare.numpy())
        self.sparse_nll = 0.0
        self.d_u, self.d_w = torch.empty_like(u), torch.zeros_like(w)

    def block(self, rows: slice) -> None:
        a = torch.addmm(self.offset, self.u[rows], self.w.t(), out=self.logits[: rows.stop - rows.start])
        self.sparse_nll += sum(in_threads(self._part, self.threads, a.numpy(), rows.start))
        if self.needed:
            torch.mm(a, self.w_theta, out=self.d_u[rows])
            self.d_w.addmm_(a.t(), self.u[rows])

    def _part(self, thread: int, a: NDArray[np.float32], first: int) -> float:
        own = slice(*(len(a) * (thread + i) // self.threads for i in (0, 1)))
        return nb_rows(a[own], first + own.start, *self.constants, self.into[thread])

    def finish(self) -> tuple[Tensor, list[Tensor]]:
        log_sum, t_sum, d_sum, d_nonzero = self.into.sum(0)
        theta = self.theta.numpy()
        entries = len(self.u) * len(self.w)
        loss = self.u.new_tensor(((log_sum * theta).sum() + self.sparse_nll) / entries)
        if not self.needed:
            return loss, []
        sums = (d_sum * theta, d_nonzero + theta * (log_sum - t_sum))
        grads = [self.d_u, self.d_w.mul_(self.theta[:, None]), *(self.u.new_tensor(s) for s in sums)]
        return loss, [grad.div_(entries) for grad in grads]


class _Work:
    """The same in torch alone, on any device and in any precision. `r` is mu / theta throughout, `t` is r / (1 + r)."""

    def __init__(
        self, u: Tensor, w: Tensor, bias: Tensor, log_theta: Tensor, counts: SparseCounts, *, needed: bool
    ) -> None:
        self.u, self.w, self.counts, self.needed = u, w, counts, needed
        self.theta = log_theta.exp()
        self.offset = bias - log_theta
        self.w_theta = w * self.theta[:, None]
        self.rows = min(max(BLOCK // len(w), 8), len(u)) if u.device.type == "cpu" else len(u)
        self.ratio, self.other = u.new_empty(self.rows, len(w)), u.new_empty(self.rows, len(w))
        self.log_sum, self.t_sum, self.d_sum = (torch.zeros_like(bias) for _ in range(3))
        self.d_u, self.d_w = torch.empty_like(u), torch.zeros_like(w)
        self.d_log_theta = torch.zeros_like(bias)
        self.sparse_nll = u.new_zeros(())
        self.edges = torch.searchsorted(counts.row, torch.arange(len(u) + 1, device=u.device))

    def block(self, rows: slice) -> None:
        n = rows.stop - rows.start
        library = self.counts.library[rows]
        r = torch.addmm(self.offset, self.u[rows], self.w.t(), out=self.ratio[:n])
        r.sub_(r.amax(1, keepdim=True)).exp_()
        r.mul_((library / (r @ self.theta))[:, None])
        ones = r.new_ones(n)
        self.log_sum.addmv_(torch.log1p(r, out=self.other[:n]).t(), ones)
        at, column, d_nonzero = self.nonzeros(rows, r)
        if not self.needed:
            return
        t = torch.div(r, torch.add(r, 1, out=self.other[:n]), out=self.other[:n])
        self.t_sum.addmv_(t.t(), ones)
        total = (t @ self.theta).index_add_(0, at // r.shape[1], d_nonzero)  # sum over features of dN / dlog mu
        d = torch.addcmul(t, r, (total / library.clamp_min(TINY))[:, None], value=-1, out=t)
        d.view(-1).index_add_(0, at, d_nonzero / self.theta[column])
        torch.mm(d, self.w_theta, out=self.d_u[rows])
        self.d_w.addmm_(d.t(), self.u[rows])
        self.d_sum.addmv_(d.t(), ones)

    def nonzeros(self, rows: slice, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add the counts' terms to the loss and to d log_theta; return those to dN / dlog mu."""
        part = slice(int(self.edges[rows.start]), int(self.edges[rows.stop]))
        column, x = self.counts.column[part], self.counts.value[part]
        at = (self.counts.row[part] - rows.start) * r.shape[1] + column
        theta = self.theta[column]
        mu = r.view(-1)[at] * theta
        r_eps = (mu + EPS) / theta
        nll = x * (r_eps.log1p() - r_eps.log()) - torch.lgamma(theta + x) + torch.lgamma(theta) + torch.lgamma(x + 1)
        self.sparse_nll += nll.sum()
        digamma_change = torch.digamma(theta + x) - torch.digamma(theta)
        self.d_log_theta.index_add_(0, column, x / (1 + r_eps) - theta * digamma_change)
        return at, column, -x * mu / ((mu + EPS) * (1 + r_eps))

    def finish(self) -> tuple[Tensor, list[Tensor]]:
        entries = len(self.u) * len(self.w)
        loss = (self.log_sum @ self.theta + self.sparse_nll) / entries
        if not self.needed:
            return loss, []
        self.d_log_theta += self.theta * (self.log_sum - self.t_sum)
        grads = [self.d_u, self.d_w.mul_(self.theta[:, None]), self.d_sum.mul_(self.theta), self.d_log_theta]
        return loss, [grad.div_(entries) for grad in grads]
