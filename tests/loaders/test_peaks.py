"""Peaks: formats, coordinates, ids, and what is wrong with rows and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

from kg.errors import AssemblyMismatch, InputError
from loaders.tables.files import check_file
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, bed, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

FINE = [("chr1", 1000 + 700 * i, 1200 + 713 * i) for i in range(30)]


def peaks_of(*files: Path, of: str = "GRCh38", **options: Any) -> list[dict[str, Any]]:
    (batch,) = run_source("peaks", files, of, **options).batches
    return sorted(batch.table.to_pylist(), key=lambda row: str(row["id"]))


def h5ad(path: Path, names: list[str], **uns: Any) -> Path:
    anndata.AnnData(np.ones((2, len(names)), dtype=np.float32), var=pd.DataFrame(index=names), uns=uns).write_h5ad(path)
    return path


def test_bed() -> None:
    reading = run_source("peaks", [SAMPLES / "peaks" / "peaks.bed"])
    assert (reading.read, reading.folded, reading.renamed, reading.rows) == (9, 1, 1, 8)
    rows = {row["id"]: row for row in reading.batches[0].table.to_pylist()}
    assert rows["GRCh38:chr1:29600-30050"] == {
        "id": "GRCh38:chr1:29600-30050",
        "assembly": "GRCh38",
        "chrom": "chr1",
        "start": 29600,
        "end": 30050,
        "summit": None,
        "original": None,
    }
    assert {"GRCh38:chrM:0-100", "GRCh38:KI270733.1:300-500"} <= set(rows)


def test_narrow_peaks_keep_the_summit_of_the_highest_signal() -> None:
    reading = run_source("peaks", [SAMPLES / "peaks" / "peaks.narrowPeak"])
    summits = {row["id"].removeprefix("GRCh38:"): row["summit"] for row in reading.batches[0].table.to_pylist()}
    assert summits == {
        "chr1:9500-9800": 9620,
        "chr1:11800-12100": 11800,
        "chr1:14409-14600": None,
        "chr1:29600-30050": 30000,  # 8.5 against 2.5
        "chr2:61000-62010": 62009,  # rounded up to the end by the caller: the last base
    }
    assert reading.folded == 1


def test_broad_peaks_have_no_summit() -> None:
    reading = run_source("peaks", [SAMPLES / "peaks" / "peaks.broadPeak"])
    assert (reading.rows, reading.folded) == (3, 1)
    assert set(reading.batches[0].table["summit"].to_pylist()) == {None}


def test_the_block_count_of_bed12_is_no_summit(tmp_path: Path) -> None:
    rows = [(c, s, e, "x", 5, "+", s, e, 0, 2, "10,10,", "0,50,") for c, s, e in FINE]
    for width in (12, 10, 9):
        peaks = peaks_of(write(tmp_path / "blocks.bed", bed(*(row[:width] for row in rows))))
        assert [row["summit"] for row in peaks] == [None] * 30


def test_the_features_of_an_h5ad(tmp_path: Path) -> None:
    names = ["chr1:100-200", "chr1-300-400", "2_500_650", "chrX:7-9"]
    peaks = peaks_of(h5ad(tmp_path / "atac.h5ad", names))
    assert [row["id"] for row in peaks] == [
        f"GRCh38:{p}" for p in ("chr1:100-200", "chr1:300-400", "chr2:500-650", "chrX:7-9")
    ]


def test_an_h5ad_says_its_assembly(tmp_path: Path) -> None:
    assert check_file(h5ad(tmp_path / "a.h5ad", ["chr1:1-2"], assembly="mm10")).stated_assembly == "GRCm38"
    assert check_file(h5ad(tmp_path / "b.h5ad", ["chr1:1-2"])).stated_assembly is None


def test_a_feature_that_is_no_position_is_named(tmp_path: Path) -> None:
    reading = run_source("peaks", [h5ad(tmp_path / "atac.h5ad", ["chr1:100-200", "GAPDH"])])
    assert list(messages(reading.rejected)) == [
        "atac.h5ad:2 column 'name': 'GAPDH' is not a position such as chr1:1000-1500"
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("chr1", 1000, 900), "column 'end': 900 is not greater than start 1000"),
        (("chr1", 1000, 1000), "column 'end': 1000 is not greater than start 1000"),
        (("chr1", -5, 900), "column 'start': -5 is negative"),
        (("chr1", "1e3", 900), "column 'start': '1e3' is not a whole number"),
        (("chr1", 10, "20.5"), "column 'end': '20.5' is not a whole number"),
        (("chr1", 10, ""), "column 'end': '' is not a whole number"),
        (("chr23", 10, 20), "column 'chrom': 'chr23' is not a chromosome of GRCh38"),
        (
            ("21", 46_709_900, 46_709_984),
            "column 'end': 46709984 lies beyond the end of chr21 of GRCh38 (46,709,983 bp)",
        ),
        (("chr1", 10), "the row has 2 fields, expected 3"),
        (("chr1", 10, 20, "x"), "the row has 4 fields, expected 3"),
    ],
)
def test_a_bad_row_is_set_apart_with_file_line_and_reason(tmp_path: Path, row: tuple[Any, ...], reason: str) -> None:
    text = "# made here\n" + bed(*FINE[:20]) + "\n" + bed(row) + bed(*FINE[20:])
    reading = run_source("peaks", [write(tmp_path / "peaks.bed.gz", text)])
    colon = "" if reason.startswith("column") else ":"
    assert list(messages(reading.rejected)) == [f"peaks.bed.gz:23{colon} {reason}"]
    assert reading.rejected["text"].tolist() == ["\t".join(map(str, row))]
    assert (reading.rows, reading.read) == (30, 31)


def test_the_last_base_of_a_chromosome_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path / "peaks.bed", bed(("chr21", 46_709_000, 46_709_983)))
    assert peaks_of(path)[0]["end"] == 46_709_983


def test_a_summit_outside_is_rejected(tmp_path: Path) -> None:
    rows = [(*FINE[i], f"p{i}", 0, ".", 1, 1, 1, offset) for i, offset in enumerate((3, 201, 9))]
    reading = run_source("peaks", [write(tmp_path / "p.narrowPeak", bed(*rows))])
    assert reading.rows == 3
    rows[1] = (*FINE[1], "p1", 0, ".", 1, 1, 1, 9999)
    reading = run_source("peaks", [write(tmp_path / "p.narrowPeak", bed(*rows))])
    assert list(messages(reading.rejected)) == [
        "p.narrowPeak:2 column 'offset': the summit 11699 lies outside the peak 1700-1913"
    ]


def test_a_mouse_file_is_not_human(tmp_path: Path) -> None:
    rows = [("chr19", 61_000_000 + i * 1000, 61_000_300 + i * 1000) for i in range(40)] + FINE
    path = write(tmp_path / "mouse.bed", bed(*rows))
    with pytest.raises(AssemblyMismatch, match=r"mouse\.bed: 40 of 70 rows have no place on GRCh38") as caught:
        run_source("peaks", [path])
    assert "GRCm38" in caught.value.hint
    assert len(peaks_of(path, of="mm10")) == 70


def test_a_human_file_is_not_of_mouse(tmp_path: Path) -> None:
    rows = [("chr22", 20_000_000 + i * 1000, 20_000_300 + i * 1000) for i in range(40)] + FINE
    with pytest.raises(AssemblyMismatch, match="40 of 70 rows") as caught:
        run_source("peaks", [write(tmp_path / "human.bed", bed(*rows))], "GRCm38")
    assert "GRCh37 and GRCh38 would fit; pass --assembly GRCh37" in caught.value.hint


def test_few_misfits_are_set_apart_and_the_better_assembly_is_named(tmp_path: Path) -> None:
    rows = [("chr1", 1000 + i * 700, 1300 + i * 701) for i in range(3000)]
    rows[7] = ("chr17", 83_000_000, 83_000_500)  # fits GRCh38 only
    reading = run_source("peaks", [write(tmp_path / "peaks.bed", bed(*rows))], "hg19")
    assert len(reading.rejected) == 1
    assert "1 of 3,000 rows have no place on GRCh37" in reading.warnings[0]
    assert "GRCh38 would fit" in reading.warnings[0]


ONE_BASED = {
    "single bases": [("chr1", 100 + i * 100, 100 + i * 100 + (i % 3)) for i in range(30)],
    "a fixed width one short of round": [("chr1", 101 + i * 913, 600 + i * 913) for i in range(30)],
    "tiles that touch as closed intervals": [("chr1", 1 + i * 317, 317 + i * 317) for i in range(30)],
}


@pytest.mark.parametrize("tell", ONE_BASED)
def test_a_one_based_file_is_refused_as_a_whole(tmp_path: Path, tell: str) -> None:
    path = write(tmp_path / "peaks.bed", bed(*ONE_BASED[tell]))
    with pytest.raises(InputError, match=r"peaks\.bed: the file looks 1-based") as caught:
        run_source("peaks", [path])
    assert "--one-based" in caught.value.hint
    first = min(peaks_of(path, one_based=True), key=lambda row: int(row["start"]))
    assert first["start"] == int(ONE_BASED[tell][0][1]) - 1
    assert run_source("peaks", [path], one_based=False).rows >= 20


def test_one_based_positions_start_from_one(tmp_path: Path) -> None:
    path = write(tmp_path / "peaks.bed", bed(("chr1", 0, 9), ("chr1", 1, 9), ("chr1", 8, 7)))
    reading = run_source("peaks", [path], one_based=True)
    assert list(messages(reading.rejected)) == [
        "peaks.bed:1 column 'start': positions of this format start from 1, not 0",
        "peaks.bed:3 column 'end': 7 is less than start 8",
    ]
    assert reading.batches[0].table["id"].to_pylist() == ["GRCh38:chr1:0-9"]


def test_ordinary_peaks_do_not_look_one_based(tmp_path: Path) -> None:
    for width in (150, 500, 501):
        rows = [("chr1", 1 + i * 913, 1 + width + i * 913) for i in range(30)]
        assert len(peaks_of(write(tmp_path / "peaks.bed", bed(*rows)))) == 30
    tiles = [("chr1", i * 317, 317 + i * 317) for i in range(30)]
    assert len(peaks_of(write(tmp_path / "peaks.bed", bed(*tiles)))) == 30


def test_blanks_between_fields_and_a_header_row(tmp_path: Path) -> None:
    path = write(tmp_path / "peaks.bed", "chrom start end\nchr1  100   200\nchr1 300 400\n")
    assert [row["id"] for row in peaks_of(path)] == ["GRCh38:chr1:100-200", "GRCh38:chr1:300-400"]


def test_a_file_with_too_few_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column end"):
        run_source("peaks", [write(tmp_path / "peaks.bed", "chr1\t5\n")])


def test_one_peak_with_two_summits_in_two_files_of_equal_signal_is_set_apart(tmp_path: Path) -> None:
    files = [
        write(
            tmp_path / f"{n}.narrowPeak",
            bed(("chr1", 10, 90, ".", 0, ".", 1, 1, 1, n), ("chr1", n, 95 + n, *"abc", 1, 1, 1, 2)),
        )
        for n in (3, 4)
    ]
    reading = run_source("peaks", files)
    assert list(messages(reading.rejected)) == [
        "3.narrowPeak:1 column 'id': GRCh38:chr1:10-90 occurs again with other values",
        "4.narrowPeak:1 column 'id': GRCh38:chr1:10-90 occurs again with other values",
    ]
    assert reading.rows == 2


def test_real_peaks(data: Path) -> None:
    assert len(peaks_of(data / "cells" / "mouse_cortex_snare" / "atac.h5ad", of="mm10")) == 25_734
    assert len(peaks_of(data / "cells" / "h1_snare" / "atac.h5ad", of="hg38")) == 36_954
    with pytest.raises(AssemblyMismatch, match="190 of 36,954"):
        run_source("peaks", [data / "cells" / "h1_snare" / "atac.h5ad"], "hg19")
    chipseq = run_source("peaks", sorted((data / "chipseq" / "gm12878_hg19").glob("*Ebf1*")), "hg19")
    assert (chipseq.rows, chipseq.folded, len(chipseq.rejected)) == (36_094, 46, 0)
