"""`kg.connect`: a published release as frames, networks and intervals, held against the world as dictionaries."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
import pyranges
import pytest

import kg
from kg import runs
from kg.errors import Conflict, ParameterError, SettingsError, UnknownRelease, WriteConflict
from kg.export import objects, reading, writing
from kg.guidance import read_guidance
from kg.runs.lineage import lineage_of
from kg.settings import Settings
from tests.kg.published import Published, gene_id, publish_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kg.export.content import Content
    from kg.export.published_graph import PublishedGraph
    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture(scope="module")
def world(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def settings(neo4j_endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    where = neo4j_endpoint
    return Settings(tmp_path_factory.mktemp("home"), where.uri, where.user, where.password)


@pytest.fixture(scope="module")
def graph(world: Published, settings: Settings) -> Iterator[PublishedGraph]:
    assert world.served
    with kg.connect(settings=settings) as opened:
        yield opened


def test_it_stays_at_the_release_that_was_opened(world: Published, settings: Settings, graph: PublishedGraph) -> None:
    assert (graph.release, set(graph.peaks().to_pandas()["id"])) == (2, set(world.peaks[2]))
    with kg.connect(1, settings) as first:
        assert set(first.genes().to_pandas()["id"]) == set(world.genes[1])
        links = first.edges("PREDICTED_LINK")
        assert links.about["release"] == 1
        assert first.ask("gene-regulators", gene=gene_id(2)).about["release"] == 1
    with pytest.raises(UnknownRelease), kg.connect(7, settings):
        pass


def test_edges_as_a_network(world: Published, graph: PublishedGraph) -> None:
    links = graph.edges("PREDICTED_LINK", called_only=True)
    network = links.to_networkx("q_value", "run")
    expected = {
        (x["start_id"], x["end_id"], x["run"], x["score"], x["q_value"])
        for run in world.served
        for x in world.links[run]
        if x["called"] and x["start_id"] in world.peaks[2] and x["end_id"] in world.genes[2]
    }
    found = {(a, b, d["run"], d["score"], d["q_value"]) for a, b, d in network.edges(data=True)}
    assert found == expected
    assert network.number_of_edges() == len(expected) == len(links.to_pandas())  # read twice, whole each time
    assert set(network.nodes) == {end for a, b, *_ in expected for end in (a, b)}
    gene = world.genes[2][gene_id(2)]
    names = ("species", "assembly", "chrom", "start", "end", "strand", "tss")
    assert network.nodes[gene_id(2)] == {"label": "Gene", "name": gene["symbol"], **{n: gene[n] for n in names}}
    assert (network.graph["release"], json.loads(network.graph["regkg"])["runs"]) == (2, links.about["runs"])


@pytest.mark.parametrize("guiding", [False, True])
def test_our_graphml_is_what_networkx_writes(graph: PublishedGraph, tmp_path: Path, *, guiding: bool) -> None:
    chosen = graph.guidance("NEAR") if guiding else graph.edges()
    writing.write(chosen.content, tmp_path / "ours.graphml")
    nx.write_graphml(chosen.to_networkx(), tmp_path / "theirs.graphml")
    ours, theirs = (nx.read_graphml(tmp_path / f"{name}.graphml", force_multigraph=True) for name in ("ours", "theirs"))
    assert dict(ours.nodes(data=True)) == dict(theirs.nodes(data=True))
    edges = [Counter((a, b, *sorted(d.items())) for a, b, d in g.edges(data=True)) for g in (ours, theirs)]
    assert edges[0] == edges[1]
    assert edges[0].total() > 50


def test_guidance_as_a_network_has_every_vertex(graph: PublishedGraph) -> None:
    whole = read_guidance(graph.store, 2, ["NEAR"])
    network = graph.guidance("NEAR").to_networkx()
    assert set(network.nodes) == set(whole.vertices.tolist())
    weights = sorted(d["weight"] for *_, d in network.edges(data=True))
    assert weights == sorted(whole.weight.astype(float).tolist())
    assert {d["sign"] for *_, d in network.edges(data=True)} == {1}


def test_peaks_as_intervals_are_those_of_the_bed_file(graph: PublishedGraph, tmp_path: Path) -> None:
    peaks = graph.peaks()
    intervals = peaks.to_pyranges()
    writing.write(peaks.content, tmp_path / "peaks.bed")
    names = ["Chromosome", "Start", "End", "Name", "Strand"]
    pd.testing.assert_frame_equal(
        intervals.df[names], pyranges.read_bed(str(tmp_path / "peaks.bed")).df[names], check_dtype=False
    )
    assert "summit" in intervals.df
    assert intervals.Start.dtype == np.int64
    # half-open, as ours: neighbours that only touch do not overlap
    first = peaks.to_intervals().iloc[[0]]
    beside = first.assign(Start=first["End"], End=first["End"] + 1)
    assert len(pyranges.PyRanges(first).overlap(pyranges.PyRanges(beside))) == 0
    assert len(pyranges.PyRanges(first).overlap(pyranges.PyRanges(beside.assign(Start=beside["Start"] - 1)))) == 1


def test_links_as_intervals_lie_at_their_peak(world: Published, graph: PublishedGraph) -> None:
    rows = graph.edges("NEAR").to_pyranges().df
    symbols = {id_: gene["symbol"] for id_, gene in world.genes[2].items()}
    found = Counter(zip(rows["Chromosome"], rows["Start"], rows["End"], rows["Name"], rows["distance_bp"], strict=True))
    expected = Counter(
        (*place(world.peaks[2][peak]), symbols[gene], distance) for (peak, gene), (distance, _) in world.near[2].items()
    )
    assert found == expected


def place(peak: dict[str, Any]) -> tuple[str, int, int]:
    return peak["chrom"], peak["start"], peak["end"]


def test_answers_as_frames_and_intervals(graph: PublishedGraph) -> None:
    answer = graph.ask("gene-regulators", gene=gene_id(2))
    frame = answer.to_pandas()
    assert len(frame) == len(answer.to_pyranges()) == answer.to_networkx().number_of_edges() > 0
    with pytest.raises(ParameterError, match="symbol is not an option"):
        graph.ask("gene-regulators", gene=gene_id(2), symbol="A")


def test_what_cannot_be_is_refused(graph: PublishedGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="no edge type is called NEARBY"):
        graph.edges("NEARBY")
    with pytest.raises(ParameterError, match="no node type is called peak"):
        graph.nodes("peak")
    with pytest.raises(Conflict, match="must not guide"):
        graph.guidance("PREDICTED_LINK")
    with pytest.raises(ParameterError, match="has no links"):
        graph.peaks().to_networkx()
    with pytest.raises(ParameterError, match="no column is called q"):
        graph.edges("NEAR").to_networkx("q")
    with pytest.raises(ParameterError, match="has no positions"):
        graph.nodes("Motif").to_pyranges()
    monkeypatch.setitem(__import__("sys").modules, "pyranges", None)
    with pytest.raises(SettingsError, match="pyranges is not installed") as refused:
        graph.peaks().to_pyranges()
    assert "regkg[intervals]" in refused.value.hint


def test_two_assemblies_are_not_mixed(graph: PublishedGraph) -> None:
    content = graph.peaks().content
    mouse = content.nodes.index[:3]
    nodes = content.nodes.assign(assembly=np.where(content.nodes.index.isin(mouse), "GRCm38", "GRCh38"))
    both = replace(content, place=lambda frame: places(nodes, frame))
    with pytest.raises(ParameterError, match="lie on GRCh38 and GRCm38"):
        objects.to_intervals(both)
    assert len(objects.to_intervals(both, "GRCm38")) == 3
    with pytest.raises(ParameterError, match="no row lies on mm10"):
        objects.to_intervals(both, "mm10")
    unplaced = replace(content, place=lambda frame: places(nodes.assign(chrom=None), frame))
    with pytest.raises(ParameterError, match="39 of 39 rows have no position"):
        objects.to_intervals(unplaced)


def places(nodes: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    found = nodes.reindex(frame["id"])
    return found[["chrom", "start", "end", "name", "strand", "assembly"]].assign(score=np.nan)


def test_a_run_that_is_pruned_meanwhile_is_not_half_an_answer(
    graph: PublishedGraph, world: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reading.edges

    def pruned_while_read(store: Store, *args: Any, **more: Any) -> Content:
        content = whole(store, *args, **more)
        rows = list(content.rows)
        runs.finish(store, world.unserved, "pruning")
        return replace(content, rows=rows)

    monkeypatch.setattr(reading, "edges", pruned_while_read)
    with pytest.raises(WriteConflict, match="pruned while it was read"):
        graph.edges("PREDICTED_LINK", run=world.unserved)
    runs.finish(graph.store, world.unserved, "complete")


def test_lineage(graph: PublishedGraph, world: Published) -> None:
    family = graph.lineage()
    assert set(family.nodes) == {*world.served, world.unserved, world.writing}
    assert family.number_of_edges() == 0
    assert family.nodes[world.served[0]]["slot"] == "glue:cortex"
    one, two = (run for run in runs.runs(graph.store) if run.id in world.served)
    three = replace(one, id="glue-three", parent=two.id)
    assert set(lineage_of([replace(two, parent=one.id), one, three]).edges) == {(one.id, two.id), (two.id, three.id)}
    assert list(lineage_of([three]).edges) == []
    with pytest.raises(Conflict, match=f"own ancestors: .*{two.id}"):
        lineage_of([replace(one, parent=three.id), replace(two, parent=one.id), three])
