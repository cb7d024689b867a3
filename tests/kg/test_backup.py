"""Backups are whole or none, and what is restored is the graph that was backed up, row by row."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from kg import runs
from kg.errors import ChecksumMismatch, Conflict, MissingInput, SchemaVersionMismatch, UnknownRelease
from kg.evidence.draft import Snapshot, open_draft
from kg.evidence.release_hashes import ReleaseHashes
from kg.operations import backup, parquet_dump
from kg.operations.backup import MANIFEST, UNFINISHED, back_up, back_up_rows, read_manifest
from kg.operations.restore import BESIDE, _verified, left_by_restore, restore
from kg.releases import publish, releases, verify
from kg.runs import vector_index
from kg.server import REPLACED, RESTORED, Server
from kg.settings import Settings
from kg.store import ensure_schema, leases, open_store
from tests.kg import every_output, published
from tests.kg.listener import Listener
from tests.kg.published import publish_world
from tests.kg.test_mixed_loads import FACTORS, VARIANTS, factors, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@dataclass(frozen=True)
class World:
    """A graph elsewhere, what it holds without what a view leaves out, and the run that is left out."""

    settings: Settings
    graph: list[str]
    writing: str


def everything(store: Store, without: str = "no run") -> list[str]:
    """Every node and edge with all properties, in an order of their own, but leases, the schema and one run."""
    nodes = store.read(
        "MATCH (n) WHERE NOT n:Schema AND NOT n:Lease AND coalesce(n.run, n.id, '') <> $run "
        "RETURN labels(n) AS labels, properties(n) AS p",
        run=without,
    )
    edges = store.read(
        "MATCH (a)-[r]->(b) WHERE coalesce(r.run, b.run, '') <> $run "
        "RETURN type(r) AS type, properties(r) AS p, a.id AS a, coalesce(b.id, b.row_id, b.dataset) AS b, b.since AS c",
        run=without,
    )
    return sorted(_text({**row, "labels": sorted(row.get("labels", []))}) for row in [*nodes, *edges])


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda time: time.to_native().isoformat())


def fill(store: Store, home: Path) -> tuple[list[str], str]:
    """Three releases, a role, parts, served runs, one with every kind of output; and a run under way and a draft."""
    told = publish_world(store, home)
    with open_draft(store, "test") as draft:
        draft.load(FACTORS, Snapshot(("f",), "toy@1"), [factors([published.gene_id(1)])], part="one")
        draft.load(VARIANTS, Snapshot(("v",), "toy@1"), [variants([50])])
        draft.load(every_output.ONTOLOGY, Snapshot(("o",), "toy@1"), [every_output.biosamples()])
    publish(store, "third")
    every_output.register_cells(store)
    genes, peaks = ([node(i) for i in range(3)] for node in (published.gene_id, published.peak_id))
    runs.publish_run(store, every_output.written(store, home, genes, peaks))
    graph = everything(store, told.writing)
    with open_draft(store, "test") as draft:
        draft.load(FACTORS, Snapshot(("f2",), "toy@1"), [factors([published.gene_id(2)])], part="one", replace=True)
        draft.load(VARIANTS, Snapshot(("v2",), "toy@1"), [variants([50, 90])])
    return graph, told.writing


@pytest.fixture
def world(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path) -> Iterator[World]:
    where = neo4j_endpoint
    settings = Settings(tmp_path / "home", where.uri, where.user, where.password)
    graph, writing = fill(store, settings.home)
    yield World(settings, graph, writing)
    store.write("MATCH (s:Schema) SET s.restoring = null")


def emptied(store: Store, home: Path) -> None:
    store.implicit("MATCH (n) WHERE NOT n:Schema DETACH DELETE n")
    shutil.rmtree(home)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_rows_come_back_as_they_were_without_the_draft(store: Store, world: World, tmp_path: Path) -> None:
    made = back_up_rows(world.settings, tmp_path / "backup")
    assert made.left_out == ("the draft of eqtl:toy, tfs:toy", f"run {world.writing}, which is running")
    kept = files_below(world.settings.home / "runs")
    emptied(store, world.settings.home)
    done = restore(world.settings, tmp_path / "backup")
    assert everything(store) == world.graph
    assert not vector_index.missing(store)
    assert files_below(world.settings.home / "runs") == kept
    assert done.releases == {r.number: r.hash for r in releases(store)}
    with open_draft(store, "test") as draft:  # what was left out can be loaded again
        assert draft.load(VARIANTS, Snapshot(("v2",), "toy@1"), [variants([50, 90])]).added == 1


def test_a_restore_that_was_cut_short_is_said_and_begun_anew(
    store: Store, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up_rows(world.settings, tmp_path / "backup")
    emptied(store, world.settings.home)
    with monkeypatch.context() as patch:
        patch.setattr(parquet_dump, "_predicted", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore(world.settings, tmp_path / "backup")
    with pytest.raises(Conflict, match="is half restored from") as refused:
        ensure_schema(store)
    assert f"regkg restore {tmp_path / 'backup'}" in refused.value.hint
    heard = Listener()
    restore(world.settings, tmp_path / "backup", progress=heard)
    assert any("cut short" in line for line in heard.said)
    assert everything(store) == world.graph
    ensure_schema(store)


def test_a_killed_backup_is_none_and_is_begun_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_copy_runs", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            back_up_rows(world.settings, folder)
    assert (folder / "graph" / "NEAR.parquet").exists()
    with pytest.raises(MissingInput, match="unfinished backup"):
        restore(world.settings, folder)
    made = back_up_rows(world.settings, folder)
    assert read_manifest(folder) == made
    assert not (folder / UNFINISHED).exists()
    assert {p for p in files_below(folder) if p != MANIFEST} == set(made.files)
    with pytest.raises(Conflict, match=r"holds a whole one already: manifest\.json"):
        back_up_rows(world.settings, folder)


def test_rows_that_are_not_those_published_are_found_before_they_are_needed(
    store: Store, world: World, tmp_path: Path
) -> None:
    store.write("MATCH ()-[r:NEAR]->() WHERE r.since = 1 WITH r ORDER BY r.edge_id LIMIT 1 SET r.row_hash = '00'")
    with pytest.raises(ChecksumMismatch, match=r"release \d is not what was published: rows of near:a"):
        back_up_rows(world.settings, tmp_path / "backup")
    assert not (tmp_path / "backup" / MANIFEST).exists()


def test_nothing_is_touched_when_a_restore_is_refused(store: Store, world: World, tmp_path: Path) -> None:
    folder, home = tmp_path / "backup", world.settings.home
    made = back_up_rows(world.settings, folder)
    before = everything(store), files_below(home)

    def refused(error: type[Exception], why: str, *, replace: bool = False) -> None:
        with pytest.raises(error, match=why):
            restore(world.settings, folder, replace=replace)
        assert (everything(store), files_below(home)) == before

    refused(Conflict, "holds .* nodes; a backup is restored into an empty one")
    refused(Conflict, "is not managed here", replace=True)
    manifest = json.loads((folder / MANIFEST).read_text())

    def said(**changes: object) -> None:
        (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}))

    said(schema_version=99)
    refused(SchemaVersionMismatch, "schema version 99")
    said(schema_version=1)
    refused(SchemaVersionMismatch, "columns of their time")
    said(kind="store")
    refused(Conflict, "needs its server stopped")
    said(format=2)
    refused(ChecksumMismatch, "format 2")
    said(files={"../elsewhere": {"sha256": "0", "bytes": 0}})
    refused(ChecksumMismatch, "outside the backup")
    said()
    near = folder / "graph" / "NEAR.parquet"
    good = near.read_bytes()
    near.write_bytes(good[:-1] + b"x")
    refused(ChecksumMismatch, "are not those that were backed up")
    near.unlink()
    refused(MissingInput, "the backup is incomplete")
    near.write_bytes(good)
    assert read_manifest(folder) == made


def test_folders_and_disks_that_do_not_do(store: Store, world: World, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(Conflict, match="holds something else"):
        back_up_rows(world.settings, tmp_path / "full")
    with pytest.raises(Conflict, match="MB are free, up to"):
        backup.check_room(tmp_path / "not" / "there", 1 << 60)
    with pytest.raises(Conflict, match="is not managed here"):
        back_up(world.settings, tmp_path / "backup")
    with pytest.raises(MissingInput, match="is not a backup"):
        restore(world.settings, tmp_path / "full")
    emptied(store, world.settings.home)
    with pytest.raises(UnknownRelease, match="nothing is published"):
        back_up_rows(world.settings, tmp_path / "backup")


def test_writers_are_not_stopped(store: Store, world: World) -> None:
    with pytest.raises(Conflict, match=f"would interrupt run {world.writing}"):
        backup.check_idle(store)
    store.write("MATCH (r:ModelRun {id: $id}) SET r.outcome = 'failed'", id=world.writing)
    backup.check_idle(store)
    with leases.held(store, "regkg load genes"), pytest.raises(Conflict, match="would interrupt regkg load genes"):
        backup.check_idle(store)


def test_another_graph_than_was_backed_up_is_not_taken(store: Store, world: World, tmp_path: Path) -> None:
    made = back_up_rows(world.settings, tmp_path / "backup")
    wrong = replace(made, releases={**made.releases, "2": "0" * 32})
    with pytest.raises(ChecksumMismatch, match="release 2 is not the one that was backed up"):
        _verified(store, wrong, Listener())
    store.write("MATCH (r:GeneRecord) WHERE r.since = 1 WITH r ORDER BY r.row_id LIMIT 1 SET r.symbol = 'ELSE'")
    with pytest.raises(ChecksumMismatch, match="release 1 is not what was published: rows of genes"):
        _verified(store, made, Listener())


def test_a_ledger_adds_up_like_the_rows_that_hold() -> None:
    rows = [("A", 1, 3), ("B", 2, 9), ("F", 3, 9), ("ff", 1, 2)]
    recomputed = ReleaseHashes()
    for value, since, until in rows:
        recomputed.add("NEAR", "d", value, since, until)
    for release in range(1, 10):
        expected = sum(int(v, 16) for v, since, until in rows if since <= release < until)
        assert recomputed.hash("NEAR", "d", release) == f"{expected:032x}"
        assert recomputed.datasets(release) == {"d": f"{expected:032x}"}


@pytest.mark.slow
def test_a_managed_server_is_dumped_and_restored(
    tmp_path: Path,
    jars: Path,
    neo4j_endpoint: Endpoint,
    new_server: Callable[[Path], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One story, since each start of a server takes seconds."""
    del neo4j_endpoint  # where that one does not start, neither does this
    settings, folder = Settings(tmp_path / "a home", jars=jars), tmp_path / "backup"
    server = new_server(settings.home)
    try:
        with open_store(server.start()) as store:
            ensure_schema(store)
            _, writing = fill(store, settings.home)
            with pytest.raises(Conflict, match=writing):
                back_up(settings, folder)
            assert not folder.exists()
            store.write("MATCH (r:ModelRun {id: $id}) SET r.outcome = 'failed'", id=writing)
            before = everything(store)
        kept = files_below(settings.home / "runs")
        made = back_up(settings, folder)
        assert server.status().running, "it ran before"
        assert len(made.releases) == 3
        assert {"neo4j.dump", *(f"runs/{name}" for name in kept)} == set(made.files)
        with open_store(server.start()) as store:
            assert everything(store) == before
            publish(store, "fourth")
            after = everything(store)
        shutil.rmtree(settings.home / "runs")
        with pytest.raises(Conflict, match=r"holds .* nodes"):
            restore(settings, folder)
        with open_store(server.start()) as store:
            assert everything(store) == after
        with monkeypatch.context() as patch:
            patch.setattr(Server, "_exchange", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                restore(settings, folder, replace=True)
        assert (server.root / RESTORED).exists()
        with open_store(server.start()) as store:
            assert everything(store) == before
            verify(store, 3)
            assert not vector_index.missing(store)
        assert files_below(settings.home / "runs") == kept
        assert not any((server.root / name).exists() for name in (RESTORED, REPLACED, BESIDE))
    finally:
        server.stop()


def test_rows_are_restored_into_a_new_managed_home(world: World, tmp_path: Path, jars: Path) -> None:
    back_up_rows(world.settings, tmp_path / "backup")
    settings = Settings(tmp_path / "new home", jars=jars)
    server = Server(settings.home, jars=jars)
    (server.root / BESIDE / "neo4j" / "data").mkdir(parents=True)  # as a kill leaves it
    assert "cut short" in left_by_restore(server)
    try:
        restore(settings, tmp_path / "backup")
        with open_store(server.start()) as store:
            ensure_schema(store)
            assert everything(store) == world.graph
        assert files_below(settings.home / "runs") == files_below(world.settings.home / "runs")
    finally:
        server.stop()
