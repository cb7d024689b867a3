"""Links that other programs predicted: every format, what joins and what does not, and counts of the real files."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from kg.errors import InputError
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, bed, graph_of, run_source, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

FOLDER = SAMPLES / "links"
AAA1, NA, BBB2, CCC3 = (f"ENSG{i:011d}" for i in (101, 102, 104, 106))
ONE, TWO, FOUR = "GRCh38:chr1:9500-9800", "GRCh38:chr1:11800-12100", "GRCh38:chr1:31500-31900"
OF_BBB2 = "GRCh38:chr2:61000-62010"


def links(reading: Any) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Return peak, gene, factor, model -> the other columns."""
    return {(r.pop("start_id"), r.pop("end_id"), r.pop("tf"), r.pop("model")): r for r in rows_of(reading)}


def rows_of(reading: Any) -> list[dict[str, Any]]:
    return next((b.table.to_pylist() for b in reading.batches if b.type.name == "EXTERNAL_LINK"), [])


def scores(reading: Any) -> dict[tuple[str, str, str, str], float]:
    return {key: row["score"] for key, row in links(reading).items()}


def test_encode_re2g() -> None:
    reading = run_source("links", [FOLDER / "re2g.tsv"])
    same = {"score_kind": "re2g", "threshold": None, "biosample": "K562", "sign": None, "original": None}
    assert links(reading) == {
        (ONE, AAA1, "", "ENCODE-rE2G"): {**same, "score": 0.75, "element": "chr1:9600-9900"},
        (TWO, AAA1, "", "ENCODE-rE2G"): {**same, "score": 0.5, "element": "chr1:11900-12000"},
        (OF_BBB2, BBB2, "", "ENCODE-rE2G"): {**same, "score": 0.125, "element": "chr2:61900-62500"},
    }
    assert (reading.read, reading.filtered) == (5, 2)  # no peak, no gene
    assert reading.warnings == ("re2g.tsv: 1 genes are not in the graph: GONE",)


def test_the_portal_writes_its_header_as_a_comment(tmp_path: Path) -> None:
    head = "#chr\tstart\tend\tname\tclass\tTargetGene\tTargetGeneEnsemblID\tTargetGeneTSS\tCellType\tScore\tX.Feature\n"
    text = head + f"chr1\t9600\t9900\te\tgenic\tAAA1\t{AAA1}\t1\tCD14\t0.25\t0.5\n"
    reading = run_source("links", [write(tmp_path / "ENCFF1.bed.gz", text)])
    assert scores(reading) == {(ONE, AAA1, "", "ENCODE-rE2G"): 0.25}
    reading = run_source("links", [tmp_path / "ENCFF1.bed.gz"], model="EPIraction 1.6", threshold=0.0, biosample="B")
    ((key, row),) = links(reading).items()
    assert (key[3], row["threshold"], row["biosample"]) == ("EPIraction 1.6", 0.0, "B")


def test_abc_keeps_the_threshold_of_the_name_and_a_minimum_filters() -> None:
    file = FOLDER / "abc_threshold0.025.tsv"
    reading = run_source("links", [file])
    assert {(*k[:2], r["score_kind"]) for k, r in links(reading).items()} == {(ONE, AAA1, "abc"), (FOUR, NA, "abc")}
    assert [r["threshold"] for r in rows_of(reading)] == pytest.approx([0.025, 0.025])
    reading = run_source("links", [file], min_score=0.04)
    assert set(scores(reading)) == {(ONE, AAA1, "", "ABC")}
    assert reading.filtered == 1


@pytest.mark.parametrize("older", [False, True])
def test_scenic_plus(tmp_path: Path, *, older: bool) -> None:
    text = (FOLDER / "eRegulon_direct.tsv").read_text()
    if older:
        text = text.replace("importance_R2G", "R2G_importance").replace("rho_R2G", "R2G_rho")
    reading = run_source("links", [write(tmp_path / "e.tsv", text)])
    assert {k: (r["score"], r["sign"], r["score_kind"], r["element"]) for k, r in links(reading).items()} == {
        (ONE, AAA1, BBB2, "SCENIC+"): (0.125, 1, "importance", "chr1:9500-10000"),
        (ONE, AAA1, BBB2, "SCENIC+ extended"): (0.125, 1, "importance", "chr1:9500-10000"),
        (OF_BBB2, BBB2, CCC3, "SCENIC+"): (0.25, -1, "importance", "chr2:61500-62000"),
    }


