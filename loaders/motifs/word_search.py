"""The compiled part of the scan for motifs: an index of the words of a text, and the search for one strand of a motif.

numba compiles it at the first use (some seconds) and keeps the result beside this file or in the user's cache. It reads
no annotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from loaders.motifs.words import LETTERS, OTHER

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WordIndex(NamedTuple):
    """The words of a block; see `_index_words`.

    Attributes:
        word: (N + 3 * LETTERS,) uint16, the word that begins at each position, from LETTERS before the first.
        room: (N,) int32, letters from each position on to the next one that is not a base.
        starts: (65537,) int32, first entry of each word; entries: (N,) int64, in the order of the words: position << 32
            | the word behind << 16 | the word before, together so that they are fetched at once.
    """

    word: NDArray[np.uint16]
    room: NDArray[np.int32]
    starts: NDArray[np.int32]
    entries: NDArray[np.int64]


class StrandPlan(NamedTuple):
    """How one strand of a motif is looked up; see `_plan_words`.

    Attributes:
        quads: (2 * words, 256) int32, score of each four-letter word; rows of the motif that are not there score 0.
        words: (words,) first row of each word, counted from that of the first; the first three are in the index.
        first: row of the motif where the first word begins.
        width, threshold: of the motif.
    """

    quads: NDArray[np.int32]
    words: NDArray[np.int64]
    first: int
    width: int
    threshold: int


def _plan_words(scores: Any, threshold: Any) -> Any:
    """Take for first word the eight rows that a random site is least likely to pass, judged by mean and variance."""
    width = len(scores)
    spread, variance, highest = np.zeros(width), np.zeros(width), 0
    for row in range(width):
        spread[row] = scores[row].max() - scores[row].mean()
        variance[row] = scores[row].var()
        highest += scores[row].max()
    first, best = 0, -np.inf
    for at in range(max(width - LETTERS, 0) + 1):
        over = threshold - highest + spread[at : at + LETTERS].sum()
        over /= np.sqrt(max(variance[at : at + LETTERS].sum(), 1.0))
        if over > best:
            first, best = at, over
    # its neighbours, the more informative one first, then what is left of the motif
    near = np.array([0, LETTERS, -LETTERS])
    if spread[max(first - LETTERS, 0) : first].sum() > spread[first + LETTERS : first + 2 * LETTERS].sum():
        near = near[np.array([0, 2, 1])]
    far = (np.arange(2 * LETTERS, width - first, LETTERS), np.arange(-2 * LETTERS, -first - LETTERS, -LETTERS))
    words = np.concatenate((near, far[0], far[1]))
    return StrandPlan(_quads_of(scores, first + words), words, first, width, threshold)


def _score_quads(scores: Any, rows: Any) -> Any:
    """Score every four-letter word at both halves of the words that begin at these rows."""
    quads = np.zeros((2 * len(rows), 256), np.int32)
    for half in range(len(quads)):
        for letter in range(LETTERS // 2):
            row = rows[half // 2] + half % 2 * (LETTERS // 2) + letter
            if 0 <= row < len(scores):
                for word in range(256):
                    quads[half, word] += scores[row, (word >> (6 - 2 * letter)) & 3]
    return quads


def _index_words(codes: Any) -> Any:
    """Sort positions by the word that begins there (counting sort), and keep the words next to it."""
    n = len(codes)
    word = np.zeros(n + 3 * LETTERS, np.uint16)
    room = np.zeros(n + LETTERS, np.int32)
    starts = np.zeros(65537, np.int32)
    for i in range(n + LETTERS - 1, -1, -1):
        is_base = i >= LETTERS and codes[i - LETTERS] < OTHER
        word[i] = (word[i + 1] >> 2) | ((codes[i - LETTERS] if is_base else 0) << 14)
        if is_base:
            room[i] = 1 + (room[i + 1] if i + 1 < len(room) else 0)
    for i in range(n):
        starts[np.int64(word[i + LETTERS]) + 1] += 1
    starts = np.cumsum(starts).astype(np.int32)
    free = starts[:-1].copy()
    entries = np.empty(n, np.int64)
    for i in range(n):
        here = word[i + LETTERS]
        entries[free[here]] = (i << 32) | (np.int64(word[i + 2 * LETTERS]) << 16) | np.int64(word[i])
        free[here] += 1
    return WordIndex(word, room[LETTERS:], starts, entries)


def _score_rest(word: Any, at: Any, plan: Any) -> Any:
    """Return the score of all words but those that the index holds."""
    score = 0
    for j in range(3, len(plan.words)):
        letters = word[LETTERS + at + plan.words[j]]
        score += plan.quads[2 * j, letters >> 8] + plan.quads[2 * j + 1, letters & 255]
    return score


def _search_words(index: Any, plan: Any) -> Any:
    """Return positions and scores of the hits of one strand in one block, in no order."""
    starts, entries, quads = index.starts, index.entries, plan.quads
    q1, q2, q3, q4, q5 = quads[1].copy(), quads[2].copy(), quads[3].copy(), quads[4].copy(), quads[5].copy()
    shift = 16 if plan.words[1] > 0 else 0
    third_low = plan.threshold
    for j in range(6, len(quads)):
        third_low -= quads[j].max()
    second_low = third_low - q4.max() - q5.max()
    first_low = second_low - q2.max() - q3.max()
    positions, scores, hits = np.empty(64, np.int64), np.empty(64, np.int64), 0
    for half in np.flatnonzero(quads[0] + q1.max() >= first_low):
        for other in range(256):
            so_far = np.int64(quads[0, half] + q1[other])
            if so_far < first_low:
                continue
            for i in range(starts[half * 256 + other], starts[half * 256 + other + 1]):
                second, third = entries[i] >> shift, entries[i] >> (16 - shift)
                score = so_far + q2[(second >> 8) & 255] + q3[second & 255]
                if score < second_low:
                    continue
                score += q4[(third >> 8) & 255] + q5[third & 255]
                start = entries[i] >> 32
                at = start - plan.first
                if score < third_low or at < 0 or index.room[at] < plan.width:
                    continue
                score += _rest(index.word, start, plan)
                if score >= plan.threshold:
                    if hits == len(positions):
                        positions, scores = np.append(positions, positions), np.append(scores, scores)
                    positions[hits], scores[hits] = at, score
                    hits += 1
    return positions[:hits], scores[:hits]


_quads_of = numba.njit(cache=True)(_score_quads)
_rest = numba.njit(cache=True)(_score_rest)
plan = numba.njit(cache=True, nogil=True)(_plan_words)
index = numba.njit(cache=True, nogil=True)(_index_words)
search = numba.njit(cache=True, nogil=True)(_search_words)  # several threads search at once
