"""`regkg train glue` with all that big data asks for, on a real Neo4j: a complete run that says how it was read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cli.admin.demo import load_world
from cli.main import main
from kg import runs
from kg.progress import SILENT
from kg.releases import publish
from kg.runs.predictions import run_folder
from loaders.simulation.simulate import WorldConfig, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.mark.slow
def test_a_run_from_disk_in_two_processes_by_way_of_metacells(
    store: Store, neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, world = tmp_path / "home", tmp_path / "world"
    for name, value in (
        ("HOME", str(home)),
        ("NEO4J_URI", neo4j_endpoint.uri),
        ("NEO4J_PASSWORD", neo4j_endpoint.password),
    ):
        monkeypatch.setenv(f"REGKG_{name}", value)
    simulate(WorldConfig(genes=20, peaks=100, cells=120, cell_types=3, programs=4, chromosomes=2), world)
    load_world(store, home, world, SILENT)
    publish(store)
    small = ["--first-steps", "10", "--second-steps", "24", "--latent-dim", "8", "--hidden-dim", "16"]
    big = ["--stream", "--devices", "2", "--metacells", "30", "--fanout", "4", "--graph-edges", "50"]
    said = ["train", "glue", "--cells", "demo", "--device", "cpu", "--threads", "1", *small, *big, "--json"]
    done = CliRunner().invoke(main, said)
    assert done.exit_code == 0, done.output
    run = json.loads(done.stdout)
    assert run["outcome"] == "complete"
    assert {"foscttm", "mixing", "label_transfer"} <= set(run["metrics"])
    request = runs.environment(store, run["id"])["request"]
    assert (request["reading"]["stream"], request["devices"]) == (True, 2)
    stages = {path.stem for path in (run_folder(home, run["id"]) / "checkpoints").glob("*.json")}
    assert stages == {"member-0-metacells-first", "member-0-metacells-second", "member-0-second"}
