"""A first build gives the graph that the online path gives: same rows, same hashes, same answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import Conflict, SchemaError, WriteConflict
from kg.evidence.bulk import build
from kg.evidence.draft import Draft, Snapshot, open_draft
from kg.evidence.nodes import read_nodes
from kg.releases import publish, verify
from kg.schema import GENE, TF
from kg.server import EXCHANGING, Server
from kg.settings import Settings
from kg.store import open_store
from tests.kg import toy
from tests.kg.test_mixed_loads import FACTORS, VARIANTS, factors, in_peak, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kg.evidence.bulk import BulkDraft
    from kg.store import Store


@pytest.fixture
def settings(tmp_path: Path, jars: Path) -> Iterator[Settings]:
    made = Settings(home=tmp_path / "a home", jars=jars)
    yield made
    Server(made.home, jars=jars).stop()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, new_server: Callable[[Path], Server], jars: Path
) -> Iterator[Settings]:
    """A home whose graph is empty at first; each test leaves it as the next one can take it."""
    server = new_server(tmp_path_factory.mktemp("shared"))
    yield Settings(home=server.root.parent, jars=jars)
    server.stop()


def fill(draft: Draft | BulkDraft) -> None:
    """Every kind of row: records, a role, nodes with edges, two datasets that assert one node, nulls, odd texts."""
    snapshot = Snapshot(("one",), "toy@1", {"assembly": "GRCh38"}, 2)
    draft.load(toy.GENES, snapshot, [toy.genes({"G1": 'quoted "name", with comma', "G2": "", "G3": "naïve"})])
    draft.load(toy.PEAKS, snapshot, [toy.peaks([0, 2000, 5000])])
    second = type(toy.PEAKS)("peaks:second", "peaks")
    draft.load(second, snapshot, [toy.peaks([2000, 7000])])
    draft.load(toy.NEARS, snapshot, [toy.near([(0, "G1"), (2000, "G2")], 12)])
    draft.load(FACTORS, snapshot, [factors(["G1", "G3"])])
    draft.load(VARIANTS, snapshot, [in_peak([(50, 0)]), variants([50])])


def everything(store: Store) -> list[str]:
    """All rows with all properties, in an order of their own; without what tells of time and place."""
    nodes = store.read("MATCH (n) WHERE NOT n:Schema RETURN labels(n) AS labels, properties(n) AS p")
    edges = store.read(
        "MATCH (a)-[r]->(b) RETURN type(r) AS type, properties(r) AS p, a.id AS a, b.id AS b, b.row_id AS c"
    )
    return sorted(map(_text, [*nodes, *edges]))


def _text(row: dict[str, Any]) -> str:
    told = {k: v for k, v in row["p"].items() if k not in {"loaded_at", "process", "created_at", "at", "touched"}}
    return str({**row, "labels": sorted(row.get("labels", [])), "p": sorted(told.items())})


def test_both_ways_give_the_same_graph(settings: Settings, store: Store) -> None:
    with build(settings, 1) as bulk:
        fill(bulk)
    with open_draft(store, "test") as draft:
        fill(draft)
    online = publish(store)
    assert online is not None
    with open_store(Server(settings.home, jars=settings.jars).start()) as built:
        assert read_nodes(built, TF, 1)["id"].to_pylist() == ["G1", "G3"]
        published = publish(built)
        assert published is not None
        assert published.hash == online.hash
        verify(built, 1)
        drop = "MATCH (n) WHERE n:Lease DETACH DELETE n"
        for one in (built, store):
            one.write(drop)
        assert everything(built) == everything(store)
        toy.load(built, toy.GENES, toy.genes({"G1": "A", "G2": "B", "G3": "C"}), "later")
        assert read_nodes(built, GENE, 2)["symbol"].to_pylist() == ["A", "B", "C"]


def test_only_an_empty_managed_graph_is_built(settings: Settings, store: Store) -> None:
    theirs = replace(settings, neo4j_uri=store.uri)
    with pytest.raises(Conflict, match="is not managed here"), build(theirs, 1):
        pass


def nodes(server: Server) -> int:
    """How many there are, but for the one that says which schema the graph has."""
    with open_store(server.start()) as built:
        found: int = built.read("MATCH (n) WHERE NOT n:Schema RETURN count(n) AS n")[0]["n"]
    return found


def test_a_build_that_fails_leaves_the_empty_graph(shared: Settings) -> None:
    def torn() -> None:
        with build(shared, 1) as draft:
            draft.load(toy.PEAKS, toy.snapshot("one"), [toy.peaks([0])])
            draft.load(toy.NEARS, toy.snapshot("one"), [toy.near([(0, "G1")])])

    with pytest.raises(SchemaError, match="end_id: 1 rows name a Gene"):
        torn()
    server = Server(shared.home, jars=shared.jars)
    assert not (server.root / "bulk").exists()
    assert nodes(server) == 0


def test_a_full_graph_and_a_small_disk_are_refused(shared: Settings) -> None:
    with pytest.raises(Conflict, match="MB are free"), build(shared, 1 << 50):
        pass
    with build(shared, 1) as draft:
        draft.load(toy.PEAKS, toy.snapshot("one"), [toy.peaks([0])])
        with pytest.raises(WriteConflict, match="comes in parts"):
            draft.load(toy.PEAKS, toy.snapshot("one"), [toy.peaks([5])])
    with pytest.raises(Conflict, match="a first build needs an empty one"), build(shared, 1):
        pass


def test_a_kill_between_two_stores_leaves_an_empty_graph(shared: Settings) -> None:
    server = Server(shared.home, jars=shared.jars)
    if not nodes(server):
        with build(shared, 1) as draft:
            draft.load(toy.PEAKS, toy.snapshot("one"), [toy.peaks([0])])
    assert nodes(server) > 0
    server.stop()
    (server.root / EXCHANGING).touch()
    assert nodes(server) == 0
    with open_store(server.start()) as built:
        assert built.read("MATCH (n) RETURN count(n) AS n")[0]["n"] == 0, "not even a schema"
    assert not (server.root / EXCHANGING).exists()
