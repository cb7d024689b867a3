"""`regkg export graph` on a published world: each format read back and held against the world as dictionaries."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pytest

from cli.main import call
from kg.guidance import read_guidance
from kg.guidance.policy import POLICY, Policy
from kg.guidance.snapshot import manifest_of, read_snapshot
from models.inputs.pyg_export import guidance_of, load_pyg
from tests.kg.published import Published, gene_id, publish_world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.guidance import GuidanceGraph
    from kg.server import Endpoint
    from kg.store import Store

TARGETED = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def world(session_store: Store, home: Path) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, home)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint, home: Path, world: Published) -> None:
    assert world.served
    monkeypatch.setenv("REGKG_HOME", str(home))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)


def pairs(graph: GuidanceGraph) -> dict[tuple[str, str], float]:
    ends = (graph.vertices[side].tolist() for side in (graph.source, graph.target))
    return dict(zip(zip(*ends, strict=True), graph.weight.tolist(), strict=True))


def near(world: Published, release: int, *genes: str) -> dict[tuple[str, str], float]:
    """Weights by the published rule, in single precision."""
    found = world.near[release].items()
    chosen = [(pair, distance) for pair, (distance, _) in found if not genes or pair[1] in genes]
    return {pair: float(np.float32(((distance + 1000) / 1000) ** -0.75)) for pair, distance in chosen}


def exported(out: Path, *said: str) -> int:
    return call(["export", "graph", "--out", str(out), *said])


def failure(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().err)["error"]


def test_the_whole_graph_in_three_formats(
    session_store: Store, tmp_path: Path, world: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_guidance(session_store, 2, ["NEAR"])
    assert exported(tmp_path / "g.h5", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["rows"], list(told["files"])) == ("h5", len(world.near[2]), ["g.h5"])
    graph, manifest = read_snapshot(tmp_path / "g.h5", POLICY)
    assert manifest == manifest_of(whole)
    assert pairs(graph) == near(world, 2)
    assert exported(tmp_path / "g.safetensors") == 0
    assert load_pyg(tmp_path / "g.safetensors", POLICY).manifest == manifest
    assert exported(tmp_path / "g.graphml") == 0
    found = nx.read_graphml(tmp_path / "g.graphml")
    assert set(found.nodes) == set(graph.vertices.tolist())
    assert {(a, b): np.float32(d["weight"]) for a, b, d in found.edges(data=True)} == pairs(graph)
    beside = json.loads((tmp_path / "g.graphml.json").read_text())
    assert (beside["guidance_hash"], beside["policy"]["NEAR"]) == (
        whole.hash,
        {"weight": "power_decay", "sign": "+1"},
    )


def test_a_gene_its_peaks_and_what_lies_behind_them(tmp_path: Path, world: Published) -> None:
    one = world.genes[1][gene_id(TARGETED)]
    assert exported(tmp_path / "g.h5", "--release", "1", "--gene", one["symbol"]) == 0
    graph, manifest = read_snapshot(tmp_path / "g.h5")
    assert pairs(graph) == near(world, 1, gene_id(TARGETED))
    assert (manifest.release, manifest.genes, manifest.hops) == (1, (gene_id(TARGETED),), 1)
    genes = [gene_id(i) for i in (TARGETED, 6)]
    said = ["--gene", genes[0], "--gene", f"{genes[1]}.4", "--hops", "2", "--format", "pyg"]
    assert exported(tmp_path / "two", *said) == 0
    joined = nx.Graph(list(world.near[2]))
    reached = {v for gene in genes for v in nx.single_source_shortest_path_length(joined, gene, cutoff=2)}
    part = guidance_of(load_pyg(tmp_path / "two"))
    assert set(part.vertices.tolist()) == reached
    assert pairs(part) == {pair: w for pair, w in near(world, 2).items() if set(pair) <= reached}
    assert (part.genes, part.hops) == (tuple(sorted(genes)), 2)
    assert exported(tmp_path / "g.graphml", "--gene", genes[0], "--hops", "0") == 0
    assert list(nx.read_graphml(tmp_path / "g.graphml").nodes) == genes[:1]


def test_another_policy_is_in_the_file_and_its_reader_can_insist(tmp_path: Path, world: Published) -> None:
    (tmp_path / "policy.toml").write_text('[NEAR]\nweight = "one"\nsign = "-1"\n')
    assert exported(tmp_path / "g.h5", "--policy", str(tmp_path / "policy.toml")) == 0
    rule = {"NEAR": Policy("one", "-1")}
    graph, manifest = read_snapshot(tmp_path / "g.h5", rule)
    assert manifest.policy == rule
    assert pairs(graph) == dict.fromkeys(world.near[2], 1.0)
    assert set(graph.sign.tolist()) == {-1}


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        (
            ["--gene", "NOTHING", "--gene", "NEITHER"],
            1,
            "'NOTHING' at release 2; no gene has the id or symbol 'NEITHER'",
        ),
        (["--gene", "TWIN"], 2, "names 2 genes"),
        (["--hops", "1"], 2, "--hops counts from genes"),
        (["--release", "7"], 1, "release 7 was never published"),
        (["--edge-types", "BINDS"], 1, "BINDS has no weight as guidance"),
        (["--edge-types", "PERTURBS"], 2, "PERTURBS"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: list[str], code: int, told: str
) -> None:
    assert exported(tmp_path / "g.h5", *said, "--json") == code
    assert told in failure(capsys)["message"]
    assert not list(tmp_path.iterdir())


def test_files_and_folders_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(tmp_path / "g.docx", "--json") == 2
    assert "h5 (.h5), pyg (.safetensors), graphml (.graphml)" in failure(capsys)["hint"]
    assert exported(tmp_path / "no" / "g.h5", "--json") == 2
    assert "no such folder" in failure(capsys)["message"]
    (tmp_path / "policy.toml").write_text('[NEAR]\nweight = "two"\n')
    assert exported(tmp_path / "g.h5", "--policy", str(tmp_path / "policy.toml"), "--json") == 2
    assert "'two' is not a rule for the weight" in failure(capsys)["message"]


def test_without_the_extra_pyg_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "models.inputs.pyg_export")
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    assert exported(tmp_path / "g.safetensors", "--json") == 1
    assert "pip install 'regkg[train]'" in failure(capsys)["hint"]
    assert exported(tmp_path / "g.h5") == 0
