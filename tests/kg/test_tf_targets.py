"""Targets of factors, asked, listed, exported and backed up, against the same predictions as plain dictionaries."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kg import runs
from kg.errors import ParameterError, UnknownGene
from kg.evidence.draft import Source
from kg.export import answers, reading, writing
from kg.operations.parquet_dump import dump_rows, load_rows, read_bookkeeping
from kg.query.edge_pages import EdgeParameters, edge_page
from kg.query.plan import run_plan
from kg.query.registry import Answer, question_named
from kg.query.scope import scope_of
from kg.releases import publish, releases
from kg.runs import predictions
from kg.runs.predictions import Predictions
from kg.schema import PREDICTED_LINK, PREDICTED_TARGET, TARGETS
from kg.schema.batches import EdgeBatch
from tests.kg import toy
from tests.kg.published import GENES, GONE_GENE, PEAKS, Published, gene_id, peak_id, publish_world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store

Row = dict[str, Any]
CURATED = [(0, 1), (0, 5), (2, 0)]


@dataclasses.dataclass(frozen=True)
class World:
    """The published world with two derived runs, one of them served."""

    published: Published
    rows: list[Row]
    served: str
    other: str


@pytest.fixture(scope="module")
def world(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> World:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    home, rng = tmp_path_factory.mktemp("home"), np.random.default_rng(11)
    published = publish_world(session_store, home)
    toy.load(
        session_store,
        Source("targets:a", "tf-targets", licence="CC0", citation="made here"),
        EdgeBatch.build(
            TARGETS, start_id=[gene_id(a) for a, _ in CURATED], end_id=[gene_id(b) for _, b in CURATED],
            mode="activation", sign=1,
        ),
    )  # fmt: skip
    publish(session_store)
    made, rows = [], []
    for _ in range(2):
        parent = published.served[0]
        hashes = releases(session_store)[-1].datasets
        used = {d: hashes[d] for d in ("genes:a", "near:a")}
        about = runs.Registration(
            "targets-motifs", "cortex", 1, 0, 1, {}, "abc", "v1", used, parent=parent, derived=True
        )
        run = runs.register(session_store, about)
        batch = targets(rng)
        predictions.keep(home, run, Predictions([batch]), {})
        runs.write_back(session_store, home, run)
        made.append(run)
        told = zip(batch.table.to_pylist(), batch.edge_ids, strict=True)
        rows += [{**row, "edge_id": id_, "run": run} for row, id_ in told]
    runs.publish_run(session_store, made[0])
    return World(published, rows, *made)


def targets(rng: np.random.Generator) -> EdgeBatch:
    pairs = [(a, b) for a in range(GENES) for b in range(GENES) if rng.random() < 0.5]
    n = len(pairs)
    q = rng.random(n)
    own = [[peak_id(p) for p in rng.choice(PEAKS, rng.integers(1, 4), replace=False)] for _ in pairs]
    return EdgeBatch.build(
        PREDICTED_TARGET, start_id=[gene_id(a) for a, _ in pairs], end_id=[gene_id(b) for _, b in pairs],
        score=rng.random(n), score_kind="motifs", rank=rng.integers(1, 6, n) / 2, p_value=q / 2, q_value=q,
        sign=rng.choice([-1, 1], n), called=q < 0.4, observed=[len(p) for p in own], expected=rng.random(n), peaks=own,
    )  # fmt: skip


def ask(store: Store, **given: Any) -> Answer:
    question = question_named("tf-targets")
    return run_plan(question.plan(question.parameters(**given)), store)


def expected(world: World, tf: str, runs_read: list[str], *, called_only: bool) -> list[Row]:
    genes = world.published.genes[2]
    curated = {(gene_id(a), gene_id(b)) for a, b in CURATED}
    chosen = [
        {"gene": row["end_id"], "symbol": genes[row["end_id"]]["symbol"], "release": 1}
        | {name: value for name, value in row.items() if name not in {"start_id", "end_id"}}
        | {"curated": (tf, row["end_id"]) in curated}
        for row in world.rows
        if row["start_id"] == tf and row["run"] in runs_read and row["end_id"] in genes
        if row["called"] or not called_only
    ]
    return sorted(chosen, key=lambda row: (row["rank"], row["gene"], row["run"]))


@pytest.mark.parametrize("called_only", [False, True])
def test_targets_equal_a_slow_loop(session_store: Store, world: World, *, called_only: bool) -> None:
    for tf in world.published.genes[2]:
        answer = ask(session_store, tf=tf, called_only=called_only)
        assert [dataclasses.asdict(r) for r in answer.rows] == expected(
            world, tf, [world.served], called_only=called_only
        )
        assert answer.subject is not None
        assert answer.subject["id"] == tf
    named = ask(session_store, tf=gene_id(0), run=world.other)
    assert [dataclasses.asdict(r) for r in named.rows] == expected(world, gene_id(0), [world.other], called_only=False)
    few = ask(session_store, tf=gene_id(0), limit=2)
    assert (len(few.rows), few.truncated) == (2, True)
    assert any(row.curated for row in ask(session_store, tf="AGENE0").rows + named.rows)


def test_a_factor_is_found_as_genes_are(session_store: Store, world: World) -> None:
    assert world.rows
    with pytest.raises(UnknownGene):
        ask(session_store, tf=gene_id(GONE_GENE))
    with pytest.raises(ParameterError, match="names 2 genes"):
        ask(session_store, tf="TWIN")


def test_a_derived_run_embeds_nothing_and_is_not_asked_for_neighbours(session_store: Store, world: World) -> None:
    question = question_named("similar-genes")
    given: Row = {"gene": gene_id(0)}
    with pytest.raises(ParameterError) as error:
        run_plan(question.plan(question.parameters(**given)), session_store)
    assert world.served not in error.value.hint
    assert all(run in error.value.hint for run in world.published.served)


def test_pages_of_edges_hold_them_with_their_peaks(session_store: Store, world: World) -> None:
    asked = EdgeParameters(type="PREDICTED_TARGET", limit=1000)
    page = run_plan(edge_page(asked, run_plan(scope_of(), session_store)), session_store)
    genes = world.published.genes[2]
    told = {(e.start_id, e.end_id): e.columns["peaks"] for e in page.rows}
    assert told == {
        (r["start_id"], r["end_id"]): r["peaks"]
        for r in world.rows
        if r["run"] == world.served and {r["start_id"], r["end_id"]} <= set(genes)
    }


def test_exports_hold_them_as_lists_or_text(session_store: Store, world: World, tmp_path: Path) -> None:
    done = {}
    for name in ("t.parquet", "t.tsv", "t.graphml", "t.sif", "t.kgx"):
        content = reading.edges(session_store, ["PREDICTED_TARGET", "PREDICTED_LINK"], run=world.served)
        done[name] = writing.write(content, tmp_path / name).rows
    table = pq.read_table(tmp_path / "t.parquet").to_pandas()
    text = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert set(done.values()) == {len(table)}
    assert text["peaks"].tolist() == [";".join(p) for p in table["peaks"]]
    assert len(text) == len(table) > 20
    question = question_named("tf-targets")
    content = answers.of_answer(session_store, ask(session_store, tf="AGENE0"), question.row)
    writing.write(content, tmp_path / "a.tsv")
    first = pd.read_csv(tmp_path / "a.tsv", sep="\t").iloc[0]
    assert json.loads(first["peaks"]) == ask(session_store, tf="AGENE0").rows[0].peaks


def test_a_backup_brings_them_back_and_an_older_one_has_none(
    session_store: Store, world: World, tmp_path: Path
) -> None:
    """The last test here: it empties the graph."""
    dump_rows(session_store, tmp_path, read_bookkeeping(session_store))
    query = (
        "MATCH (a)-[e:PREDICTED_TARGET]->(b) RETURN a.id AS a, b.id AS b, properties(e) AS e ORDER BY e.run, e.edge_id"
    )
    before = session_store.read(query)
    assert len(before) == len(world.rows)
    _empty(session_store)
    load_rows(session_store, tmp_path)
    assert session_store.read(query) == before
    (tmp_path / "PREDICTED_TARGET.parquet").unlink()
    links = pq.read_table(tmp_path / "PREDICTED_LINK.parquet")
    pq.write_table(links.drop_columns(["in_prior", "without_prior", "from_cells"]), tmp_path / "PREDICTED_LINK.parquet")
    _empty(session_store)
    load_rows(session_store, tmp_path)
    assert session_store.read(query) == []
    assert session_store.read("MATCH ()-[e:PREDICTED_LINK]->() RETURN count(e) AS n")[0]["n"] == links.num_rows


def _empty(store: Store) -> None:
    store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")


def test_files_of_an_older_run_lack_columns_that_are_null_then(tmp_path: Path) -> None:
    predictions.keep(tmp_path, "r", toy.made(), toy.METRICS)
    path = tmp_path / "runs" / "r" / "PREDICTED_LINK.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["in_prior", "without_prior", "from_cells"]), path)
    found = predictions.read_links(PREDICTED_LINK, path)
    assert found.table.equals(toy.made().links[0].table)
    assert predictions.kept(tmp_path, "r")[0].links[0].table["in_prior"].null_count == 2
