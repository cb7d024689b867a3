"""Genes: three formats, ids, strands, and what is wrong with rows and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import AssemblyMismatch, InputError
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "ensgene\tentrez\tsymbol\tchr\tstart\tend\tstrand\tbiotype\tdescription\n"


def genes_of(path: Path, of: str = "GRCh38") -> dict[str, dict[str, Any]]:
    (batch,) = run_source("genes", [path], of).batches
    return {row["id"]: row for row in batch.table.to_pylist()}


def table(*rows: str) -> str:
    return HEADER + "".join(row.replace(" ", "\t") + "\n" for row in rows)


def test_gtf() -> None:
    genes = genes_of(SAMPLES / "genes" / "genes.gtf")
    assert len(genes) == 6
    assert genes["ENSG00000000101"] == {
        "id": "ENSG00000000101",
        "symbol": "AAA1",
        "species": "NCBITaxon:9606",
        "assembly": "GRCh38",
        "chrom": "chr1",
        "start": 11868,
        "end": 14409,
        "strand": "+",
        "tss": 11868,
        "biotype": "lncRNA",
        "version": "5",
    }
    minus = genes["ENSG00000000102"]
    assert (minus["start"], minus["end"], minus["strand"], minus["tss"]) == (20000, 29570, "-", 29569)
    assert minus["symbol"] == "NA"  # a name, not a missing value
    assert genes["ENSG00000000103"]["symbol"] == "ENSG00000000103"
    assert [genes[f"ENSG0000000010{i}"]["chrom"] for i in (5, 6)] == ["chrM", "KI270733.1"]


def test_gff3_of_gencode_and_of_ensembl() -> None:
    genes = genes_of(SAMPLES / "genes" / "genes.gff3")
    assert set(genes) == {f"ENSG0000000010{i}" for i in (1, 2, 7, 8)} | {"ENSG00000000107_PAR_Y"}
    assert {i: (genes[i]["chrom"], genes[i]["version"]) for i in genes if "107" in i} == {
        "ENSG00000000107": ("chrX", "15"),
        "ENSG00000000107_PAR_Y": ("chrY", "15"),
    }
    ensembl = genes["ENSG00000000108"]
    assert (ensembl["symbol"], ensembl["biotype"], ensembl["version"]) == ("DDD4", "lncRNA", "3")


def test_a_table_whose_genes_repeat_by_entrez_id() -> None:
    reading = run_source("genes", [SAMPLES / "genes" / "table.tsv"])
    assert (reading.read, reading.folded, reading.rows) == (5, 1, 4)
    genes = genes_of(SAMPLES / "genes" / "table.tsv")
    assert genes["ENSG00000000102"]["symbol"] == "NA"
    assert genes["ENSG00000000102"]["tss"] == 29569
    assert genes["ENSG00000000103"]["symbol"] == "ENSG00000000103"
    assert genes["ENSG00000000101"]["version"] is None


def test_equal_genes_in_gtf_and_table_have_equal_places() -> None:
    gtf, tsv = (genes_of(SAMPLES / "genes" / name) for name in ("genes.gtf", "table.tsv"))
    shared = set(gtf) & set(tsv)
    assert len(shared) == 4
    assert all({**gtf[i], "version": None} == tsv[i] for i in shared)


@pytest.mark.parametrize(
    ("written", "id_", "version"),
    [
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y", "15"),
        ("ENSGR0000182378.10", "ENSG00000182378_PAR_Y", "10"),
        ("ENSMUSG00000000001.4", "ENSMUSG00000000001", "4"),
        ("ENSMUSG00000000001", "ENSMUSG00000000001", None),
    ],
)
def test_ids_lose_their_version_and_keep_it_beside(tmp_path: Path, written: str, id_: str, version: str | None) -> None:
    path = write(tmp_path / "g.tsv", table(f"{written} 1 A X 5 9 1 x y"))
    assert [(row["id"], row["version"]) for row in genes_of(path).values()] == [(id_, version)]


def test_genes_that_contradict_each_other_are_all_set_apart(tmp_path: Path) -> None:
    rows = [
        "E1 1 A 1 5 90 1 x y",
        "E2 1 B 1 5 90 1 x y",
        "E1 2 A 1 5 90 1 x y",
        "E1 3 A 1 6 90 1 x y",
        "E3 1 C 1 7 9 1 x y",
    ]
    reading = run_source("genes", [write(tmp_path / "g.tsv", table(*rows))])
    assert list(messages(reading.rejected)) == [
        f"g.tsv:{line} column 'id': E1 occurs again with other values" for line in (2, 4, 5)
    ]
    assert reading.batches[0].table["id"].to_pylist() == ["E2", "E3"]
    assert reading.folded == 0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("E1 1 A 1 0 90 1 x y", "column 'start': positions of this format start from 1, not 0"),
        ("E1 1 A 1 91 90 1 x y", "column 'end': 90 is less than start 91"),
        ("E1 1 A 1 5 90 0 x y", "column 'strand': '0' is neither + nor -"),
        (
            "E1 1 A 1 5 248956423 1 x y",
            "column 'end': 248956423 lies beyond the end of chr1 of GRCh38 (248,956,422 bp)",
        ),
        ("E1 1 A 24 5 90 1 x y", "column 'chrom': '24' is not a chromosome of GRCh38"),
        (" 1 A 1 5 90 1 x y", "column 'id': the row has no id"),
        ("E1 1 A 1 5 9O 1 x y", "column 'end': '9O' is not a whole number"),
    ],
)
def test_a_bad_row_is_set_apart_with_file_line_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    reading = run_source("genes", [write(tmp_path / "g.tsv", table("E0 1 A 1 5 9 -1 x y", row))])
    assert list(messages(reading.rejected)) == [f"g.tsv:3 {reason}"]
    assert reading.rows == 1


def test_a_gene_of_one_base_is_a_gene(tmp_path: Path) -> None:
    gene = genes_of(write(tmp_path / "g.tsv", table("E1 1 A 1 5 5 -1 x y")))["E1"]
    assert (gene["start"], gene["end"], gene["tss"]) == (4, 5, 4)


def test_an_annotation_without_genes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gtf", '1\tm\texon\t5\t9\t.\t+\t.\tgene_id "E1";\n')
    with pytest.raises(InputError, match=r"x\.gtf: no line has the feature gene"):
        run_source("genes", [path])


def test_a_file_that_is_no_gene_file_is_refused_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are chr1, 5, 9") as caught:
        run_source("genes", [write(tmp_path / "g.bed", "chr1\t5\t9\n")])
    assert "GTF" in caught.value.hint


def test_real_tables(data: Path) -> None:
    human = run_source("genes", [data / "genes" / "grch38.tsv.gz"])
    assert (human.read, human.rows, human.folded, len(human.rejected)) == (75_118, 69_299, 5_819, 0)
    mouse = run_source("genes", [data / "genes" / "grcm38.tsv.gz"], "GRCm38")
    assert (mouse.rows, len(mouse.rejected)) == (56_962, 51)
    assert "GRCm39 would fit" in mouse.warnings[0]
    assert run_source("genes", [data / "genes" / "mmul801.tsv.gz"], "Mmul_10").rows == 35_432
    with pytest.raises(AssemblyMismatch, match="922 of 38,338 rows have no place on Mmul_8"):
        run_source("genes", [data / "genes" / "mmul801.tsv.gz"], "Mmul_8")
    with pytest.raises(AssemblyMismatch):
        run_source("genes", [data / "genes" / "grch38.tsv.gz"], "GRCh37")


def test_a_real_gtf(data: Path) -> None:
    genes = genes_of(data / "genes" / "gencode_human_slice.gtf.gz")
    wash = genes["ENSG00000227232"]
    assert (wash["symbol"], wash["start"], wash["end"], wash["tss"], wash["version"]) == (
        "WASH7P",
        14403,
        29570,
        29569,
        "5",
    )
