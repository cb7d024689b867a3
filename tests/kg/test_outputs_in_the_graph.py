"""Annotations, imputed layers, contacts and vectors of a run: written, found, exported, taken out, brought back.

Backups of them are tested with all others, in `test_backup`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kg import runs
from kg.errors import StoreRefused
from kg.export import reading, writing
from kg.export.registry import formats
from kg.query.edge_pages import EdgeParameters, edge_page
from kg.query.plan import run_plan
from kg.query.scope import scope_of
from kg.runs import predictions, retention
from kg.schema import EDGE_TYPES
from kg.store.read_guard import read_only
from tests.kg import every_output
from tests.kg.every_output import GENES, METRICS, NCF2, PEAKS, ROWS

if TYPE_CHECKING:
    from kg.store import Store

RUN = "toy-cortex-1"
DOCS = Path(__file__).parents[2] / "docs" / "graph.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def world(session_store: Store, home: Path) -> Store:
    """A graph with nothing but the little world and its run."""
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    assert every_output.publish_world(session_store, home) == RUN
    return session_store


def test_each_kind_is_kept_written_and_counted(world: Store, home: Path) -> None:
    kept, metrics = predictions.kept(home, RUN)
    assert metrics == METRICS
    assert {batch.type.name: len(batch) for batch in kept.links} == ROWS
    assert every_output.counts(world, RUN) == ROWS
    for batch in kept.links:
        names = batch.type.schema.names
        own = ", ".join(f"e.{name} AS {name}" for name in names[2:])
        found = world.read(
            f"MATCH (a)-[e:{batch.type.name} {{run: $run}}]->(b) "
            f"RETURN e.edge_id AS edge_id, a.id AS start_id, b.id AS end_id, {own}",
            run=RUN,
        )
        rows = [{"edge_id": id_, **row} for id_, row in zip(batch.edge_ids, batch.table.to_pylist(), strict=True)]
        assert sorted(found, key=lambda r: r["edge_id"]) == sorted(rows, key=lambda r: r["edge_id"])


@pytest.mark.parametrize(
    ("type_", "lost"),
    [
        ("ANNOTATED_AS", "MATCH (n:Biosample {id: 'CL:0000540'}) SET n.id = $other"),
        ("IMPUTED_PEAK", "MATCH (n:Cells {id: 'cortex/atac'}) SET n.id = $other"),
        ("IMPUTED_GENE", f"MATCH (n:Gene {{id: '{NCF2}'}}) SET n.id = $other"),
        ("PREDICTED_CONTACT", f"MATCH (n:Peak {{id: '{PEAKS[1]}'}}) SET n.id = $other"),
    ],
)
def test_a_missing_node_keeps_the_run_invisible(world: Store, home: Path, type_: str, lost: str) -> None:
    run = every_output.kept(world, home, list(GENES), PEAKS)
    world.write(lost, other="elsewhere")
    try:
        with pytest.raises(StoreRefused, match=f"'{type_}': {{0}}".format(f"[0-{ROWS[type_] - 1}]")):
            runs.write_back(world, home, run)
        assert runs.run(world, run).outcome == "writing"
    finally:
        was = re.search(r"id: '([^']+)'", lost)
        assert was is not None
        world.write("MATCH (n {id: 'elsewhere'}) SET n.id = $was", was=was[1])
    assert runs.write_back(world, home, run).outcome == "complete"
    retention.prune(world, home, [run])
    assert every_output.counts(world, run) == {}
    retention.restore(world, home, run)
    assert every_output.counts(world, run) == ROWS
    runs.discard(world, run)
    assert every_output.counts(world, run) == {}
    assert every_output.counts(world, RUN) == ROWS


@pytest.mark.parametrize("format_", sorted(set(formats()) - {"h5ad"}))
def test_every_format_takes_them_or_says_how_many_it_has_no_form_for(
    world: Store, tmp_path: Path, format_: str
) -> None:
    out = tmp_path / "edges"
    done = writing.write(reading.edges(world, list(ROWS)), out, format_)
    total, contacts = sum(ROWS.values()), ROWS["PREDICTED_CONTACT"]
    expected = {
        "bed": (contacts + ROWS["IMPUTED_PEAK"], total - contacts - ROWS["IMPUTED_PEAK"]),
        "bedpe": (contacts, total - contacts),
        "interact": (contacts, total - contacts),
        "longrange": (2 * contacts, total - contacts),
    }
    assert (done.rows, done.skipped) == expected.get(format_, (total, 0))
    if format_ == "parquet":
        rows = [row for row in pq.read_table(out).to_pylist() if row["type"] == "ANNOTATED_AS"]
        assert {(r["start_id"], r["end_id"], r["label"], r["n"], r["run"]) for r in rows} == {
            ("cortex/atac", "CL:0000236", "B cell", 2, RUN),
            ("cortex/atac", "CL:0000540", "neuron", 1, RUN),
        }
    if format_ == "graphml":
        graph = nx.read_graphml(out, force_multigraph=True)
        assert graph.nodes["cortex/atac"] == {"label": "Cells", "name": "cortex/atac", "assembly": "GRCh38"}
        assert graph.number_of_edges() == total
    if format_ == "kgx":
        nodes, edges = (pd.read_csv(tmp_path / f"edges_{part}.tsv", sep="\t") for part in ("nodes", "edges"))
        assert nodes.set_index("id").loc["regkg:cortex%2Fatac", "category"] == "biolink:Dataset"
        assert {*edges["subject"], *edges["object"]} == set(nodes["id"])
        assert set(edges["agent_type"]) == {"computational_model"}


def test_only_annotations_have_no_place(world: Store, tmp_path: Path) -> None:
    done = writing.write(reading.edges(world, ["ANNOTATED_AS"]), tmp_path / "edges.bedpe")
    assert (done.rows, done.skipped) == (0, ROWS["ANNOTATED_AS"])
    assert list(reading.edges(world, ["IMPUTED_GENE"], called_only=True).rows) == []


def page(store: Store, **asked: Any) -> list[Any]:
    return run_plan(edge_page(EdgeParameters(**asked), run_plan(scope_of(), store)), store).rows


def test_pages_of_edges_hold_them(world: Store) -> None:
    every = page(world)
    assert {name: sum(edge.type == name for edge in every) for name in ROWS} == ROWS
    for name in ROWS:
        found = page(world, type=name)
        assert found == [edge for edge in every if edge.type == name]
        assert {(edge.run, edge.kind, edge.eco) for edge in found} == {(RUN, "predicted", EDGE_TYPES[name].eco)}
    assert {edge.type for edge in page(world, gene="NCF2")} == {"NEAR", "IMPUTED_GENE"}
    assert {edge.type for edge in page(world, peak=PEAKS[2])} == {"PREDICTED_CONTACT", "IMPUTED_PEAK"}
    assert {edge.type for edge in page(world, called=True)} == {"PREDICTED_CONTACT"}
    (first,) = [edge for edge in page(world, type="ANNOTATED_AS") if edge.end_id == "CL:0000236"]
    assert dict(first.columns) == {
        "annotation": "transferred_label",
        "label": "B cell",
        "n": 2,
        "share": 0.5,
        "confidence": 0.75,
    }


ANSWERS = [
    [["B cell", "CL:0000236", 2, 0.5, 0.75], ["neuron", "CL:0000540", 1, 0.25, 1.0]],
    [["cortex/atac", "imputed_rna", 0.75, 3]],
    [["NCF2", 0.75, 3]],
    [
        [PEAKS[1], 1.5, "log_observed_over_expected", 2000, "NCF2"],
        [PEAKS[2], -0.25, "log_observed_over_expected", 5000, None],
    ],
    [["Gene", "ENSG00000066336", pytest.approx(0.5**0.5, abs=1e-6)], ["Peak", PEAKS[0], pytest.approx(0, abs=1e-6)]],
]


def examples() -> list[str]:
    """Of the section about runs; the run that they name is called as ours is."""
    (section,) = re.findall(r"^## Cells, imputed layers.*?(?=^## )", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"```cypher\n(.*?)```", section, re.DOTALL)
    return [block.replace("glue-cortex-1", RUN).replace("glue_cortex_1", RUN.replace("-", "_")) for block in blocks]


@pytest.mark.parametrize(("cypher", "answer"), list(zip(examples(), ANSWERS, strict=True)))
def test_the_examples_of_the_documentation_answer(world: Store, cypher: str, answer: list[list[Any]]) -> None:
    assert [list(row.values()) for row in read_only(world, cypher).rows] == answer
