"""A graph of schema version 1 becomes the one that this program would have made; also when the step is killed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kg import runs
from kg.errors import DraftHeld, SchemaVersionMismatch
from kg.evidence.datasets import canonical_json, dataset_versions, looked_up_hash
from kg.evidence.release_hashes import ReleaseHashes
from kg.operations import migrations
from kg.operations.migrations import migrate
from kg.releases import publish, release_hash, releases, verify
from kg.runs.staleness import decisions
from kg.schema import PEAK, SCHEMA_VERSION
from kg.schema.batches import NodeBatch
from kg.store import ensure_schema, leases
from tests.kg import toy
from tests.kg.published import publish_world
from tests.kg.test_backup import everything
from tests.kg.test_staleness import complete

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kg.store import Store

PEAK_1 = replace(PEAK, columns=tuple(c for c in PEAK.columns if c.name != "original"))


@pytest.fixture
def old(store: Store, tmp_path: Path) -> Iterator[list[str]]:
    """A graph of version 1, with what looked peaks up, runs and two releases; yields it as version 2 has it."""
    publish_world(store, tmp_path)
    toy.load(store, toy.GENES, toy.genes({"G1": "ALPHA", "G2": "BETA", "G3": "GAMMA"}))
    toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 5000]))
    toy.load(store, toy.NEARS, toy.near([(0, "G1")]))
    publish(store)
    runs.publish_run(store, complete(store, tmp_path, "toy", ("NEAR",)))
    toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 9000]), "two")
    ensure_schema(store)
    new = everything(store)
    downgrade(store)
    assert everything(store) != new
    yield new
    store.write("MATCH (s:Schema) SET s.version = $version", version=SCHEMA_VERSION)


def downgrade(store: Store) -> None:
    """Hash peaks as version 1 declared them, and what follows; drop what it did not make."""
    recomputed = ReleaseHashes()
    for row in store.read("MATCH (n)-[:HAS_RECORD]->(r:PeakRecord) RETURN n.id AS id, properties(r) AS p"):
        p = row["p"]
        columns = {"id": row["id"]} | {c.name: p.get(c.name) for c in PEAK_1.columns}
        (hash_,) = NodeBatch.build(PEAK_1, **{k: [v] for k, v in columns.items()}).row_hashes(p["dataset"])
        recomputed.add("Peak", p["dataset"], hash_, p["since"], p["until"])
        store.write(
            "MATCH (r:PeakRecord {row_id: $id, since: $since}) SET r.row_hash = $hash",
            id=p["row_id"], since=p["since"], hash=hash_,
        )  # fmt: skip
    numbers = sorted({row["n"] for row in store.read("MATCH (v:DatasetVersion) RETURN v.since AS n")})
    before = {number: dataset_versions(store, number) for number in numbers}
    after = {n: [as_1(v, recomputed) for v in versions] for n, versions in before.items()}
    renamed = {(v.dataset, v.hash): w.hash for n in numbers for v, w in zip(before[n], after[n], strict=True)}
    for number in numbers:
        for v in after[number]:
            looked = next(
                (
                    looked_up_hash(after[n], v.looked_up, v.dataset)
                    for n in numbers
                    if looked_up_hash(before[n], v.looked_up, v.dataset) == v.looked_up_hash
                ),
                v.looked_up_hash,
            )
            store.write(
                "MATCH (v:DatasetVersion {dataset: $d, since: $since}) SET v.hashes = $hashes, v.looked_up_hash = $l",
                d=v.dataset, since=v.since, hashes=canonical_json(v.hashes), l=looked,
            )  # fmt: skip
    for r in releases(store):
        datasets = {d: renamed[d, h] for d, h in r.datasets.items()}
        store.write(
            "MATCH (r:Release {number: $n}) SET r.datasets = $d, r.hash = $h",
            n=r.number, d=canonical_json(datasets), h=release_hash(datasets),
        )  # fmt: skip
    for run in runs.runs(store):
        datasets = {d: renamed.get((d, h), h) for d, h in run.datasets.items()}
        store.write("MATCH (r:ModelRun {id: $id}) SET r.datasets = $d", id=run.id, d=canonical_json(datasets))
    store.implicit("DROP CONSTRAINT unique_motif_id IF EXISTS")
    store.write("MATCH (s:Schema) SET s.version = 1, s.fingerprint = 'of version 1'")


def as_1(version: Any, recomputed: ReleaseHashes) -> Any:
    if "Peak" not in version.hashes:
        return version
    now = recomputed.hash("Peak", version.dataset, version.since)
    return replace(version, hashes={**version.hashes, "Peak": now})


def constraint_names(store: Store) -> set[str]:
    return {row["name"] for row in store.read("SHOW CONSTRAINTS YIELD name RETURN name")}


def test_version_1_becomes_what_this_program_would_have_made(store: Store, old: list[str]) -> None:
    with pytest.raises(SchemaVersionMismatch, match="has schema version 1") as refused:
        ensure_schema(store)
    assert "regkg db migrate" in refused.value.hint
    assert migrate(store) == [1]
    assert everything(store) == old
    for release in releases(store):
        verify(store, release.number)
    assert "unique_motif_id" in constraint_names(store)
    ensure_schema(store)
    assert migrate(store) == []
    assert not any(d.retrain for d in decisions(store, ["glue:toy"])), "its evidence is what it was"
    again = toy.load(store, toy.PEAKS, toy.peaks([0, 2000, 9000]), "two, shuffled")
    assert (again.added, again.changed, again.unchanged) == (0, 0, 3)


def test_a_killed_step_leaves_version_1_and_goes_on(
    store: Store, old: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "ROWS", 10)
    plain, calls = migrations._set_hashes, []

    def dies(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_set_hashes", dies)
        with pytest.raises(KeyboardInterrupt):
            migrate(store)
    assert migrations.schema_version(store) == 1
    with pytest.raises(SchemaVersionMismatch):
        ensure_schema(store)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "release_hash", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate(store)
    assert migrations.schema_version(store) == 1
    assert migrate(store) == [1]
    assert everything(store) == old


def test_a_newer_graph_and_a_writer_are_refused(store: Store, old: list[str]) -> None:
    before = everything(store)
    with leases.held(store, "regkg load peaks"), pytest.raises(DraftHeld, match="regkg load peaks"):
        migrate(store)
    store.write("MATCH (s:Schema) SET s.version = $version", version=SCHEMA_VERSION + 1)
    with pytest.raises(SchemaVersionMismatch, match=f"has schema version {SCHEMA_VERSION + 1}") as refused:
        migrate(store)
    assert "newer regkg" in refused.value.hint
    with pytest.raises(SchemaVersionMismatch) as refused:
        ensure_schema(store)
    assert "newer regkg" in refused.value.hint
    assert everything(store) == before != old


def test_every_version_has_a_step() -> None:
    assert sorted(migrations.STEPS) == list(range(1, SCHEMA_VERSION))


def test_a_new_graph_needs_no_step(store: Store) -> None:
    store.write("MATCH (s:Schema) DELETE s")
    assert migrate(store) == []
    assert migrations.schema_version(store) == SCHEMA_VERSION
