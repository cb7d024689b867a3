"""Curated targets: formats, signs, grades, complexes, and counts of the real collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import InputError, SettingsError
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, graph_of, run_source, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

SYMBOLS = (
    "JUN",
    "FOS",
    "FOSB",
    "FOSL1",
    "FOSL2",
    "JUNB",
    "JUND",
    "NFKB1",
    "NFKB2",
    "REL",
    "RELA",
    "RELB",
    "MYC",
    "TERT",
)
HEAD = "ensgene\tsymbol\tchr\tstart\tend\tstrand\tbiotype\n"


def gene_id(symbol: str) -> str:
    return f"ENSG{SYMBOLS.index(symbol) + 1:011d}"


def genes(path: Path, *, mouse: bool = False) -> Path:
    written = [s.capitalize() if mouse else s for s in SYMBOLS]
    rows = [f"{gene_id(s.upper())}\t{s}\t1\t{i + 1}\t{i + 90}\t1\tx\n" for i, s in enumerate(written)]
    return write(path, HEAD + "".join(rows))


@pytest.fixture
def graph(tmp_path: Path) -> Mapping[str, pa.Table]:
    return graph_of([genes(tmp_path / "genes.tsv")], [SAMPLES / "peaks" / "peaks.bed"])


def targets(reading: Any) -> dict[tuple[str, str, str], tuple[int, str | None, str | None, str | None]]:
    rows: list[dict[str, Any]] = next((b.table.to_pylist() for b in reading.batches if b.type.name == "TARGETS"), [])
    symbol = {gene_id(s): s for s in SYMBOLS}
    return {
        (symbol[r["start_id"]], symbol[r["end_id"]], r["mode"]): (
            r["sign"],
            r["confidence"],
            r["references"],
            r["resources"],
        )
        for r in rows
    }


def factors(reading: Any) -> set[str]:
    return {id_ for b in reading.batches if b.type.name == "TF" for id_ in b.table["id"].to_pylist()}


def test_collectri(tmp_path: Path, graph: Mapping[str, pa.Table]) -> None:
    text = (
        '"source","target","weight","resources","references","sign_decision"\n'
        '"MYC","TERT",1,"DoRothEA-A;TRRUST","10491298;10606235","PMID"\n'
        '"MYC","JUN",-1,"NTNU","1","regulon"\n'
        '"JUN","FOS",1,"NTNU","2","default activation"\n'
    )
    reading = run_source("tf_targets", [write(tmp_path / "collectri.csv", text)], graph=graph)
    assert targets(reading) == {
        ("MYC", "TERT", "activation"): (1, None, "10491298;10606235", "DoRothEA-A;TRRUST"),
        ("MYC", "JUN", "repression"): (-1, None, "1", "NTNU"),
        ("JUN", "FOS", "unknown"): (0, None, "2", "NTNU"),
    }
    assert factors(reading) == {gene_id("MYC"), gene_id("JUN")}


def test_older_collectri_has_weights_only(tmp_path: Path, graph: Mapping[str, pa.Table]) -> None:
    text = '"source","target","weight"\n"MYC","TERT",1\n"MYC","JUN",x\n'
    reading = run_source("tf_targets", [write(tmp_path / "c.csv", text)], graph=graph)
    assert targets(reading) == {("MYC", "TERT", "activation"): (1, None, None, None)}
    assert list(messages(reading.rejected)) == ["c.csv:3 column 'weight': 'x' is not a number"]


@pytest.mark.parametrize(("grade", "kept"), [("A", 1), ("C", 2), ("E", 3)])
def test_dorothea_is_cut_at_a_grade(tmp_path: Path, graph: Mapping[str, pa.Table], grade: str, kept: int) -> None:
    text = "tf\tconfidence\ttarget\tmor\nMYC\tA\tTERT\t1.0\nMYC\tC\tJUN\t-1.0\nMYC\tE\tFOS\t1.0\nMYC\tF\tREL\t1.0\n"
    reading = run_source("tf_targets", [write(tmp_path / "d.tsv", text)], graph=graph, confidence=grade)
    all_of = [
        (("MYC", "TERT", "activation"), (1, "A", None, None)),
        (("MYC", "JUN", "repression"), (-1, "C", None, None)),
        (("MYC", "FOS", "activation"), (1, "E", None, None)),
    ]
    assert targets(reading) == dict(all_of[:kept])
    assert reading.filtered == 3 - kept
    assert list(messages(reading.rejected)) == ["d.tsv:5 column 'confidence': 'F' is not a grade from A to E"]


def test_trrust_merges_the_references_of_what_comes_twice(tmp_path: Path, graph: Mapping[str, pa.Table]) -> None:
    text = "MYC\tTERT\tActivation\t9;7\nMYC\tTERT\tRepression\t3\nMYC\tTERT\tActivation\t8\nMYC\tJUN\tFoo\t8\n"
    reading = run_source("tf_targets", [write(tmp_path / "t.tsv", text)], graph=graph)
    assert targets(reading) == {
        ("MYC", "TERT", "activation"): (1, None, "7;8;9", None),
        ("MYC", "TERT", "repression"): (-1, None, "3", None),
    }
    assert reading.folded == 1
    assert list(messages(reading.rejected)) == ["t.tsv:4 column 'mode': 'foo' is not activation, repression or unknown"]


COMPLEX = '"source","target","weight"\n"AP1","MYC",1\n"JUN","MYC",1\n"JUN","TERT",-1\n"NFKB","TERT",-1\n'


def test_a_complex_stands_for_its_members(tmp_path: Path, graph: Mapping[str, pa.Table]) -> None:
    reading = run_source("tf_targets", [write(tmp_path / "c.csv", COMPLEX)], graph=graph)
    ap1 = {(m, "MYC", "activation"): (1, None, None, "complex AP1") for m in SYMBOLS[:7]}
    nfkb = {(m, "TERT", "repression"): (-1, None, None, "complex NFKB") for m in SYMBOLS[7:12]}
    own = {("JUN", "MYC", "activation"): (1, None, None, None), ("JUN", "TERT", "repression"): (-1, None, None, None)}
    assert targets(reading) == ap1 | nfkb | own
    assert (reading.read, reading.folded, reading.filtered) == (4, 1, 0)


def test_complexes_may_be_left_out(tmp_path: Path, graph: Mapping[str, pa.Table]) -> None:
    reading = run_source("tf_targets", [write(tmp_path / "c.csv", COMPLEX)], graph=graph, complexes="leave-out")
    assert set(targets(reading)) == {("JUN", "MYC", "activation"), ("JUN", "TERT", "repression")}
    assert reading.filtered == 2


def test_a_complex_of_a_mouse_has_members_of_a_mouse(tmp_path: Path) -> None:
    graph = graph_of([genes(tmp_path / "m.tsv", mouse=True)], [SAMPLES / "peaks" / "peaks.bed"], "GRCm38")
    text = '"source","target","weight"\n"Nfkb","Myc",1\n'
    reading = run_source("tf_targets", [write(tmp_path / "c.csv", text)], "GRCm38", graph=graph)
    assert factors(reading) == {gene_id(m) for m in SYMBOLS[7:12]}
    assert (
        run_source("tf_targets", [tmp_path / "c.csv"], "GRCm38", graph=graph, species="NCBITaxon:10090").rows
        == len(factors(reading)) * 2
    )
    with pytest.raises(SettingsError, match="no gene of NCBITaxon:9606") as caught:
        run_source("tf_targets", [tmp_path / "c.csv"], "GRCm38", graph=graph, species="NCBITaxon:9606")
    assert "NCBITaxon:10090" in caught.value.hint


def test_another_table_is_refused(tmp_path: Path, graph: Mapping[str, pa.Table]) -> None:
    with pytest.raises(InputError, match="no column mode, references") as caught:
        run_source("tf_targets", [write(tmp_path / "x.tsv", "MYC\tTERT\n")], graph=graph)
    assert "CollecTRI" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "options", "pairs", "tfs", "ambiguous"),
    [
        ("collectri_human.csv", {}, 48_116, 1_184, 31),
        ("collectri_human.csv", {"complexes": "leave-out"}, 41_614, 1_184, 31),
        ("trrust_human.tsv", {}, 9_269, 778, 13),
        ("dorothea_hs.tsv.gz", {}, 13_174, 270, 7),
    ],
)
def test_real_collections(  # counted by a loop over the rows with plain dictionaries of symbols
    data: Path, human: Mapping[str, pa.Table], file: str, options: dict[str, str], pairs: int, tfs: int, ambiguous: int
) -> None:
    reading = run_source("tf_targets", [data / "tf_targets" / file], graph=human, **options)
    assert {b.type.name: len(b) for b in reading.batches} == {"TARGETS": pairs, "TF": tfs}
    assert reading.rejected["rule"].tolist() == ["MANY_GENES"] * ambiguous


@pytest.fixture(scope="module")
def human(data: Path) -> Mapping[str, pa.Table]:
    return graph_of([data / "genes" / "grch38.tsv.gz"], [SAMPLES / "peaks" / "peaks.bed"])
