"""The scan against a slow one: a loop over positions and strands, p-values by counting every sequence there is."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.motifs import scan
from loaders.motifs.scan import MotifHits, Text, find
from loaders.motifs.scores import STEP, Profile, background, profile

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def slow_scores(matrix: Any, gc: float, pseudocount: float) -> list[list[int]]:
    """Return log2 odds in 1/1000 bit, number by number; probabilities count as 20 sites."""
    odds = [(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]
    scores = []
    for row in matrix:
        sites = sum(row)
        counts = [20 * x for x in row] if sites < 1.1 else list(row)
        total = sum(counts) + pseudocount
        shares = [(x + pseudocount * q) / total for x, q in zip(counts, odds, strict=True)]
        scores.append([round(1000 * math.log2(s / q)) for s, q in zip(shares, odds, strict=True)])
    return scores


def slow_score(scores: list[list[int]], letters: str) -> int:
    return sum(row["ACGT".index(letter)] for row, letter in zip(scores, letters, strict=True))


def slow_find(scores: list[list[int]], threshold: int, sequences: list[str]) -> list[tuple[int, int, str, int]]:
    """Return (sequence, offset, strand, score) of every hit."""
    hits = []
    for number, sequence in enumerate(sequences):
        for at in range(len(sequence) - len(scores) + 1):
            window = sequence[at : at + len(scores)].upper()
            if set(window) <= set("ACGT"):
                for strand, read in (("+", window), ("-", window[::-1].translate(COMPLEMENT))):
                    score = slow_score(scores, read)
                    if score >= threshold:
                        hits.append((number, at, strand, score))
    return hits


def told(text: Text, found: MotifHits) -> list[tuple[int, int, str, int]]:
    of = np.searchsorted(text.starts, found.position, side="right") - 1
    rows = zip(of, found.position - text.starts[of], found.minus, found.score, strict=True)
    return [(int(i), int(at), "-" if minus else "+", int(score)) for i, at, minus, score in rows]


def draw(rng: np.random.Generator, width: int, *, sharp: float = 0.3) -> Any:
    return np.round(rng.dirichlet([sharp] * 4, width) * 200, 1)


def letters(rng: np.random.Generator, length: int, alphabet: str = "ACGT") -> str:
    return "".join(rng.choice(list(alphabet), length))


@pytest.mark.parametrize("width", [1, 3, 7, 8, 9, 12, 16, 17, 23, 30])
@pytest.mark.parametrize("p_value", [1e-2, 1e-4])
def test_hits_are_those_of_a_slow_scan(width: int, p_value: float) -> None:
    rng = np.random.default_rng(width)
    matrices = [draw(rng, width, sharp=sharp) for sharp in (0.05, 0.3, 3.0)]
    lengths = [0, 1, width, width + 1, 40, 300, *rng.integers(1, 90, 12).tolist()]
    sequences = [letters(rng, n, "ACGTacgtN" if i % 2 else "ACGT") for i, n in enumerate(lengths)]
    best = ["".join("ACGT"[i] for i in matrix.argmax(axis=1)) for matrix in matrices]
    sequences += [best[0], best[1][::-1].translate(COMPLEMENT), f"NN{best[2]}", f"{best[0]}N{best[1]}AC{best[2]}G"]
    text = Text.of([s.encode() for s in sequences])
    profiles = [profile(matrix, p_value, 0.41, 0.1) for matrix in matrices]
    for matrix, one, found in zip(matrices, profiles, find(text, profiles), strict=True):
        scores = slow_scores(matrix, 0.41, 0.1)
        assert one.scores.tolist() == scores
        assert told(text, found) == slow_find(scores, one.threshold, sequences)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_scores_any_threshold_any_text(data: Any) -> None:
    width = data.draw(st.integers(1, 20))
    row = st.lists(st.integers(-3000, 2000), min_size=4, max_size=4)
    scores = data.draw(st.lists(row, min_size=width, max_size=width))
    sequences = data.draw(st.lists(st.text("ACGTN", max_size=60), min_size=1, max_size=6))
    threshold = data.draw(st.integers(-6000, 8000))
    text = Text.of([s.encode() for s in sequences])
    (hits,) = find(text, [Profile(np.array(scores), threshold, np.ones(1))])
    assert told(text, hits) == slow_find(scores, threshold, sequences)


@pytest.mark.parametrize("gc", [0.5, 0.41, 0.62])
@pytest.mark.parametrize(("width", "sharp"), [(1, 1.0), (4, 0.1), (7, 0.1), (7, 1.0)])
def test_p_values_are_those_of_all_sequences(gc: float, width: int, sharp: float) -> None:
    matrix = draw(np.random.default_rng(width), width, sharp=sharp)
    scores, odds = slow_scores(matrix, gc, 0.5), background(gc).tolist()
    chance: dict[int, float] = {}
    for word in itertools.product(range(4), repeat=width):
        score = sum(row[i] for row, i in zip(scores, word, strict=True))
        chance[score] = chance.get(score, 0.0) + math.prod(odds[i] for i in word)
    falling = sorted(chance, reverse=True)
    tail = dict(zip(falling, itertools.accumulate(chance[s] for s in falling), strict=True))
    for p_value in (0.5, 0.02, 1e-3, 1e-5):
        scored = profile(matrix, p_value, gc, 0.5)
        rare = [s for s in tail if tail[s] <= p_value * (1 + 1e-12)]
        assert scored.threshold == min(rare, default=scored.highest + 1)
        assert scored.p_values(np.array(rare, dtype=np.int64)).tolist() == pytest.approx([tail[s] for s in rare])


def test_a_score_exactly_at_the_threshold_is_a_hit() -> None:
    matrix = np.array([[10, 0, 0, 0], [0, 10, 0, 0], [0, 0, 10, 0], [0, 0, 0, 10], [10, 0, 0, 0]])
    threshold_profile = profile(matrix, 0.25**5, 0.5, 0.1)
    text = Text.of([b"GGACGTACC"])
    (hits,) = find(text, [threshold_profile])
    assert threshold_profile.threshold == threshold_profile.highest == int(hits.score[0])
    assert told(text, hits)[0][:3] == (0, 2, "+")
    assert threshold_profile.p_values(hits.score).tolist() == pytest.approx([0.25**5])
    (none,) = find(text, [profile(matrix, 0.25**5 * 0.999, 0.5, 0.1)])
    assert len(none.position) == 0


def test_rounding_moves_a_score_by_less_than_stated() -> None:
    rng = np.random.default_rng(3)
    matrix = draw(rng, 14)
    rounded = profile(matrix, 1e-3, 0.45, 0.1)
    odds = background(0.45)
    exact = np.log2((matrix + 0.1 * odds) / (matrix.sum(axis=1, keepdims=True) + 0.1) / odds)
    assert np.abs(rounded.scores / STEP - exact).max() <= 0.5 / STEP + 1e-12


def test_hits_do_not_depend_on_the_order_of_sequences_nor_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    sequences = [letters(rng, int(n)) for n in rng.integers(5, 300, 200)]
    profiles = [profile(draw(rng, w), 1e-3, 0.5, 0.1) for w in (6, 11, 19)]
    hits = [set(told(Text.of([s.encode() for s in sequences]), f)) for f in _found(sequences, profiles)]
    monkeypatch.setattr(scan, "BLOCK_BP", 500)
    assert [set(told(_text(sequences), f)) for f in _found(sequences, profiles)] == hits
    order = rng.permutation(len(sequences))
    turned = [sequences[i] for i in order]
    for before, found in zip(hits, _found(turned, profiles), strict=True):
        assert {(int(order[i]), at, strand, score) for i, at, strand, score in told(_text(turned), found)} == before


def _text(sequences: list[str]) -> Text:
    return Text.of([s.encode() for s in sequences])


def _found(sequences: list[str], profiles: list[Profile]) -> list[MotifHits]:
    return find(_text(sequences), profiles)


def test_nothing_matches_across_letters_that_are_no_bases() -> None:
    everywhere = profile(np.ones((4, 4)), 1.0, 0.5, 0.1)
    (hits,) = find(Text.of([b"ACGTNACGRTACG", b"ACG", b"TACG"]), [everywhere])
    assert sorted(set(told(_text(["ACGTNACGRTACG", "ACG", "TACG"]), hits))) == [
        (i, at, strand, 0) for i, at in ((0, 0), (0, 9), (2, 0)) for strand in "+-"
    ]


def test_as_many_hits_by_chance_as_the_p_value_says() -> None:
    rng = np.random.default_rng(11)
    bases, p_value = 400_000, 1e-3
    text = Text.of([bytes(rng.choice(np.frombuffer(b"ACGT", np.uint8), bases, p=background(0.42)))])
    for width in (8, 15):
        motif = profile(draw(rng, width, sharp=0.5), p_value, 0.42, 0.1)
        (hits,) = find(text, [motif])
        expected = 2 * bases * float(motif.tail[-1])
        assert abs(len(hits.position) - expected) < 6 * math.sqrt(expected)


def test_gc_of_the_known_bases() -> None:
    assert Text.of([b"ACGtNNNN", b"gc"]).gc == pytest.approx(4 / 6)
    assert Text.of([b"NN"]).gc == 0.5
