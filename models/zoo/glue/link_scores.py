"""The result of training: embeddings, history, metrics, and the links that they imply."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Q_CALLED = 0.05
NULL_SIZE = 20_000  # null scores, at least; small skeletons are permuted more than once


@dataclass(frozen=True)
class Trained:
    """What remains of a trained model: its embeddings, history and metrics.

    Attributes:
        vertices: (V,) feature ids, sorted.
        features: (members, V, m) float32 embeddings of the features.
        cells: modality -> (cells, m) float32 embeddings by member 0.
        history: one row for each epoch, member and stage.
        metrics: name -> value.
        without_prior: (E,) for each edge of the guidance graph, in its order, the mean cosine of its ends over members
            as if no edge between the two were in the graph; NaN where an end was not trained, None where the model
            cannot tell.
    """

    vertices: NDArray[np.str_]
    features: NDArray[np.float32]
    cells: Mapping[str, NDArray[np.float32]]
    history: pd.DataFrame
    metrics: Mapping[str, float]
    without_prior: NDArray[np.float64] | None = None

    def links(self, source: Sequence[str], target: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
        """Score skeleton pairs against embeddings permuted among the skeleton's features.

        The score is the mean cosine over members. The null, pooled over members, is the cosine of the same
        pairs after each member's rows are permuted (Cao & Gao 2022). p = (1 + null values >= score) / (1 + all),
        one-sided greater; q by Benjamini and Hochberg.

        Args:
            source, target: (pairs,) feature ids.
            seed: of the permutations.

        Returns:
            source, target, score, stability (standard deviation over members; NaN with one), p, q, sign (of the
            score), called (q < 0.05), in the given order, indexed by position there; pairs with an end that was not
            trained are left out.
        """
        at, known = self.places(source, target)
        by_member = cosines(self.unit, *at)
        p = greater_p(by_member.mean(0), self.null(*at, seed=seed))
        q = false_discovery_control(p) if len(p) else p
        names = (self.vertices[at[0]], self.vertices[at[1]])
        return tabulated(*names, by_member, p, q).set_index(np.flatnonzero(known))

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """The features scaled to length 1."""
        scaled: NDArray[np.float32] = self.features / np.maximum(
            np.linalg.norm(self.features, axis=-1, keepdims=True), 1e-12
        )
        return scaled

    def places(self, source: Sequence[str], target: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the rows of both ends of the pairs whose ends were trained, (2, known), and which pairs these are."""
        ends = np.stack([np.asarray(source, dtype=str), np.asarray(target, dtype=str)])
        at = np.searchsorted(self.vertices, ends).clip(max=len(self.vertices) - 1)
        known = (self.vertices[at] == ends).all(0)
        return at[:, known], known

    def null(self, i: NDArray[np.int64], j: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.float64]:
        """Return cosines of the skeleton's pairs, with ends in rows i and j, after permuting its features' rows."""
        nodes, (i, j) = np.unique(np.stack([i, j]), return_inverse=True)
        return permuted(self.unit[:, nodes], i, j, np.random.default_rng(seed))


def tabulated(
    source: NDArray[np.str_],
    target: NDArray[np.str_],
    by_member: NDArray[np.float64],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
) -> pd.DataFrame:
    """Return the columns of `Trained.links` from cosines by member, p and q."""
    score = by_member.mean(0)
    spread = by_member.std(0, ddof=1) if len(by_member) > 1 else np.full(len(score), np.nan)
    return pd.DataFrame(
        {
            "source": source, "target": target, "score": score.astype(np.float32),
            "stability": spread.astype(np.float32), "p": p, "q": q,
            "sign": np.where(score < 0, -1, 1).astype(np.int8), "called": q < Q_CALLED,
        }
    )  # fmt: skip


def cosines(unit: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (members, pairs) cosines of rows i and j of each member's (nodes, m) unit vectors."""
    product: NDArray[np.float64] = np.einsum("kpm,kpm->kp", unit[:, i], unit[:, j], dtype=np.float64)
    return product


def permuted(
    unit: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return cosines of the same pairs after the rows of each member are permuted, pooled over members."""
    rounds = -(-NULL_SIZE // max(len(unit) * len(i), 1))
    shuffled = (np.stack([rng.permutation(member) for member in unit]) for _ in range(rounds))
    return np.concatenate([cosines(member, i, j).ravel() for member in shuffled])


def greater_p(score: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of null values >= each score, counting the score itself, so never 0."""
    null = np.sort(null)
    return (1 + len(null) - np.searchsorted(null, score)) / (1 + len(null))
