"""The arc plot: geometry, what is written on it, colours, refusals, and that it costs nothing until it is drawn."""

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from kg.errors import InputError
from kg.pages.arc_plot import PLANTED, DrawnGene, DrawnLink, arc, arc_plot, lines_without_overlap

GENE = DrawnGene("NCF2", "GRCh38", "chr1", 183_555_562, 183_590_905, "-", 183_590_904)
NEIGHBOURS = [
    DrawnGene("SMG7", "GRCh38", "chr1", 183_472_000, 183_554_000, "+", 183_472_000),
    DrawnGene("FARAWAY", "GRCh38", "chr1", 10_000, 20_000, "+", 10_000),
    DrawnGene("ELSEWHERE", "GRCh38", "chr2", 183_555_562, 183_590_905, "+", 183_555_562),
]
LINKS = [
    DrawnLink("GRCh38:chr1:183590700-183591100", 183_590_700, 183_591_100, 0.82, called=True),
    DrawnLink("GRCh38:chr1:183500000-183500500", 183_500_000, 183_500_500, 0.64, called=True),
    DrawnLink("GRCh38:chr1:183620000-183620400", 183_620_000, 183_620_400, 0.11, called=False),
    DrawnLink("GRCh38:chr1:183640000-183640400", 183_640_000, 183_640_400, -0.35, called=False),
]


@dataclass(frozen=True)
class RowOfAnAnswer:
    """As a question gives it: more fields than the picture needs."""

    peak: str
    start: int
    end: int
    score: float
    called: bool
    q_value: float
    run: str


def svg(tmp_path: Path, **words: object) -> str:
    return arc_plot(GENE, LINKS, tmp_path / "locus.svg", neighbours=NEIGHBOURS, **words).read_text("utf-8")  # type: ignore[arg-type]


def pixels_of(path: Path, colour: str) -> int:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(imread(path)[:, :, :3] - wanted).max(axis=2) < 0.01).sum())


@given(st.floats(0, 1e8), st.floats(0, 1e8), st.floats(-1, 1))
def test_an_arc_ends_on_the_line_and_is_as_high_as_its_score(start: float, end: float, score: float) -> None:
    x, y = arc(start, end, score)
    assert (x[0], x[-1]) == pytest.approx((start, end), abs=1e-6)
    assert (y[0], y[-1]) == pytest.approx((0, 0), abs=1e-9)
    assert y[np.abs(y).argmax()] == pytest.approx(score)
    assert x[len(x) // 2] == pytest.approx((start + end) / 2)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 300)), max_size=12), st.integers(0, 50))
def test_genes_on_one_line_never_meet(bodies: list[tuple[int, int]], pad: int) -> None:
    genes = [DrawnGene("G", "GRCh38", "chr1", start, start + length, "+", start) for start, length in bodies]
    lines = lines_without_overlap(genes, pad)
    for i, one in enumerate(genes):
        for j in range(i):
            if lines[i] == lines[j]:
                assert max(one.start, genes[j].start) >= min(one.end, genes[j].end) + pad
    assert all(lines[i] <= max(lines[:i], default=-1) + 1 for i in range(len(lines)))


def test_the_picture_says_gene_counts_and_provenance(tmp_path: Path) -> None:
    text = svg(tmp_path, planted=[LINKS[0].peak, LINKS[2].peak], subtitle="release 3 · run 2f6c")
    assert "Predicted regulators of NCF2" in text
    assert "2 of 4 peaks called; 1 of 2 true links among them" in text
    assert "release 3 · run 2f6c" in text
    assert "GRCh38 chr1, Mb (0-based)" in text
    assert "true link" in text


def test_only_genes_in_view_are_named(tmp_path: Path) -> None:
    text = svg(tmp_path)
    assert "SMG7" in text
    assert "FARAWAY" not in text
    assert "ELSEWHERE" not in text


def test_without_truth_nothing_is_said_of_it(tmp_path: Path) -> None:
    text = svg(tmp_path)
    assert "2 of 4 peaks called" in text
    assert "true link" not in text
    assert PLANTED.lower() not in text.lower()


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    assert svg(tmp_path / "a") == svg(tmp_path / "b")


def test_a_png_shows_planted_links_in_their_colour(tmp_path: Path) -> None:
    plain = arc_plot(GENE, LINKS, tmp_path / "plain.png")
    marked = arc_plot(GENE, LINKS, tmp_path / "marked.png", planted=[LINKS[1].peak])
    assert imread(plain).shape == imread(marked).shape
    assert pixels_of(plain, PLANTED) == 0
    assert pixels_of(marked, PLANTED) > 50
    assert sorted(p.name for p in tmp_path.iterdir()) == ["marked.png", "plain.png"]


def test_rows_of_answers_and_of_json_are_read_alike() -> None:
    row = RowOfAnAnswer(LINKS[0].peak, LINKS[0].start, LINKS[0].end, 0.82, called=True, q_value=0.01, run="r")
    assert DrawnLink.of(row) == DrawnLink.of(asdict(row)) == LINKS[0]
    assert DrawnGene.of({**asdict(GENE), "id": "ENSG00000116701"}) == GENE


@pytest.mark.parametrize(("name", "links", "said"), [("a.bmp", LINKS, "cannot draw"), ("a.png", [], "no scored links")])
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, name: str, links: list[DrawnLink], said: str) -> None:
    with pytest.raises(InputError, match=said):
        arc_plot(GENE, links, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_matplotlib_waits_until_something_is_drawn() -> None:
    code = "import sys, kg.pages.arc_plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
