"""NEAR edges against a slow oracle, by hand-made places, and on real data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.errors import AssemblyMismatch, InputError, MissingInput, ParameterError
from kg.schema import GENE, PEAK
from loaders.genome.enrichment import tss_enrichment
from loaders.genome.intervals import Intervals
from loaders.reading import read_source
from loaders.registry import find
from loaders.tables.source_context import SourceContext
from tests.loaders.world import run_source

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

GeneRow = tuple[str, int, int, str]  # chrom, start, end, strand
PeakRow = tuple[str, int, int]
Near = dict[tuple[int, int], tuple[int, int]]  # (peak, gene) -> distance, signed distance from the start site
RULES = ("gene_body+promoter", "promoter", "window")


def slow_near(genes: list[GeneRow], peaks: list[PeakRow], rule: str, promoter_bp: int, window_bp: int) -> Near:
    """Compute one pair at a time, as the specification states."""
    distances = {}
    for g, (chrom, start, end, strand) in enumerate(genes):
        tss = start if strand == "+" else end - 1
        low, high = (start, end) if rule == "gene_body+promoter" else (tss, tss + 1)
        reach = 0 if rule == "window" else promoter_bp
        low, high = (max(low - reach, 0), high) if strand == "+" else (low, high + reach)
        for p, (on, first, last) in enumerate(peaks):
            gap = 0 if low < last and first < high else max(first - high, low - last) + 1
            if on == chrom and gap <= window_bp:
                ahead = 0 if first <= tss < last else (first - tss if first > tss else last - 1 - tss)
                distances[p, g] = (gap, ahead if strand == "+" else -ahead)
    return distances


def gene_table(genes: list[GeneRow], assembly: str = "GRCh38") -> pa.Table:
    rows = [
        {
            "id": f"{g:04d}",
            "symbol": f"S{g}",
            "species": "NCBITaxon:9606",
            "assembly": assembly,
            "chrom": chrom,
            "start": start,
            "end": end,
            "strand": strand,
            "tss": start if strand == "+" else end - 1,
            "biotype": None,
            "version": None,
        }
        for g, (chrom, start, end, strand) in enumerate(genes)
    ]
    return pa.Table.from_pylist(rows, schema=GENE.schema)


def peak_table(peaks: list[PeakRow], assembly: str = "GRCh38") -> pa.Table:
    rows = [
        {
            "id": f"{p:04d}",
            "assembly": assembly,
            "chrom": chrom,
            "start": start,
            "end": end,
            "summit": None,
            "original": None,
        }
        for p, (chrom, start, end) in enumerate(peaks)
    ]
    return pa.Table.from_pylist(rows, schema=PEAK.schema)


def near(genes: pa.Table, peaks: pa.Table, **options: Any) -> pd.DataFrame:
    loader = find("proximity")
    graph = {GENE.label: genes, PEAK.label: peaks}
    (batch,) = read_source(loader, SourceContext((), graph=graph), loader.check_options(options)).batches
    frame: pd.DataFrame = batch.table.to_pandas()
    return frame


def as_near(frame: pd.DataFrame) -> Near:
    ends = zip(frame["start_id"].astype(int), frame["end_id"].astype(int), strict=True)
    return dict(zip(ends, zip(frame["distance_bp"], frame["tss_distance_bp"], strict=True), strict=True))


CHROM = st.sampled_from(["chr1", "chr2"])
SPAN = st.tuples(st.integers(0, 400), st.integers(1, 120))
GENES = st.lists(st.tuples(CHROM, SPAN, st.sampled_from("+-")), min_size=1, max_size=12)
PEAKS = st.lists(st.tuples(CHROM, SPAN), min_size=1, max_size=20)


@settings(max_examples=300, deadline=None)
@given(
    genes=GENES,
    peaks=PEAKS,
    rule=st.sampled_from(RULES),
    promoter_bp=st.integers(0, 60),
    window_bp=st.integers(1, 80),
)
def test_edges_are_those_of_the_slow_oracle(
    genes: list[Any], peaks: list[Any], rule: str, promoter_bp: int, window_bp: int
) -> None:
    gene_rows = [(chrom, start, start + width, strand) for chrom, (start, width), strand in genes]
    peak_rows = [(chrom, start, start + width) for chrom, (start, width) in peaks]
    expected = slow_near(gene_rows, peak_rows, rule, promoter_bp, window_bp)
    options = {"rule": rule, "promoter_bp": promoter_bp, "window_bp": window_bp}
    if expected:
        frame = near(gene_table(gene_rows), peak_table(peak_rows), **options)
        assert len(frame) == len(expected)
        assert as_near(frame) == expected
    else:
        with pytest.raises(InputError, match="no peak is near a gene"):
            near(gene_table(gene_rows), peak_table(peak_rows), **options)


GENE_PAIR: list[GeneRow] = [("chr1", 10_000, 12_000, "+"), ("chr1", 10_000, 12_000, "-")]
BEFORE: PeakRow = ("chr1", 9_000, 9_100)
AFTER: PeakRow = ("chr1", 12_500, 12_600)
INSIDE: PeakRow = ("chr1", 11_000, 11_100)
EDGE: PeakRow = ("chr1", 7_900, 8_000)  # touches the promoter of gene 0, which begins at 8,000


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            {
                (0, 0): (0, -901),  # upstream of +
                (1, 1): (0, -501),  # downstream in coordinates is upstream of -
                (2, 0): (0, 1000),
                (2, 1): (0, 900),
            },
        ),
        ({"rule": "promoter"}, {(0, 0): (0, -901), (1, 1): (0, -501)}),
        ({"rule": "promoter", "window_bp": 1}, {(0, 0): (0, -901), (1, 1): (0, -501), (3, 0): (1, -2001)}),
        ({"rule": "window", "window_bp": 901}, {(0, 0): (901, -901), (1, 1): (501, -501), (2, 1): (900, 900)}),
        ({"promoter_bp": 0}, {(2, 0): (0, 1000), (2, 1): (0, 900)}),
    ],
)
def test_rules_follow_the_strand(options: dict[str, Any], expected: Near) -> None:
    frame = near(gene_table(GENE_PAIR), peak_table([BEFORE, AFTER, INSIDE, EDGE]), **options)
    assert as_near(frame) == expected


def test_a_promoter_does_not_leave_the_chromosome() -> None:
    frame = near(gene_table([("chr1", 100, 900, "+")]), peak_table([("chr1", 0, 50)]))
    assert as_near(frame) == {(0, 0): (0, -51)}


def test_two_assemblies_do_not_meet() -> None:
    with pytest.raises(InputError, match=r"no peak is near a gene: genes on GRCh38:chr1.*; peaks on GRCm38:chr1"):
        near(gene_table([("chr1", 100, 900, "+")]), peak_table([("chr1", 0, 50)], "GRCm38"))


def test_options_that_make_no_sense_are_refused() -> None:
    genes, peaks = gene_table(GENE_PAIR), peak_table([INSIDE])
    with pytest.raises(ParameterError, match="options of proximity are not valid; the rule window needs a width"):
        near(genes, peaks, rule="window")
    with pytest.raises(ParameterError, match="promoter_bp is -1: at least 0"):
        near(genes, peaks, promoter_bp=-1)


@pytest.mark.parametrize("missing", ["genes", "peaks"])
def test_a_draft_without_genes_or_peaks_is_refused(missing: str) -> None:
    genes = gene_table([] if missing == "genes" else GENE_PAIR)
    peaks = peak_table([] if missing == "peaks" else [INSIDE])
    with pytest.raises(MissingInput, match=f"the draft holds no {missing}") as caught:
        near(genes, peaks)
    assert f"regkg load {missing}" in caught.value.hint


@pytest.mark.parametrize(("moved", "refused"), [(0, False), (30_000, True)])
def test_genes_of_another_assembly_are_told_by_where_peaks_are_dense(moved: int, *, refused: bool) -> None:
    rng = np.random.default_rng(0)
    tss = np.sort(rng.choice(100_000_000, 2000, replace=False))
    genes = gene_table([("chr1", int(t) + moved, int(t) + moved + 5000, "+") for t in tss])
    at = np.concatenate([rng.choice(tss, 600), rng.integers(0, 100_000_000, 3000)])
    peaks = peak_table([("chr1", int(p), int(p) + 300) for p in np.unique(at)])
    if refused:
        with pytest.raises(AssemblyMismatch, match=r"only [01]\.\d times"):
            near(genes, peaks)
        assert len(near(genes, peaks, accept_misfit=True)) > 0
    else:
        assert len(near(genes, peaks)) > 0


def test_the_ratio_is_that_of_a_slow_loop() -> None:
    rng = np.random.default_rng(1)
    tss, start = rng.integers(300_000, 3_000_000, 200), rng.integers(0, 3_300_000, 900)
    chrom, of_peaks = rng.choice(["chr1", "chr2"], 200).astype(object), rng.choice(["chr1", "chr2"], 900).astype(object)

    def near_by(shift: int) -> int:
        return sum(
            any(c == d and abs(s + 50 - (t + shift)) <= 1000 for d, t in zip(chrom, tss, strict=True))
            for c, s in zip(of_peaks, start, strict=True)
        )

    expected = np.mean([near_by(shift) for shift in (-200_000, -50_000, 50_000, 200_000)])
    ratio = tss_enrichment(chrom, tss, Intervals(of_peaks, start, start + 100))
    assert expected >= 50
    assert ratio == pytest.approx(near_by(0) / expected)
    assert tss_enrichment(chrom[:5], tss[:5], Intervals(of_peaks, start, start + 100)) is None, "too few to tell"


def test_mouse_cortex_has_the_pairs_of_a_slow_loop(data: Path) -> None:
    """The 1,677 genes of the panel, by symbol: 13,141 pairs with body and 2 kb promoter."""
    cells = data / "cells" / "mouse_cortex_snare"
    with h5py.File(cells / "rna.h5ad") as rna:
        panel = set(rna["var"][rna["var"].attrs["_index"]].asstr()[:])
    genes = run_source("genes", [data / "genes" / "grcm38.tsv.gz"], "GRCm38").batches[0].table
    peaks = run_source("peaks", [cells / "atac.h5ad"], "GRCm38").batches[0].table
    with pytest.raises(AssemblyMismatch, match=r"GRCm38: only 1\.\d times as many peaks lie at"):
        near(genes, peaks)  # the table holds GRCm39 coordinates
    frame = near(genes, peaks, accept_misfit=True)
    symbols = genes.to_pandas().set_index("id")
    frame = frame.assign(symbol=frame["end_id"].map(symbols["symbol"]))
    pairs = set(frame[frame["symbol"].isin(panel)][["symbol", "start_id"]].itertuples(index=False, name=None))
    assert len(pairs) == 13_141
    assert pairs == slow_pairs(symbols[symbols["symbol"].isin(panel)], peaks.to_pandas())


def slow_pairs(genes: pd.DataFrame, peaks: pd.DataFrame) -> set[tuple[str, str]]:
    pairs = set()
    on = dict(list(peaks.groupby("chrom")))
    for chrom, start, end, strand, symbol in zip(
        *(genes[c].tolist() for c in ("chrom", "start", "end", "strand", "symbol")), strict=True
    ):
        low, high = (start - 2000, end) if strand == "+" else (start, end + 2000)
        if (on_chrom := on.get(chrom)) is not None:
            near_it = on_chrom[(on_chrom["start"].to_numpy() < high) & (on_chrom["end"].to_numpy() > max(low, 0))]
            pairs |= {(symbol, peak) for peak in near_it["id"]}
    return pairs


def test_signed_distances_average_out_over_random_strands() -> None:
    """No strand bias: the same peaks, genes turned over, give mirrored distances."""
    rng = np.random.default_rng(0)
    starts = rng.integers(10_000, 1_000_000, 200)
    plus: list[GeneRow] = [("chr1", int(s), int(s) + 1, "+") for s in starts]
    minus: list[GeneRow] = [("chr1", s, e, "-") for _, s, e, _ in plus]
    peaks = peak_table([("chr1", int(s), int(s) + 300) for s in rng.integers(0, 1_000_000, 300)])
    anywhere: dict[str, Any] = {"rule": "window", "window_bp": 50_000, "accept_misfit": True}
    forward, back = near(gene_table(plus), peaks, **anywhere), near(gene_table(minus), peaks, **anywhere)
    assert (forward["tss_distance_bp"] == -back["tss_distance_bp"]).all()
    assert (forward["distance_bp"] == forward["tss_distance_bp"].abs()).all()
