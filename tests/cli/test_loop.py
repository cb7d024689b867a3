"""The whole loop through the command line on a small simulated world, ending with a GET."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anndata
import httpx
import pytest
from click.testing import CliRunner

from api.app import create_app
from cli.admin.demo import read_truth
from cli.main import main
from kg.releases import verify
from kg.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

SIZES = ["--genes", "80", "--peaks", "500", "--cells", "400"]


class Shell:
    """`regkg` as a person has it, in a home of its own."""

    def __init__(self, home: Path, endpoint: Endpoint) -> None:
        self.home, self.endpoint = home, endpoint
        self.environment = {
            "REGKG_HOME": str(home),
            "REGKG_NEO4J_URI": endpoint.uri,
            "REGKG_NEO4J_USER": endpoint.user,
            "REGKG_NEO4J_PASSWORD": endpoint.password,
        }

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    def __call__(self, *words: object) -> Any:
        """Run with --json and give what it printed."""
        done = CliRunner().invoke(main, [*map(str, words), "--json"], env=self.environment, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def regkg(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path) -> Shell:
    del store  # empties the graph
    return Shell(tmp_path / "home", neo4j_endpoint)


def load_world(regkg: Shell, world: Path) -> None:
    stated = ["--licence", "CC0-1.0", "--citation", "made here"]
    regkg("simulate", world, *SIZES)
    genes = regkg("load", "genes", world / "genes.gtf.gz", "--assembly", "GRCh38", *stated)
    assert (genes["added"], genes["quarantined"]) == (80, 0)
    assert regkg("load", "peaks", world / "peaks.narrowPeak.gz", "--assembly", "GRCh38", *stated)["added"] == 500
    near = regkg("load", "proximity", "--rule", "window", "--window-bp", "150000")
    assert near["added"] == len(read_truth(world / "truth.tsv"))
    regkg("load", "cells", world / "rna.h5ad", world / "atac.h5ad", "--name", "toy")


@pytest.mark.usefixtures("reports")
def test_from_files_to_an_answer(regkg: Shell, store: Store, tmp_path: Path) -> None:
    world = tmp_path / "world"
    load_world(regkg, world)
    assert regkg("release", "publish")["served"]["release"] == 1
    short = ["--first-steps", "100", "--second-steps", "300"]
    run = regkg("train", "glue", "--cells", "toy", "--device", "cpu", *short, "--publish")
    assert run["outcome"] == "complete"
    assert run["metrics"]["foscttm"] < 0.4

    gene = next(iter(read_truth(world / "truth.tsv")))[0]
    answer = regkg("ask", "gene-regulators", "--gene", gene, "--limit", "1000")
    truth = {peak: is_link for (of, peak), (is_link, _) in read_truth(world / "truth.tsv").items() if of == gene}
    assert {row["peak"] for row in answer["rows"]} == set(truth)
    scores = [row["score"] for row in answer["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert {row["run"] for row in answer["rows"]} == {run["id"]}

    embedded = anndata.read_h5ad(regkg.home / "runs" / run["id"] / "rna.h5ad")
    assert embedded.obsm["X_glue"].shape == (400, 50)
    assert embedded.uns["regkg"]["run"] == run["id"]
    assert embedded.uns["regkg"]["config_hash"] == run["config_hash"]
    assert run["code"].startswith(embedded.uns["regkg"]["version"])
    assert verify(store, 1).number == 1

    got = asyncio.run(get(f"/v1/genes/{gene}/regulators?limit=1000", regkg.settings)).json()
    assert [(r["peak"], r["score"]) for r in got["rows"]] == [(r["peak"], r["score"]) for r in answer["rows"]]
    page = asyncio.run(get(f"/v1/runs/{run['id']}/report", regkg.settings))
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for title in ("Losses", "Consistency", "Cells in the joint space", "Score by distance", "The strongest edges"):
        assert f"<h2>{title}</h2>" in page.text


async def get(path: str, settings: Settings) -> httpx.Response:
    """What the API answers, in this process."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        return (await client.get(path)).raise_for_status()
