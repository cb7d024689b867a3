"""Motif files: what each format means, and what is wrong with a damaged matrix."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kg.errors import InputError
from loaders.motifs.formats import Motif, consensus, read_motifs, split_name, without_id
from loaders.tables.files import check_file
from tests.loaders.world import SAMPLES, write

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = [[1, 2, 3, 4], [10, 0, 0, 0], [0, 5, 5, 0]]
ACROSS = ["1 10 0", "2 0 5", "3 0 5", "4 0 0"]


def motifs(path: Path, text: str) -> list[Motif]:
    return read_motifs(check_file(write(path, text)), Counter())


def meme(*motifs: str, alphabet: str = "ACGT") -> str:
    return f"MEME version 5.4\n\nALPHABET= {alphabet}\n\nstrands: + -\n\n" + "\n".join(motifs)


PROBABILITIES = "0.1 0.2 0.3 0.4\n1 0 0 0\n0.0 0.5 0.5 0.0\n"
SHAPES = {
    "jaspar": ">MA9999.1 XYZ\n" + "".join(f"{b}  [ {row} ]\n" for b, row in zip("ACGT", ACROSS, strict=True)),
    "jaspar in other order": ">MA9999.1\tXYZ\n" + "".join(f"{'ACGT'[i]} [{ACROSS[i]}]\n" for i in (3, 0, 2, 1)),
    "letters only": ">MA9999.1 XYZ\n" + "".join(f"{b} | {row}\n" for b, row in zip("acgu", ACROSS, strict=True)),
    "a row a base": ">MA9999.1 XYZ\n" + "\n".join(ACROSS),
    "a row a base, tabs and blank lines": ">MA9999.1 XYZ\n\n" + "\n\n".join(r.replace(" ", "\t") for r in ACROSS),
    "a row a position": "# made\n>MA9999.1_MA9999.1.XYZ\n"
    + "".join("\t".join(map(str, row)) + "\n" for row in COUNTS)
    + ">long\n"
    + "1 1 1 1\n" * 5,
    "meme": meme(f"MOTIF MA9999.1 XYZ\nletter-probability matrix: alength= 4 w= 3 nsites= 10 E= 1e-5\n{PROBABILITIES}"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_one_matrix_in_every_shape(tmp_path: Path, shape: str) -> None:
    motif = motifs(tmp_path / "file.txt", SHAPES[shape])[0]
    assert (motif.id, motif.name, motif.base_id, motif.collection, motif.fault) == (
        "MA9999.1", "XYZ", "MA9999", "JASPAR", "",
    )  # fmt: skip
    np.testing.assert_allclose(motif.matrix, np.array(COUNTS, dtype=float))
    assert consensus(motif.matrix) == "NAS"


def test_a_bare_matrix_is_called_as_its_file(tmp_path: Path) -> None:
    (matrices,) = motifs(tmp_path / "MA0123.4.pfm.gz", "\n".join(ACROSS))
    assert (matrices.id, matrices.matrix.tolist()) == ("MA0123.4", COUNTS)


def test_meme_without_sites_keeps_probabilities_and_needs_no_width(tmp_path: Path) -> None:
    text = meme(
        f"MOTIF first\nletter-probability matrix: alength= 4\n{PROBABILITIES}URL nowhere\n",
        "MOTIF second alt name\nlog-odds matrix: alength= 4 w= 1\n 12 -40 3 4\n"
        "letter-probability matrix: w= 1 nsites= 0\n.25 .25 2.5e-1 0.25\n",
    )
    first, second = motifs(tmp_path / "m.meme", text)
    assert first.matrix.tolist() == [[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], [0, 0.5, 0.5, 0]]
    assert (second.id, second.name, second.matrix.tolist()) == ("second", "alt name", [[0.25] * 4])


def labelled(second: str, third: str) -> str:
    return f"A [ 1 2 ]\n{second}\n{third}\nT [ 1 2 ]\n"


LOG_ODDS = "-0.5 is negative: log-odds cannot be turned into counts, load the counts"
DAMAGE = {
    "a row short": ("1 2\n3 4\n5 6\n", 4, "it has 3 rows, expected 4, one for each base"),
    "a position short": (labelled("C [ 1 2 ]", "G [ 1 ]"), 7, "the row has 1 positions, the first has 2"),
    "a base twice": (labelled("A [ 1 2 ]", "G [ 1 3 ]"), 4, "its rows are those of AAGT, expected ACGT"),
    "no number": (labelled("C [ 1 x2 ]", "G [ 1 3 ]"), 6, "'x2' is not a number"),
    "nan": (labelled("C [ 1 nan ]", "G [ 1 3 ]"), 6, "'nan' is not a number"),
    "log-odds": ("-0.5 2\n1 2\n1 1\n1 1\n", 4, LOG_ODDS),
    "an empty position": ("1 0 1\n1 0 1\n1 0 1\n1 0 1\n", 4, "position 2 has no counts"),
    "no rows": ("", 4, "it has 0 rows, expected 4, one for each base"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_matrix_is_told_by_line_and_the_others_are_kept(tmp_path: Path, damage: str) -> None:
    text, line, message = DAMAGE[damage]
    matrices = motifs(tmp_path / "m.jaspar", f">a A\n# made\n\n>b B\n{text}>c C\n" + "1\n2\n3\n4\n")
    # the first one has lost its rows as well
    assert [matrix.id for matrix in matrices if not matrix.fault] == ["c"]
    assert (matrices[1].line, matrices[1].fault) == (line, message)


def test_a_matrix_without_a_name(tmp_path: Path) -> None:
    (matrices,) = motifs(tmp_path / "m.jaspar", ">\n1\n1\n1\n1\n")
    assert (matrices.line, matrices.fault) == (1, "it has no id")


def test_damage_in_rows_of_positions_and_in_meme(tmp_path: Path) -> None:
    tall = motifs(tmp_path / "m.pcm", ">a\n" + "1 2 3 4\n" * 6 + ">b\n1 2 3 4\n1 2 3\n>c\n1 2 x 4\n>d\n")
    assert [(one.line, one.fault) for one in tall] == [
        (1, ""), (10, "the row has 3 numbers, expected 4"), (12, "'x' is not a number"), (13, "it has no rows"),
    ]  # fmt: skip
    head = "letter-probability matrix: alength= 4"
    text = meme(
        f"MOTIF a\n{head} w= 3\n0.1 0.2 0.3 0.4\n",
        f"MOTIF b\n{head} w= 1\n0.1 0.2 0.3 0.9\n",
        "MOTIF c\nURL x\n",
        f"MOTIF d\n{head} w= 2\n0.1 0.2 0.3 0.4\n0.1 0.2 abc 0.4\n",
    )
    matrices = motifs(tmp_path / "m.meme", text)
    assert [(one.line, one.fault) for one in matrices] == [
        (7, "it has 1 positions, expected 3"),
        (13, "the probabilities sum to 1.5"),
        (15, "it has no letter-probability matrix"),
        (21, "'abc' is not a number"),
    ]


@pytest.mark.parametrize("text", ["chr1\t5\t9\n", "hello\n", "# only a comment\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="not a file of motifs"):
        motifs(tmp_path / "m.txt", text)


def test_proteins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the alphabet is ACDEFGHIKLMNPQRSTVWY"):
        motifs(tmp_path / "m.meme", meme(alphabet="ACDEFGHIKLMNPQRSTVWY"))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("MA0080.6 SPI1", ("MA0080.6", "SPI1")),
        ("MA0080.6\tSPI1", ("MA0080.6", "SPI1")),
        ("MA0006.1_MA0006.1.Ahr::Arnt", ("MA0006.1", "Ahr::Arnt")),
        ("MA0080.6", ("MA0080.6", "MA0080.6")),
        ("UN0122.2 YPR015C", ("UN0122.2", "YPR015C")),
        ("ANDR_HUMAN.H11MO.0.A", ("ANDR_HUMAN.H11MO.0.A", "ANDR")),
        ("AHR.H12CORE.0.P.B", ("AHR.H12CORE.0.P.B", "AHR")),
        ("MA0080.6x", ("MA0080.6x", "MA0080.6x")),
        ("CTCF_known1 CTCF and more", ("CTCF_known1", "CTCF and more")),
    ],
)
def test_names(title: str, expected: tuple[str, str]) -> None:
    assert split_name(title) == expected


def test_ids_before_names_are_left_out() -> None:
    assert [without_id(x) for x in ("MA0006.1.Ahr", "Arnt", "MA0009.2")] == ["Ahr", "Arnt", ""]


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ([10, 0, 0, 0], "A"), ([6, 3, 1, 0], "A"), ([6, 3.5, 0.5, 0], "M"), ([5, 3, 2, 0], "M"), ([1, 1, 1, 0], "V"),
        ([1, 1, 1, 1], "N"), ([0, 0, 5, 5], "K"), ([40, 30, 20, 10], "N"),
    ],
)  # fmt: skip
def test_consensus(row: list[float], letter: str) -> None:
    assert consensus(np.array([row], dtype=float)) == letter


def test_the_samples_hold_what_they_say() -> None:
    by_file = {p.name: read_motifs(check_file(p), Counter()) for p in (SAMPLES / "motifs").glob("*")}
    assert {name: [matrix.fault for matrix in ones] for name, ones in by_file.items()} == {
        "made.jaspar": [""] * 3, "made.meme": [""] * 2, "made.pcm": [""] * 2,
    }  # fmt: skip
    assert [consensus(matrix.matrix) for matrix in by_file["made.jaspar"]] == [
        "GATTACAGGC",
        "CCATGTTAACGT",
        "TTTCCGGGAA",
    ]


def test_real_collections(data: Path) -> None:
    for name, count, positions in (
        ("JASPAR2022", 1997, 24_962),
        ("HOCOMOCOv11_HUMAN", 401, 5_746),
        ("HOCOMOCOv11_MOUSE", 356, 4_765),
    ):
        path = data / "motifs" / f"{name}.pfm"
        matrices = read_motifs(check_file(path), Counter())
        lines = [line for line in path.read_text().splitlines() if line and line[0] not in "#>"]
        assert len(lines) == positions  # counted another way
        assert (len(matrices), len({matrix.id for matrix in matrices})) == (count, count)
        assert not [matrix for matrix in matrices if matrix.fault]
        slow = [[float(x) for x in line.split("\t")] for line in lines]
        assert np.concatenate([matrix.matrix for matrix in matrices]).tolist() == slow
