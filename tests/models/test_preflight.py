"""Preflight: everything that is wrong is told at once, by the names of cells and features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from kg.errors import InputError, TrainingError
from models.contract import Estimate
from models.inputs.preflight import check_cells, check_room, counts_of, problems_of

if TYPE_CHECKING:
    from pathlib import Path


def made(matrix: object, cells: list[str] | None = None, features: list[str] | None = None) -> anndata.AnnData:
    counts = sp.csr_matrix(np.asarray(matrix, np.float32))
    obs = pd.DataFrame(index=cells or [f"c{i}" for i in range(counts.shape[0])])
    var = pd.DataFrame(index=features or [f"f{i}" for i in range(counts.shape[1])])
    return anndata.AnnData(counts, obs=obs, var=var)


def test_raw_counts_pass() -> None:
    assert problems_of(made([[0, 1, 2], [3, 0, 1]])) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (0.5, "1 values of X are not integers, in 1 cells (c1) and 1 features (f2)"),
        (-2.0, "1 values of X are negative, in 1 cells (c1) and 1 features (f2)"),
        (np.nan, "1 values of X are not finite, in 1 cells (c1) and 1 features (f2)"),
        (np.inf, "1 values of X are not finite, in 1 cells (c1) and 1 features (f2)"),
    ],
)
def test_a_bad_value_is_named_by_cell_and_feature(bad: float, message: str) -> None:
    assert problems_of(made([[0, 1, 2], [3, 0, bad]])) == [message]


def test_all_problems_of_all_files_come_at_once() -> None:
    with pytest.warns(UserWarning, match="not unique"):
        first = made([[0.5, 1], [1, -1], [1, 1]], cells=["a", "a", "b"])
    with pytest.raises(InputError) as caught:
        check_cells({"one.h5ad": first, "two.h5ad": made([[np.nan, 1]])}, {"one.h5ad": "nb", "two.h5ad": "nb"})
    assert caught.value.message.splitlines() == [
        "one.h5ad: 1 names of cells come more than once: a",
        "one.h5ad: 1 values of X are negative, in 1 cells (a) and 1 features (f1)",
        "one.h5ad: 1 values of X are not integers, in 1 cells (a) and 1 features (f0)",
        "two.h5ad: 1 values of X are not finite, in 1 cells (c0) and 1 features (f0)",
    ]
    assert "raw integer counts" in caught.value.hint


def test_many_names_are_cut() -> None:
    (problem,) = problems_of(made(np.full((5, 1), 0.5)))
    assert problem == "5 values of X are not integers, in 5 cells (c0, c1, c2, ...) and 1 features (f0)"


def test_the_layer_counts_is_preferred_to_x() -> None:
    adata = made([[0.5, 0.1]])
    adata.layers["counts"] = sp.csr_matrix(np.array([[5.0, 1.0]], np.float32))
    assert problems_of(adata) == []
    assert counts_of(adata)[0].toarray().tolist() == [[5, 1]]
    assert counts_of(adata)[1] == "layer 'counts'"


def test_nothing_counted_is_said() -> None:
    assert problems_of(made(np.zeros((2, 2)))) == ["X holds no count at all"]


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    assert check_room(Estimate(0.001, 0.001, 1), tmp_path) == []
    with pytest.raises(TrainingError, match=r"training needs 1000000\.00"):
        check_room(Estimate(0.001, 1e6, 1), tmp_path)
    assert "memory" in check_room(Estimate(1e6, 0.001, 1), tmp_path)[0]
