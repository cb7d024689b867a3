"""Which version of the graph answers: a publication, its release and the runs that are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.errors import ParameterError, UnknownRelease, UnknownRun, WriteConflict
from kg.query.plan import Plan, Query, Row, T

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kg.schema import NodeType

# Heads that find the publication (p) by way of an index; _RETURN reads the rest in the same query.
_IN_FORCE = "MATCH (s:Pointer {name: 'served'}) MATCH (p:Publication {number: s.publication})"
# While a publication is being committed its pointer can be seen a moment before its node is found by index; the one
# before it is whole, and a moment ago it was right.
_SERVED = (
    "MATCH (s:Pointer {name: 'served'}) MATCH (p:Publication) WHERE p.number IN [s.publication, s.publication - 1]"
)
_OF_RELEASE = "MATCH (p:Publication {release: $release})"
_PINNED = "MATCH (p:Publication {number: $publication})"
_GUARD = f"{_IN_FORCE} WHERE p.number = $guard_number AND toString(p.at) = $guard_at WITH 1 AS served\n"
_COMPLETE = "MATCH (m:ModelRun) WHERE m.id IN $runs AND m.outcome = 'complete' RETURN count(m) AS n"
ATTEMPTS = 3
_RETURN = """
MATCH (rel:Release {number: p.release}) WITH p, rel ORDER BY p.number DESC LIMIT 1
RETURN p.number AS publication, toString(p.at) AS published_at, p.runs AS served,
  rel.number AS release, rel.hash AS hash, rel.datasets AS datasets,
  COLLECT {
    MATCH (m:ModelRun) WHERE m.outcome = 'complete' AND (p.runs CONTAINS m.id OR m.id = $run)
    RETURN m {.id, .slot, .release, .datasets, .derived} ORDER BY m.slot, m.id
  } AS runs
"""


@dataclass(frozen=True)
class RunRead:
    """A run whose predictions are read.

    Attributes:
        slot: "model:cells".
        release: the release that it was trained on.
        stale: a dataset that it used has other rows in the release that is read.
        derived: worked out from what another run predicts; it embeds nothing.
    """

    run: str
    slot: str
    release: int
    stale: bool
    derived: bool = False


@dataclass(frozen=True)
class Scope:
    """One publication, resolved once; every read of an answer is made at its release and of its runs."""

    publication: int
    published_at: str
    release: int
    hash: str
    runs: tuple[RunRead, ...]

    @property
    def stale(self) -> bool:
        """Whether any run that is read rests on datasets that have changed since."""
        return any(run.stale for run in self.runs)

    @property
    def run_ids(self) -> list[str]:
        """Ids of the runs that are read."""
        return [run.run for run in self.runs]


def scope_of(release: int | None = None, run: str | None = None, publication: int | None = None) -> Plan[Scope]:
    """Resolve what is served, or the last publication of a release, or one publication.

    Args:
        release: its number.
        run: read this complete run alone.
        publication: its number; what a page cursor holds on to.

    Raises:
        UnknownRelease: nothing is published, or not this.
        UnknownRun: no complete run has this id.
    """
    head = _PINNED if publication is not None else _OF_RELEASE if release is not None else _SERVED
    rows = yield Query(head + _RETURN, {"release": release, "run": run, "publication": publication})
    if rows:
        return _scope(rows[0], run)
    if publication is not None:
        raise UnknownRelease(f"there is no publication {publication}", "start again from the first page")
    if release is not None:
        raise UnknownRelease(f"release {release} was never published", "see `regkg release list` or GET /v1/releases")
    raise UnknownRelease("nothing is published yet", "load evidence, then run `regkg release publish`")


def read_consistently(scope: Scope, read: Callable[[Scope], Plan[T]], again: Callable[[], Plan[Scope]]) -> Plan[T]:
    """Return what `read` gives at a scope whose runs stayed complete; read again if one was pruned meanwhile.

    Raises:
        WriteConflict: runs are pruned faster than they can be read.
    """
    for _ in range(ATTEMPTS):
        result = yield from read(scope)
        if (yield from are_complete(scope.run_ids)):
            return result
        scope = yield from again()
    raise WriteConflict("runs were pruned while they were read", "try again")


def are_complete(run_ids: Sequence[str]) -> Plan[bool]:
    """Return whether all of these runs are complete, so that none was pruned while it was read."""
    rows = yield Query(_COMPLETE, {"runs": list(run_ids)})
    return bool(rows[0]["n"] == len(run_ids))


def guard_of(scope: Scope) -> Query:
    """Return the head of a query that finds nothing once another publication is served."""
    return Query(_GUARD, {"guard_number": scope.publication, "guard_at": scope.published_at})


def one_run(scope: Scope, what: str) -> str:
    """Return the only run that is read.

    Raises:
        UnknownRun: none is served.
        ParameterError: several are, and comparing across them would mean nothing.
    """
    if not scope.runs:
        raise UnknownRun(f"{what} needs a run, and none is served", "regkg train, then `regkg runs publish RUN`")
    embedding = [run.run for run in scope.runs if not run.derived] or scope.run_ids
    if len(embedding) > 1:
        raise ParameterError(
            f"{what} compares vectors of one run only", hint=f"choose one: run={' or run='.join(embedding)}"
        )
    return embedding[0]


def valid(row: str) -> str:
    """Return Cypher: the evidence row or record is open at $release."""
    return f"{row}.since <= $release AND $release < {row}.until"


def record(node: str, type_: NodeType) -> str:
    """Return Cypher: the record of a node that holds at $release; the dataset whose id sorts first wins."""
    return (
        f"head(COLLECT {{ MATCH ({node})-[:HAS_RECORD]->(rec:{type_.record_label}) "
        f"WHERE {valid('rec')} RETURN rec ORDER BY rec.dataset LIMIT 1 }})"
    )


def _scope(row: Row, run: str | None) -> Scope:
    datasets = json.loads(row["datasets"])
    wanted = set(json.loads(row["served"]).values()) if run is None else {run}
    runs = tuple(_run_read(run_row, datasets) for run_row in row["runs"] if run_row["id"] in wanted)
    if run is not None and not runs:
        raise UnknownRun(f"no complete run is named {run!r}", "see `regkg runs list` or GET /v1/runs")
    return Scope(row["publication"], row["published_at"], row["release"], row["hash"], runs)


def _run_read(run: Row, datasets: dict[str, Any]) -> RunRead:
    used = json.loads(run["datasets"])
    stale = any(datasets.get(dataset) != hash_ for dataset, hash_ in used.items())
    return RunRead(run["id"], run["slot"], run["release"], stale, derived=bool(run["derived"]))
