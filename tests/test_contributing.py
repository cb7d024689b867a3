"""docs/contributing.md: each recipe is run as it stands there, from a folder that joins the package it belongs to."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

import kg
from cli import main
from kg.guidance import GuidanceGraph
from kg.query.registry import questions
from kg.releases import publish
from kg.schema import BIOSAMPLE, EDGE_TYPES
from kg.schema.batches import EdgeBatch, NodeBatch
from kg.schema.constraints import constraints
from kg.settings import Settings
from kg.store import ensure_schema
from tests.kg import toy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kg.server import Endpoint
    from kg.store import Store

PAGE = Path(__file__).parents[1] / "docs" / "contributing.md"
BLOCKS = re.findall(r"(?:^`([\w/]+\.py)`\n\n)?^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Write the example of a path into a folder of its own, and let the package of that path find it there."""

    def add(path: str) -> Any:
        (code,) = (code for name, code in BLOCKS if name == path)
        package, module = path.removesuffix(".py").replace("/", ".").rsplit(".", 1)
        (tmp_path / f"{module}.py").write_text(code)
        parent = import_module(package)
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(tmp_path)])
        questions.cache_clear()
        return import_module(f"{package}.{module}")

    before = set(sys.modules)
    yield add
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            parent, _, module = name.rpartition(".")
            delattr(import_module(parent), module)
            del sys.modules[name]
    questions.cache_clear()


@pytest.fixture
def world(
    store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Store, Settings]:
    """Three genes and three peaks, published, and the environment that names their graph."""
    toy.load_world(store)
    publish(store)
    where, home = neo4j_endpoint, tmp_path / "home"
    for name, value in (("URI", where.uri), ("USER", where.user), ("PASSWORD", where.password)):
        monkeypatch.setenv(f"REGKG_NEO4J_{name}", value)
    monkeypatch.setenv("REGKG_HOME", str(home))
    return store, Settings(home, where.uri, where.user, where.password)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = main.call([*words, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    paths = [path for path, _ in BLOCKS if path]
    assert len(paths) == 6
    assert [path for path in paths if f'install("{path}")' not in text and f'example("{path}")' not in text] == []


def test_a_source(
    world: tuple[Store, Settings], install: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("loaders/sources/our_factors.py")
    (tmp_path / "factors.txt").write_text("BETA\nG1\nNOBODY\n")
    report = run(capsys, "load", "our_factors", str(tmp_path / "factors.txt"))
    assert (report["added"], report["filtered"]) == (2, 1)
    rows = world[0].read("MATCH (t:TF) RETURN t.id AS id ORDER BY id")
    assert [row["id"] for row in rows] == ["G1", "G2"]


@pytest.mark.usefixtures("world")
def test_a_question(install: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    install("kg/questions/gene_biotypes.py")
    answer = run(capsys, "ask", "gene-biotypes", "--chrom", "chr1")
    assert answer["rows"] == [{"biotype": "protein_coding", "genes": 3}]
    assert run(capsys, "ask", "gene-biotypes", "--chrom", "chr2")["rows"] == []


def test_a_route(world: tuple[Store, Settings], install: Callable[[str], Any]) -> None:
    from api.app import create_app

    install("api/routes/publication.py")
    app = create_app(world[1])

    async def get(url: str) -> httpx.Response:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            return await client.get(url)

    answer = asyncio.run(get("/v1/publication"))
    assert (answer.status_code, answer.json()["release"], answer.json()["runs"]) == (200, 1, [])
    assert "etag" in answer.headers
    assert asyncio.run(get("/v1/publication?unknown=1")).status_code == 422
    assert "/v1/publication" in app.openapi()["paths"]


@pytest.mark.usefixtures("world")
def test_a_command(
    install: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("cli/query/chromosomes.py")
    monkeypatch.setattr(main, "COMMANDS", dict(main.COMMANDS))
    (line,) = (code for path, code in BLOCKS if not path)
    exec(line, vars(main))
    assert run(capsys, "chromosomes") == {"chr1": 3}
    main.call(["--help"])
    assert "List the chromosomes that have genes." in capsys.readouterr().out


def example(path: str) -> str:
    return next(code for name, code in BLOCKS if name == path)


def test_an_edge_type(world: tuple[Store, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = world
    for name in [*EDGE_TYPES]:  # put back as they were afterwards
        monkeypatch.setitem(EDGE_TYPES, name, EDGE_TYPES[name])
    monkeypatch.setitem(EDGE_TYPES, "METHYLATED_IN", None)
    declared: dict[str, Any] = {}
    exec(example("kg/schema/edge_types.py"), declared)
    type_ = declared["METHYLATED_IN"]
    assert sum("METHYLATED_IN" in command for command in constraints()) == 2
    ensure_schema(store)
    tissue = NodeBatch.build(BIOSAMPLE, id=["UBERON:1"], name=["liver"], ontology="UBERON")
    toy.load(store, toy.Source("biosamples:toy", "biosamples"), tissue)
    peak = toy.peak_id(0)
    rows = EdgeBatch.build(
        type_, start_id=[peak] * 2, end_id=["UBERON:1"] * 2, beta=[0.25, 0.75], assay=["WGBS", "RRBS"]
    )
    toy.load(store, toy.Source("methylation:toy", "methylation"), rows)
    publish(store)
    with kg.connect(settings=settings) as graph:
        edges = graph.edges("METHYLATED_IN").to_networkx("beta", "assay")
    assert sorted((a, b, d["beta"], d["assay"]) for a, b, d in edges.edges(data=True)) == [
        (peak, "UBERON:1", 0.25, "WGBS"),
        (peak, "UBERON:1", 0.75, "RRBS"),
    ]
    monkeypatch.undo()
    for command in ("DROP CONSTRAINT unique_methylated_in_edge_id_since", "DROP INDEX index_methylated_in_dataset"):
        store.implicit(command)
    ensure_schema(store)


def test_a_model(install: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    from models import registry

    install("models/zoo/nearness.py")
    entry = registry.get("nearness")
    assert entry.reads == ("NEAR",)
    assert [type_.name for type_ in entry.predicts] == ["PREDICTED_LINK"]
    vertices = np.array(["G1", "G2", "p1", "p2"])
    kinds = np.array(["Gene", "Gene", "Peak", "Peak"])
    weight, sign = np.array([1, 0.25], np.float32), np.ones(2, np.int8)
    graph = GuidanceGraph(vertices, kinds, np.array([2, 3]), np.array([0, 1]), weight, sign)
    fitted = entry.fit(SimpleNamespace(guidance=graph), entry.config(), None, None)
    (output,) = fitted.outputs
    rows = [(r["start_id"], r["end_id"], r["score"], r["called"]) for r in output.batch.table.to_pylist()]
    assert rows == [("p1", "G1", 1, True), ("p2", "G2", 0.25, False)]
    assert main.call(["train", "nearness", "--help"]) == 0
    assert "--threshold" in capsys.readouterr().out
