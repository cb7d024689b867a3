"""Releases: the draft frozen under a number, and the publication that says which release and runs are served.

Publishing appends a Publication and moves one pointer, all in one transaction; a reader resolves the
pointer once and then reads at that release.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.errors import ChecksumMismatch, Conflict, DatasetStale, UnknownRelease
from kg.evidence.datasets import DatasetVersion, check_complete, looked_up_hash
from kg.evidence.draft import Draft, open_draft
from kg.evidence.stored_rows import row_pattern
from kg.progress import SILENT, Progress
from kg.schema import NODE_TYPES, EdgeType, RowType, evidence_types
from kg.schema.batches import HASH_BITS, EdgeBatch, NodeBatch, hash_sum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kg.store import Row, Store

VERIFY_ROWS = 50_000


@dataclass(frozen=True)
class Served:
    """What readers get: one publication.

    Attributes:
        publication: its number; grows with every publish.
        release: the release read.
        hash: of that release.
        runs: slot ("model:cells") -> id of the run served for it.
    """

    publication: int
    release: int
    hash: str
    runs: Mapping[str, str]


@dataclass(frozen=True)
class Release:
    """One frozen release."""

    number: int
    hash: str
    created_at: str
    note: str
    datasets: Mapping[str, str]


# The publication in force, or the last one of a given release. While one is being committed its pointer can be seen a
# moment before its node is found by index: then the one before it is given, which is whole.
_SERVED = """
MATCH (p:Publication) WHERE CASE WHEN $release IS NULL
  THEN EXISTS { (s:Pointer {name: 'served'}) WHERE p.number IN [s.publication, s.publication - 1] }
  ELSE p.release = $release END
MATCH (rel:Release {number: p.release})
RETURN p.number AS publication, p.release AS release, rel.hash AS hash, p.runs AS runs
ORDER BY publication DESC LIMIT 1
"""


def served(store: Store, release: int | None = None) -> Served:
    """Return the publication in force, or the last one of a release.

    Raises:
        UnknownRelease: nothing is published, or not this release.
    """
    return _served(store.read(_SERVED, release=release), release)


def releases(store: Store) -> list[Release]:
    """Return all releases, newest first."""
    rows = store.read(
        "MATCH (r:Release) RETURN r.number AS number, r.hash AS hash, toString(r.created_at) AS created_at, "
        "r.note AS note, r.datasets AS datasets ORDER BY number DESC"
    )
    return [Release(**{**row, "datasets": json.loads(row["datasets"])}) for row in rows]


def publish(store: Store, note: str = "", *, strict: bool = False, progress: Progress = SILENT) -> Served | None:
    """Freeze the draft as the next release and serve it; None when the draft holds nothing new.

    Runs that were served stay served (and may then be stale).

    Args:
        note: for people.
        strict: also refuse datasets without licence or citation and those stale by lookup.
        progress: hears of warnings.

    Raises:
        LoadIncomplete: a load was interrupted.
        DatasetStale: a derived dataset does not fit the genes and peaks of the draft.
        DraftHeld: another writer has the draft.
    """
    with open_draft(store, "regkg release publish") as draft:
        versions = draft.datasets()
        check_complete(versions)
        _check_fresh(versions, strict=strict, progress=progress)
        _check_stated(versions, strict=strict, progress=progress)
        if all(v.since < draft.number for v in versions):
            return None
        publication = _publication(store, draft, versions, note)
    copy_attributes(store, publication.release)
    return publication


def discard(store: Store, dataset: str | None = None, progress: Progress = SILENT) -> int:
    """Drop what the draft changed, in one dataset or in all; gives the number of datasets taken back."""
    with open_draft(store, "regkg release discard", after_rollback=True) as draft:
        chosen = [v for v in draft.datasets() if v.since == draft.number and dataset in (None, v.dataset)]
        for version in sorted(chosen, key=lambda v: not v.looked_up):  # edges before the nodes they rest on
            draft.take_back(version.dataset, progress)
        return len(chosen)


def verify(store: Store, release: int, progress: Progress = SILENT) -> Release:
    """Recompute every row hash of a release from the stored columns and compare with what was recorded.

    Raises:
        ChecksumMismatch: naming the datasets whose rows are not those that were published.
        UnknownRelease: there is no such release.
    """
    recorded = next((r for r in releases(store) if r.number == release), None)
    if recorded is None:
        raise UnknownRelease(f"there is no release {release}", "regkg release list")
    sums: dict[str, int] = {}
    for type_ in evidence_types():
        progress.begin(f"verifying {type_.name}", unit="rows")
        for dataset, row_hashes in _rehashed(store, type_, release, progress):
            sums[dataset] = hash_sum(row_hashes, sums.get(dataset, 0))
        progress.end()
    recomputed = {dataset: f"{total:032x}" for dataset, total in sums.items()}
    wrong = sorted(
        d
        for d in {*recomputed, *recorded.datasets}
        if recomputed.get(d, "0" * 32) != recorded.datasets.get(d, "0" * 32)
    )
    if wrong:
        raise ChecksumMismatch(
            f"release {release} is not what was published: rows of {', '.join(wrong)} differ",
            "somebody changed the graph by hand; load those datasets again and publish a new release",
        )
    return recorded


def release_hash(datasets: Mapping[str, str]) -> str:
    """Return the order-independent hash over the hashes of all datasets."""
    return f"{sum(int(h, 16) for h in datasets.values()) % (1 << HASH_BITS):032x}"


def serve(tx: Any, release: int, runs: Mapping[str, str], note: str) -> int:
    """Append a publication and move the pointer, within a transaction; return the publication's number."""
    return int(
        tx.run(
            "MERGE (s:Pointer {name: 'served'}) SET s.touched = timestamp() "
            "WITH s OPTIONAL MATCH (last:Publication) WITH s, coalesce(max(last.number), 0) + 1 AS number "
            "CREATE (p:Publication {number: number, release: $release, runs: $runs, at: datetime(), note: $note}) "
            "SET s.publication = number RETURN number",
            release=release,
            runs=json.dumps(dict(runs), sort_keys=True),
            note=note,
        ).single()["number"]
    )


