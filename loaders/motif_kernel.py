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
    """Of all words but the first two."""
    score = 0
    for j in range(2, len(plan.words)):
        found = _word_at(word, at + plan.words[j])
        score += plan.quads[2 * j, found >> 8] + plan.quads[2 * j + 1, found & 255]
    return score


def _search_words(index: Any, plan: Any) -> Any:
    """Positions and scores of the hits of one strand in one block, in no order."""
    quads, second = plan.quads, index.behind if plan.words[1] > 0 else index.before
    low = plan.threshold
    for j in range(4, len(quads)):
        low -= quads[j].max()
    most_second = quads[2].max() + quads[3].max()
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
_rest = numba.njit(cache=True)(_score_rest)
index = numba.njit(cache=True)(_index_words)
search = numba.njit(cache=True)(_search_words)
