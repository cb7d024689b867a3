"""Hand-written Cypher: what only reads runs, and every way round that we know of is refused."""

from __future__ import annotations

import http.server
import threading
import time
import tomllib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kg.cypher.tokens import tokenize
from kg.cypher.values import COLLECTED
from kg.errors import QueryRefused, RegkgError, StoreUnavailable
from kg.store import read_guard
from kg.store.read_guard import GRACE_S, check_plan, read_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.server.managed import Server
    from kg.store import Store

CONTENT = (
    "MATCH (n) OPTIONAL MATCH (n)-[r]->() "
    "RETURN count(DISTINCT n) AS nodes, count(r) AS edges, collect(properties(n)) AS properties"
)


@pytest.fixture
def graph(store: Store) -> Store:
    store.write("CREATE (:Gene {id: 'G1'})<-[:NEAR {distance_bp: 5}]-(:Peak {id: 'P1', at: date('2026-01-02')})")
    return store


class Canary(http.server.BaseHTTPRequestHandler):
    """Counts who calls."""

    hits = 0

    def do_GET(self) -> None:
        type(self).hits += 1
        self.send_response(200)
        self.end_headers()


@pytest.fixture(scope="module")
def canary() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x.csv"
    server.shutdown()
    server.server_close()


READS = [
    ("RETURN 1 AS x", [{"x": 1}]),
    ("MATCH (g:Gene) RETURN g.id AS id", [{"id": "G1"}]),
    ("/* CREATE */ MATCH (g:Gene) // DELETE\nRETURN count(*) AS n", [{"n": 1}]),
    ("RETURN 'LOAD CSV; CREATE (n)' AS text", [{"text": "LOAD CSV; CREATE (n)"}]),
    ("CYPHER runtime=slotted MATCH (n) RETURN count(n) AS n", [{"n": 3}]),
    ("MATCH (p:Peak)-[r]->(g) RETURN r", [{"r": {"type": "NEAR", "properties": {"distance_bp": 5}}}]),
    ("MATCH (p:Peak) RETURN p", [{"p": {"labels": ["Peak"], "properties": {"id": "P1", "at": "2026-01-02"}}}]),
    (
        "MATCH (g:Gene) WHERE EXISTS { (g)<--(:Peak) } RETURN COLLECT { MATCH (g)<--(p) RETURN p.id } AS ids",
        [{"ids": ["P1"]}],
    ),
    ("MATCH path = shortestPath((:Peak)-[*..3]->(:Gene)) RETURN length(path) AS n", [{"n": 1}]),
    ("UNWIND [3, 1, 2] AS x WITH x ORDER BY x SKIP 1 LIMIT 1 RETURN x UNION RETURN 9 AS x", [{"x": 2}, {"x": 9}]),
    ("MATCH (a)-[:NEAR*1..2]->(b) RETURN DISTINCT b.id AS id", [{"id": "G1"}]),
    ("CALL (*) { MATCH (n:Gene) RETURN count(n) AS n } RETURN n", [{"n": 1}]),
    ("CALL db.relationshipTypes() YIELD relationshipType AS t WITH t WHERE t = 'NEAR' RETURN t", [{"t": "NEAR"}]),
    ("OPTIONAL MATCH (x:Peak {id: 'none'}) RETURN x", [{"x": None}]),
]


@pytest.mark.parametrize(("cypher", "rows"), READS)
def test_what_only_reads_runs(graph: Store, cypher: str, rows: list[dict[str, Any]]) -> None:
    if "count(n) AS n" in cypher and "slotted" in cypher:
        rows = [{"n": graph.read("MATCH (n) RETURN count(n) AS n")[0]["n"]}]
    assert read_only(graph, cypher).rows == rows


