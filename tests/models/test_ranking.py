"""Ranking of scored pairs: against scikit-learn, by hand, and on pairs whose order is distance alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluation.metrics import auroc
from models.evaluation.ranking import auroc_change, calibration, compare, matched_auroc

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pairs(seed: int = 0, n: int = 600, *, by_distance: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 150_000, n)
    positive = rng.random(n) < np.exp(-distance / 40_000)
    score = -distance if by_distance else positive + rng.normal(size=n)
    gene = [f"G{i}" for i in rng.integers(0, 60, n)]
    return pd.DataFrame({"gene": gene, "distance_bp": distance, "score": score, "positive": positive})


def test_figures_are_those_of_scikit_learn() -> None:
    frame = pairs()
    noise = np.random.default_rng(1).normal(size=len(frame))
    comparison = compare(frame, {"noise": noise})
    assert [one.score for one in comparison.scores] == ["run", "distance", "noise"]
    scores = [frame["score"].to_numpy(), -frame["distance_bp"].to_numpy(), noise]
    for one, score in zip(comparison.scores, scores, strict=True):
        assert one.auroc.value == pytest.approx(roc_auc_score(frame["positive"], score))
        assert one.average_precision.value == pytest.approx(average_precision_score(frame["positive"], score))
        inside = frame.assign(score=score).groupby(frame["distance_bp"] // 25_000)
        bins = [part for _, part in inside if 0 < part["positive"].sum() < len(part)]
        precision = [average_precision_score(part["positive"], part["score"]) for part in bins]
        weights = [part["positive"].sum() for part in bins]
        assert one.matched_average_precision.value == pytest.approx(np.average(precision, weights=weights))
        for figure in (one.auroc, one.matched_auroc, one.average_precision, one.matched_average_precision):
            assert figure.low < figure.value < figure.high
    assert comparison.prevalence == pytest.approx(frame["positive"].mean())
    assert (comparison.pairs, comparison.positives, comparison.genes) == (600, int(frame["positive"].sum()), 60)


def test_a_change_of_auroc_is_that_of_whole_genes_drawn_again() -> None:
    frame = pairs()
    before = np.round(frame["score"].to_numpy(), 1)  # with ties
    after = before + 0.5 * np.random.default_rng(3).normal(size=len(frame))
    change_ = auroc_change(frame["gene"].to_numpy(), frame["positive"].to_numpy(), before, after)

    positive, names, place = frame["positive"].to_numpy(), *np.unique(frame["gene"], return_inverse=True)

    def change(rows: NDArray[np.int64]) -> float:
        one, other = (auroc(positive[rows], score[rows]) for score in (before, after))
        return other - one

    of_all = [roc_auc_score(frame["positive"], score) for score in (before, after)]
    assert change_.value == pytest.approx(of_all[1] - of_all[0])
    rows = [np.flatnonzero(place == gene) for gene in range(len(names))]
    drawn = np.random.default_rng(7).integers(len(names), size=(400, len(names)))
    slow = [change(np.concatenate([rows[gene] for gene in genes])) for genes in drawn]
    assert [change_.low, change_.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]).tolist(), abs=0.004)
    assert change_.low < change_.value < change_.high


def test_a_score_that_is_distance_wins_nothing_among_pairs_equally_far_apart() -> None:
    run, distance = compare(pairs(by_distance=True, n=5000)).scores
    assert run.auroc.value == distance.auroc.value > 0.7
    assert run.matched_auroc == distance.matched_auroc
    assert 0.5 < run.matched_auroc.value < run.auroc.value - 0.1
    assert (run.beyond_distance.low, run.beyond_distance.value, run.beyond_distance.high) == (0, 0, 0)


@pytest.mark.slow
def test_what_is_beyond_distance_is_judged_on_the_same_samples() -> None:
    run, distance = compare(pairs()).scores
    gain = run.beyond_distance
    assert gain.value == pytest.approx(run.matched_auroc.value - distance.matched_auroc.value)
    assert 0 < gain.low < gain.value < gain.high
    # where all are equally far apart, distance is chance on every sample
    run, distance = compare(pairs().assign(distance_bp=0)).scores
    assert (distance.matched_auroc.low, distance.matched_auroc.high) == (0.5, 0.5)
    assert run.beyond_distance.low == pytest.approx(run.matched_auroc.low - 0.5)


def test_the_matched_figure_by_hand() -> None:
    # bin 0: one positive above one of two negatives (0.5); bin 2: two positives above all (1.0)
    positive = np.array([True, False, False, True, True, False, True])
    score = np.array([2.0, 1.0, 3.0, 9.0, 8.0, 1.0, 5.0])
    distance = np.array([0.0, 10.0, 24_999.0, 50_000.0, 60_000.0, 74_999.0, 120_000.0])
    assert matched_auroc(positive, score, distance) == pytest.approx((1 * 0.5 + 2 * 1.0) / 3)


def test_tenths_by_hand() -> None:
    score = np.arange(20)[::-1].astype(float)  # falling, so that order must come from the score
    positive = np.arange(20) < 5  # the five best
    distance = np.where(np.arange(20) < 10, 1000.0, 60_000.0)  # half of the near ones are right, none of the far
    deciles = calibration(positive, score, distance)
    assert [tenth.pairs for tenth in deciles] == [2] * 10
    assert [tenth.positives for tenth in deciles] == [0] * 7 + [1, 2, 2]
    assert [tenth.share for tenth in deciles[-3:]] == [0.5, 1.0, 1.0]
    assert [tenth.by_distance for tenth in deciles] == [0.0] * 5 + [0.5] * 5
    assert [(tenth.low, tenth.high) for tenth in deciles[:2]] == [(0, 1), (2, 3)]
    assert sum(tenth.pairs for tenth in calibration(positive[:13], score[:13], distance[:13])) == 13


@pytest.mark.slow
def test_intervals_widen_when_pairs_of_a_gene_are_copies() -> None:
    frame = pairs(n=120)
    many, one = (compare(some).scores[0].auroc for some in (pd.concat([frame] * 10), frame))
    assert many.value == pytest.approx(one.value)
    wide, same = many.high - many.low, one.high - one.low
    assert wide == pytest.approx(same, rel=0.15), "ten copies of the same evidence say no more than one"


def test_without_both_kinds_nothing_is_said() -> None:
    comparison = compare(pairs().assign(positive=False))
    assert np.isnan(comparison.scores[0].auroc.value)
    assert np.isnan(comparison.scores[0].matched_average_precision.high)
