"""The compiled part of the scan for motifs: an index of the words of a text, and the search for one strand of a motif.

numba compiles it at the first use (some seconds) and keeps the result beside this file or in the user's cache. It reads
no annotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from loaders.motif_words import LETTERS, OTHER

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Index(NamedTuple):
    """The words of a block; see `_index_words`.

    Attributes:
        word: (N + 2 * LETTERS,) uint16, the word that begins at each position.
        room: (N,) int32, letters from each position on until one that is no base.
        starts: (65537,) int32, first entry of each word in `order`; order: (N,) int32, positions sorted by word.
        behind, before: (N,) uint16, the words next to that of `order`.
    """

    word: NDArray[np.uint16]
    room: NDArray[np.int32]
    starts: NDArray[np.int32]
    order: NDArray[np.int32]
    behind: NDArray[np.uint16]
    before: NDArray[np.uint16]


class Plan(NamedTuple):
    """How one strand of a motif is looked up; see `_plan_words`.

    Attributes:
        quads: (2 * words, 256) int32, score of each four-letter word; rows of the motif that are not there score 0.
        words: (words,) first row of each word, counted from that of the first; the first two are in the index.
        first: row of the motif where the first word begins.
        width, threshold: of the motif.
    """

    quads: NDArray[np.int32]
    words: NDArray[np.int64]
    first: int
    width: int
    threshold: int


def _plan_words(scores: Any, threshold: Any) -> Any:
    """Take for first word the eight rows that a random site is least likely to pass, judged by mean and variance.

    The second one stands right behind or before it, whichever tells more.
    """
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
    behind, before = np.arange(LETTERS, width - first, LETTERS), np.arange(-LETTERS, -first - LETTERS, -LETTERS)
    words = np.concatenate((np.zeros(1, np.int64), behind, before, np.full(1, LETTERS)))
    words = words[: max(len(words) - 1, 2)]
    tells_more = spread[max(first - LETTERS, 0) : first].sum() > spread[first + LETTERS : first + 2 * LETTERS].sum()
    if tells_more and behind.size and before.size:
        words[1], words[1 + len(behind)] = before[0], behind[0]
    return Plan(_quads_of(scores, first + words), words, first, width, threshold)


def _score_quads(scores: Any, rows: Any) -> Any:
    """Of every four-letter word, at both halves of the words that begin at these rows."""
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
    word = np.zeros(n + 2 * LETTERS, np.uint16)
    room = np.empty(n, np.int32)
    clean = 0
    for i in range(n - 1, -1, -1):
        is_base = codes[i] < OTHER
        clean = clean + 1 if is_base else 0
        word[i], room[i] = (word[i + 1] >> 2) | ((codes[i] if is_base else 0) << 14), clean
    starts = np.zeros(65537, np.int32)
    for i in range(n):
        starts[np.int64(word[i]) + 1] += 1
    for k in range(65536):
        starts[k + 1] += starts[k]
    free = starts[:-1].copy()
    order, behind, before = np.empty(n, np.int32), np.empty(n, np.uint16), np.empty(n, np.uint16)
    for i in range(n):
        at = free[word[i]]
        free[word[i]] += 1
        order[at], behind[at], before[at] = i, word[i + LETTERS], _word_at(word, i - LETTERS)
    return Index(word, room, starts, order, behind, before)


def _read_word(word: Any, at: Any) -> Any:
    """The word at a position; before the first one, letters that are not there are as good as any."""
    return word[at] if at >= 0 else word[0] >> min(-2 * at, 15)


def _score_rest(word: Any, at: Any, plan: Any) -> Any:
    """The score of all words but the first two."""
    score = 0
    for j in range(2, len(plan.words)):
        found = _word_at(word, at + plan.words[j])
        score += plan.quads[2 * j, found >> 8] + plan.quads[2 * j + 1, found & 255]
    return score


def _search_words(index: Any, plan: Any) -> Any:
    """Positions and scores of the hits of one strand in one block, in no order."""
    quads, second = plan.quads, index.behind if plan.words[1] > 0 else index.before
    low, most_second = plan.threshold, quads[2].max() + quads[3].max()
    for j in range(4, len(quads)):
        low -= quads[j].max()
    positions, scores, found = np.empty(64, np.int64), np.empty(64, np.int64), 0
    for half in np.flatnonzero(quads[0] + quads[1].max() + most_second >= low):
        for other in range(256):
            so_far = quads[0, half] + quads[1, other]
            if so_far + most_second < low:
                continue
            word = half * 256 + other
            for i in range(index.starts[word], index.starts[word + 1]):
                score = so_far + quads[2, second[i] >> 8] + quads[3, second[i] & 255]
                at = index.order[i] - plan.first
                if score < low or at < 0 or index.room[at] < plan.width:
                    continue
                score += _rest(index.word, index.order[i], plan)
                if score >= plan.threshold:
                    if found == len(positions):
                        positions, scores = np.append(positions, positions), np.append(scores, scores)
                    positions[found], scores[found] = at, score
                    found += 1
    return positions[:found], scores[:found]


_word_at = numba.njit(cache=True)(_read_word)
_quads_of = numba.njit(cache=True)(_score_quads)
_rest = numba.njit(cache=True)(_score_rest)
plan = numba.njit(cache=True)(_plan_words)
index = numba.njit(cache=True)(_index_words)
search = numba.njit(cache=True)(_search_words)
