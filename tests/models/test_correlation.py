"""The correlation baseline against SciPy and against slow loops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, rankdata, spearmanr

from kg.schema import GENE, TF
from models.evaluation.metacell_correlation import MetacellProfiles, scaled_ranks
from models.zoo.correlation import Config, exceedances, factor_targets, false_discovery_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

GENES = [f"g{i}" for i in range(12)]
FACTORS = ["g3", "g7", "unmeasured"]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(30, 90))
def test_q_of_few_different_p_is_benjamini_and_hochbergs(above: list[int], null: int) -> None:
    p = (1 + np.array(above)) / (1 + null)
    q = false_discovery_rate(np.bincount(above, minlength=null + 1))[above]
    np.testing.assert_allclose(q, false_discovery_control(p), rtol=1e-12)


def test_values_of_the_null_that_are_as_large_are_counted() -> None:
    null = np.array([0.1, 0.2, 0.2, 0.4])
    assert exceedances(np.array([0.0, 0.1, 0.2, 0.3, 0.5]), null).tolist() == [4, 4, 3, 1, 0]


def profiles(values: NDArray[np.float64]) -> MetacellProfiles:
    return MetacellProfiles(pd.Index(GENES), np.hstack([scaled_ranks(values), np.zeros((len(values), 1))]))


def test_targets_are_spearmans_and_the_best_of_each_factor() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(25, len(GENES)))
    values[:, 5] = values[:, 3] ** 3  # of the same ranks
    nodes = {GENE: pa.table({"id": [*GENES, "silent"]}), TF: pa.table({"id": FACTORS})}
    inputs: Any = SimpleNamespace(nodes=nodes.__getitem__)
    targets_ = factor_targets(inputs, profiles(values), Config(best=2))
    assert targets_ is not None
    assert targets_.tested == 2 * (len(GENES) - 1)
    strongest = targets_.kept.iloc[0]
    assert (strongest["tf"], strongest["gene"], strongest["rank"]) == ("g3", "g5", 1.0)
    assert (targets_.kept["called"] == (targets_.kept["q"] < 0.05)).all()
    for tf in ("g3", "g7"):
        rows = targets_.kept[targets_.kept["tf"] == tf]
        others = [gene for gene in GENES if gene != tf]
        r = [spearmanr(values[:, GENES.index(tf)], values[:, GENES.index(g)]).statistic for g in others]
        rank = dict(zip(others, rankdata(-np.abs(r)), strict=True))
        assert rows["rank"].tolist() == [rank[gene] for gene in rows["gene"]]
        assert {gene for gene in others if rank[gene] <= 2} <= set(rows["gene"])
        signed = dict(zip(others, r, strict=True))
        np.testing.assert_allclose(rows["score"] * rows["sign"], [signed[gene] for gene in rows["gene"]])


def test_no_factor_measured_gives_no_targets() -> None:
    nodes = {GENE: pa.table({"id": GENES}), TF: pa.table({"id": ["unmeasured"]})}
    inputs: Any = SimpleNamespace(nodes=nodes.__getitem__)
    assert factor_targets(inputs, profiles(np.random.default_rng(0).normal(size=(9, len(GENES)))), Config()) is None
