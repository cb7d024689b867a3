"""Loops: formats, promoters at either anchor, contacts between peaks, thresholds and caps, and real loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg.errors import ParameterError
from loaders.genome.assemblies import assembly
from loaders.tables.lift_rows import read_lift
from tests.loaders.real import h1_graph
from tests.loaders.world import SAMPLES, bed, content, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.reading import ParsedSource

AAA, NA = "ENSG00000000101", "ENSG00000000102"
# the promoter of AAA1 (tss 11868) with a peak, that of NA (tss 29569) with another, and two peaks elsewhere
AT_AAA, AT_NA = ("chr1", 11700, 12200), ("chr1", 29500, 30100)
LEFT, RIGHT = ("chr1", 9400, 9900), ("chr1", 31400, 32000)


def rows_of(reading: ParsedSource, type_: str, *columns: str) -> list[tuple[Any, ...]]:
    tables = [b.table for b in reading.batches if b.type.name == type_]
    return sorted(tuple(row[c] for c in columns) for table in tables for row in table.to_pylist())


def contacts(reading: ParsedSource) -> list[tuple[Any, ...]]:
    return rows_of(reading, "CONTACTS", "start_id", "end_id", "score", "bait_to_bait")


def loops(path: Path, *rows: tuple[Any, ...]) -> Path:
    return write(path, bed(*rows))


def test_bedpe_with_blanks() -> None:
    reading = run_source("loops", [SAMPLES / "loops" / "loops.bedpe"])
    assert contacts(reading) == [
        ("GRCh38:chr1:14409-14600", NA, 12.0, False),
        ("GRCh38:chr1:31500-31900", AAA, 2.0, False),
    ]
    assert rows_of(reading, "PEAK_CONTACTS", "start_id", "end_id", "score", "score_kind", "anchor", "other_end") == [
        (
            *("GRCh38:chr1:11800-12100", "GRCh38:chr1:31500-31900", 2.0, "count"),
            *("chr1:11700-12200", "chr1:31400-32000"),
        ),
        (
            *("GRCh38:chr1:14409-14600", "GRCh38:chr1:29600-30050", 12.0, "count"),
            *("chr1:14300-14700", "chr1:29500-30100"),
        ),
        ("GRCh38:chr1:9500-9800", "GRCh38:chr1:14409-14600", 3.0, "count", "chr1:9400-9900", "chr1:14300-14700"),
        ("GRCh38:chr1:9500-9800", "GRCh38:chr2:61000-62010", 4.0, "count", "chr1:9400-9900", "chr2:61000-62000"),
    ]
    assert (reading.read, reading.filtered, reading.renamed) == (6, 2, 2)


def test_a_loop_between_promoters_goes_both_ways_and_is_the_same_turned_round(tmp_path: Path) -> None:
    forward = run_source("loops", [loops(tmp_path / "a.bedpe", (*AT_AAA, *AT_NA, ".", 7), (*AT_NA, *AT_AAA, ".", 9))])
    reversed_ = run_source("loops", [loops(tmp_path / "b.bedpe", (*AT_AAA, *AT_NA, ".", 9))])
    assert content(forward) == content(reversed_)
    assert contacts(forward) == [
        ("GRCh38:chr1:11800-12100", NA, 9.0, True),
        ("GRCh38:chr1:29600-30050", AAA, 9.0, True),
    ]
    assert rows_of(forward, "PEAK_CONTACTS", "start_id", "score") == [("GRCh38:chr1:11800-12100", 9.0)]
    assert forward.folded == 3


def test_formats_agree(tmp_path: Path) -> None:
    files = [
        loops(tmp_path / "a.bedpe", (*AT_AAA, *RIGHT, ".", 4)),
        loops(
            tmp_path / "b.bedpe", ("chrom1", "start1", "end1", "chrom2", "start2", "end2", "n"), (*AT_AAA, *RIGHT, 4)
        ),
        loops(tmp_path / "c.longrange", (*AT_AAA, "chr1:31400-32000,4", 1, ".")),
        write(tmp_path / "d.txt", "chr1,11701,12200\tchr1,31401,32000\t4\n"),
        write(tmp_path / "e.txt", "chr1:11701-12200 chr1:31401-32000 4\n"),
    ]
    first, *others = (run_source("loops", [file]) for file in files)
    assert contacts(first) == [("GRCh38:chr1:31500-31900", AAA, 4.0, False)]
    assert [content(other) for other in others] == [content(first)] * 4
    assert [other.read for other in others] == [1] * 4


def test_mango_has_q_values(tmp_path: Path) -> None:
    ends = [(*AT_AAA, "chr1", 31400, 32000 + i) for i in range(4)]
    scored = zip(ends, (5, 5, 5, 5), (0.05, 0.051, 0, 1e-4), strict=True)
    reading = run_source("loops", [loops(tmp_path / "a.mango", *((*anchors, n, q) for anchors, n, q in scored))])
    assert reading.filtered == 1
    rows = rows_of(reading, "CONTACTS", "score", "score_kind")
    assert rows == [(pytest.approx(score), "minus_log10_q") for score in (-np.log10(0.05), 4, 300)]


def test_thresholds_are_of_the_kind_of_score(tmp_path: Path) -> None:
    file = loops(tmp_path / "a.bedpe", *((*AT_AAA, "chr1", 31400, 32000 + i, ".", i) for i in range(4)))
    kept = [
        len(contacts(run_source("loops", [file], **options)))
        for options in (
            {},
            {"min_score": 3.0},
            {"score_kind": "strength"},
            {"score_kind": "strength", "min_score": 1.0},
        )
    ]
    assert kept == [2, 1, 4, 3]


def test_promoters_lie_within_the_tolerance(tmp_path: Path) -> None:
    """The transcription start site 11868 is 132 bases before an anchor that starts at 12000."""
    file = loops(tmp_path / "a.bedpe", ("chr1", 12000, 12500, *RIGHT, ".", 5))
    counts = [len(contacts(run_source("loops", [file], tolerance_bp=bp))) for bp in (131, 132, 1000)]
    assert counts == [0, 1, 1]


def test_loops_that_say_nothing_are_counted(tmp_path: Path) -> None:
    rows = [
        (*LEFT, "chr1", 9800, 10200, ".", 5),  # its anchors overlap
        ("chr1", 200_000, 201_000, "chr1", 300_000, 301_000, ".", 5),
        (*AT_AAA, "chr1", 300_000, 301_000, ".", 5),  # a promoter, and no peak opposite
        (*LEFT, *RIGHT, ".", 5),
    ]
    reading = run_source("loops", [loops(tmp_path / "a.bedpe", *rows)])
    assert (reading.filtered, reading.rows) == (3, 1)
    assert [w.partition(": ")[2] for w in reading.warnings] == [
        "1 rows have anchors that overlap each other, the first in line 1",
        "2 rows have no peak at both anchors, nor one opposite a promoter, the first in line 2",
    ]


def test_a_loop_with_too_many_pairs_gives_none_between_peaks(tmp_path: Path) -> None:
    """Three peaks under the one anchor, two under the other."""
    file = loops(tmp_path / "a.bedpe", ("chr1", 9000, 15000, "chr1", 29000, 33000, ".", 5))
    every, capped = (run_source("loops", [file], max_pairs=n) for n in (6, 5))
    assert len(rows_of(every, "PEAK_CONTACTS", "start_id")) == 6
    assert len(rows_of(capped, "PEAK_CONTACTS", "start_id")) == 0
    assert contacts(every) == contacts(capped)
    assert "a.bedpe: 1 loops have more than 5 pairs of peaks, which were left out" in capped.warnings
    with pytest.raises(ParameterError, match="max_pairs is -1: at least 0"):
        run_source("loops", [file], max_pairs=-1)


def test_real_loops_are_read_whole(data: Path) -> None:
    """Against the genes and peaks of the samples; what counts is what is left out before the join."""
    hic = data / "hic"
    reading = run_source("loops", [hic / "gm12878_hichip_chr22.hg19.bedpe"], "hg19")
    assert (reading.read, len(reading.rejected)) == (4447, 0)
    raw = [line.split() for line in (hic / "gm12878_hichip_chr22.hg19.bedpe").read_text().splitlines()]
    low = sum(int(fields[7]) < 2 for fields in raw)
    assert f"{low:,} rows have a score below 2" in reading.warnings[0]
    mango = run_source("loops", [hic / "k562_rnapii_chiapet.hg19.mango"], "hg19")
    assert (mango.read, len(mango.rejected)) == (31721, 0)
    assert "31,309 rows have a score below 1.30103" in mango.warnings[0]  # 412 have q <= 0.05
    jurkat = run_source("loops", [hic / "jurkat_cohesin_loops.hg19.bedpe"], "hg19")
    assert jurkat.read == 85843
    # anchors that were padded past the end of the mitochondrial chromosome
    assert jurkat.rejected["reason"].tolist() == ["16615 lies beyond the end of chrM of GRCh37 (16,571 bp)"] * 2
    every = run_source("loops", [hic / "jurkat_cohesin_loops.hg19.bedpe"], "hg19", min_score=0.0)
    assert "9,880 rows have anchors that overlap" in every.warnings[0]


def test_real_loops_lifted_to_real_peaks(data: Path) -> None:
    """What is left of hg19 loops on GRCh38; both anchors keep where they were."""
    lift = read_lift(data / "chains" / "hg19ToHg38.over.chain.gz", assembly("hg19"))
    counts = {}
    for name in ("gm12878_hichip_chr22.hg19.bedpe", "k562_rnapii_chiapet.hg19.mango"):
        reading = run_source("loops", [data / "hic" / name], graph=h1_graph(data), lift=lift)
        counts[name[:6]] = tuple(len(rows_of(reading, type_, "start_id")) for type_ in ("CONTACTS", "PEAK_CONTACTS"))
        assert all(o.count("GRCh37:") == 2 for (o,) in rows_of(reading, "CONTACTS", "original"))
    assert counts == {"gm1287": (599, 319), "k562_r": (1473, 617)}