BYPASSES = [
    "CREATE (n:Evil) RETURN n",
    "MATCH (n) SET n.x = 1",
    "MATCH (n) DETACH DELETE n",
    "MERGE (n:Evil)",
    "MATCH (n) REMOVE n.id",
    "CALL { CREATE (n:Evil) } RETURN 1",
    "MATCH (n) CALL (n) { SET n.x = 1 } IN TRANSACTIONS RETURN 1",
    "FOREACH (x IN [1] | CREATE (:Evil))",
    "MATCH (n) FOREACH (x IN [1] | SET n.x = 1)",
    "/* MATCH */ CREATE (n:Evil)",
    "// RETURN 1\nCREATE (n:Evil)",
    "CRE/**/ATE (n:Evil)",
    "\\u0043REATE (n:Evil)",
    "ＣＲＥＡＴＥ (n:Evil)",
    "EXPLAIN CREATE (n:Evil)",
    "PROFILE CREATE (n:Evil)",
    "PROFILE MATCH (n) RETURN n",
    "CYPHER 5 CREATE (n:Evil)",
    "CYPHER runtime=slotted PROFILE CREATE (n:Evil)",
    "RETURN 1; CREATE (n:Evil)",
    "RETURN 1 UNION CREATE (n:Evil) RETURN 1",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
    "LOAD CSV FROM '{canary}' AS line RETURN line",
    "LOAD CSV WITH HEADERS FROM '{canary}' AS line WITH line LIMIT 1 RETURN line",
    "lOaD/* */CsV FROM '{canary}' AS line RETURN line",
    "CALL () { LOAD CSV FROM '{canary}' AS line RETURN line } RETURN line",
    "RETURN COLLECT { LOAD CSV FROM '{canary}' AS line RETURN line }",
    "RETURN EXISTS { LOAD CSV FROM '{canary}' AS line RETURN line }",
    "MATCH (g:Gene) WHERE COUNT { LOAD CSV FROM '{canary}' AS line RETURN line } > 0 RETURN g",
    "SHOW TRANSACTIONS",
    "SHOW TRANSACTIONS YIELD * RETURN *",
    "TERMINATE TRANSACTION 'neo4j-transaction-1'",
    "SHOW SETTINGS",
    "SHOW PROCEDURES",
    "SHOW USERS",
    "SHOW DATABASES",
    "USE system SHOW USERS",
    "CALL dbms.listConfig()",
    "CALL `dbms`.`listConfig`()",
    "CALL dbms . listConfig ( ) YIELD name RETURN name",
    "ＣＡＬＬ dbms.listConfig()",
    "MATCH (n) CALL dbms.listConfig() YIELD value RETURN value",
    "CALL dbms.components()",
    "CALL db.clearQueryCaches()",
    "CALL db.createLabel('Evil')",
    "CALL db.index.fulltext.awaitEventuallyConsistentIndexRefresh()",
    "CALL tx.setMetaData({a: 1})",
    "CALL dbms.killConnection('bolt-1')",
    "CREATE INDEX evil FOR (n:Evil) ON (n.x)",
    "DROP INDEX evil IF EXISTS",
    "CREATE CONSTRAINT evil FOR (n:Evil) REQUIRE n.x IS UNIQUE",
    "CREATE USER evil SET PASSWORD 'evilevil'",
    "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'bbbbbbbb'",
    "STOP DATABASE neo4j",
    "CALL apoc.load.json('{canary}')",
    "",
    "not cypher at all",
]


@pytest.mark.parametrize("cypher", BYPASSES)
def test_what_would_do_more_is_refused(graph: Store, canary: str, cypher: str) -> None:
    before = graph.read(CONTENT)
    with pytest.raises(QueryRefused) as error:
        read_only(graph, cypher.replace("{canary}", canary))
    assert error.value.hint
    assert graph.read(CONTENT) == before
    assert Canary.hits == 0


def test_the_plan_and_the_session_refuse_it_even_if_the_text_is_not_read(
    graph: Store, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_guard, "check_query", lambda *_: None)
    before = graph.read(CONTENT)
    for cypher in BYPASSES:
        with pytest.raises(QueryRefused):
            read_only(graph, cypher.replace("{canary}", canary))
    assert graph.read(CONTENT) == before
    assert Canary.hits == 0


def test_a_read_session_alone_would_not_have_been_enough(graph: Store) -> None:
    """Why the plan is read at all; if this fails, Neo4j has become stricter and the guard may become simpler."""
    assert graph.read("SHOW TRANSACTIONS YIELD transactionId RETURN transactionId")