BASE = {
    (ONE, AAA1, BBB2, "CellOracle base GRN"): 1.0,
    (OF_BBB2, BBB2, CCC3, "CellOracle base GRN"): 1.0,
}


def test_the_base_grn_of_celloracle_as_csv_and_parquet(tmp_path: Path) -> None:
    frame = pd.read_csv(FOLDER / "base_GRN.csv", index_col=0, keep_default_na=False)
    frame.to_parquet(tmp_path / "base.parquet")
    for file in (FOLDER / "base_GRN.csv", tmp_path / "base.parquet"):
        reading = run_source("links", [file])
        assert scores(reading) == BASE
        assert (reading.read, reading.filtered) == (4, 2)  # no motif; a factor that the graph lacks
        assert reading.warnings == (f"{file.name}: 1 genes are not in the graph: UNKNOWN",)


def test_a_large_parquet_comes_in_steps(tmp_path: Path) -> None:
    n = 25_000
    starts = range(0, 10 * n, 10)
    frame = pd.DataFrame({"peak_id": [f"chr1_{s}_{s + 5}" for s in starts], "gene_short_name": "AAA1"})
    frame["BBB2"] = [float(s % 30 == 0) for s in starts]
    frame["CCC3"] = [float(s % 70 == 0) for s in starts]
    frame.to_parquet(tmp_path / "base.parquet")
    reading = run_source("links", [tmp_path / "base.parquet"])
    expected = {
        (s, tf)
        for s in starts
        for tf, every in ((BBB2, 30), (CCC3, 70))
        if s % every == 0
        and any(
            s < e and b < s + 5
            for b, e in ((9500, 9800), (11800, 12100), (14409, 14600), (29600, 30050), (31500, 31900))
        )
    }
    pairs = {(int(r["element"].split(":")[1].split("-")[0]), r["tf"]) for r in rows_of(reading)}
    assert pairs == expected
    assert reading.read == n


CELLORACLE = (
    ",source,target,coef_mean,coef_abs,p,-logp\n"
    "0,BBB2,AAA1,-0.25,0.25,0.0001,4\n1,CCC3,BBB2,0.5,0.5,0.01,2\n2,CCC3,AAA1,0.5,0.5,0.0001,4\n"
)


def test_links_of_celloracle_go_where_the_base_grn_has_the_motif(tmp_path: Path) -> None:
    file = write(tmp_path / "HSC.csv", CELLORACLE)
    reading = run_source("links", [file], base_grn=FOLDER / "base_GRN.csv")
    ((key, row),) = links(reading).items()
    assert key == (ONE, AAA1, BBB2, "CellOracle")
    assert (row["score"], row["sign"], row["biosample"], row["score_kind"]) == (0.25, -1, "HSC", "coefficient")
    assert (reading.read, reading.filtered) == (3, 2)  # p is too large; the base GRN does not join them
    reading = run_source("links", [file], base_grn=FOLDER / "base_GRN.csv", max_p=0.05)
    assert set(links(reading)) == {key, (OF_BBB2, BBB2, CCC3, "CellOracle")}


def test_links_of_celloracle_need_a_base_grn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CellOracle's links name no peaks") as caught:
        run_source("links", [write(tmp_path / "HSC.csv", CELLORACLE)])
    assert "--base-grn" in caught.value.hint


def test_wrong_rows_of_the_base_grn_are_told(tmp_path: Path) -> None:
    base = write(tmp_path / "b.csv", (FOLDER / "base_GRN.csv").read_text() + "9,chr1_5,AAA1,1.0,0.0,0.0\n")
    reading = run_source("links", [write(tmp_path / "HSC.csv", CELLORACLE)], base_grn=base)
    assert reading.warnings[0] == (
        "b.csv: 1 rows were rejected, the first because 'chr1_5' is not a position such as chr1:1000-1500 or "
        "chr1_1000_1500"
    )


def bengi(label: int, start: int, end: int, gene: str) -> tuple[Any, ...]:
    element = f"chr1:{start}-{end}|GM12878|EH1"
    return (label, 9.0, "chr1", start, end, element, "chr1", 1, 9, f"chr1:1-2|GM12878|{gene}.3|ENST1.1|+")


