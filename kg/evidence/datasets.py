"""Datasets and their versions: what was stated, what was loaded, and the hashes of the rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kg.errors import LoadIncomplete
from kg.schema.batches import HASH_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kg.store import Row, Store


@dataclass(frozen=True)
class Source:
    """What is stated about a dataset.

    Attributes:
        dataset: its id, part of every row's identity.
        source: the loader, such as genes.
        looked_up: names of node types whose rows decide what the loader writes.
        derived: made from the graph itself, so it must be rebuilt when what it looked up changes.
    """

    dataset: str
    source: str
    licence: str | None = None
    citation: str | None = None
    url: str | None = None
    derived: bool = False
    looked_up: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """What one load read: sorted sha256 of its files, loader name@version, its parameters, rows it rejected.

    Attributes:
        unfinished: more of the dataset is to come, so that nobody may publish it yet.
        withdrawn: the dataset is none any more.
        reverts: the release whose changes are undone.
    """

    sha256: tuple[str, ...]
    loader: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rejected: int = 0
    unfinished: bool = False
    withdrawn: bool = False
    reverts: int | None = None


@dataclass(frozen=True)
class DatasetVersion:
    """A dataset as the draft (or a release) has it.

    Attributes:
        since: the first release that has this version.
        hashes: name of row type -> order-independent sum of its row hashes, hex.
        rows: name of row type -> open rows.
        state: "complete", or "loading" while a load is unfinished.
        reverts: the release whose changes this version undid.
    """

    dataset: str
    source: str
    since: int
    state: str
    loader: str
    parameters: str
    sha256: tuple[str, ...]
    looked_up: tuple[str, ...]
    looked_up_hash: str
    hashes: Mapping[str, str]
    rows: Mapping[str, int]
    rejected: int
    derived: bool
    withdrawn: bool
    licence: str | None
    citation: str | None
    reverts: int | None = None

    @property
    def hash(self) -> str:
        """One hash over all row types."""
        return f"{sum(int(h, 16) for h in self.hashes.values()) % (1 << HASH_BITS):032x}"


def dataset_versions(store: Store, number: int) -> list[DatasetVersion]:
    """Return the version of every dataset at a release or draft, by dataset id."""
    rows = store.read(
        "MATCH (d:Dataset)-[:HAS_VERSION]->(v:DatasetVersion) WHERE v.since <= $number "
        "WITH d, v ORDER BY v.since DESC WITH d, head(collect(v)) AS v "
        "RETURN d {.*} AS about, v {.*} AS version ORDER BY d.id",
        number=number,
    )
    return [_version(row["about"], row["version"]) for row in rows]


def looked_up_hash(versions: Sequence[DatasetVersion], looked_up: Sequence[str], dataset: str) -> str:
    """Hash of all rows of these node types but those of the dataset itself; empty when nothing is looked up."""
    if not looked_up:
        return ""
    others = [v for v in versions if v.dataset != dataset]
    sums = {
        name: sum(int(v.hashes.get(name, "0"), 16) for v in others) % (1 << HASH_BITS) for name in sorted(looked_up)
    }
    return hashlib.sha256(canonical_json(sums).encode()).hexdigest()


def check_complete(versions: Sequence[DatasetVersion]) -> None:
    """Refuse while a load is unfinished.

    Raises:
        LoadIncomplete: naming the datasets and how to go on.
    """
    unfinished = [v.dataset for v in versions if v.state != "complete"]
    if unfinished:
        raise LoadIncomplete(
            f"the load of {', '.join(unfinished)} was interrupted",
            "run the same `regkg load` again to finish it, or `regkg release discard --dataset ID` to drop it",
        )


def version_columns(
    source: Source, snapshot: Snapshot, hashes: Mapping[str, str], rows: Mapping[str, int], looked_up: str
) -> Row:
    """Return what is recorded of a dataset's version, besides its number and state."""
    return {
        "loader": snapshot.loader,
        "parameters": canonical_json(snapshot.parameters),
        "rejected": snapshot.rejected,
        "withdrawn": snapshot.withdrawn,
        "reverts": snapshot.reverts,
        "looked_up": list(source.looked_up),
        "looked_up_hash": looked_up,
        "hashes": canonical_json(hashes),
        "rows": canonical_json(rows),
    }


def about(source: Source) -> Row:
    """Return what is recorded of the dataset itself; what is not stated stays as it was."""
    stated = {"licence": source.licence, "citation": source.citation, "url": source.url}
    return {"source": source.source, "derived": source.derived, **{k: v for k, v in stated.items() if v is not None}}


def files_of(snapshot: Snapshot) -> str:
    """Return the files of one load as one text."""
    return " ".join(snapshot.sha256)


def merged_files(version: DatasetVersion, snapshot: Snapshot) -> list[str]:
    """Return every set of files that gave the rows of a version."""
    return sorted({*version.sha256, files_of(snapshot)})


def _version(about_it: Row, version: Row) -> DatasetVersion:
    return DatasetVersion(
        dataset=about_it["id"],
        source=about_it["source"],
        since=version["since"],
        state=version["state"],
        loader=version["loader"],
        parameters=version["parameters"],
        sha256=tuple(version["sha256"]),
        looked_up=tuple(version["looked_up"]),
        looked_up_hash=version["looked_up_hash"],
        hashes=json.loads(version["hashes"]),
        rows=json.loads(version["rows"]),
        rejected=version["rejected"],
        derived=about_it["derived"],
        withdrawn=version["withdrawn"],
        licence=about_it.get("licence"),
        citation=about_it.get("citation"),
        reverts=version.get("reverts"),
    )


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys: equal values, equal text."""
    return json.dumps(value, sort_keys=True)
