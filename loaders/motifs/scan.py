"""Where motifs match in sequences, on both strands.

All sequences stand behind one another in a text. The positions of each block of it are sorted by the eight bases
that begin there. For a motif, a branch-and-bound over those eight-mers (at its most telling eight positions) leaves
the few from which the threshold can still be reached; only the places where these stand are looked at further,
eight bases at a time (lookahead scoring: Wu 2000, doi:10.1093/bioinformatics/16.3.233; over an index: Beckstette
2006, doi:10.1186/1471-2105-7-389). Nothing is left out: the bounds are exact, scores are integers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kg.progress import SILENT, Progress
from loaders.motifs.words import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from loaders.motifs.scores import Profile
    from loaders.motifs.word_search import StrandPlan, WordIndex

    Ints = NDArray[np.int64]
    Block = tuple[int, int, Future[WordIndex]]  # first position, letters, the words of it

BLOCK_BP = 1 << 22  # positions that are indexed together; small enough for a processor's cache
SHARES = 4  # of the motifs for each thread: who is done early takes another
_CODES = bytes("ACGT".find(chr(byte).upper()) % (OTHER + 1) for byte in range(256))  # -1, not there, becomes OTHER


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
        """Yield runs of whole sequences of about BLOCK_BP, with the position of the first letter."""
        cuts = np.unique(np.searchsorted(self.starts, np.arange(0, len(self.codes) + BLOCK_BP, BLOCK_BP)))
        for start, end in pairwise(np.append(self.starts, len(self.codes))[cuts].tolist()):
            yield start, self.codes[start:end]


class MotifHits(NamedTuple):
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
    def none(cls) -> MotifHits:
        """Return no hits."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty.astype(bool), empty)


def find(
    text: Text, profiles: Sequence[Profile], progress: Progress = SILENT, *, threads: int | None = None
) -> list[MotifHits]:
    """Return every place on either strand where a motif scores at least its threshold, motif by motif.

    Args:
        text: the sequences; no match reaches over a letter that is not A, C, G or T.
        profiles: the motifs.
        progress: counts the letters scanned.
        threads: that search, each its share of the motifs; None for as many as there are cores.
    """
    import numba  # noqa: PLC0415 - an extra, and slow to import

    from loaders.motifs.word_search import index, plan, search  # noqa: PLC0415

    hits: list[list[tuple[Ints, Ints, Ints]]] = [[] for _ in profiles]
    workers = threads or numba.get_num_threads()
    shares = SHARES * workers

    def both_strands(forward: Profile) -> list[StrandPlan]:
        return [plan(profile.scores, profile.threshold) for profile in (forward, forward.reversed)]

    def search_share(first: int, start: int, words: WordIndex) -> None:
        for of_motif, strands in zip(hits[first::shares], plans[first::shares], strict=True):
            for minus, strand in enumerate(strands):
                position, score = search(words, strand)
                if len(position):
                    of_motif.append((position + start, np.full(len(position), minus), score))

    with ThreadPoolExecutor(workers) as pool:
        plans = list(pool.map(both_strands, profiles))
        blocks = ((start, len(codes), pool.submit(index, codes)) for start, codes in text.blocks())
        for start, letters, words in _one_ahead(blocks):
            list(pool.map(partial(search_share, start=start, words=words.result()), range(shares)))
            progress.advance(letters)
    return [_in_order(of_motif) for of_motif in hits]


def _one_ahead(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks, requesting each before the previous one is used, so that it is indexed meanwhile."""
    waiting = None
    for upcoming in blocks:
        if waiting is not None:
            yield waiting
        waiting = upcoming
    if waiting is not None:
        yield waiting


def _in_order(parts: list[tuple[Ints, Ints, Ints]]) -> MotifHits:
    if not parts:
        return MotifHits.none()
    position, minus, score = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((minus, position))
    return MotifHits(position[order], minus[order].astype(bool), score[order])
