"""Ranking of scored pairs: against scikit-learn, by hand, and on pairs whose order is distance alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.ranking import matched_auroc, rank


def pairs(seed: int = 0, n: int = 600, *, by_distance: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 150_000, n)
    positive = rng.random(n) < np.exp(-distance / 40_000)
    score = -distance if by_distance else positive + rng.normal(size=n)
    gene = [f"G{i}" for i in rng.integers(0, 60, n)]
    return pd.DataFrame({"gene": gene, "distance_bp": distance, "score": score, "positive": positive})


def test_figures_are_those_of_scikit_learn() -> None:
    frame = pairs()
    found = rank(frame)
    assert found.auroc.value == pytest.approx(roc_auc_score(frame["positive"], frame["score"]))
    assert found.average_precision.value == pytest.approx(average_precision_score(frame["positive"], frame["score"]))
    assert found.distance_auroc.value == pytest.approx(roc_auc_score(frame["positive"], -frame["distance_bp"]))
    assert found.prevalence == pytest.approx(frame["positive"].mean())
    assert (found.pairs, found.positives, found.genes) == (600, int(frame["positive"].sum()), 60)
    for figure in (found.auroc, found.matched_auroc, found.average_precision):
        assert figure.low < figure.value < figure.high


def test_a_score_that_is_distance_wins_nothing_among_pairs_equally_far_apart() -> None:
    found = rank(pairs(by_distance=True, n=5000))
    assert found.auroc.value == found.distance_auroc.value > 0.7
    assert found.matched_auroc == found.distance_matched_auroc
    assert 0.5 < found.matched_auroc.value < found.auroc.value - 0.1


def test_the_matched_figure_by_hand() -> None:
    # bin 0: one positive above one of two negatives (0.5); bin 2: two positives above all (1.0)
    positive = np.array([True, False, False, True, True, False, True])
    score = np.array([2.0, 1.0, 3.0, 9.0, 8.0, 1.0, 5.0])
    distance = np.array([0.0, 10.0, 24_999.0, 50_000.0, 60_000.0, 74_999.0, 120_000.0])
    assert matched_auroc(positive, score, distance) == pytest.approx((1 * 0.5 + 2 * 1.0) / 3)


def test_intervals_widen_when_pairs_of_a_gene_are_copies() -> None:
    frame = pairs(n=120)
    copies = pd.concat([frame] * 10)
    assert rank(copies).auroc.value == pytest.approx(rank(frame).auroc.value)
    wide, same = (found.auroc.high - found.auroc.low for found in (rank(copies), rank(frame)))
    assert wide == pytest.approx(same, rel=0.15), "ten copies of the same evidence say no more than one"


def test_without_both_kinds_nothing_is_said() -> None:
    frame = pairs().assign(positive=False)
    assert np.isnan(rank(frame).auroc.value)
