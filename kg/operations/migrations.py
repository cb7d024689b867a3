"""From the schema version that a graph has to this program's, one step after another.

A step does its work in batches that may be repeated; its last transaction records what follows from them and the new
version, so that a kill leaves the old version and the same command goes on. The draft's lease keeps writers out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kg.errors import SchemaVersionMismatch
from kg.evidence.datasets import canonical_json, dataset_versions, looked_up_hash
from kg.evidence.release_hashes import ReleaseHashes
from kg.progress import SILENT, Progress
from kg.releases import release_hash, releases
from kg.runs import runs, vector_index
from kg.schema import PEAK, SCHEMA_VERSION
from kg.schema.batches import NodeBatch
from kg.store import ensure_schema, leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kg.evidence.datasets import DatasetVersion
    from kg.store import Store

ROWS = 10_000  # per transaction

Translation = dict[tuple[str, str], str]
"""(Dataset, hash as it was) -> hash as it is."""


def schema_version(store: Store) -> int | None:
    """Return the schema version of the graph; None when it is new."""
    recorded = store.read("MATCH (s:Schema {name: 'regkg'}) RETURN s.version AS version")
    return int(recorded[0]["version"]) if recorded else None


def migrate(store: Store, progress: Progress = SILENT) -> list[int]:
    """Bring the graph to this program's schema version, then make the constraints and indexes that it lacks.

    Returns:
        The versions stepped from; none when the graph is new or has this version already.

    Raises:
        SchemaVersionMismatch: the graph is newer than this program.
        DraftHeld: somebody is loading.
    """
    version = schema_version(store) or SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        raise SchemaVersionMismatch(
            f"the graph at {store.uri} has schema version {version}, this program works with {SCHEMA_VERSION}",
            "use the newer regkg that made the graph; the only way back is a backup",
        )
    done = list(range(version, SCHEMA_VERSION))
    if done:
        with leases.held(store, "regkg db migrate", renewed=True) as held:
            for number in done:
                progress.say(f"schema version {number} -> {number + 1}")
                STEPS[number](store, held, progress)
    ensure_schema(store)
    vector_index.ensure(store, progress)
    return done


def _from_1(store: Store, held: leases.Lease, progress: Progress) -> None:
    """Rehash peaks: they have one more column, `original`, and the hash of a row covers all its columns.

    With them change the hashes of dataset versions that hold peaks, of what looked peaks up, of releases, and of the
    datasets that runs have used. The column is null for all of them, which is how a null is stored. The other types
    of version 2 are new, and its constraints and indexes are made as always.
    """
    recomputed = ReleaseHashes()
    progress.begin("hashing peaks again", unit="rows")
    for dataset, rows in _peaks(store):
        columns = dict(zip(PEAK.schema.names, zip(*(row[3:] for row in rows), strict=True), strict=True))
        hashes = NodeBatch.build(PEAK, **columns).row_hashes(dataset)
        for (_, since, until, *_rest), row_hash in zip(rows, hashes, strict=True):
            recomputed.add(PEAK.name, dataset, row_hash, since, until)
        _set_hashes(store, held, [[*row[:2], row_hash] for row, row_hash in zip(rows, hashes, strict=True)])
        progress.advance(len(rows))
    progress.end()
    _record_2(store, held, recomputed)


def _peaks(store: Store) -> Iterator[tuple[str, list[Any]]]:
    """Yield dataset and rows of it: row id, since, until, then the declared columns."""
    own = ", ".join(f"r.{name}" for name in PEAK.schema.names[1:])
    pending: dict[str, list[Any]] = {}
    for dataset, *row in store.stream(
        f"MATCH (n:Peak)-[:HAS_RECORD]->(r:PeakRecord) RETURN r.dataset, r.row_id, r.since, r.until, n.id, {own}"
    ):
        pending.setdefault(dataset, []).append(row)
        if len(pending[dataset]) == ROWS:
            yield dataset, pending.pop(dataset)
    yield from pending.items()


def _set_hashes(store: Store, held: leases.Lease, rows: list[list[Any]]) -> None:
    def work(tx: Any) -> None:
        tx.run(
            "UNWIND $rows AS row MATCH (r:PeakRecord {row_id: row[0], since: row[1]}) SET r.row_hash = row[2]",
            rows=rows,
        ).consume()
        held.check(tx)

    store.transaction(work)


def _record_2(store: Store, held: leases.Lease, recomputed: ReleaseHashes) -> None:
    """Record everything that follows from the new hashes of peaks, and the version, in one transaction."""
    numbers = [row["n"] for row in store.read("MATCH (v:DatasetVersion) RETURN DISTINCT v.since AS n ORDER BY n")]
    states = []
    for number in numbers:
        before = dataset_versions(store, number)
        states.append((before, [_of_2(version, recomputed) for version in before]))
    hashes = {(v.dataset, v.hash): w.hash for before, after in states for v, w in zip(before, after, strict=True)}
    versions = {(v.dataset, v.since): v for _, after in states for v in after}
    looked_up = _looked_up(states)
    rows = [
        [*key, canonical_json(v.hashes), looked_up.get((v.dataset, v.looked_up_hash), v.looked_up_hash)]
        for key, v in versions.items()
    ]
    frozen = {r.number: _translated(r.datasets, hashes) for r in releases(store)}
    totals = [[number, canonical_json(datasets), release_hash(datasets)] for number, datasets in frozen.items()]
    used = [[r.id, canonical_json(_translated(r.datasets, hashes))] for r in runs(store)]

    def work(tx: Any) -> None:
        tx.run(
            "UNWIND $rows AS row MATCH (v:DatasetVersion {dataset: row[0], since: row[1]}) "
            "SET v.hashes = row[2], v.looked_up_hash = row[3]",
            rows=rows,
        ).consume()
        tx.run(
            "UNWIND $rows AS row MATCH (r:Release {number: row[0]}) SET r.datasets = row[1], r.hash = row[2]",
            rows=totals,
        ).consume()
        tx.run("UNWIND $rows AS row MATCH (r:ModelRun {id: row[0]}) SET r.datasets = row[1]", rows=used).consume()
        tx.run("MATCH (s:Schema {name: 'regkg'}) SET s.version = 2").consume()
        held.check(tx)

    store.transaction(work)


def _of_2(version: DatasetVersion, recomputed: ReleaseHashes) -> DatasetVersion:
    """Return a version with the hash of its peaks as they are now; of an unfinished load, of those written so far."""
    if PEAK.name not in version.hashes:
        return version
    now = recomputed.hash(PEAK.name, version.dataset, version.since)
    return replace(version, hashes={**version.hashes, PEAK.name: now})


def _looked_up(states: list[tuple[list[DatasetVersion], list[DatasetVersion]]]) -> Translation:
    """Return hashes of what was looked up; one that no state of the graph has was stale, and stays so."""
    kinds = {(v.dataset, v.looked_up) for before, _ in states for v in before}
    return {
        (dataset, looked_up_hash(before, looked_up, dataset)): looked_up_hash(after, looked_up, dataset)
        for before, after in states
        for dataset, looked_up in kinds
    }


def _translated(datasets: Mapping[str, str], hashes: Translation) -> dict[str, str]:
    return {dataset: hashes.get((dataset, old), old) for dataset, old in datasets.items()}


STEPS: dict[int, Callable[[Store, leases.Lease, Progress], None]] = {1: _from_1}
