"""Where peaks are open: counted from cells against a slow loop, and read from peak files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from kg.errors import InputError
from loaders.cells import groups
from loaders.cells.groups import shares
from tests.loaders.world import SAMPLES, bed, graph_of, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.reading import ParsedSource

GENES = SAMPLES / "genes" / "genes.gtf"


def edges(reading: ParsedSource) -> dict[tuple[str, str], dict[str, Any]]:
    (batch,) = (b for b in reading.batches if b.type.name == "ACCESSIBLE_IN")
    return {(row["start_id"].removeprefix("GRCh38:"), row["end_id"]): row for row in batch.table.to_pylist()}


def biosamples(reading: ParsedSource) -> dict[str, str]:
    (batch,) = (b for b in reading.batches if b.type.name == "Biosample")
    return {row["id"]: row["ontology"] for row in batch.table.to_pylist()}


def cells_file(path: Path, x: Any, features: list[str], **obs: Any) -> Path:
    frame = pd.DataFrame(obs, index=[f"c{i}" for i in range(x.shape[0])])
    anndata.AnnData(x, obs=frame, var=pd.DataFrame(index=features)).write_h5ad(path)
    return path


def test_the_peaks_of_a_file_open_the_peaks_that_they_meet() -> None:
    reading = run_source("accessibility", [SAMPLES / "accessibility" / "open.narrowPeak"])
    scores = {peak: row["score"] for (peak, _), row in edges(reading).items()}
    # 9500-9800 is met by two, of which the stronger counts; of those on 11800-12100 the one with the same ends
    assert scores == {"chr1:9500-9800": 5.5, "chr1:11800-12100": 4.5, "chr2:61000-62010": 1.5}
    assert (reading.folded, reading.filtered, reading.read, reading.renamed) == (2, 1, 6, 1)
    assert {(row["score_kind"], row["cells"]) for row in edges(reading).values()} == {("signal", None)}
    assert biosamples(reading) == {"CL:0000576": "CL"}


def test_other_bed_has_the_score_of_its_fifth_column_or_one(tmp_path: Path) -> None:
    scored = write(tmp_path / "five.bed", bed(("chr1", 9500, 9800, "x", 700), ("chr1", 11_900, 11_910, "y", ".")))
    rows = edges(run_source("accessibility", [scored], biosample="B cell"))
    assert {peak: (row["score"], row["score_kind"]) for (peak, _), row in rows.items()} == {
        "chr1:9500-9800": (700, "bed"),
        "chr1:11800-12100": (0, "bed"),
    }
    bare = edges(run_source("accessibility", [write(tmp_path / "three.bed", bed(("chr1", 9500, 9800)))]))
    assert [(row["score"], row["score_kind"]) for row in bare.values()] == [(1, "peak")]


def test_a_peak_file_needs_its_biosample() -> None:
    with pytest.raises(InputError, match="does not name its biosample"):
        run_source("accessibility", [SAMPLES / "accessibility" / "open.narrowPeak"], biosample="")


FEATURES = ["chr1:9500-9800", "chr1:11800-12100", "chr1:14409-14600", "chr2:61000-62010", "chr3:5-9", "chr1:9450-9501"]


@pytest.mark.parametrize("store_as", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("values", [7, 1 << 24])
def test_shares_are_those_of_a_slow_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_as: Any, values: int
) -> None:
    monkeypatch.setattr(groups, "VALUES", values)
    rng = np.random.default_rng(3)
    x = (rng.random((90, 6)) < [0.9, 0.3, 0.02, 0.0, 1.0, 0.5]).astype(np.float32) * rng.integers(1, 5, (90, 6))
    kinds = ["CL:0000236"] * 40 + ["T cell"] * 48 + ["rare"] * 2
    labels = [None if i % 9 == 0 else kind for i, kind in enumerate(kinds)]
    path = cells_file(tmp_path / "atac.h5ad", store_as(x.astype(np.float32)), FEATURES, kind=pd.Categorical(labels))
    graph = graph_of([GENES], [SAMPLES / "peaks" / "peaks.bed"])
    reading = run_source("accessibility", [path], group="kind", min_share=0.05, min_cells=3, biosample="", graph=graph)
    expected = {}
    for group in ("CL:0000236", "T cell"):
        of_group = [i for i, label in enumerate(labels) if label == group]
        for j, feature in enumerate(FEATURES[:4]):
            share = sum(x[i, j] > 0 for i in of_group) / len(of_group)
            if share >= 0.05:
                expected[feature, group] = (pytest.approx(share), len(of_group))
    rows = edges(reading)
    assert {key: (row["score"], row["cells"]) for key, row in rows.items()} == expected
    assert {row["score_kind"] for row in rows.values()} == {"share_of_cells"}
    assert biosamples(reading) == {"CL:0000236": "CL", "T cell": "text"}
    # chr1:9450-9501 meets 9500-9800, which has a feature of its own; chr3 meets none; two are open nowhere or rarely
    assert reading.read == 6
    assert reading.warnings == (
        "atac.h5ad: groups of fewer than 3 cells were left out: rare (2)",
        "atac.h5ad: 10 cells have no group",
    )


def test_all_cells_may_be_of_one_biosample(tmp_path: Path) -> None:
    x = np.array([[1, 0], [3, 0], [0, 1], [0, 0]], dtype=np.float32)
    path = cells_file(tmp_path / "atac.h5ad", x, FEATURES[:2])
    rows = edges(run_source("accessibility", [path], biosample="K562", min_cells=1))
    assert {peak: row["score"] for (peak, _), row in rows.items()} == {FEATURES[0]: 0.5, FEATURES[1]: 0.25}
    assert {biosample for _, biosample in rows} == {"K562"}


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = cells_file(tmp_path / "atac.h5ad", np.ones((2, 2), np.float32), FEATURES[:2], batch=["a", "b"])
    with pytest.raises(InputError, match="obs has no column 'kind'") as caught:
        run_source("accessibility", [path], biosample="", group="kind")
    assert "obs has batch" in caught.value.hint
    with pytest.raises(InputError, match="neither --group nor --biosample"):
        run_source("accessibility", [path], biosample="")
    with pytest.raises(InputError, match="both name biosamples"):
        run_source("accessibility", [path], biosample="K562", group="batch")


def test_real_cells(data: Path) -> None:
    path = data / "cells" / "mouse_cortex_snare" / "atac.h5ad"
    graph = graph_of([GENES], [path], "mm10")
    reading = run_source("accessibility", [path], "mm10", group="cell_type", biosample="", graph=graph)
    cells = anndata.read_h5ad(path)
    seen = pd.DataFrame((cells.X > 0).toarray(), columns=cells.var_names).groupby(cells.obs["cell_type"].to_numpy())
    share = seen.mean()
    sizes = seen.size()
    big = [str(group) for group, n in sizes.items() if n >= 20]
    scores = {(row["start_id"], row["end_id"]): row["score"] for row in edges(reading).values()}
    expected = {(f"GRCm38:{peak}", group): v for group in big for peak, v in share.loc[group].items() if v >= 0.01}
    assert scores == pytest.approx(expected)
    whole = shares(path, "", "cortex")
    assert whole.cells.tolist() == [10_309]
    assert whole.share.sum() == pytest.approx(float((cells.X > 0).sum()) / 10_309)
