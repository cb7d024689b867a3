"""Cells: what an h5ad says of itself, which features the graph knows, and what registering keeps."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from kg.cells import (
    CellsFile,
    assay_of,
    cells,
    is_gene_layer,
    match_features,
    modality_of,
    read_header,
    register,
    split_positions,
)
from kg.errors import ChecksumMismatch, CoverageTooLow, InputError, MissingInput, NotFound
from kg.files import sha256
from kg.schema import GENE, PEAK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.store import Store


def genes(*rows: tuple[str, str, str], assembly: str = "GRCh38") -> pa.Table:
    """id, symbol, chrom."""
    same = {"species": "NCBITaxon:9606", "assembly": assembly, "start": 1, "end": 2, "strand": "+", "tss": 1}
    return pa.Table.from_pylist([{"id": i, "symbol": s, "chrom": c, **same} for i, s, c in rows], schema=GENE.schema)


def peaks(*rows: tuple[str, int, int], assembly: str = "GRCh38") -> pa.Table:
    listed = [
        {
            "id": f"{assembly}:{c}:{a}-{b}",
            "assembly": assembly,
            "chrom": c,
            "start": a,
            "end": b,
            "summit": None,
            "original": None,
        }
        for c, a, b in rows
    ]
    return pa.Table.from_pylist(listed, schema=PEAK.schema)


GENES = genes(
    ("ENSG00000000001", "AAA", "chr1"),
    ("ENSG00000000002", "BBB", "chr1"),
    ("ENSG00000000003", "BBB", "chr2"),
    ("ENSG00000000004", "HLA-A", "chr6"),
    ("ENSG00000000005", "HLA-A", "CHR_HSCHR6_MHC_COX_CTG1"),
    ("ENSG00000000006", "SHOX", "chrX"),
    ("ENSG00000000006_PAR_Y", "SHOX", "chrY"),
    ("ENSG00000000007", "ENSG00000000007", "KI270733.1"),
)
PEAKS = peaks(("chr1", 100, 600), ("chrX", 5, 9), ("chrM", 1, 30), ("chr4_GL456216_random", 7, 70))


def h5ad(path: Path, names: Sequence[str], n_cells: int = 3, *, layers: Sequence[str] = (), **uns: Any) -> Path:
    counts = sp.csr_matrix(np.arange(n_cells * len(names)).reshape(n_cells, -1) % 3, dtype=np.float32)
    made = anndata.AnnData(counts, var=pd.DataFrame(index=list(names)), uns=uns)
    for layer in layers:
        made.layers[layer] = counts
    made.write_h5ad(path)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ENSG00000000001", "ENSG00000000001"),
        ("ENSG00000000001.7", "ENSG00000000001"),
        ("AAA", "ENSG00000000001"),
        ("HLA-A", "ENSG00000000004"),  # the one on a main chromosome
        ("SHOX", "ENSG00000000006"),  # not its copy on Y
        ("ENSG00000000006_PAR_Y", "ENSG00000000006_PAR_Y"),
        ("ENSG00000000007", "ENSG00000000007"),
        ("chr1:100-600", "GRCh38:chr1:100-600"),
        ("chr1-100-600", "GRCh38:chr1:100-600"),
        ("chr1_100_600", "GRCh38:chr1:100-600"),
        ("1:100-600", "GRCh38:chr1:100-600"),
        ("X-5-9", "GRCh38:chrX:5-9"),
        ("MT:1-30", "GRCh38:chrM:1-30"),
        ("chr4_GL456216_random-7-70", "GRCh38:chr4_GL456216_random:7-70"),
    ],
)
def test_a_feature_is_found_by_any_of_its_names(name: str, expected: str) -> None:
    match = match_features([name], GENES, PEAKS)
    assert match.ids == (expected,)
    assert match.coverage == 1


def test_a_layer_of_a_gene_has_its_id_after_a_name_of_its_own() -> None:
    names = ["mCH:AAA", "mCG:ENSG00000000001.3", "mCH:ENSG00000000001", "mCH:nothing", "mCH:BBB", "AAA"]
    match = match_features(names, GENES, PEAKS)
    assert match.ids == ("mCH:ENSG00000000001", "mCG:ENSG00000000001", None, None, None, "ENSG00000000001")
    assert (match.unmapped, match.ambiguous) == (("mCH:nothing",), ("mCH:ENSG00000000001", "mCH:BBB"))
    assert [modality_of(n) for n in (["mCH:A", "mCH:B", "c"], ["A", "B"], ["chr1:1-2"], [])] == [
        "mCH",
        "rna",
        "atac",
        "rna",
    ]
    assert [is_gene_layer(m) for m in ("mCH", "mC", "rna", "atac", "mcherry")] == [True, True, False, False, False]


def test_what_is_not_found_is_named() -> None:
    match = match_features(["AAA", "BBB", "CCC", "aaa", "chr1:100-601", "ENSG00000000001.2"], GENES, PEAKS)
    assert match.ids == ("ENSG00000000001", None, None, None, None, None)
    assert match.unmapped == ("CCC", "aaa", "chr1:100-601")
    assert match.ambiguous == ("BBB", "ENSG00000000001.2")  # two genes; a gene that AAA already is
    assert match.coverage == pytest.approx(1 / 6)


def test_only_one_assembly_is_looked_at() -> None:
    both = pa.concat_tables([GENES, genes(("ENSMUSG00000000001", "AAA", "chr3"), assembly="GRCm38")])
    assert match_features(["AAA"], both, PEAKS).ambiguous == ("AAA",)
    assert match_features(["AAA"], both, PEAKS, "GRCm38").ids == ("ENSMUSG00000000001",)
    assert match_features(["chr1:100-600"], both, PEAKS, "GRCm38").ids == (None,)


def test_low_coverage_is_refused_with_the_names() -> None:
    names = ["AAA", *(f"G{i}" for i in range(30))]
    with pytest.raises(
        CoverageTooLow, match=r"rna\.h5ad: the graph knows 1 of 31 features \(3\.2%\), 80% are"
    ) as caught:
        match_features(names, GENES, PEAKS).check("rna.h5ad")
    assert "G0, G1, G2" in caught.value.message
    assert "G19 and 10 more" in caught.value.message
    match_features(["AAA", "SHOX", "HLA-A", "chr1:100-600", "nothing"], GENES, PEAKS).check("rna.h5ad")


def test_positions() -> None:
    parts = split_positions(pd.Series(["chr1:1-20", "chr1_x_random_3_4", "HLA-A", "a:b-c"]))
    assert parts.iloc[0].tolist() == ["chr1", "1", "20"]
    assert parts.iloc[1].tolist() == ["chr1_x_random", "3", "4"]
    assert parts.iloc[2:].isna().all(axis=None)


def test_a_header_is_read_without_the_matrix(tmp_path: Path) -> None:
    header = read_header(h5ad(tmp_path / "rna.h5ad", ["AAA", "HLA-A"], 5, layers=["counts"], assembly="hg38"))
    assert (header.cells, header.features, header.layers, header.assembly, header.modality) == (
        5,
        ["AAA", "HLA-A"],
        ("counts",),
        "hg38",
        "rna",
    )
    atac = read_header(h5ad(tmp_path / "atac.h5ad", ["chr1:1-2", "chr1-3-4", "x"]))
    assert (atac.modality, atac.assembly, atac.layers) == ("atac", None, ())


def test_what_is_no_anndata_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5ad").write_text("chr1\t1\t2\n")
    with pytest.raises(InputError, match="not an AnnData file"):
        read_header(tmp_path / "text.h5ad")
    with pytest.raises(MissingInput, match="no such file"):
        read_header(tmp_path / "nothing.h5ad")


def registered(store: Store, path: Path, name: str = "set") -> tuple[CellsFile, str]:
    match = match_features(read_header(path).features, GENES, PEAKS)
    return register(store, name, path, match, modality=read_header(path).modality, assembly="GRCh38")


def test_cells_are_registered_moved_and_changed(store: Store, tmp_path: Path) -> None:
    rna = h5ad(tmp_path / "rna.h5ad", ["AAA", "SHOX", "nothing"], 4, layers=["counts"])
    made, happened = registered(store, rna)
    assert happened == "added"
    assert made == CellsFile(
        name="set",
        modality="rna",
        sha256=sha256(rna),
        path=str(rna.resolve()),
        shape=(4, 3),
        layers=("counts",),
        assembly="GRCh38",
        features_sha256=made.features_sha256,
        coverage=2 / 3,
    )
    assert registered(store, rna)[1] == "unchanged"
    (tmp_path / "away").mkdir()
    moved = tmp_path / "away" / "rna2.h5ad"
    shutil.move(rna, moved)
    with pytest.raises(MissingInput, match=r"the rna file of cells 'set' is not there"):
        cells(store, "set")[0].check_unchanged()
    again, happened = registered(store, moved)
    assert (happened, again.sha256) == ("moved", made.sha256)
    (held,) = cells(store, "set")
    assert held == again
    held.check_unchanged()
    h5ad(moved, ["AAA"], 9)
    with pytest.raises(ChecksumMismatch, match="changed since it was registered"):
        held.check_unchanged()
    assert registered(store, moved)[1] == "changed"
    assert cells(store, "set")[0].shape == (9, 1)
    assert store.read("MATCH (c:Cells) RETURN count(c) AS n") == [{"n": 1}]


def test_the_assembly_of_a_further_species_is_no_part_of_the_assay() -> None:
    names = ("rna", "rna-GRCm38", "atac-GRCm38", "mCH-GRCm38")
    assert [assay_of(name) for name in names] == ["rna", "rna", "atac", "mCH"]
    assert [is_gene_layer(name) for name in names] == [False, False, False, True]


def test_a_set_has_one_file_a_modality(store: Store, tmp_path: Path) -> None:
    registered(store, h5ad(tmp_path / "rna.h5ad", ["AAA"]))
    registered(store, h5ad(tmp_path / "atac.h5ad", ["chr1:100-600"]))
    registered(store, h5ad(tmp_path / "other.h5ad", ["SHOX"]), "other")
    assert [(c.name, c.modality) for c in cells(store, "set")] == [("set", "atac"), ("set", "rna")]
    with pytest.raises(NotFound, match="no cells are called 'third'") as caught:
        cells(store, "third")
    assert "registered are other, set" in caught.value.hint