def test_parameters_are_values(graph: Store) -> None:
    evil = "G1'}) DETACH DELETE (n) //"
    assert read_only(graph, "RETURN $x AS x", {"x": evil}).rows == [{"x": evil}]
    assert read_only(graph, "MATCH (g:Gene {id: $id}) RETURN g.id AS id", {"id": "G1"}).rows == [{"id": "G1"}]


@pytest.mark.parametrize(
    ("count", "limit", "truncated"), [(4, 5, False), (5, 5, False), (6, 5, True), (10**12, 5, True)]
)
def test_rows_end_at_the_limit(graph: Store, count: int, limit: int, *, truncated: bool) -> None:
    table = read_only(graph, f"UNWIND range(1, {count}) AS x RETURN x", rows=limit)
    assert [row["x"] for row in table.rows] == list(range(1, min(count, limit) + 1))
    assert table.truncated == truncated


@pytest.mark.parametrize(
    "cypher",
    [
        "UNWIND range(1, 1000000000000) AS x RETURN count(x)",
        "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b WITH a, b WHERE a + b < 0 RETURN a",
    ],
)
def test_a_query_that_takes_too_long_is_stopped(graph: Store, cypher: str) -> None:
    begun = time.monotonic()
    with pytest.raises(RegkgError):
        read_only(graph, cypher, timeout_s=1)
    assert time.monotonic() - begun < 20
    assert read_only(graph, "RETURN 1 AS x").rows == [{"x": 1}]


def test_two_columns_of_a_name_are_not_lost_in_silence(graph: Store) -> None:
    with pytest.raises(QueryRefused):
        read_only(graph, "RETURN 1 AS x, 2 AS x")


@pytest.mark.parametrize("name", ["apoc.cypher.runFirstColumnSingle", "my.fn"])
def test_a_function_of_a_plug_in_is_refused(name: str) -> None:
    plan = {
        "operatorType": "ProduceResults@neo4j",
        "args": {},
        "children": [{"operatorType": "Projection@neo4j", "args": {"Details": f"`{name}`( $a) AS x"}, "children": []}],
    }
    check_plan(plan, [])
    with pytest.raises(QueryRefused, match="plug-in"):
        check_plan(plan, ["other.fn", name.lower()])


def test_an_operator_nobody_has_heard_of_is_refused() -> None:
    with pytest.raises(QueryRefused, match="BrandNewWrite"):
        check_plan({"operatorType": "BrandNewWrite@neo4j", "args": {}, "children": []}, [])


def test_the_time_limit_is_said(graph: Store) -> None:
    with pytest.raises(StoreUnavailable, match="stopped a query at its time limit"):
        read_only(graph, "UNWIND range(1, 1000000000000) AS x RETURN count(x)", timeout_s=1)


def test_the_password_file_stays_unread(graph: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n")
    with pytest.raises(QueryRefused):
        read_only(graph, f"LOAD CSV FROM 'file://{secret}' AS line RETURN line")


CORPUS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("cypher_corpus.toml").read_text())["statement"]


def of_verdict(verdict: str, every: int) -> list[Any]:
    """Statements for a test; Neo4j plans each for a while, so all but one of `every` are left to `make nightly`."""
    found = [one for one in CORPUS if one["verdict"] == verdict]
    marks = [() if i % every == 0 else (pytest.mark.slow,) for i in range(len(found))]
    return [pytest.param(one, id=one["reason"][:60], marks=mark) for one, mark in zip(found, marks, strict=True)]


@pytest.fixture(scope="module")
def world(session_store: Store) -> Store:
    """Genes and peaks that are close to each other, densely enough that paths of fifty never end."""
    session_store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
    session_store.write(
        """
        UNWIND range(1, 300) AS i CREATE (:Gene {id: 'G' + i, symbol: 'S' + i, chrom: 'chr1', start: i * 1000})
        CREATE (:Peak {id: 'GRCh38:chr1:' + i + '-' + (i + 9), chrom: 'chr1', start: i, end: i + 9})
        """
    )
    session_store.write(
        """
        MATCH (g:Gene), (p:Peak) WHERE (g.start / 1000 + p.start) % 60 = 0
        CREATE (p)-[:NEAR {since: 1, until: 2147483647, distance_bp: abs(g.start - p.start), dataset: 'd'}]->(g)
        CREATE (p)-[:PREDICTED_LINK {run: 'glue-cortex-1', score: rand(), q_value: rand(), called: false}]->(g)
        """
    )
    return session_store


