"""What training leaves: embeddings, history, metrics, and the links they imply."""

from __future__ import annotations

from dataclasses import dataclass
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
class Fit:
    """A trained model, without the model.

    Attributes:
        vertices: (V,) feature ids, sorted.
        features: (members, V, m) float32 embeddings of the features.
        cells: modality -> (cells, m) float32 embeddings by member 0.
        history: one row for each epoch, member and stage.
        metrics: name -> value.
    """

    vertices: NDArray[np.str_]
    features: NDArray[np.float32]
    cells: Mapping[str, NDArray[np.float32]]
    history: pd.DataFrame
    metrics: Mapping[str, float]

    def links(self, source: Sequence[str], target: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
        """Regulatory scores of skeleton pairs, against embeddings permuted among the skeleton's features.

        The score is the mean cosine over members. The null, pooled over members, is the cosine of the same
        pairs after each member's rows are permuted (Cao & Gao 2022). p = (1 + null values >= score) / (1 + all),
        one-sided greater; q by Benjamini and Hochberg.

        Args:
            source, target: (pairs,) feature ids.
            seed: of the permutations.

        Returns:
            source, target, score, stability (standard deviation over members; NaN with one), p, q, sign (of the
            score), called (q < 0.05), in the given order; pairs with an end that was not trained are left out.
        """
        ends = np.stack([np.asarray(source, dtype=str), np.asarray(target, dtype=str)])
        at = np.searchsorted(self.vertices, ends).clip(max=len(self.vertices) - 1)
        known = (self.vertices[at] == ends).all(0)
        ends = ends[:, known]
        nodes, (i, j) = np.unique(at[:, known], return_inverse=True)
        unit = self.features[:, nodes]
        unit = unit / np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-12)
        by_member = cosines(unit, i, j)
        score = by_member.mean(0)
        p = greater_p(score, permuted(unit, i, j, np.random.default_rng(seed)))
        q = false_discovery_control(p) if len(p) else p
        spread = by_member.std(0, ddof=1) if len(by_member) > 1 else np.full(len(score), np.nan)
        return pd.DataFrame(
            {
                "source": ends[0], "target": ends[1], "score": score.astype(np.float32),
                "stability": spread.astype(np.float32), "p": p, "q": q,
                "sign": np.where(score < 0, -1, 1).astype(np.int8), "called": q < Q_CALLED,
            }
        )  # fmt: skip


def cosines(unit: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """(members, pairs) cosines of rows i and j of each member's (nodes, m) unit vectors."""
    product: NDArray[np.float64] = np.einsum("kpm,kpm->kp", unit[:, i], unit[:, j], dtype=np.float64)
    return product


def permuted(
    unit: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Cosines of the same pairs after the rows of each member are permuted, pooled over members."""
    rounds = -(-NULL_SIZE // max(len(unit) * len(i), 1))
    shuffled = (np.stack([rng.permutation(member) for member in unit]) for _ in range(rounds))
    return np.concatenate([cosines(member, i, j).ravel() for member in shuffled])


def greater_p(score: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of null values that are not below each score, counting the score itself, so never 0."""
    null = np.sort(null)
    return (1 + len(null) - np.searchsorted(null, score)) / (1 + len(null))
