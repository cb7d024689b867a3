"""Ours beside others, against a loop over plain dictionaries of the same world."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kg.evidence.draft import Snapshot, Source, open_draft
from kg.query.plan import run_plan
from kg.query.registry import Answer, question_named
from kg.questions.compare_links import LinkCompared, Support
from kg.releases import publish
from kg.schema import CONTACTS, EQTL, EXTERNAL_LINK, PERTURBS
from kg.schema.batches import EdgeBatch
from tests.kg.published import PEAKS, Published, gene_id, peak_id, publish_world

if TYPE_CHECKING:
    from kg.schema import EdgeType
    from kg.store import Store

Row = dict[str, Any]
HERE = range(PEAKS - 1)  # the last peak has gone by release 2
BY = {"EXTERNAL_LINK": "model", "CONTACTS": "score_kind", "EQTL": "kind"}


@dataclasses.dataclass
class Compared:
    """The published world and its evidence: type -> rows of release 3."""

    published: Published
    evidence: dict[str, list[Row]] = dataclasses.field(default_factory=dict)


def external(rng: np.random.Generator) -> list[Row]:
    """Two programs, one without a threshold; some pairs with two elements; gene 11 has no other edge of a run."""
    return [
        {
            "start_id": peak_id(p),
            "end_id": gene_id(g),
            "score": float(rng.integers(0, 8)) / 8,
            "score_kind": model.lower(),
            "threshold": 0.5 if model == "ABC" else None,
            "model": model,
            "biosample": "K562",
            "element": f"chr1:{element}-{element + 9}",
            "tf": "",
        }
        for p in HERE
        for g in (0, 2, 3, 12)
        for model in ("ABC", "SCENIC+")
        for element in (1, 2)
        if rng.random() < 0.3
    ]


def contacts(rng: np.random.Generator) -> list[Row]:
    shared = {"score_kind": "chicago", "bait": "chr1:1-2", "other_end": "chr1:8-9", "bait_to_bait": False}
    return [
        {"start_id": peak_id(p), "end_id": gene_id(2), "score": float(p), "biosample": biosample, **shared}
        for p in HERE
        for biosample in ("Mon", "nCD4")
        if rng.random() < 0.3
    ]


def eqtl(rng: np.random.Generator) -> list[Row]:
    shared = {"score_kind": "p", "biosample": "Mon", "study": "made", "trait": ""}
    return [
        {"start_id": peak_id(p), "end_id": gene_id(g), "variant": f"v{v}", "kind": kind, "score": 2.0 + v, **shared}
        for p in HERE
        for g in (0, 2)
        for v in range(3)
        for kind in ("lead", "credible")
        if rng.random() < 0.2
    ]


def perturbs() -> list[Row]:
    shared = {"biosample": "K562", "study": "made", "element": "chr1:1-2"}
    found = {0: [False], 1: [False, True], 2: [True]}
    return [
        {"start_id": peak_id(p), "end_id": gene_id(2), "significant": one, **shared, "study": f"made{i}"}
        for p, verdicts in found.items()
        for i, one in enumerate(verdicts)
    ]


def load(store: Store, type_: EdgeType, rows: list[Row], *, replace: bool = False) -> None:
    columns = {name: [row.get(name) for row in rows] for name in type_.schema.names}
    name = f"{type_.name.lower()}:a"
    source = Source(name, name.partition(":")[0], licence="CC0", citation="made here")
    with open_draft(store, "test") as draft:
        draft.load(source, Snapshot((str(len(rows)),), "toy@1"), [EdgeBatch.build(type_, **columns)], replace=replace)


@pytest.fixture(scope="module")
def world(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    made = Compared(publish_world(session_store, tmp_path_factory.mktemp("home")))
    rng = np.random.default_rng(11)
    of_type = {EXTERNAL_LINK: external(rng), CONTACTS: contacts(rng), EQTL: eqtl(rng), PERTURBS: perturbs()}
    for type_, rows in of_type.items():
        load(session_store, type_, rows)
        made.evidence[type_.name] = rows
    publish(session_store, "third")
    # what a draft takes away must not be missed
    load(session_store, CONTACTS, of_type[CONTACTS][:1], replace=True)
    return made


def ask(store: Store, **given: Any) -> Answer:
    question = question_named("compare-links")
    return run_plan(question.plan(question.parameters(**given)), store)


def supports(rows: list[Row], by: str, dataset: str) -> list[Support]:
    found: list[Support] = []
    for key in sorted({(r[by], r["biosample"], r["score_kind"]) for r in rows}):
        same = [r for r in rows if (r[by], r["biosample"], r["score_kind"]) == key]
        score = max(r["score"] for r in same)
        threshold = same[0].get("threshold")
        found.append(
            Support(
                dataset, key[0], key[1], score, key[2], None if threshold is None else score >= threshold, len(same)
            )
        )
    return found


def expected(world: Compared, gene: str, release: int, runs: list[str]) -> list[LinkCompared]:
    made = []
    evidence = world.evidence if release == 3 else {name: [] for name in world.evidence}
    for peak, at in world.published.peaks[min(release, 2)].items():
        pair = {
            name: [r for r in rows if (r["start_id"], r["end_id"]) == (peak, gene)] for name, rows in evidence.items()
        }
        ours = [e for r in runs for e in world.published.links[r] if (e["start_id"], e["end_id"]) == (peak, gene)]
        best: Row = min(ours, key=lambda e: (-e["score"], e["run"])) if ours else {}
        if not ours and not any(pair.values()):
            continue
        near = world.published.near[min(release, 2)].get((peak, gene))
        tested = [r["significant"] for r in pair["PERTURBS"]]
        said = {name: supports(pair[name], BY[name], f"{name.lower()}:a") for name in BY}
        row: Row = {
            "peak": peak,
            **{c: at[c] for c in ("chrom", "start", "end")},
            "distance_bp": near[0] if near else None,
            **{c: best.get(c) for c in ("score", "q_value", "sign", "called", "run")},
            "in_prior": best["in_prior"] is not False if best else None,
            "external": said["EXTERNAL_LINK"],
            "contacts": said["CONTACTS"],
            "eqtl": said["EQTL"],
            "perturbed": any(tested) if tested else None,
        }
        made.append(LinkCompared(**row))
    return sorted(made, key=lambda link: (link.score is None, -(link.score or 0), link.peak))


@pytest.mark.parametrize("release", [1, 2, 3])
def test_every_gene_equals_a_slow_loop(session_store: Store, world: Compared, release: int) -> None:
    for gene in world.published.genes[min(release, 2)]:
        answer = ask(session_store, gene=gene, release=release, limit=1000)
        assert answer.rows == expected(world, gene, release, world.published.served)
        assert not answer.truncated


def test_the_world_has_every_case(session_store: Store, world: Compared) -> None:
    rows = ask(session_store, gene=gene_id(2), limit=1000).rows
    assert {row.perturbed for row in rows} == {True, False, None}
    assert {row.in_prior for row in rows} == {True, False, None}
    assert {s.passes for row in rows for s in row.external} == {True, False, None}
    assert any(s.rows > 1 for row in rows for s in row.eqtl)
    assert any(row.score is None and row.external for row in rows)
    assert any(row.score is not None and row.contacts and row.distance_bp is not None for row in rows)


def test_one_run_or_a_limit(session_store: Store, world: Compared) -> None:
    run = world.published.served[1]
    every = expected(world, gene_id(2), 3, [run])
    assert ask(session_store, gene="AGENE2", run=run, limit=1000).rows == every
    few = ask(session_store, gene="AGENE2", run=run, limit=4)
    assert (few.rows, few.truncated) == (every[:4], True)