@pytest.mark.parametrize("one", of_verdict("runs", 3))
def test_an_analysts_query_is_answered(world: Store, one: dict[str, Any]) -> None:
    assert read_only(world, one["cypher"], one.get("parameters")).columns


@contextmanager
def reading_meanwhile(store: Store) -> Iterator[list[float]]:
    """Another reader, who asks for one gene again and again; how long each answer took."""
    waits: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            begun = time.monotonic()
            assert store.read("MATCH (g:Gene {id: 'G17'}) RETURN g.symbol AS s") == [{"s": "S17"}]
            waits.append(time.monotonic() - begun)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def ended(store: Store, one: dict[str, Any], limit_s: float) -> None:
    """Run what may cost as much as it likes: an answer or an error of ours, in time."""
    begun = time.monotonic()
    with suppress(StoreUnavailable):
        read_only(store, one["cypher"], timeout_s=limit_s)
    assert time.monotonic() - begun < limit_s + GRACE_S, one["reason"]


@pytest.mark.parametrize("one", of_verdict("ends", 4))
def test_what_costs_much_ends_and_others_are_answered_meanwhile(world: Store, one: dict[str, Any]) -> None:
    with reading_meanwhile(world) as waits:
        ended(world, one, 0.3)
        while not waits:
            time.sleep(0.01)
    assert max(waits) < GRACE_S


@pytest.mark.slow
def test_two_of_each_at_once_for_long_do_not_take_the_server_down(world: Store, neo4j_server: Server) -> None:
    before = neo4j_server.status()
    for one in CORPUS:
        if one["verdict"] == "ends":
            with reading_meanwhile(world) as waits:
                threads = [threading.Thread(target=ended, args=(world, one, 8.0)) for _ in range(2)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
            assert max(waits) < GRACE_S, one["reason"]
    assert neo4j_server.status().pid == before.pid


def test_no_transaction_may_take_all_memory(world: Store) -> None:
    found = world.read("SHOW SETTINGS YIELD name, value WHERE name CONTAINS 'memory' RETURN name, value")
    mib = {row["name"]: float(row["value"][:-3]) for row in found if (row["value"] or "").endswith("MiB")}
    one, all_of_them = mib["db.memory.transaction.max"], mib["dbms.memory.transaction.total.max"]
    assert 0 < one < all_of_them
    assert one * 2**20 <= COLLECTED.size  # what the guard takes for the longest list


def test_a_query_that_does_not_stop_is_named(world: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def stuck(*_: object) -> None:
        release.wait(30)

    monkeypatch.setattr(read_guard, "GRACE_S", 0.1)
    monkeypatch.setattr(read_guard, "_read", stuck)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"still works on a query .* RETURN 'this one'") as error:
        read_only(world, "RETURN 'this one' AS x", timeout_s=0.1)
    release.set()
    assert time.monotonic() - begun < 5
    assert "regkg db stop" in error.value.hint


def test_text_is_read_as_the_server_reads_it(world: Store) -> None:
    """A text that ends elsewhere for the server than for us would hide what follows it."""
    texts = [
        r"'it\'s'",
        r'"a\\"',
        r"'\\\''",
        r"'\t\n\r\b\f'",
        "'\"'",
        '"\'"',
        "'/* x */ // y'",
        "'é\U0001f9ec ｒ'",
        "'a\nb'",
    ]
    ours = [token.text for text in texts for token in tokenize(text) if token.kind == "string"]
    assert len(ours) == len(texts)
    columns = ", ".join(f"{text} AS x{i}" for i, text in enumerate(texts))
    assert list(read_only(world, f"RETURN {columns}").rows[0].values()) == ours