def _served(rows: list[Row], release: int | None) -> Served:
    if rows:
        return Served(**{**rows[0], "runs": json.loads(rows[0]["runs"])})
    if release is None:
        raise UnknownRelease("nothing is published yet", "load evidence, then run `regkg release publish`")
    raise UnknownRelease(f"there is no release {release}", "regkg release list")


def _check_fresh(versions: Sequence[DatasetVersion], *, strict: bool, progress: Progress) -> None:
    stale = [
        v for v in versions if not v.withdrawn and v.looked_up_hash != looked_up_hash(versions, v.looked_up, v.dataset)
    ]
    refused = [v for v in stale if v.derived or strict]
    if refused:
        raise DatasetStale(
            f"{', '.join(v.dataset for v in refused)}: made from genes and peaks that have changed since",
            "; ".join(f"run `regkg load {v.source} --dataset {v.dataset}` again" for v in refused),
        )
    for version in stale:
        progress.say(
            f"warning: {version.dataset} was loaded before genes or peaks changed; load it again to refresh it"
        )


def _check_stated(versions: Sequence[DatasetVersion], *, strict: bool, progress: Progress) -> None:
    missing = [v.dataset for v in versions if not (v.withdrawn or v.derived or (v.licence and v.citation))]
    if missing and strict:
        raise Conflict(
            f"no licence or citation is stated for {', '.join(missing)}", "regkg load ... --licence L --citation C"
        )
    if missing:
        progress.say(f"warning: no licence or citation is stated for {', '.join(missing)}")


def _publication(store: Store, draft: Draft, versions: Sequence[DatasetVersion], note: str) -> Served:
    datasets = {v.dataset: v.hash for v in versions}
    total = release_hash(datasets)
    before = store.read(_SERVED, release=None)
    runs = json.loads(before[0]["runs"]) if before else {}

    def work(tx: Any) -> int:
        draft.check_lease(tx)
        tx.run(
            "CREATE (r:Release {number: $number, hash: $hash, datasets: $datasets, note: $note}) "
            "SET r.created_at = datetime()",
            number=draft.number,
            hash=total,
            datasets=json.dumps(datasets, sort_keys=True),
            note=note,
        ).consume()
        return serve(tx, draft.number, runs, note)

    return Served(store.transaction(work), draft.number, total, runs)


def copy_attributes(store: Store, release: int | None = None) -> None:
    """Copy attributes onto the nodes themselves (those that a release touched, or all), for hand-written Cypher.

    Product reads use the records. A node that is gone from the latest release keeps those of its last one.
    """
    for type_ in NODE_TYPES.values():
        columns = ", ".join(f".{field.name}" for field in list(type_.schema)[1:])
        store.implicit(
            f"MATCH (n:{type_.node_label})-[:HAS_RECORD]->(r:{type_.record_label}) "
            "WHERE $release IS NULL OR r.since = $release OR r.until = $release "
            f"WITH DISTINCT n CALL (n) {{ MATCH (n)-[:HAS_RECORD]->(r:{type_.record_label}) "
            f"WITH n, r ORDER BY r.until DESC, r.dataset LIMIT 1 SET n += r {{{columns}}} }} "
            "IN TRANSACTIONS OF 10000 ROWS",
            release=release,
        )


def _rehashed(store: Store, type_: RowType, release: int, progress: Progress) -> list[tuple[str, list[str]]]:
    pattern, _ = row_pattern(type_)
    if isinstance(type_, EdgeType):
        pattern = f"(a:{type_.start})-[r:{type_.name}]->(b:{type_.end})"
        ends = ["a.id", "b.id"]
    else:
        pattern, ends = f"(n:{type_.node_label})-[:HAS_RECORD]->{pattern}", ["n.id"]
    columns = [*ends, *(f"r.{name}" for name in type_.schema.names[len(ends) :])]
    rows = store.stream(
        f"MATCH {pattern} WHERE r.since <= $n AND $n < r.until RETURN r.dataset, {', '.join(columns)}", n=release
    )
    return _hashed_in_chunks(type_, rows, progress)


def _hashed_in_chunks(type_: RowType, rows: Any, progress: Progress) -> list[tuple[str, list[str]]]:
    done: list[tuple[str, list[str]]] = []
    pending: dict[str, list[list[Any]]] = {}

    def flush(dataset: str) -> None:
        columns = dict(zip(type_.schema.names, zip(*pending.pop(dataset), strict=True), strict=True))
        batch_type = EdgeBatch if isinstance(type_, EdgeType) else NodeBatch
        batch = batch_type.build(type_, **{k: list(v) for k, v in columns.items()})
        done.append((dataset, [f"{hash_sum(batch.row_hashes(dataset)):032x}"]))
        progress.advance(len(batch))

    for dataset, *values in rows:
        pending.setdefault(dataset, []).append(values)
        if len(pending[dataset]) == VERIFY_ROWS:
            flush(dataset)
    for dataset in list(pending):
        flush(dataset)
    return done
