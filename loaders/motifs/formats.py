"""Motif collections as files: JASPAR, MEME, and plain matrices under `>` lines; which transcription factor is whose.

The format is recognised by its content. A fault in one matrix rejects that matrix only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kg.errors import InputError
from loaders.tables.files import blocks

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from loaders.tables.files import InputFile

    Line = tuple[int, str]

BASES = "ACGT"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LABELLED = re.compile(r"([ACGTUacgtu])\b[\s|:]*\[?(.*?)\]?")
_JASPAR_ID = re.compile(r"(?:MA|UN|PB|PF|PH|PL|POL|SA|SD|CN|FAM)\d{3,4}\.\d+")
_HOCOMOCO = re.compile(r"\.H(\d\d)[A-Z]+\.")
_SITES = re.compile(r"nsites\s*=\s*(\d+(?:\.\d+)?)")
_WIDTH = re.compile(r"\bw\s*=\s*(\d+)")
_MEME_FIELDS = ("letter-probability", "URL", "BL", "log-odds")
_OFF = 0.05  # how far from 1 a row of printed probabilities may sum
_CODES = dict(
    zip(
        ("A", "C", "G", "T", "AC", "AG", "AT", "CG", "CT", "GT", "ACG", "ACT", "AGT", "CGT", "ACGT"),
        "ACGTMRWSYKVHDBN",
        strict=True,
    )
)


class Motif(NamedTuple):
    """A matrix of a file.

    Attributes:
        line: of its name, from 1; where `fault` is, if there is one.
        id: JASPAR's id with version, or else the first word of its name.
        name: as the collection shows it.
        matrix: (positions, ACGT) counts, or probabilities where the number of sites is not known.
        fault: what is wrong with it; empty when nothing is.
        text: its lines.
    """

    line: int
    id: str
    name: str
    matrix: NDArray[np.float64]
    fault: str = ""
    text: str = ""

    @property
    def base_id(self) -> str:
        """Id without version."""
        return self.id.rpartition(".")[0] if _JASPAR_ID.fullmatch(self.id) else self.id

    @property
    def collection(self) -> str:
        """The collection that the id belongs to: JASPAR, HOCOMOCO11, ...; empty when the id does not show it."""
        hocomoco = _HOCOMOCO.search(self.id)
        return f"HOCOMOCO{hocomoco[1]}" if hocomoco else "JASPAR" * bool(_JASPAR_ID.fullmatch(self.id))


class _DamageError(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


class _Section(NamedTuple):
    """The lines of one motif: what follows its mark, and those below."""

    line: int
    title: str
    body: list[Line]


def read_motifs(file: InputFile, notes: Counter[str]) -> list[Motif]:
    """Return every motif of a file, in its order.

    Four rows without letters are those of A, C, G and T, unless another matrix of the file has more than four: then
    each row is a position.

    Raises:
        InputError: not a file of motifs, or not of DNA.
    """
    lines = [
        (number, text.decode())
        for first, block in blocks(file, notes)
        for number, text in enumerate(block, first)
        if text.strip() and not text.startswith(b"#")
    ]
    if lines and lines[0][1].startswith("MEME version"):
        _check_alphabet(file.name, lines)
        return [_motif(section, _meme) for section in _sections(lines, "MOTIF")]
    if lines and not lines[0][1].startswith(">") and _numbers(lines[0]):
        title = Path(file.name.removesuffix(".gz")).stem  # a bare matrix is called as its file
        lines = [(lines[0][0], f">{title}"), *lines]
    if not lines or not lines[0][1].startswith(">"):
        raise InputError(
            f"{file.name}: not a file of motifs",
            "JASPAR and .pfm files begin with >ID NAME, MEME files with MEME version",
        )
    sections = _sections(lines, ">")
    tall = any(len(section.body) > len(BASES) for section in sections)
    return [_motif(section, _tall if tall and not _is_labelled(section) else _wide) for section in sections]


def split_name(text: str) -> tuple[str, str]:
    """Return id and name of `MA0080.6 SPI1`, `MA0080.6_MA0080.6.SPI1`, `SPI1_HUMAN.H11MO.0.A` or any other title."""
    words = text.split(maxsplit=1)
    if not words:
        return "", ""
    jaspar = _JASPAR_ID.match(text)
    if jaspar and not text[jaspar.end() : jaspar.end() + 1].isalnum():
        return jaspar[0], without_id(text) or jaspar[0]
    if _HOCOMOCO.search(words[0]) and len(words) == 1:
        return words[0], re.split(r"[_.]", words[0])[0]
    return words[0], words[-1].strip()


def without_id(name: str) -> str:
    """Return SPI1 for `MA0080.6.SPI1`: some collections write JASPAR's id before the name, even twice."""
    return re.sub(rf"^(?:{_JASPAR_ID.pattern}[\s._]*)+", "", name).strip()


def consensus(matrix: NDArray[np.float64]) -> str:
    """Return the IUPAC consensus: one base if it has over half and twice the next, two if they have three quarters.

    The rule of Cavener 1987 (doi:10.1093/nar/15.4.1353); three bases where the fourth is not seen at all.
    """
    return "".join(_letter(row / row.sum()) for row in matrix)


