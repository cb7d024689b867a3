"""The inputs of a run diff, read from the graph and from the runs' folders."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kg import runs
from kg.errors import Conflict
from kg.evidence.datasets import dataset_versions
from kg.guidance import read_guidance
from kg.guidance.policy import POLICY, weigh
from kg.progress import SILENT, Progress
from kg.releases import diff as release_diff
from kg.run_diff.attribution import ROWS, Evidence
from kg.run_diff.comparison import LINKS, RunDiff, compare, join_links
from kg.run_diff.significance import MemberScores, Noise, of_members, of_runs, of_shifts
from kg.runs.predicted_rows import rows_of_batch, rows_of_type
from kg.schema import EDGE_TYPES, PREDICTED_LINK, PREDICTED_TARGET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kg.guidance import GuidanceGraph
    from kg.releases.diff import RowChange
    from kg.runs import Run
    from kg.schema import EdgeType
    from kg.schema.batches import EdgeBatch
    from kg.store import Store

PAIR_TYPES = (PREDICTED_LINK, PREDICTED_TARGET)  # two runs are compared by the first that both have
SEEDS = ("seed", "members")  # options of a config that only make noise
COLUMNS = (*LINKS, "in_prior")


def diff(
    store: Store,
    home: Path,
    first: str,
    second: str,
    noise_runs: Sequence[str] = (),
    progress: Progress = SILENT,
    *,
    of: str | None = None,
) -> RunDiff:
    """Return what moved from the first run to the second, and why.

    Args:
        store: the graph.
        home: REGKG_HOME, where runs keep their Parquet; what is not there is read from the graph.
        first, second: ids of complete runs.
        noise_runs: complete runs that differ from one of the two by seed alone; they show how far seeds move scores.
            Without them the members of the two runs do.
        progress: where to report what is read.
        of: type of the pairs; by default links of peaks and genes, otherwise the first type that both have.

    Raises:
        UnknownRun: a run does not exist.
        Conflict: a run is not complete, the two have no type of pairs in common, or one of `noise_runs` differs by
            more than its seed.
    """
    a, b = (comparable_run(store, run_id) for run_id in (first, second))
    type_ = shared_type(store, a, b, of)
    both = join_links(links(store, home, a, of=type_), links(store, home, b, of=type_))
    progress.begin("comparing evidence")
    evidence = evidence_between(store, a, b)
    progress.end("identical" if evidence is None else f"{len(evidence.rows):,} rows differ")
    others = [(r, links(store, home, r, of=type_)) for r in _others(store, a, b, noise_runs)]
    return replace(compare(both, noise_of(both, a, b, others), evidence, settings_between(store, a, b)), of=type_.name)


def shared_type(store: Store, a: Run, b: Run, requested: str | None) -> EdgeType:
    """Return the type of pairs by which two runs are compared.

    Raises:
        Conflict: they have no pairs of the requested type in common, or of any type.
    """
    counts = [pair_types(store, run.id) for run in (a, b)]
    shared = [t for t in PAIR_TYPES if all(t.name in held for held in counts)]
    if requested is not None:
        shared = [t for t in shared if t.name == requested]
    if not shared:
        held = "; ".join(f"{run.id} has {', '.join(c) or 'none'}" for run, c in zip((a, b), counts, strict=True))
        which = "of one type" if requested is None else f"of {requested}"
        raise Conflict(f"the runs have no scored pairs {which} to compare: {held}", "regkg runs list")
    return shared[0]


def pair_types(store: Store, run_id: str) -> list[str]:
    """Return the names of the types of scored pairs that a run has in the graph."""
    query = "MATCH ()-[e:{name} {{run: $run}}]->() RETURN 1 LIMIT 1"
    return [t.name for t in PAIR_TYPES if store.read(query.format(name=t.name), run=run_id)]


def comparable_run(store: Store, run_id: str) -> Run:
    """Return a complete run with links of its own, which can be compared.

    Raises:
        UnknownRun: there is no such run.
        Conflict: it is not complete, or is derived.
    """
    run = runs.run(store, run_id)
    if run.derived:
        raise Conflict(f"run {run_id} is derived and holds no links", f"compare its parent, {run.parent}")
    if run.outcome != "complete":
        raise Conflict(f"run {run_id} is {run.outcome}; only complete runs can be compared", "regkg runs list")
    return run


def links(
    store: Store, home: Path, run: Run, also: Sequence[str] = (), *, of: EdgeType = PREDICTED_LINK
) -> pd.DataFrame:
    """Return all pairs of a type that a run wrote, from its Parquet or else from the graph.

    Returns:
        COLUMNS, where peak is the first end and gene the second, whatever the type, and the numeric columns `also`.
    """
    return _typed(rows_of_type(store, home, run.id, of), also)


def links_of(batch: EdgeBatch, also: Sequence[str] = ()) -> pd.DataFrame:
    """Return the pairs of a batch of predictions: COLUMNS (missing where the type lacks them) and numbers `also`."""
    return _typed(rows_of_batch(batch), also)


def _typed(rows: pd.DataFrame, also: Sequence[str]) -> pd.DataFrame:
    absent = dict.fromkeys({*COLUMNS, *also} - {*rows.columns, "peak", "gene"}, None)
    frame = rows.rename(columns={"start_id": "peak", "end_id": "gene"}).assign(**absent)
    typed = frame[[*COLUMNS, *also]].astype(dict.fromkeys(("score", "stability", "q_value", *also), float))
    # older runs lack the column, and all their pairs are in the prior
    return typed.assign(in_prior=typed["in_prior"].ne(other=False))


def noise_of(both: pd.DataFrame, a: Run, b: Run, others: Sequence[tuple[Run, pd.DataFrame]] = ()) -> Noise:
    """Return the best available estimate of how far seeds move scores: named runs, else members, else the two runs."""
    if others:
        own = [(a, both["score_a"].to_numpy(float)), (b, both["score_b"].to_numpy(float))]
        more = [(run, frame.set_index("edge_id")["score"].reindex(both["edge_id"]).to_numpy()) for run, frame in others]
        ordered = sorted([*own, *more], key=lambda pair: _read(pair[0]))
        groups = [np.stack([scores for _, scores in part]) for _, part in groupby(ordered, lambda pair: _read(pair[0]))]
        return of_runs(groups)
    if max(a.members, b.members) > 1:
        return of_members(member_scores(both, "a", a.members), member_scores(both, "b", b.members))
    return of_shifts((both["score_b"] - both["score_a"]).to_numpy(float))


def member_scores(both: pd.DataFrame, side: str, members: int) -> MemberScores:
    """Return the scores of one side ("a" or "b") of joined links."""
    return MemberScores(both[f"score_{side}"].to_numpy(float), both[f"stability_{side}"].to_numpy(float), members)


def settings_between(store: Store, a: Run, b: Run) -> tuple[str, ...]:
    """Return the names of what differs between two runs besides evidence and seeds."""
    environments = tuple(runs.environment(store, run.id) for run in (a, b))
    settings: dict[str, tuple[Any, ...]] = {
        "model": (a.model, b.model),
        "cells": ((a.cells, environments[0].get("cells")), (b.cells, environments[1].get("cells"))),
        "config": (_config(a), _config(b)),
        "edge types": (a.edge_types, b.edge_types),
        "held-out chromosomes": tuple(map(_held_out, environments)),
        "code": (a.code, b.code),
        "packages": tuple(e.get("versions") for e in environments),
    }
    return tuple(name for name, (of_a, of_b) in settings.items() if of_a != of_b)


def evidence_between(store: Store, a: Run, b: Run) -> Evidence | None:
    """Return what two runs read, of the edge types that both read, and the rows that differ; None if none differ."""
    types = types_read(a, b)
    if not types:
        return None
    rows = weigh_changes(changes_between(store, a, b, types))
    if rows.empty:
        return None
    return Evidence(_guidance(store, a, types), _guidance(store, b, types), rows)


def types_read(a: Run, b: Run) -> list[str]:
    """Return the edge types of both guidance graphs; runs of a version that did not record them read all."""
    read = [run.edge_types or (() if run.node_types else tuple(POLICY)) for run in (a, b)]
    return [name for name in POLICY if all(name in types for types in read)]


def changes_between(store: Store, a: Run, b: Run, types: Sequence[str]) -> Iterator[RowChange]:
    """Yield the rows of these edge types that one run read and the other did not, or read with other values."""
    shared = sorted({*a.datasets} & {*b.datasets})
    if a.release != b.release and shared:
        yield from release_diff.rows(store, a.release, b.release, types, shared)
    for run, other, change in ((a, b, "removed"), (b, a, "added")):
        for dataset in sorted({*run.datasets} - {*other.datasets}):
            for name in types:
                yield from _whole(store, run.release, dataset, name, change)


def weigh_changes(changes: Iterable[RowChange]) -> pd.DataFrame:
    """Return changed rows with signed weights before and after by policy (0 where there is no row); columns ROWS."""
    parts = []
    for name, of_type in groupby(changes, lambda c: c.type):
        rows = list(of_type)
        frame = pd.DataFrame({c: [getattr(r, c) for r in rows] for c in ROWS if c not in {"before", "after"}})
        parts.append(
            frame.assign(before=_weights(name, [r.before for r in rows]), after=_weights(name, [r.after for r in rows]))
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(ROWS))


def _guidance(store: Store, run: Run, types: Sequence[str]) -> GuidanceGraph:
    """Return the guidance graph that a run read, restricted to these edge types."""
    present = {v.dataset for v in dataset_versions(store, run.release)}
    without = sorted(present - {*run.datasets}) if run.datasets else []
    held_out = _held_out(runs.environment(store, run.id))
    return read_guidance(store, run.release, types, held_out=held_out, without=without)


def _held_out(environment: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(environment.get("request", {}).get("held_out") or ())


def _weights(name: str, rows: Sequence[Any]) -> Any:
    exists = np.array([row is not None for row in rows])
    weights = np.zeros(len(rows))
    if exists.any():
        schema = pa.schema(list(EDGE_TYPES[name].schema)[2:])
        weight, sign = weigh(name, pa.Table.from_pylist([row for row in rows if row is not None], schema))
        weights[exists] = weight.astype(float) * sign
    return weights


def _whole(store: Store, release: int, dataset: str, name: str, change: str) -> Iterator[RowChange]:
    """Yield every row of a dataset and type at a release, as removed or added."""
    type_ = EDGE_TYPES[name]
    rows = store.stream(
        f"MATCH (a:{type_.start})-[r:{name}]->(b:{type_.end}) "
        "WHERE r.dataset = $dataset AND r.since <= $n AND $n < r.until "
        f"RETURN r.edge_id, a.id, b.id, r {{{', '.join(f'.{c}' for c in type_.schema.names[2:])}}}",
        dataset=dataset,
        n=release,
    )
    for row_id, start, end, columns in rows:
        sides = (columns, None) if change == "removed" else (None, columns)
        yield release_diff.RowChange(change, name, dataset, row_id, start, end, *sides)


def _others(store: Store, a: Run, b: Run, named: Sequence[str]) -> list[Run]:
    noise_runs = [comparable_run(store, run_id) for run_id in named if run_id not in {a.id, b.id}]
    for run in noise_runs:
        counterpart = next((r for r in (a, b) if _read(run) == _read(r)), None)
        differs = ("evidence",) if counterpart is None else settings_between(store, run, counterpart)
        if differs:
            raise Conflict(
                f"run {run.id} differs from {(counterpart or a).id} by {', '.join(differs)}, not by its seed alone",
                "name runs with the same evidence and settings as one of the two that are compared",
            )
    return noise_runs


def _read(run: Run) -> tuple[str, int]:
    return json.dumps(dict(run.datasets), sort_keys=True), run.members


def _config(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.config.items() if name not in SEEDS}
