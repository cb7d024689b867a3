"""What the guard makes of a query's text alone; no server is asked."""

from __future__ import annotations

import random
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kg.cypher.statements import check_query
from kg.cypher.tokens import DEEPEST, LONGEST_QUERY, MOST_TOKENS, tokenize
from kg.errors import QueryRefused

ROOT = Path(__file__).parents[2]
CORPUS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("cypher_corpus.toml").read_text())["statement"]
DOCUMENTED = [
    block
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for block in re.findall(r"```cypher\n(.*?)```", page.read_text(), re.S)
]


def reason(one: Any) -> str:
    return str(one["reason"])[:60]


def test_the_corpus_is_what_it_is_said_to_be() -> None:
    verdicts = [one["verdict"] for one in CORPUS]
    assert verdicts.count("runs") >= 30
    assert verdicts.count("refused") + verdicts.count("ends") >= 30
    assert len({one["cypher"] for one in CORPUS}) == len(CORPUS)
    assert len(DOCUMENTED) >= 6


@pytest.mark.parametrize("one", CORPUS, ids=reason)
def test_each_statement_has_its_verdict(one: dict[str, Any]) -> None:
    if one["verdict"] != "refused":
        check_query(one["cypher"], one.get("parameters", {}))
        return
    with pytest.raises(QueryRefused) as error:
        check_query(one["cypher"], one.get("parameters", {}))
    assert one["says"] in error.value.message
    assert error.value.hint


@pytest.mark.parametrize("cypher", DOCUMENTED)
def test_what_the_docs_say_is_let_through(cypher: str) -> None:
    check_query(cypher, {})


COLLECTED = "MATCH (n) WITH collect(n.id) AS xs "
LIMITS = [
    ("RETURN [x IN range(1, 10000) | x] AS y", "RETURN [x IN range(0, 10000) | x] AS y"),
    ("RETURN [x IN range(0, 1000000, 100000) | x] AS y", "RETURN [x IN range(0, 1000000, 10) | x] AS y"),
    (COLLECTED + "RETURN [x IN xs[..9] | x]", COLLECTED + "RETURN [x IN xs[9..] | x]"),
    (COLLECTED + "RETURN [x IN xs[-9..] | x]", COLLECTED + "RETURN [x IN xs[..-9] | x]"),
    (COLLECTED + "RETURN [x IN xs[..9999] WHERE x IN xs]", COLLECTED + "RETURN [x IN xs[..9999] WHERE [x] IN xs]"),
    ("MATCH p = (a)-[*..50]-(b) RETURN p", "MATCH p = (a)-[*..51]-(b) RETURN p"),
    ("MATCH (n) RETURN n.a =~ '.*a.*'", "MATCH (n) RETURN n.a =~ '.*a.*b.*'"),
    ("MATCH (n) RETURN n.a =~ '[a-c]{1,999}'", "MATCH (n) RETURN n.a =~ '[a-c]{1,1000}'"),
    ("MATCH (n) RETURN n.a =~ '(a|b)c'", "MATCH (n) RETURN n.a =~ '(a|b)?c'"),
    (COLLECTED + "RETURN xs + xs", COLLECTED + "RETURN xs + xs + xs + xs + xs"),
    ("MATCH (n) RETURN n.a ORDER BY n.b", "MATCH (n) WITH n, collect(n.a) AS xs RETURN n ORDER BY xs"),
    ("MATCH (n) RETURN replace(n.a, '-', '--')", "MATCH (n) RETURN replace(n.a, n.b, n.c)"),
    ("RETURN round(1.5, 2)", "RETURN round(1.5, 2000000000)"),
    ("MATCH (n) RETURN [x IN [1, 2] | btrim(n.a, n.b)]", "MATCH (n) RETURN [x IN range(1, 9999) | btrim(n.a, n.b)]"),
    ("UNWIND range(1, 1000000000) AS x RETURN x", "WITH range(1, 1000000000) AS xs UNWIND xs AS x RETURN x"),
    ("RETURN " + "(" * DEEPEST + "1" + ")" * DEEPEST, "RETURN (" + "(" * DEEPEST + "1" + ")" * DEEPEST + ")"),
    ("RETURN [" + "1," * (MOST_TOKENS // 2 - 2) + "1]", "RETURN [" + "1," * (MOST_TOKENS // 2) + "1]"),
    ("RETURN '" + "a" * (LONGEST_QUERY - 9) + "'", "RETURN '" + "a" * LONGEST_QUERY + "'"),
]  # fmt: skip


@pytest.mark.parametrize(("within", "beyond"), LIMITS)
def test_limits_are_where_they_are_said_to_be(within: str, beyond: str) -> None:
    check_query(within, {})
    with pytest.raises(QueryRefused):
        check_query(beyond, {})


def test_parameters_count_as_what_they_are() -> None:
    check_query("RETURN [x IN $xs | x]", {"xs": [1] * 10_000})
    check_query("RETURN range(1, $n)", {"n": 9})
    for query, given in [
        ("RETURN [x IN $xs | x]", {"xs": [1] * 10_001}),
        ("RETURN range(1, $n)", {"n": 10**9}),
        ("RETURN $xs", {}),
        ("RETURN 'a' =~ $xs", {"xs": "(a+)+"}),
    ]:
        with pytest.raises(QueryRefused):
            check_query(query, given)


def test_a_refusal_says_where_and_what_to_do() -> None:
    with pytest.raises(QueryRefused, match="line 2, column 8") as error:
        check_query("MATCH (n)\nRETURN ) AS x", {})
    assert "docs/graph.md" in error.value.hint
    with pytest.raises(QueryRefused, match="`ids`, which may have more than 10,000 elements") as error:
        check_query("MATCH (n) WITH collect(n.id) AS ids RETURN [x IN ids | x]", {})
    assert "UNWIND" in error.value.hint


def test_words_are_taken_for_what_they_are() -> None:
    tokens = tokenize(r"""n.`a``b` 'it\'s' "a\\n" 0x1F 1..3 .5e-3 $p /* ' */ // "
    <>""")
    found = [(token.kind, token.text) for token in tokens]
    assert found == [
        *(("name", "n"), ("symbol", "."), ("quoted", "a`b"), ("string", "it's"), ("string", "a\\n")),
        *(("integer", "0x1F"), ("integer", "1"), ("symbol", ".."), ("integer", "3"), ("float", ".5e-3")),
        *(("parameter", "p"), ("symbol", "<>"), ("end", "")),
    ]


@pytest.mark.parametrize("one", CORPUS[::4], ids=reason)
def test_a_query_cut_off_or_shuffled_is_refused_or_read_but_never_an_accident(one: dict[str, Any]) -> None:
    words = one["cypher"].split()
    dice = random.Random(one["cypher"])
    for _ in range(4):
        dice.shuffle(words)
        cut = one["cypher"][: dice.randrange(len(one["cypher"]))]
        for text in (" ".join(words), f"RETURN {' '.join(words)}", cut, f"{cut}]", f"{cut})"):
            with suppress(QueryRefused):
                check_query(text, one.get("parameters", {}))
