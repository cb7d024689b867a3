"""What there is to read: releases, and runs that are complete."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - the API reads annotations
from dataclasses import dataclass
from typing import Any

from kg.errors import UnknownRun
from kg.query.plan import Plan, Query

_RELEASES = """
OPTIONAL MATCH (s:Pointer {name: 'served'}) OPTIONAL MATCH (p:Publication {number: s.publication})
MATCH (r:Release)
RETURN r.number AS number, r.hash AS hash, toString(r.created_at) AS created_at, r.note AS note,
  r.datasets AS datasets, r.number = coalesce(p.release, 0) AS served
ORDER BY number DESC
"""
_RUNS = """
OPTIONAL MATCH (s:Pointer {name: 'served'}) OPTIONAL MATCH (p:Publication {number: s.publication})
MATCH (r:ModelRun) WHERE r.outcome = 'complete' AND ($run IS NULL OR r.id = $run)
RETURN r {.id, .model, .cells, .slot, .release, .seed, .members, .code, .config_hash, .config, .datasets, .metrics,
          started_at: toString(r.started_at), finished_at: toString(r.finished_at)} AS run,
  coalesce(p.runs, '{}') AS served
ORDER BY r.started_at DESC, r.id
"""


@dataclass(frozen=True)
class ReleaseListed:
    """A release.

    Attributes:
        hash: over all rows; equal graphs have equal hashes.
        datasets: dataset id -> hash of its rows.
        served: readers get this one unless they name another.
    """

    number: int
    hash: str
    created_at: str
    note: str
    datasets: Mapping[str, str]
    served: bool


@dataclass(frozen=True)
class RunListed:
    """A complete run.

    Attributes:
        slot: "model:cells", what a publication serves one run for.
        release: the release that it was trained on.
        datasets: dataset id -> hash of the rows that it used.
        served: readers get this one for its slot unless they name another.
    """

    id: str
    model: str
    cells: str
    slot: str
    release: int
    seed: int
    members: int
    code: str
    config_hash: str
    config: Mapping[str, Any]
    datasets: Mapping[str, str]
    metrics: Mapping[str, Any]
    started_at: str
    finished_at: str | None
    served: bool


def list_releases() -> Plan[list[ReleaseListed]]:
    """Return all releases, newest first."""
    rows = yield Query(_RELEASES)
    return [ReleaseListed(**{**row, "datasets": json.loads(row["datasets"])}) for row in rows]


def list_runs(run: str | None = None) -> Plan[list[RunListed]]:
    """Return all complete runs, newest first, or the one that is named.

    Raises:
        UnknownRun: no complete run has this id.
    """
    rows = yield Query(_RUNS, {"run": run})
    if run is not None and not rows:
        raise UnknownRun(f"no complete run is named {run!r}", "see `regkg runs list` or GET /v1/runs")
    return [
        RunListed(
            **row["run"] | {name: json.loads(row["run"][name]) for name in ("config", "datasets", "metrics")},
            served=row["run"]["id"] in json.loads(row["served"]).values(),
        )
        for row in rows
    ]
