"""Fragments counted in peaks: against a slow loop, on real fragments, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest

from cli.main import call
from kg.cells import read_header
from kg.errors import AssemblyMismatch, InputError, MalformedRow
from loaders.cells.fragments import FragmentCounts, count_fragments
from loaders.tables import files
from tests.loaders.world import bed, write

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

Fragment = tuple[str, int, int, str, int]
PEAKS = [("chr1", 100, 200), ("chr1", 150, 260), ("chr2", 0, 50), ("chr1", 500, 501), ("chr1", 100, 200)]
FRAGMENTS: list[Fragment] = [
    ("chr1", 90, 100, "A-1", 1),  # touches the first
    ("chr1", 90, 101, "A-1", 9),  # one base, and its last base is a cut site
    ("chr1", 120, 170, "B-1", 1),  # two peaks; both ends in the first, the last in the second
    ("chr1", 20, 900, "B-1", 1),  # over three, no cut site in any
    ("chr2", 0, 10, "C-1", 2),
    ("chr1", 500, 501, "A-1", 1),  # one base long: it is both ends
]


def slow(fragments: list[Fragment], peaks: list[tuple[str, int, int]], *, cuts: bool) -> Counter[tuple[str, str]]:
    """Count one fragment against one peak at a time."""
    counted: Counter[tuple[str, str]] = Counter()
    for chrom, start, end, barcode, _ in fragments:
        for c, s, e in dict.fromkeys(peaks):
            if c == chrom:
                n = (s <= start < e) + (s <= end - 1 < e) if cuts else int(start < e and s < end)
                counted[barcode, f"{c}:{s}-{e}"] += n
    return +counted


def counted_in(adata: AnnData) -> Counter[tuple[str, str]]:
    x = adata.X.tocoo()
    return Counter(
        {(adata.obs_names[i], adata.var_names[j]): int(n) for i, j, n in zip(x.row, x.col, x.data, strict=True)}
    )


def count(
    folder: Path, fragments: list[Fragment], peaks: list[tuple[str, int, int]], **more: Any
) -> tuple[FragmentCounts, AnnData]:
    path = write(folder / "fragments.tsv.gz", "# made here\n" + bed(*fragments))
    where = write(folder / "peaks.bed", bed(*peaks))
    report = count_fragments(path, where, folder / "atac.h5ad", of="hg38", **more)
    return report, anndata.read_h5ad(report.out)


def test_by_hand(tmp_path: Path) -> None:
    report, adata = count(tmp_path, FRAGMENTS, PEAKS)
    assert adata.var_names.tolist() == ["chr1:100-200", "chr1:150-260", "chr2:0-50", "chr1:500-501"]
    assert adata.obs_names.tolist() == ["A-1", "B-1", "C-1"]
    assert adata.X.toarray().tolist() == [[1, 0, 0, 1], [2, 2, 0, 1], [0, 0, 1, 0]]
    assert adata.obs["fragments"].tolist() == [3, 2, 1]
    assert adata.obs["in_peaks"].tolist() == [2, 5, 1]
    assert (report.fragments, report.of_cells, report.counts, report.cells, report.peaks) == (6, 6, 8, 3, 4)
    header = read_header(report.out)
    assert (header.modality, header.assembly) == ("atac", "GRCh38")
    _, cuts = count(tmp_path, FRAGMENTS, PEAKS, how="cut-sites")
    assert cuts.X.toarray().tolist() == [[1, 0, 0, 2], [2, 1, 0, 0], [0, 0, 2, 0]]


@pytest.mark.parametrize("how", ["fragments", "cut-sites"])
@pytest.mark.parametrize("block", [300, 1 << 25])
def test_random_fragments_against_the_slow_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any, block: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    rng = np.random.default_rng(11)
    fragments = [
        (f"chr{rng.integers(1, 4)}", int(s), int(s + w), f"{'ACGT'[rng.integers(4)]}{rng.integers(5)}-1", 1)
        for s, w in zip(rng.integers(0, 3000, 400), rng.integers(1, 300, 400), strict=True)
    ]
    peaks = [
        (f"chr{rng.integers(1, 5)}", int(s), int(s + w))
        for s, w in zip(rng.integers(0, 3000, 30), rng.integers(1, 400, 30), strict=True)
    ]
    report, adata = count(tmp_path, fragments, peaks, how=how)
    expected = slow(fragments, peaks, cuts=how == "cut-sites")
    assert counted_in(adata) == expected
    assert (report.counts, report.fragments) == (expected.total(), 400)
    assert adata.obs["fragments"].to_dict() == Counter(f[3] for f in fragments)


def test_listed_barcodes_and_few_fragments(tmp_path: Path) -> None:
    listed = write(tmp_path / "barcodes.tsv.gz", "C-1\nnowhere-1\nA-1\nC-1\n")
    report, adata = count(tmp_path, FRAGMENTS, PEAKS, barcodes=listed)
    assert adata.obs_names.tolist() == ["C-1", "nowhere-1", "A-1"]
    assert adata.X.toarray().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert (report.of_cells, report.fragments, report.absent, report.barcodes) == (4, 6, 1, 3)
    _, adata = count(tmp_path, FRAGMENTS, PEAKS, min_fragments=2)
    assert adata.obs_names.tolist() == ["A-1", "B-1"]
    bare = write(tmp_path / "bare.tsv", "A\nB\n")
    with pytest.raises(InputError, match=r"none of the 2 listed barcodes") as caught:
        count(tmp_path, FRAGMENTS, PEAKS, barcodes=bare)
    assert "suffix such as -1" in caught.value.hint


def test_chromosomes_may_be_named_otherwise(tmp_path: Path) -> None:
    plain = [(c.removeprefix("chr"), *rest) for c, *rest in FRAGMENTS]
    _, adata = count(tmp_path, plain, PEAKS)  # type: ignore[arg-type]
    assert counted_in(adata) == slow(FRAGMENTS, PEAKS, cuts=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t5\t9\tA", "the row has 4 fields, expected 5"),
        ("chr1\t5\tx\tA\t1", "column 'end': 'x' is not a position"),
        ("chr1\t-5\t9\tA\t1", "column 'start': '-5' is not a position"),
        ("chr1\t9\t9\tA\t1", "column 'end': 9 is not greater than start 9"),
    ],
)
def test_a_line_that_is_no_fragment_is_named_and_nothing_is_written(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "f.tsv", "# head\n" + bed(*FRAGMENTS[:2]) + line + "\n" + bed(*FRAGMENTS[2:]))
    with pytest.raises(MalformedRow) as caught:
        count_fragments(path, write(tmp_path / "p.bed", bed(*PEAKS)), tmp_path / "out.h5ad", of="hg38")
    assert caught.value.message.startswith("f.tsv:4 ")
    assert message in caught.value.message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.tsv", "p.bed"]


def test_another_assembly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssemblyMismatch, match="'chr21' is not a chromosome of GRCm38"):
        count_fragments(
            write(tmp_path / "f.tsv", bed(("chr21", 5, 9, "A", 1))),
            write(tmp_path / "p.bed", bed(("chr1", 5, 9))),
            tmp_path / "out.h5ad",
            of="mm10",
        )
    with pytest.raises(AssemblyMismatch, match=r"beyond the end of chr21 of GRCh38"):
        count(tmp_path, [("chr21", 46_709_900, 46_709_984, "A", 1)], PEAKS)
    with pytest.raises(InputError, match=r"peaks\.bed:1 column 'end'"):
        count(tmp_path, FRAGMENTS, [("chr1", 9, 5)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "f.tsv.gz", bed(*FRAGMENTS))
    peaks = write(tmp_path / "p.bed", bed(*PEAKS))
    out = tmp_path / "out.h5ad"
    args = ["cells", "count-fragments", str(path), "--peaks", str(peaks), "--out", str(out), "--assembly", "hg38"]
    assert call([*args, "--count", "cut-sites", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == 8
    assert anndata.read_h5ad(out).X.sum() == 8


@pytest.mark.parametrize("how", ["fragments", "cut-sites"])
def test_real_fragments(data: Path, tmp_path: Path, how: Any) -> None:
    """Windows over the region, against fragments that pandas read and a loop over the windows counted."""
    import pandas as pd

    path = data / "cells" / "k562_chr22p" / "atac_fragments.tsv.gz"
    windows = [("chr22", s, s + 700) for s in range(10_600_000, 16_500_000, 1500)]
    report = count_fragments(path, write(tmp_path / "w.bed", bed(*windows)), tmp_path / "k562.h5ad", of="hg38", how=how)
    adata = anndata.read_h5ad(report.out)
    assert (report.fragments, report.cells, report.barcodes) == (4445, 480, 480)
    every = pd.read_csv(path, sep="\t", header=None, names=["chrom", "start", "end", "barcode", "n"])
    expected = []
    for _, s, e in windows:
        if how == "fragments":
            expected.append(int(((every.start < e) & (every.end > s)).sum()))
        else:
            expected.append(sum(int((x.ge(s) & x.lt(e)).sum()) for x in (every.start, every.end - 1)))
    assert np.asarray(adata.X.sum(axis=0)).ravel().tolist() == expected
    assert set(adata.obs_names) == set(anndata.read_h5ad(path.with_name("rna.h5ad")).obs_names)
