"""Lifting intervals: a slow per-base oracle, hand-made chains, and answers of other programs on real chains."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.genome.intervals import Intervals
from loaders.tables.chain import Chains, read_chains
from loaders.tables.files import check_file
from loaders.tables.lift import Fate, check_way_back, check_widths, lift, lift_points, resize
from tests.loaders.world import write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.tables.lift import Lifted


@dataclass(frozen=True)
class Made:
    """One chain by hand: `blocks` are (size, gap here, gap there), the last one without gaps."""

    start: int
    to_start: int  # on the strand of the chain
    blocks: tuple[tuple[int, ...], ...]
    strand: str = "+"
    chrom: str = "chrA"
    to_chrom: str = "chrB"
    size: int = 400

    def text(self, number: int) -> str:
        end = self.start + sum(b[0] + (b[1] if len(b) > 1 else 0) for b in self.blocks)
        to_end = self.to_start + sum(b[0] + (b[2] if len(b) > 1 else 0) for b in self.blocks)
        head = (
            f"chain 1 {self.chrom} {self.size} + {self.start} {end} "
            f"{self.to_chrom} {self.size} {self.strand} {self.to_start} {to_end} {number}\n"
        )
        return head + "".join("\t".join(map(str, b)) + "\n" for b in self.blocks) + "\n"

    def bases(self) -> dict[int, int]:
        """Return every aligned base and where it goes, on the forward strand."""
        here, there, held = self.start, self.to_start, {}
        for size, gap, to_gap in (b if len(b) > 1 else (b[0], 0, 0) for b in self.blocks):
            for i in range(size):
                held[here + i] = there + i if self.strand == "+" else self.size - 1 - (there + i)
            here, there = here + size + gap, there + size + to_gap
        return held


def chains_of(folder: Path, *specs: Made) -> Chains:
    path = write(folder / "made.chain", "".join(spec.text(i) for i, spec in enumerate(specs, 1)))
    return read_chains(check_file(path), Counter())


def at(*rows: tuple[str, int, int]) -> Intervals:
    chrom, start, end = zip(*rows, strict=True)
    return Intervals(np.array(chrom, dtype=object), np.array(start), np.array(end))


def rows_of(lifted: Lifted) -> list[tuple[str, str, int, int, bool] | tuple[str]]:
    columns = (lifted.fate, lifted.at.chrom, lifted.at.start, lifted.at.end, lifted.inverted)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(str(row[0]), *row[1:]) if row[0] is Fate.LIFTED else (str(row[0]),) for row in rows]


def slow(specs: list[Made], interval: tuple[str, int, int], min_match: float) -> tuple[object, ...]:
    """Apply the rule base by base."""
    chrom, start, end = interval
    hits = []
    for spec in specs:
        bases = spec.bases()
        to = [bases[p] for p in range(start, end) if p in bases and spec.chrom == chrom]
        if to:
            hits.append((spec, to))
    enough = [(spec, to) for spec, to in hits if len(to) >= min_match * (end - start) - 1e-9]
    if len(enough) == 1:
        spec, to = enough[0]
        return "lifted", spec.to_chrom, min(to), max(to) + 1, spec.strand == "-"
    return ("duplicated",) if enough else (("split",) if len(hits) > 1 else ("deleted",))


gaps = st.tuples(st.integers(1, 9), st.integers(0, 7), st.integers(0, 7))
some_chains = st.builds(
    Made,
    start=st.integers(0, 60),
    to_start=st.integers(0, 60),
    blocks=st.tuples(st.lists(gaps, max_size=6), st.integers(1, 9)).map(lambda x: (*x[0], (x[1],))),
    strand=st.sampled_from("+-"),
    chrom=st.sampled_from(["chrA", "chrC"]),
    to_chrom=st.sampled_from(["chrB", "chrD"]),
)
some_intervals = st.tuples(st.sampled_from(["chrA", "chrC", "chrX"]), st.integers(0, 150), st.integers(1, 40)).map(
    lambda x: (x[0], x[1], x[1] + x[2])
)
again_and_again = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@again_and_again
@given(
    specs=st.lists(some_chains, min_size=1, max_size=4),
    intervals=st.lists(some_intervals, min_size=1, max_size=12),
    min_match=st.sampled_from([0.01, 0.1, 0.5, 0.9, 1.0]),
)
def test_it_equals_the_rule_base_by_base(
    tmp_path: Path, specs: list[Made], intervals: list[tuple[str, int, int]], min_match: float
) -> None:
    lifted = lift(chains_of(tmp_path, *specs), at(*intervals), min_match)
    assert rows_of(lifted) == [slow(specs, interval, min_match) for interval in intervals]
    assert [bool(reason) for reason in lifted.reason] == [fate != Fate.LIFTED for fate in lifted.fate]


@again_and_again
@given(specs=st.lists(some_chains, min_size=1, max_size=3), position=st.integers(0, 150))
def test_points_and_the_way_back(tmp_path: Path, specs: list[Made], position: int) -> None:
    chains = chains_of(tmp_path, *specs)
    which, where = np.arange(len(specs)), np.full(len(specs), position)
    expected = [spec.bases().get(position, -1) for spec in specs]
    forward = lift_points(chains, which, where)
    assert forward.tolist() == expected
    home = lift_points(chains.back(), which, forward)
    assert home.tolist() == [position if base >= 0 else -1 for base in expected]
    assert (lift_points(chains, np.full(len(specs), -1), where) == -1).all()


def test_the_identity_gives_the_input(tmp_path: Path) -> None:
    rows = [("chrA", s, s + w) for s in range(10, 350, 7) for w in (1, 20, 40)]
    spec = Made(10, 10, ((390,),), to_chrom="chrA")
    lifted = lift(chains_of(tmp_path, spec), at(*rows), 1.0)
    assert rows_of(lifted) == [("lifted", *row, False) for row in rows]


def test_an_inversion_of_one_base(tmp_path: Path) -> None:
    """Base 50 of 400 lies on the other strand, in place: there it is number 349 from the end."""
    specs = (Made(0, 0, ((50, 1, 1), (349,)), to_chrom="chrA"), Made(50, 349, ((1,),), "-", to_chrom="chrA"))
    lifted = lift(chains_of(tmp_path, *specs), at(("chrA", 50, 51), ("chrA", 49, 52), ("chrA", 40, 60)), 0.5)
    assert rows_of(lifted) == [
        ("lifted", "chrA", 50, 51, True),
        *[("lifted", "chrA", *x, False) for x in ((49, 52), (40, 60))],
    ]
    assert lifted.matched.tolist() == [1, 2, 19]


# 100-200 goes to 1100-1200, a gap of 30 here, 230-300 to 1250-1320 (50 are inserted there); 400-450 to the other strand
HAND = (
    Made(100, 1100, ((100, 30, 50), (70,)), size=5000),
    Made(400, 1000, ((50,),), "-", to_chrom="chrD", size=5000),
    Made(440, 3000, ((60,),), size=5000),
)
CASES = {
    (100, 200): ("lifted", "chrB", 1100, 1200, False),
    (190, 240): ("deleted",),  # 20 of 50
    (180, 240): ("lifted", "chrB", 1180, 1260, False),  # 30 of 60 are exactly half
    (200, 230): ("deleted",),
    (400, 450): ("lifted", "chrD", 3950, 4000, True),
    (400, 410): ("lifted", "chrD", 3990, 4000, True),
    (440, 450): ("duplicated",),
    (290, 440): ("split",),  # 10 and 40 of 150
    (440, 460): ("duplicated",),  # 10 and 20 of 20, both at least half
    (600, 700): ("deleted",),
}


def test_hand_made_chains(tmp_path: Path) -> None:
    lifted = lift(chains_of(tmp_path, *HAND), at(*[("chrA", *k) for k in CASES]), 0.5)
    assert rows_of(lifted) == list(CASES.values())
    reasons = dict(zip(CASES, lifted.reason, strict=True))
    assert reasons[190, 240] == "20 of 50 bases are aligned, 25 are needed"
    assert reasons[200, 230] == reasons[600, 700] == "no base of it is aligned"
    assert reasons[290, 440] == "2 chains align parts of it, the best 40 of 150 bases, 75 are needed"
    assert reasons[440, 460] == "2 chains align 10 or more of its 20 bases"


def test_the_width_rule(tmp_path: Path) -> None:
    spec = Made(0, 0, ((20, 0, 25), (20, 0, 15), (20, 40, 0), (20,)))
    rows = [("chrA", 10, 30), ("chrA", 30, 50), ("chrA", 50, 110), ("chrA", 0, 60)]
    intervals = at(*rows)
    lifted = lift(chains_of(tmp_path, spec), intervals, 0.1)
    assert (lifted.at.end - lifted.at.start).tolist() == [45, 35, 20, 100]
    check_widths(lifted, intervals, 2.0, 99)
    assert list(zip(map(str, lifted.fate), lifted.reason, strict=True)) == [
        ("too_wide", "45 bp there against 20 here"),
        ("lifted", ""),
        ("deleted", "20 bp there against 60 here"),
        ("too_wide", "100 bp there against 60 here"),  # within twice, but over 99
    ]


def test_the_way_back(tmp_path: Path) -> None:
    """chrA:0-50 and chrA:100-150 both go to chrB:0-50; chrA:200-250 has a place of its own."""
    specs = [Made(0, 0, ((50,),)), Made(100, 0, ((50,),)), Made(200, 300, ((50,),), "-")]
    chains = chains_of(tmp_path, *specs)
    intervals = at(("chrA", 0, 40), ("chrA", 300, 310), ("chrA", 210, 240))
    lifted = lift(chains, intervals, 0.5)
    check_way_back(lifted, chains.back(), intervals, 0.5, 250)
    assert list(map(str, lifted.fate)) == ["not_reciprocal", "deleted", "lifted"]
    assert lifted.reason[0] == "the way back: duplicated, 2 chains align 20 or more of its 40 bases"
    other = chains_of(tmp_path, replace(specs[1], chrom="chrB", to_chrom="chrA", start=0, to_start=100))
    for most_bp, fate in ((100, "lifted"), (99, "not_reciprocal")):
        lifted = lift(chains, at(("chrA", 0, 40)), 0.5)
        check_way_back(lifted, other, at(("chrA", 0, 40)), 0.5, most_bp)
        assert str(lifted.fate[0]) == fate
    assert lifted.reason[0] == "it comes back 100 bp away"
    elsewhere = chains_of(tmp_path, Made(0, 0, ((50,),), chrom="chrB", to_chrom="chrZ"))
    lifted = lift(chains, at(("chrA", 0, 40)), 0.5)
    check_way_back(lifted, elsewhere, at(("chrA", 0, 40)), 0.5, 250)
    assert lifted.reason[0] == "it comes back to chrZ"


def test_windows_stay_on_the_chromosome() -> None:
    windows = resize(at(("a", 100, 110), ("a", 0, 3), ("a", 195, 200), ("b", 2, 4)), 51, np.array([200, 200, 200, 9]))
    assert list(zip(windows.start.tolist(), windows.end.tolist(), strict=True)) == [
        (80, 131),
        (0, 51),
        (149, 200),
        (0, 9),
    ]


def test_all_answers_of_another_program(data: Path) -> None:
    """211,809 bases of hg19 on hg38, at the edges of blocks and around them, as another implementation lifts them."""
    chains = read_chains(check_file(data / "chains" / "hg19ToHg38.over.chain.gz"), Counter())
    with gzip.open(data / "chains" / "hg19ToHg38.answers.txt.gz", "rt") as lines:
        chrom, position, to, to_position = zip(*(line.split() for line in lines), strict=True)
    start = np.array(position, dtype=np.int64)
    lifted = lift(chains, Intervals(np.array(chrom, dtype=object), start, start + 1), 1.0)
    assert np.where(lifted.good, lifted.at.chrom, "-").tolist() == list(to)
    assert np.where(lifted.good, lifted.at.start, 0).tolist() == list(map(int, to_position))
    assert int(lifted.good.sum()) == 153_964


@pytest.mark.parametrize("name", ["hg19ToHg38.over", "hg38ToHg19.over", "GRCh37_to_GRCh38", "hg19.mm9.rBest.chr16"])
def test_there_and_back_is_where_it_was(data: Path, name: str) -> None:
    """Every base lies in one block of its chain on both sides, whatever the chromosomes are called."""
    chains = read_chains(check_file(data / "chains" / f"{name}.chain.gz"), Counter())
    pick = np.random.default_rng(0).integers(0, len(chains.chain), 20_000)
    base = chains.block_start[pick] + (chains.block_end - chains.block_start)[pick] // 2
    forward = lift_points(chains, chains.chain[pick], base)
    assert (forward >= 0).all()
    assert np.array_equal(lift_points(chains.back(), chains.chain[pick], forward), base)
