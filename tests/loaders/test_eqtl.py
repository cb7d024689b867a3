"""eQTLs: formats, variants as intervals, thresholds, effects, fine-mapping, and the real tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from kg.errors import AssemblyMismatch, InputError
from loaders.genome.assemblies import assembly
from loaders.load import load
from loaders.requests import LoadRequest
from loaders.tables.lift_rows import read_lift
from loaders.tables.rows import messages
from tests.loaders.real import h1_graph, measured_genes, run_on_h1
from tests.loaders.world import SAMPLES, bed, content, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store
    from loaders.reading import ParsedSource

SAMPLE = SAMPLES / "eqtl"
AAA, NA, BBB = "ENSG00000000101", "ENSG00000000102", "ENSG00000000104"
LEAD = ("molecular_trait_id", "variant", "chromosome", "position")
LBF = ("molecular_trait_id", "region", "variant", "lbf_variable1", "lbf_variable2")


def rows_of(reading: ParsedSource, type_: str = "EQTL") -> list[dict[str, Any]]:
    tables = [b.table for b in reading.batches if b.type.name == type_]
    return [row for table in tables for row in table.to_pylist()]


def short(reading: ParsedSource, *columns: str) -> list[tuple[Any, ...]]:
    """Return peak, gene, variant and further columns."""
    rows = [tuple(row[c] for c in ("start_id", "end_id", "variant", *columns)) for row in rows_of(reading)]
    return sorted((p.removeprefix("GRCh38:"), g, v.removeprefix("GRCh38:"), *rest) for p, g, v, *rest in rows)


def test_nominal() -> None:
    reading = run_source("eqtl", [SAMPLE / "nominal.tsv"], biosample="CL:0000084", study="Made")
    assert short(reading, "score", "beta", "sign", "allele") == [
        ("chr1:9500-9800", AAA, "chr1:9501:A:G", 8.0, -0.5, -1, "G"),
        ("chr1:9500-9800", NA, "chr1:9498:CTGA:C", 10.0, 0.25, 1, "C"),  # a deletion that reaches into the peak
        ("chr1:9500-9800", NA, "chr1:9800:T:C", 5.0, pytest.approx(0.1), 1, "C"),  # the last base, p of 1e-5
        ("chr2:61000-62010", BBB, "chr2:61500:G:C", 300.0, 0.0, None, "C"),  # a p of 0
    ]
    assert {(r["kind"], r["score_kind"], r["biosample"], r["study"], r["trait"]) for r in rows_of(reading)} == {
        ("nominal", "minus_log10_p", "CL:0000084", "Made", "")
    }
    # p of 0.2; a gene that is not there; the bases on both sides of the peak. One variant has two rsids
    assert (reading.read, reading.filtered, reading.folded) == (9, 4, 1)
    variants = {row["id"]: row for row in rows_of(reading, "Variant")}
    assert {id_: row["rsid"] for id_, row in variants.items()} == {
        "GRCh38:chr1:9501:A:G": "rs3",
        "GRCh38:chr1:9498:CTGA:C": None,
        "GRCh38:chr1:9800:T:C": "rs5",
        "GRCh38:chr2:61500:G:C": "rs8",
    }
    deletion = variants["GRCh38:chr1:9498:CTGA:C"]
    assert (deletion["start"], deletion["end"], deletion["ref"], deletion["alt"]) == (9497, 9501, "CTGA", "C")
    assert len(rows_of(reading, "IN_PEAK")) == 4


def test_a_deletion_may_lie_in_two_peaks(tmp_path: Path) -> None:
    deletion = "A" * (29_601 - 14_599)  # from the last base of one peak to the first base of the next
    file = write(tmp_path / "lead.tsv", bed(LEAD, (AAA, f"chr1_14600_{deletion}_A", 1, 14600)))
    shorter = write(tmp_path / "shorter.tsv", bed(LEAD, (AAA, f"chr1_14600_{deletion[1:]}_A", 1, 14600)))
    peaks = ["GRCh38:chr1:14409-14600", "GRCh38:chr1:29600-30050"]
    reading = run_source("eqtl", [file])
    assert [row["start_id"] for row in rows_of(reading)] == peaks
    assert [row["end_id"] for row in rows_of(reading, "IN_PEAK")] == peaks
    assert len(rows_of(reading, "Variant")) == 1
    assert [row["start_id"] for row in rows_of(run_source("eqtl", [shorter]))] == peaks[:1]


def test_credible_sets() -> None:
    """The gene is gene_id, not the transcript; of two transcripts the surer stays; 0.1 is enough."""
    reading = run_source("eqtl", [SAMPLE / "credible_sets.tsv"])
    assert short(reading, "kind", "score", "pip", "sign", "p_value") == [
        ("chr2:61000-62010", BBB, "chr2:61500:G:C", "credible", 0.75, 0.75, 1, 1e-12),
        (*("chr2:61000-62010", BBB, "chr2:61501:T:TC", "credible"), *[pytest.approx(0.1)] * 2, -1, 1e-7),
    ]
    assert (reading.filtered, reading.folded) == (1, 1)
    assert run_source("eqtl", [SAMPLE / "credible_sets.tsv"], min_pip=0.2).filtered == 2


def test_older_credible_sets(tmp_path: Path) -> None:
    head = ("phenotype_id", "variant_id", "chr", "pos", "ref", "alt", "cs_id", "pip", "z")
    row = (AAA, "chr1_14500_A_G", "1", 14500, "A", "G", "L1", 0.4, 5)
    assert short(run_source("eqtl", [write(tmp_path / "cs.txt", bed(head, row))]), "pip", "allele") == [
        ("chr1:14409-14600", AAA, "chr1:14500:A:G", pytest.approx(0.4), None)
    ]


def slow_pip(factors: list[list[float]]) -> list[float]:
    """Compute the PIPs of one region, variants x effects, by a direct softmax."""
    outside = [1.0] * len(factors)
    for effect in zip(*factors, strict=True):
        if any(effect):
            total = sum(math.exp(x) for x in effect)
            outside = [o * (1 - math.exp(x) / total) for o, x in zip(outside, effect, strict=True)]
    return [1 - o for o in outside]


def test_bayes_factors_become_pips(tmp_path: Path) -> None:
    """Two regions in two files that share them; the second effect of region b was switched off."""
    rng = np.random.default_rng(7)
    factors = {region: rng.normal(0, 4, (9, 2)) for region in "ab"}
    factors["b"][:, 1] = 0
    rows = [
        (AAA, region, f"chr1_{14450 + i}_A_G", *map(float, factors[region][i])) for i in range(9) for region in "ab"
    ]
    rows = [(NA if row[1] == "b" else AAA, *row[1:]) for row in rows]
    files = [write(tmp_path / f"{i}.tsv", bed(LBF, *rows[i::2])) for i in range(2)]
    files.append(write(tmp_path / "2.tsv", bed(LBF, *rows[:3])))  # rows that come again count once
    pips = {(row["end_id"], row["variant"]): row["pip"] for row in rows_of(run_source("eqtl", files, min_pip=0.0))}
    for region, gene in (("a", AAA), ("b", NA)):
        expected = slow_pip(factors[region].tolist())
        got = [pips[gene, f"GRCh38:chr1:{14450 + i}:A:G"] for i in range(9)]
        assert got == pytest.approx(expected, rel=1e-6)
    assert sum(pip for (gene, _), pip in pips.items() if gene == NA) == pytest.approx(1)


def test_lead_pairs_and_alleles_of_unknown_length() -> None:
    reading = run_source("eqtl", [SAMPLE / "lead_pairs.tsv"])
    assert short(reading, "kind", "score", "score_kind", "sign", "beta") == [
        ("chr1:14409-14600", gene, "chr1:14500:A:G", "lead", 1.0, "lead", None, None) for gene in (AAA, NA)
    ]
    assert (reading.read, reading.filtered) == (4, 2)
    assert "1 rows have an allele of unknown length" in reading.warnings[0]


def test_colocalisations_one_row_a_trait() -> None:
    reading = run_source("eqtl", [SAMPLE / "colocs.tsv"])
    assert short(reading, "trait", "study", "biosample", "pp_h4", "score_kind") == [
        (*("chr1:31500-31900", AAA, "chr1:31600:C:T", "LDLC", "CEDAR", "ileum"), pytest.approx(0.8), "pp_h4"),
        (*("chr1:31500-31900", NA, "chr1:31600:C:T", "HEIGHT-x", "Made_2020", "T-cell"), pytest.approx(0.95), "pp_h4"),
        (*("chr1:31500-31900", NA, "chr1:31600:C:T", "LDLC", "Made_2020", "T-cell"), pytest.approx(0.88), "pp_h4"),
    ]
    assert (reading.filtered, reading.folded) == (1, 1)
    assert [row["id"] for row in rows_of(reading, "Biosample")] == ["T-cell", "ileum"]


def test_gtex_keeps_to_its_own_thresholds() -> None:
    reading = run_source("eqtl", [SAMPLE / "gtex.signif_variant_gene_pairs.txt"])
    assert short(reading, "p_value", "allele", "sign", "se") == [
        ("chr1:11800-12100", AAA, "chr1:12000:G:A", 3.1e-5, "A", 1, pytest.approx(0.1)),
        ("chr1:11800-12100", NA, "chr1:12001:GA:G", 1e-7, "G", -1, pytest.approx(0.1)),
    ]
    assert reading.filtered == 1


def test_gtex_says_its_build(tmp_path: Path) -> None:
    file = write(tmp_path / "v7.txt", bed(("variant_id", "gene_id", "pval_nominal"), ("1_12000_G_A_b37", AAA, 1e-9)))
    with pytest.raises(AssemblyMismatch, match=r"v7\.txt:2 the variant is on build 37, not on GRCh38") as caught:
        run_source("eqtl", [file])
    assert "--assembly GRCh37" in caught.value.hint


def test_alleles_are_complemented_where_the_strand_turns(tmp_path: Path) -> None:
    """chr1:1000-2000 of GRCh37 goes to chr1:14000-15000 of GRCh38, backwards: base 1500 to base 14499."""
    sizes = [assembly(name).lengths["chr1"] for name in ("hg19", "hg38")]
    lifted_start = sizes[1] - 15000
    text = f"chain 9 1 {sizes[0]} + 1000 2000 1 {sizes[1]} - {lifted_start} {lifted_start + 1000} 1\n1000\n"
    lift = read_lift(write(tmp_path / "back.chain", text), None)
    rows = [(AAA, "chr1_1501_CTG_C", 1, 1501), (NA, "chr1_1501_C_T", 1, 1501)]
    reading = run_source("eqtl", [write(tmp_path / "lead.tsv", bed(LEAD, *rows))], lift=lift)
    assert short(reading) == [
        ("chr1:14409-14600", AAA, "chr1:14498:CAG:G"),
        ("chr1:14409-14600", NA, "chr1:14500:G:A"),
    ]
    assert {row["original"] for row in rows_of(reading, "Variant")} == {
        "GRCh37:chr1:1500-1503",
        "GRCh37:chr1:1500-1501",
    }


def test_what_is_wrong_with_a_row(tmp_path: Path) -> None:
    variants = [("rs77", 9), ("chr1_14500_A_G", 14501), ("chr1_999999999_A_G", 999999999), ("chr1_14500_A_G", 14500)]
    file = write(tmp_path / "lead.tsv", bed(LEAD, *((AAA, v, 1, position) for v, position in variants)))
    reading = run_source("eqtl", [file])
    assert list(messages(reading.rejected))[:2] == [
        "lead.tsv:2 column 'variant': 'rs77' is not a variant such as chr1_1000_A_G",
        "lead.tsv:3 column 'variant': chr1_14500_A_G is not at 1:14501",
    ]
    assert "beyond the end of chr1" in reading.rejected["reason"].iloc[2]
    assert (len(reading.rejected), len(rows_of(reading))) == (3, 1)
    head = ("molecular_trait_id", "variant", "pip")
    wrong = write(tmp_path / "cs.tsv", bed(head, *((AAA, "chr1_14500_A_G", pip) for pip in ("1.2", "x"))))
    assert list(run_source("eqtl", [wrong]).rejected["reason"]) == ["1.2 is not between 0 and 1", "'x' is not a number"]
    with pytest.raises(InputError, match="not a table of eQTLs: its columns are a, b"):
        run_source("eqtl", [write(tmp_path / "x.tsv", bed(("a", "b"), (1, 2)))])


def test_tables_of_several_kinds_load_together() -> None:
    files = [SAMPLE / name for name in ("nominal.tsv", "credible_sets.tsv", "lead_pairs.tsv", "colocs.tsv")]
    together = run_source("eqtl", files)
    assert len(rows_of(together)) == sum(len(rows_of(run_source("eqtl", [file]))) for file in files)
    assert together.rejected.empty
    assert content(run_source("eqtl", files[::-1])) == content(together)


def slowly(frame: pd.DataFrame, data: Path) -> set[tuple[str, str, str]]:
    """Return peak, gene, variant: variant by variant over the peaks of its chromosome."""
    peaks = h1_graph(data)["Peak"].to_pandas().groupby("chrom")
    starts = {chrom: {name: rows[name].to_numpy() for name in ("start", "end", "id")} for chrom, rows in peaks}
    pairs = set()
    for row in frame.to_dict("records"):
        held, first = starts[f"chr{row['chromosome']}"], row["position"] - 1
        last = first + len(row["variant"].split("_")[2])
        under = held["id"][(held["start"] < last) & (first < held["end"])]
        pairs |= {(peak, row["molecular_trait_id"], row["variant"]) for peak in under}
    return pairs


def test_real_lead_pairs(data: Path) -> None:
    """2,854 pairs of a lead variant's first base and a peak, in 2,333 peaks, of which 1,348 with the gene measured.

    Ours are 2,849: without an allele of unknown length (1) and genes that are not in the graph (5), with a deletion
    that starts before a peak (1).
    """
    file = data / "eqtl" / "lead_pairs_rnaseq_2.tsv"
    raw = pd.read_csv(file, sep="\t")
    of_points = slowly(raw.assign(variant=[f"{i}_b_c" for i in range(len(raw))]), data)  # of one base each
    assert (len(of_points), len({peak for peak, _, _ in of_points})) == (2854, 2333)
    measured = measured_genes(data)
    assert sum(gene in measured for _, gene, _ in of_points) == 1348

    reading = run_on_h1("eqtl", data, file)
    pairs = {(r["start_id"], r["end_id"], r["variant"].removeprefix("GRCh38:")) for r in rows_of(reading)}
    known = set(h1_graph(data)["Gene"]["id"].to_pylist())
    kept = raw[~raw["variant"].str.contains("<") & raw["molecular_trait_id"].isin(known)]
    assert pairs == {(peak, gene, variant.replace("_", ":")) for peak, gene, variant in slowly(kept, data)}
    assert (len(pairs), len({peak for peak, _, _ in pairs})) == (2849, 2330)
    assert sum(gene in measured for _, gene, _ in pairs) == 1349
    assert (reading.read, reading.filtered, len(reading.rejected)) == (42_445, 39_596, 0)


def test_real_colocalisations(data: Path) -> None:
    reading = run_on_h1("eqtl", data, data / "eqtl" / "eqtlCat_all_sign_colocs.tsv.gz")
    rows = rows_of(reading)
    assert (reading.read, len(rows), reading.folded, len(reading.rejected)) == (54_362, 3081, 11, 0)
    assert min(row["pp_h4"] for row in rows) >= 0.8
    assert len({row["trait"] for row in rows}) == 14


def test_real_nominal_region(data: Path) -> None:
    """307 of 18,467 rows reach 1e-5; 2 of them lie in a peak."""
    file = data / "eqtl" / "BLUEPRINT_PE.T-cell_ge.nominal.sorted.tsv.gz"
    raw = pd.read_csv(file, sep="\t")
    assert (raw["pvalue"] <= 1e-5).sum() == 307
    reading = run_on_h1("eqtl", data, file)
    assert len(rows_of(reading)) == len(slowly(raw[raw["pvalue"] <= 1e-5], data)) == 2
    every = run_on_h1("eqtl", data, file, max_p=1.0)
    assert len(rows_of(every)) == len(slowly(raw, data)) == 112
    assert {np.sign(row["beta"]) == row["sign"] for row in rows_of(every)} == {True}


@pytest.mark.parametrize(("name", "expected"), [("QTD000021", 68), ("QTD000026", 68)])
def test_real_bayes_factors(data: Path, name: str, expected: int) -> None:
    file = data / "eqtl" / f"{name}_ENSG00000101425.tsv.gz"
    raw = pd.read_csv(file, sep="\t")
    pips = slow_pip(raw.filter(like="lbf").to_numpy().tolist())
    by_variant = dict(zip(raw["variant"].str.replace("_", ":"), pips, strict=True))
    rows = rows_of(run_on_h1("eqtl", data, file, min_pip=0.0))
    assert len(rows) == expected
    assert [row["pip"] for row in rows] == pytest.approx(
        [by_variant[row["variant"].removeprefix("GRCh38:")] for row in rows], rel=1e-5
    )


def test_a_load_writes_variants_with_the_edges_that_rest_on_them(store: Store, tmp_path: Path) -> None:
    for source, file in (("genes", "genes.gtf"), ("peaks", "peaks.bed")):
        load(store, tmp_path, LoadRequest(source, [SAMPLES / source / file], assembly="hg38"))
    request = LoadRequest("eqtl", [SAMPLE / "nominal.tsv", SAMPLE / "colocs.tsv"], dataset="e", assembly="hg38")
    assert load(store, tmp_path, request).added == 5 + 5 + 7 + 2
    assert load(store, tmp_path, request).nothing_to_do
    (row,) = store.read(
        "MATCH (v:Variant {id: 'GRCh38:chr1:9501:A:G'})-[:IN_PEAK]->(p:Peak)-[r:EQTL {variant: v.id}]->(g:Gene) "
        "RETURN p.id AS peak, g.id AS gene, r.beta AS beta, r.pip AS pip"
    )
    assert row == {"peak": "GRCh38:chr1:9500-9800", "gene": AAA, "beta": -0.5, "pip": None}