def test_bengi_keeps_what_is_not_linked_under_its_threshold(tmp_path: Path) -> None:
    rows = [bengi(1, 9600, 9900, AAA1), bengi(0, 9600, 9900, AAA1), bengi(0, 9600, 9900, BBB2), bengi(1, 1, 9, AAA1)]
    file = write(tmp_path / "GM12878.CTCF-ChIAPET-Benchmark.v3.tsv.gz", bed(*rows, bengi(7, 9600, 9900, AAA1)))
    reading = run_source("links", [file])
    same = {"score_kind": "label", "threshold": 0.5, "biosample": "GM12878", "sign": None, "original": None}
    assert links(reading) == {
        (ONE, AAA1, "", "BENGI CTCF-ChIAPET"): {**same, "score": 1.0, "element": "chr1:9600-9900"},
        (ONE, BBB2, "", "BENGI CTCF-ChIAPET"): {**same, "score": 0.0, "element": "chr1:9600-9900"},
    }
    assert (reading.read, reading.folded, reading.filtered) == (5, 1, 1)
    assert list(messages(reading.rejected)) == [f"{file.name}:5 column 'score': 7 is not between 0 and 1"]


def test_a_table_of_no_known_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no known format of links has the columns gene, peak") as caught:
        run_source("links", [write(tmp_path / "x.tsv", "peak\tgene\nchr1:1-2\tAAA1\n")])
    assert "CellOracle" in caught.value.hint


def test_a_position_that_is_none_is_rejected(tmp_path: Path) -> None:
    text = (FOLDER / "eRegulon_direct.tsv").read_text().replace("chr2:61500-62000", "somewhere")
    reading = run_source("links", [write(tmp_path / "e.tsv", text)])
    assert [m.partition(": ")[2] for m in messages(reading.rejected)] == [
        "'somewhere' is not a position such as chr1:1000-1500 or chr1_1000_1500"
    ]


@pytest.fixture(scope="module")
def h1(data: Path) -> Mapping[str, pa.Table]:
    return graph_of([data / "genes" / "grch38.tsv.gz"], [data / "cells" / "h1_snare" / "atac.h5ad"])


@pytest.mark.parametrize(
    ("file", "rows", "joined", "edges"),
    [
        ("encode_re2g_chr22_K562.tsv.gz", 7_218, 652, 666),
        ("abc_chr22_K562/EnhancerPredictionsFull_threshold0.027_self_promoter.tsv", 1_353, 434, 448),
    ],
)
def test_real_predictions(  # counted by a loop over rows and peaks
    data: Path, h1: Mapping[str, pa.Table], file: str, rows: int, joined: int, edges: int
) -> None:
    reading = run_source("links", [data / "e2g" / file], graph=h1)
    found = rows_of(reading)
    assert len(found) == edges
    assert len({(r["element"], r["end_id"]) for r in found}) == joined
    assert (reading.read, reading.filtered, len(reading.rejected)) == (rows, rows - joined, 0)
    assert {r["threshold"] and round(r["threshold"], 4) for r in found} == {None if "re2g" in file else 0.027}


def test_real_pairs_of_bengi(data: Path, tmp_path: Path) -> None:
    """On the peaks of PU.1 of the same cells and assembly; counted by a loop over rows and peaks."""
    file = data / "bengi" / "GM12878.CTCF-ChIAPET-Benchmark.v3.tsv.gz"
    with gzip.open(file, "rt") as lines:
        ids = sorted({line.split("|")[4].partition(".")[0] for line in lines})
    head = "ensgene\tsymbol\tchr\tstart\tend\tstrand\tbiotype\n"
    genes = write(tmp_path / "g.tsv", head + "".join(f"{id_}\t{id_}\t1\t1\t9\t1\tx\n" for id_ in ids))
    graph = graph_of([genes], sorted((data / "chipseq" / "gm12878_hg19").glob("*Pu1*")), "hg19")
    reading = run_source("links", [file], "hg19", graph=graph)
    rows = rows_of(reading)
    assert (reading.read, len(rows)) == (40_845, 5_303)
    assert len({(r["element"], r["end_id"]) for r in rows}) == 5_022
    assert sum(r["score"] for r in rows) == 787
