"""Where motifs match in sequences, on both strands.

All sequences stand behind one another in a text. The positions of each block of it are sorted by the eight bases
that begin there. For a motif, a branch-and-bound over those eight-mers (at its most telling eight positions) leaves
the few from which the threshold can still be reached; only the places where these stand are looked at further,
eight bases at a time (lookahead scoring: Wu 2000, doi:10.1093/bioinformatics/16.3.233; over an index: Beckstette
2006, doi:10.1186/1471-2105-7-389). Nothing is left out: the bounds are exact, scores are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kg.progress import SILENT, Progress
from loaders.motif_words import LETTERS, OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from loaders.motif_scores import Profile

    Ints = NDArray[np.int64]

BLOCK_BP = 1 << 20  # positions that are indexed together; small enough for a processor's cache
_CODES = bytes("ACGT".find(chr(byte).upper()) % (OTHER + 1) for byte in range(256))  # -1, not there, becomes OTHER
_QUADS = np.array(np.unravel_index(np.arange(256), (4, 4, 4, 4)))  # letters of each four-letter word


@dataclass(frozen=True)
class Text:
    """Sequences behind one another.

    Attributes:
        codes: (N,) uint8, 0 to 3 for A, C, G, T in either case, OTHER between sequences and for any other letter.
        starts: (S,) where each sequence begins.
    """

    codes: NDArray[np.uint8]
    starts: Ints

    @classmethod
    def of(cls, sequences: Sequence[bytes]) -> Text:
        """Encode sequences."""
        lengths = np.array([len(s) + 1 for s in sequences], dtype=np.int64)
        codes = np.frombuffer(b"\n".join([*sequences, b""]).translate(_CODES), dtype=np.uint8)
        return cls(codes, np.cumsum(lengths) - lengths)

    @property
    def gc(self) -> float:
        """Share of G and C among the known bases; half if there are none."""
        count = np.bincount(self.codes, minlength=OTHER + 1)[:OTHER]
        return float((count[1] + count[2]) / count.sum()) if count.sum() else 0.5

    def blocks(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Runs of whole sequences of about BLOCK_BP, with the position of the first letter."""
        cuts = np.unique(np.searchsorted(self.starts, np.arange(0, len(self.codes) + BLOCK_BP, BLOCK_BP)))
        for start, end in pairwise(np.append(self.starts, len(self.codes))[cuts].tolist()):
            yield start, self.codes[start:end]


class Found(NamedTuple):
    """Hits of one motif, ordered by position, + before -.

    Attributes:
        position: (H,) of the first base of the match in the text, int64.
        minus: (H,) whether the motif reads along the other strand.
        score: (H,) int64, in 1/STEP bit.
    """

    position: Ints
    minus: NDArray[np.bool_]
    score: Ints

    @classmethod
    def none(cls) -> Found:
        """No hits."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty.astype(bool), empty)


class _Plan(NamedTuple):
    """How one strand of a motif is looked up.

    Attributes:
        quads: (2 * words, 256) int32, score of each four-letter word; rows of the motif that are not there score 0.
        words: (words,) first row of each word, counted from that of the first; the first two are in the index.
        first: row of the motif where the first word begins.
        width, threshold: of the motif.
    """

    quads: NDArray[np.int32]
    words: Ints
    first: int
    width: int
    threshold: int


def find(text: Text, profiles: Sequence[Profile], progress: Progress = SILENT) -> list[Found]:
    """Every place on either strand where a motif scores at least its threshold, motif by motif.

    Args:
        text: the sequences; no match reaches over a letter that is not A, C, G or T.
        profiles: the motifs.
        progress: told of letters scanned.
    """
    from loaders.motif_kernel import index, search  # noqa: PLC0415 - numba is an extra, and slow to import

    plans = [(_plan(p), _plan(p.reversed)) for p in profiles]
    hits: list[list[tuple[Ints, Ints, Ints]]] = [[] for _ in profiles]
    for start, codes in text.blocks():
        words = index(codes)
        for found, strands in zip(hits, plans, strict=True):
            for minus, plan in enumerate(strands):
                position, score = search(words, plan)
                if len(position):
                    found.append((position + start, np.full(len(position), minus), score.astype(np.int64)))
        progress.advance(len(codes))
    return [_in_order(found) for found in hits]


def _in_order(found: list[tuple[Ints, Ints, Ints]]) -> Found:
    if not found:
        return Found.none()
    position, minus, score = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((minus, position))
    return Found(position[order], minus[order].astype(bool), score[order])


def _plan(profile: Profile) -> _Plan:
    """Take for first word the eight rows that a random site is least likely to pass, judged by mean and variance."""
    scores = profile.scores
    width, best = len(scores), scores.max(axis=1)
    mean = scores.mean(axis=1)
    variance = scores.var(axis=1)
    over = [
        (profile.threshold - profile.highest + (best - mean)[at : at + LETTERS].sum())
        / np.sqrt(max(variance[at : at + LETTERS].sum(), 1))
        for at in range(max(width - LETTERS, 0) + 1)
    ]
    first = int(np.argmax(over))
    others = [*range(LETTERS, width - first, LETTERS), *range(-LETTERS, -first - LETTERS, -LETTERS)]
    # the second word stands right behind or before the first; the better one prunes more
    others.sort(key=lambda word: (abs(word), -(best - mean)[max(first + word, 0) : first + word + LETTERS].sum()))
    words = np.array([0, *(others or [LETTERS])], dtype=np.int64)
    return _Plan(_quads(scores, first + words), words, first, width, profile.threshold)


def _quads(scores: Ints, rows: Ints) -> NDArray[np.int32]:
    quads = np.zeros((2 * len(rows), 256), dtype=np.int32)
    for at, row in enumerate(int(row) + half for row in rows for half in (0, LETTERS // 2)):
        for letter in range(LETTERS // 2):
            if 0 <= row + letter < len(scores):
                quads[at] += np.take(scores[row + letter], _QUADS[letter]).astype(np.int32)
    return quads