def _letter(share: NDArray[np.float64]) -> str:
    order = np.argsort(-share, kind="stable")
    top = share[order]
    if top[0] > 0.5 and top[0] >= 2 * top[1]:
        count = 1
    elif top[0] + top[1] > 0.75:
        count = 2
    else:
        count = 3 if top[3] == 0 else 4
    return _CODES["".join(sorted(BASES[i] for i in order[:count]))]


def _sections(lines: Sequence[Line], mark: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, text in lines:
        if text.startswith(mark):
            sections.append(_Section(number, text.removeprefix(mark).strip(), []))
        elif sections:
            sections[-1].body.append((number, text))
    return sections


def _motif(section: _Section, parse: Callable[[_Section], list[list[float]]]) -> Motif:
    id_, name = split_name(section.title)
    text = "\t".join([section.title, *(line for _, line in section.body)])
    try:
        matrix = np.array(parse(section), dtype=np.float64)
        _check(section, id_, matrix)
    except _DamageError as fault:
        return Motif(fault.line, id_, name, np.empty((0, 4)), fault.message, text)
    return Motif(section.line, id_, name, matrix, text=text)


def _wide(section: _Section) -> list[list[float]]:
    """Read a row for each base, with or without its letter: `A [ 4 19 0 ]`."""
    if len(section.body) != len(BASES):
        raise _DamageError(section.line, f"it has {len(section.body)} rows, expected 4, one for each base")
    rows = [_LABELLED.fullmatch(text.strip()) for _, text in section.body]
    if any(rows):
        letters = "".join(row[1].upper() if row else "?" for row in rows).replace("U", "T")
        if sorted(letters) != list(BASES):
            raise _DamageError(section.line, f"its rows are those of {letters}, expected ACGT")
        body = [(line, row[2]) for (line, _), row in zip(section.body, rows, strict=True) if row]
        values = [_strict(body[letters.index(base)]) for base in BASES]
    else:
        values = [_strict(line) for line in section.body]
    for (line, _), row in zip(section.body, values, strict=True):
        if len(row) != len(values[0]):
            raise _DamageError(line, f"the row has {len(row)} positions, the first has {len(values[0])}")
    return [list(position) for position in zip(*values, strict=True)]


def _tall(section: _Section) -> list[list[float]]:
    """Read a row for each position, with the columns A, C, G, T."""
    return [_of_bases(line) for line in section.body]


def _meme(section: _Section) -> list[list[float]]:
    """Read a matrix of probabilities; they become counts where the number of sites is stated."""
    heads = [text for _, text in section.body if text.startswith("letter-probability")]
    if not heads:
        raise _DamageError(section.line, "it has no letter-probability matrix")
    after = iter(section.body)
    next(line for line in after if line[1].startswith("letter-probability"))
    rows = [_of_bases(line) for line in after if _numbers(line) or not line[1].startswith((*_MEME_FIELDS, "-", "*"))]
    width, sites = _WIDTH.search(heads[0]), _SITES.search(heads[0])
    if width and int(width[1]) != len(rows):
        raise _DamageError(section.line, f"it has {len(rows)} positions, expected {width[1]}")
    for line, row in zip(section.body[-len(rows) :], rows, strict=True):
        if abs(sum(row) - 1) > _OFF:
            raise _DamageError(line[0], f"the probabilities sum to {sum(row):g}")
    scale = float(sites[1]) if sites and float(sites[1]) > 0 else 1.0
    return [[round(value * scale, 6) for value in row] for row in rows]


def _of_bases(line: Line) -> list[float]:
    values = _strict(line)
    if len(values) != len(BASES):
        raise _DamageError(line[0], f"the row has {len(values)} numbers, expected 4")
    return values


def _strict(line: Line) -> list[float]:
    words = line[1].split()
    wrong = next((word for word in words if not _NUMBER.fullmatch(word)), None)
    if wrong is not None:
        raise _DamageError(line[0], f"{wrong!r} is not a number")
    return [float(word) for word in words]


def _numbers(line: Line) -> bool:
    return all(_NUMBER.fullmatch(word) for word in line[1].split())


def _is_labelled(section: _Section) -> bool:
    return bool(section.body) and _LABELLED.fullmatch(section.body[0][1].strip()) is not None


def _check(section: _Section, id_: str, matrix: NDArray[np.float64]) -> None:
    if not id_:
        raise _DamageError(section.line, "it has no id")
    if not matrix.size:
        raise _DamageError(section.line, "it has no rows")
    if (matrix < 0).any():
        raise _DamageError(
            section.line, f"{matrix.min():g} is negative: log-odds cannot be turned into counts, load the counts"
        )
    empty = np.flatnonzero(matrix.sum(axis=1) == 0)
    if empty.size:
        raise _DamageError(section.line, f"position {empty[0] + 1} has no counts")


def _check_alphabet(name: str, lines: Sequence[Line]) -> None:
    alphabet = next((text.partition("=")[2].strip() for _, text in lines if text.startswith("ALPHABET=")), BASES)
    if alphabet != BASES:
        raise InputError(f"{name}: the alphabet is {alphabet}, expected {BASES}", "load motifs of DNA")
