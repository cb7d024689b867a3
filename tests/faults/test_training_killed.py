"""kill -9 of `regkg train`: nothing is published, and `regkg runs resume` goes on from its checkpoint."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from click.testing import CliRunner

from cli.admin.demo import load_world
from cli.main import main
from kg import runs
from kg.progress import SILENT
from kg.releases import publish, served
from loaders.simulation.simulate import WorldConfig, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store
    from tests.forked import Forks

# Checkpoints after every epoch; the child dies, by its own SIGKILL, after the fifth.
TRAIN = """
import os, signal
from models.training import loop as train
epochs, epoch = [0], train._Run.epoch
def dying(self):
    epochs[0] += 1
    if epochs[0] > 5:
        os.kill(os.getpid(), signal.SIGKILL)
    self.trainer.checkpoint_s = 0.0
    return epoch(self)
train._Run.epoch = dying
from cli.main import main
short = ["--first-steps", "20", "--second-steps", "20"]
main(["train", "glue", "--cells", "demo", "--device", "cpu", "--seed", "3", *short, "--json"])
"""


def test_a_killed_training_is_finished_from_its_checkpoint(
    store: Store, neo4j_endpoint: Endpoint, forks: Forks, tmp_path: Path
) -> None:
    home, world = tmp_path / "home", tmp_path / "world"
    simulate(WorldConfig(genes=30, peaks=150, cells=150, cell_types=3, programs=4), world)
    load_world(store, home, world, SILENT)
    publish(store)
    before = served(store)
    environment = {
        "REGKG_HOME": str(home),
        "REGKG_NEO4J_URI": neo4j_endpoint.uri,
        "REGKG_NEO4J_PASSWORD": neo4j_endpoint.password,
    }
    done = forks.run(TRAIN, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert served(store) == before
    (left,) = runs.interrupted(store)
    assert (left.outcome, left.seed) == ("running", 3)

    resumed = CliRunner().invoke(main, ["runs", "resume", left.id, "--json"], env=environment, catch_exceptions=False)
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["outcome"] == "complete"
    links = store.read("MATCH ()-[l:PREDICTED_LINK {run: $run}]->() RETURN count(l) AS n", run=left.id)[0]["n"]
    assert links == store.read("MATCH ()-[e:NEAR]->() RETURN count(e) AS n")[0]["n"]
    assert served(store) == before
