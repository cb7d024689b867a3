"""One set of peaks out of several: against slow oracles, pyranges and cases computed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyranges
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.errors import AssemblyMismatch, InputError, MissingInput, ParameterError
from loaders.genome.intervals import Intervals, clusters
from loaders.requests import LoadRequest, prepare, snapshot_of
from loaders.tables.consensus import best
from tests.loaders.world import bed, content, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.reading import ParsedSource

Peak = tuple[str, int, int]
peak_lists = st.lists(
    st.tuples(st.sampled_from(["chr1", "chr2", "chr10"]), st.integers(0, 60), st.integers(1, 12)).map(
        lambda p: (p[0], p[1], p[1] + p[2])
    ),
    max_size=40,
)


def intervals(peaks: list[Peak]) -> Intervals:
    chrom, start, end = zip(*peaks, strict=True) if peaks else ((), (), ())
    return Intervals(np.array(chrom, dtype=object), np.array(start, dtype=np.int64), np.array(end, dtype=np.int64))


def meet(a: Peak, b: Peak) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def slow_union(peaks: list[Peak]) -> set[Peak]:
    """Join any two that meet until none do."""
    left = list(set(peaks))
    while True:
        pair = next(((a, b) for i, a in enumerate(left) for b in left[i + 1 :] if meet(a, b)), None)
        if pair is None:
            return set(left)
        (a, b) = pair
        left = [p for p in left if p not in pair] + [(a[0], min(a[1], b[1]), max(a[2], b[2]))]


def slow_best(peaks: list[Peak], rank: list[int]) -> list[bool]:
    """Choose one peak after another, as the method is described."""
    kept: list[int] = []
    for i in sorted(range(len(peaks)), key=lambda i: rank[i]):
        if not any(meet(peaks[i], peaks[j]) for j in kept):
            kept.append(i)
    return [i in kept for i in range(len(peaks))]


@given(peak_lists)
def test_clusters_are_those_of_the_slow_union(peaks: list[Peak]) -> None:
    unions = pd.DataFrame(peaks, columns=["chrom", "start", "end"]).groupby(clusters(intervals(peaks)))
    assert set(zip(unions["chrom"].first(), unions["start"].min(), unions["end"].max(), strict=True)) == slow_union(
        peaks
    )
    assert unions["chrom"].nunique().le(1).all()


@given(peak_lists, st.randoms(use_true_random=False))
def test_the_best_are_those_of_the_slow_removal(peaks: list[Peak], random: Any) -> None:
    rank = list(range(len(peaks)))
    random.shuffle(rank)
    assert best(intervals(peaks), np.array(rank, dtype=np.int64)).tolist() == slow_best(peaks, rank)


def narrow(rows: list[tuple[str, int, int, float, int]]) -> str:
    return bed(*((c, s, e, f"p{i}", 0, ".", v, 1, 1, o) for i, (c, s, e, v, o) in enumerate(rows)))


def positions(reading: ParsedSource) -> set[str]:
    return {i.removeprefix("GRCh38:") for b in reading.batches for i in b.table["id"].to_pylist()}


def test_the_union_takes_the_strongest_summit_and_folds_the_others(tmp_path: Path) -> None:
    one = write(tmp_path / "one.narrowPeak", narrow([("chr1", 100, 200, 5, 10), ("chr1", 300, 400, 1, 20)]))
    two = write(tmp_path / "two.narrowPeak", narrow([("chr1", 150, 300, 7, 30), ("chr2", 100, 200, 2, -1)]))
    reading = run_source("peaks", [one, two], consensus="union")
    summits = {row["id"]: row["summit"] for row in reading.batches[0].table.to_pylist()}
    # 150-300 and 300-400 touch, and do not share a base
    assert summits == {"GRCh38:chr1:100-300": 180, "GRCh38:chr1:300-400": 320, "GRCh38:chr2:100-200": None}
    assert (reading.rows, reading.folded, reading.filtered, reading.read) == (3, 1, 0, 4)
    assert content(run_source("peaks", [two, one], consensus="union")) == content(reading)


def test_windows_by_hand(tmp_path: Path) -> None:
    rows = [
        ("chr1", 1000, 2000, 9.0, 500),  # 1400-1601, the best
        ("chr1", 1500, 1900, 5.0, 150),  # 1550-1751 overlaps it: folded
        ("chr1", 1700, 1900, 3.0, 100),  # 1700-1901 overlaps only a folded one: kept
        ("chr1", 20, 120, 8.0, 50),  # -30-171 would leave the chromosome: filtered
        ("chr1", 3000, 3101, 1.0, -1),  # no summit: the middle, 3050, so 2950-3151
    ]
    reading = run_source("peaks", [write(tmp_path / "a.narrowPeak", narrow(rows))], consensus="fixed", width_bp=201)
    assert positions(reading) == {"chr1:1400-1601", "chr1:1700-1901", "chr1:2950-3151"}
    assert (reading.folded, reading.filtered) == (1, 1)
    assert reading.batches[0].table["summit"].to_pylist() == [1500, 1800, 3050]


def test_two_summits_of_one_interval_are_two_windows(tmp_path: Path) -> None:
    rows = [("chr1", 1000, 3000, 9.0, 300), ("chr1", 1000, 3000, 4.0, 1500)]
    file = write(tmp_path / "a.narrowPeak", narrow(rows))
    assert positions(run_source("peaks", [file], consensus="fixed")) == {"chr1:1050-1551", "chr1:2250-2751"}
    assert run_source("peaks", [file], consensus="union").rows == 1


def test_over_files_the_quantile_decides_not_the_depth(tmp_path: Path) -> None:
    """The weakest peak of a deep experiment gives way to the strongest of a shallow one."""
    deep = [("chr1", 1000, 1100, 50.0, 50), ("chr1", 9000, 9100, 90.0, 50)]
    shallow = [("chr1", 1060, 1160, 3.0, 50), ("chr2", 9000, 9100, 2.0, 50)]
    files = [write(tmp_path / f"{i}.narrowPeak", narrow(rows)) for i, rows in enumerate((deep, shallow))]
    reading = run_source("peaks", files, consensus="fixed", width_bp=101)
    assert positions(reading) == {"chr1:1060-1161", "chr1:9000-9101", "chr2:9000-9101"}
    assert reading.folded == 1


def slow_fixed(files: list[list[tuple[str, int, int, float, int]]], width: int) -> set[Peak]:
    candidates: list[tuple[float, Peak]] = []
    for rows in files:
        windows = [(v, (c, s + o - width // 2, s + o - width // 2 + width)) for c, s, _, v, o in rows]
        windows = [(v, w) for v, w in windows if w[1] >= 0]
        order = sorted(range(len(windows)), key=lambda i: (-windows[i][0], windows[i][1]))
        kept = slow_best([w for _, w in windows], [order.index(i) for i in range(len(windows))])
        left = [one for one, k in zip(windows, kept, strict=True) if k]
        for v, w in left:
            below = sum(x < v for x, _ in left)
            tied = sum(x == v for x, _ in left)
            candidates.append(((below + (tied + 1) / 2) // 1 / len(left), w))
    order = sorted(range(len(candidates)), key=lambda i: (-candidates[i][0], candidates[i][1]))
    kept = slow_best([w for _, w in candidates], [order.index(i) for i in range(len(candidates))])
    return {w for (_, w), k in zip(candidates, kept, strict=True) if k}


@pytest.mark.parametrize("seed", range(5))
def test_random_files_against_the_oracles(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    files, paths = [], []
    for name in ("a", "b", "c"):
        starts = rng.integers(0, 20_000, 60)
        rows = [
            (f"chr{rng.integers(1, 4)}", int(s), int(s + w), float(rng.integers(1, 30)), int(rng.integers(0, w)))
            for s, w in zip(starts, rng.integers(50, 700, 60), strict=True)
        ]
        files.append(list({row[:3]: row for row in rows}.values()))
        paths.append(write(tmp_path / f"{name}.narrowPeak", narrow(files[-1])))
    fixed = run_source("peaks", paths, consensus="fixed", width_bp=501)
    assert positions(fixed) == {f"{c}:{s}-{e}" for c, s, e in slow_fixed(files, 501)}
    every = [row[:3] for rows in files for row in rows]
    united = run_source("peaks", paths, consensus="union")
    assert positions(united) == {f"{c}:{s}-{e}" for c, s, e in slow_union(every)}
    for reading in (fixed, united):
        assert reading.rows + reading.folded + reading.filtered == reading.read == len(every)


def test_the_union_of_real_peaks_is_that_of_pyranges(data: Path) -> None:
    files = sorted((data / "chipseq" / "gm12878_hg19").glob("*Ebf1*")) + sorted(
        (data / "chipseq" / "gm12878_hg19").glob("*Ctcf*")
    )
    assert len(files) >= 2
    frames = [pd.read_csv(f, sep="\t", header=None, usecols=[0, 1, 2]) for f in files]
    every = pd.concat(frames).set_axis(["Chromosome", "Start", "End"], axis=1)
    # pyranges joins what touches; a gap of one base between all keeps those apart
    merged = pyranges.PyRanges(every.assign(End=every["End"] - 1)).merge(slack=0).df
    expected = {f"{c}:{s}-{e + 1}" for c, s, e in zip(merged.Chromosome, merged.Start, merged.End, strict=True)}
    reading = run_source("peaks", files, "hg19", consensus="union")
    assert {i.removeprefix("GRCh37:") for i in reading.batches[0].table["id"].to_pylist()} == expected


def test_a_blacklist_takes_out_what_shares_a_base(tmp_path: Path) -> None:
    peaks = write(tmp_path / "p.bed", bed(("chr1", 100, 200), ("chr1", 300, 400), ("chr1", 500, 600), ("chr2", 1, 9)))
    barred = write(tmp_path / "b.bed.gz", bed(("1", 199, 300, "High Signal Region"), ("chr1", 550, 551, "Low")))
    reading = run_source("peaks", [peaks], blacklist=barred)
    assert positions(reading) == {"chr1:300-400", "chr2:1-9"}
    assert (reading.filtered, len(reading.rejected)) == (2, 0)


def test_a_faulty_blacklist_is_refused(tmp_path: Path) -> None:
    peaks = write(tmp_path / "p.bed", bed(("chr1", 100, 200)))
    barred = write(tmp_path / "b.bed", bed(("chr1", 100, 90)))
    with pytest.raises(InputError, match=r"b\.bed:1 column 'end': 90 is not greater"):
        run_source("peaks", [peaks], blacklist=barred)
    mouse = write(tmp_path / "m.bed", bed(*[("chr1", 240_000_000 + i, 240_000_100 + i) for i in range(20)]))
    with pytest.raises(AssemblyMismatch):
        run_source("peaks", [peaks], "mm10", blacklist=mouse)


def test_the_content_of_a_blacklist_is_a_parameter_and_its_name_is_not(tmp_path: Path) -> None:
    peaks = write(tmp_path / "p.bed", bed(("chr1", 100, 200)))

    def parameters(path: Path) -> Any:
        return snapshot_of(
            prepare(LoadRequest("peaks", [peaks], assembly="hg38", options={"blacklist": path}))
        ).parameters["blacklist"]

    one = parameters(write(tmp_path / "one.bed", bed(("chr1", 1, 2))))
    assert one.startswith("sha256:")
    assert parameters(write(tmp_path / "same.bed", bed(("chr1", 1, 2)))) == one
    assert parameters(write(tmp_path / "one.bed", bed(("chr1", 1, 3)))) != one
    with pytest.raises(MissingInput, match=r"nothing\.bed: no such file"):
        parameters(tmp_path / "nothing.bed")


def test_a_width_must_make_sense(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="width_bp is 0: at least 1"):
        run_source("peaks", [write(tmp_path / "p.bed", bed(("chr1", 1, 2)))], consensus="fixed", width_bp=0)
