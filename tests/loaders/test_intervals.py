"""Interval kernels against a slow loop and against pyranges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.genome.intervals import Intervals, distance, overlapping, signed_distance, within

Interval = tuple[str, int, int]


def intervals(rows: list[Interval]) -> Intervals:
    chrom, start, end = zip(*rows, strict=True) if rows else ((), (), ())
    return Intervals(np.array(chrom, dtype=object), np.array(start, dtype=np.int64), np.array(end, dtype=np.int64))


def slow_distance(a: Interval, b: Interval) -> int:
    """Apply GLUE's rule, one pair at a time."""
    if a[1] < b[2] and b[1] < a[2]:
        return 0
    return b[1] - a[2] + 1 if a[2] <= b[1] else a[1] - b[2] + 1


def slow_pairs(left: list[Interval], right: list[Interval], window_bp: int) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if a[0] == b[0] and slow_distance(a, b) <= window_bp
    ]


ROWS = st.lists(
    st.tuples(st.sampled_from(["chr1", "chr2", "chrX"]), st.integers(0, 60), st.integers(1, 40)).map(
        lambda t: (t[0], t[1], t[1] + t[2])
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(left=ROWS, right=ROWS, window_bp=st.integers(0, 30))
def test_pairs_are_those_of_the_slow_loop(left: list[Interval], right: list[Interval], window_bp: int) -> None:
    i, j = within(intervals(left), intervals(right), window_bp)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == slow_pairs(left, right, window_bp)


@settings(max_examples=100, deadline=None)
@given(left=ROWS, right=ROWS)
def test_distances_are_those_of_the_slow_loop(left: list[Interval], right: list[Interval]) -> None:
    n = min(len(left), len(right))
    a, b = intervals(left[:n]), intervals(right[:n])
    expected = [slow_distance(x, y) for x, y in zip(left[:n], right[:n], strict=True)]
    assert distance(a.start, a.end, b.start, b.end).tolist() == expected


def test_touching_is_one_apart_and_a_gap_counts_its_bases_and_one() -> None:
    assert distance([0, 0, 10, 0, 5], [10, 10, 20, 10, 6], [10, 9, 0, 15, 0], [12, 12, 5, 20, 10]).tolist() == [
        1,  # [0, 10) and [10, 12)
        0,  # one shared base
        6,  # right interval lies before
        6,
        0,  # nested
    ]


def test_signed_distance_follows_the_strand() -> None:
    point, start, end = [100] * 5, [90, 101, 50, 100, 150], [101, 110, 100, 120, 160]
    assert signed_distance(point, ["+"] * 5, start, end).tolist() == [0, 1, -1, 0, 50]
    assert signed_distance(point, ["-"] * 5, start, end).tolist() == [0, -1, 1, 0, -50]


@settings(max_examples=100, deadline=None)
@given(tss=st.integers(0, 80), rows=ROWS.filter(bool))
def test_the_size_of_the_signed_distance_is_the_distance_to_the_one_base(tss: int, rows: list[Interval]) -> None:
    peaks = intervals(rows)
    signed = signed_distance([tss] * len(rows), ["+"] * len(rows), peaks.start, peaks.end)
    assert np.abs(signed).tolist() == distance(tss, tss + 1, peaks.start, peaks.end).tolist()


def random_intervals(rng: np.random.Generator, n: int) -> Intervals:
    """Draw mostly short intervals, and a few that contain many others."""
    start = rng.integers(0, 1_000_000, n)
    width = np.where(rng.random(n) < 0.02, rng.integers(100_000, 500_000, n), rng.integers(1, 2_000, n))
    return Intervals(rng.choice(np.array(["chr1", "chr2", "chr3"], dtype=object), n), start, start + width)


@pytest.mark.filterwarnings("ignore")  # pyranges warns about pandas and pkg_resources
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_overlaps_are_those_of_pyranges(seed: int) -> None:
    import pyranges

    rng = np.random.default_rng(seed)
    left, right = random_intervals(rng, 1_500), random_intervals(rng, 2_000)

    def frame(one: Intervals, name: str) -> pyranges.PyRanges:
        columns = {"Chromosome": one.chrom, "Start": one.start, "End": one.end, name: np.arange(len(one.start))}
        return pyranges.PyRanges(pd.DataFrame(columns))

    joined = frame(left, "i").join(frame(right, "j")).df
    expected = set(zip(joined["i"].tolist(), joined["j"].tolist(), strict=True))
    i, j = overlapping(left, right)
    assert len(expected) > 1_000
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected
    assert len(i) == len(expected)
