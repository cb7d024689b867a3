"""Retraining on a real Neo4j and a small simulated world: warm, judged, published, resumed, one at a time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cli.admin.demo import load_world
from kg import runs
from kg.errors import Conflict
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.progress import SILENT
from kg.releases import publish, served
from kg.runs.predictions import run_folder
from kg.runs.staleness import decisions
from kg.schema import NEAR
from kg.schema.batches import EdgeBatch
from kg.store import leases
from loaders.simulation.simulate import WorldConfig, simulate
from models.evaluation.gate import Gate
from models.jobs import retrain, train
from models.jobs.retrain import RetrainOptions, leave_out, request_for
from tests.conftest import empty
from tests.kg.frozen import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store

STEPS = {"first_steps": 9, "second_steps": 18, "latent_dim": 8, "hidden_dim": 16, "seed": 3}
EXTRA = Source("links:extra", "links", licence="CC0", citation="made here", looked_up=("Gene", "Peak"))
OPEN = Gate({"foscttm": 1.0, "consistency": 2.0, "auroc": 1.0})
SHUT = Gate({"foscttm": -1.0})
SLOT = "glue:demo"


@pytest.fixture(scope="module")
def frozen(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Frozen, Run]:
    """Freeze the published run on release 1; release 2 has more rows that it would read."""
    store, folder = session_store, tmp_path_factory.mktemp("retrain")
    home, world = folder / "home", folder / "world"
    empty(store)
    simulate(WorldConfig(genes=20, peaks=100, cells=120, cell_types=3, programs=4, chromosomes=2), world)
    load_world(store, home, world, SILENT)
    publish(store)
    run = train.train(
        store, home, train.TrainingRequest("glue", "demo", STEPS, device="cpu", threads=1, edge_types=("NEAR",))
    )
    runs.publish_run(store, run.id)
    far = store.read(
        "MATCH (p:Peak), (g:Gene) WHERE NOT (p)-[:NEAR]->(g) RETURN p.id AS p, g.id AS g ORDER BY p, g LIMIT 7"
    )
    pairs = [row["p"] for row in far], [row["g"] for row in far]
    batch = EdgeBatch.build(
        NEAR, start_id=pairs[0], end_id=pairs[1], distance_bp=[200_000] * 7, tss_distance_bp=[200_000] * 7
    )
    with open_draft(store, "test") as draft:
        draft.load(EXTRA, Snapshot(("one",), "toy@1"), [batch])
    publish(store)
    return Frozen.of(store, home), run


@pytest.fixture
def home(frozen: tuple[Frozen, Run]) -> Path:
    return frozen[0].home


@pytest.fixture
def first(frozen: tuple[Frozen, Run], session_store: Store) -> Run:
    """Return the published run, with everything as it was when it had been published."""
    frozen[0].thaw(session_store)
    return frozen[1]


@pytest.fixture
def store(session_store: Store, first: Run) -> Store:
    """Return a store that holds the world of `first`."""
    del first
    return session_store


class Told:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        del task, total, unit

    def advance(self, amount: float = 1, note: str = "") -> None:
        del amount, note

    def end(self, summary: str = "") -> None:
        del summary

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_changed_run_is_trained_from_its_weights_and_published(store: Store, home: Path, first: Run) -> None:
    before, done = retrain.retrain(store, home, RetrainOptions(if_changed=True, gate=OPEN))
    assert [(c.dataset, c.added) for c in before[0].changes] == [("links:extra", 7)]
    (result,) = done
    assert (result.slot, result.parent, result.warm, result.published) == (SLOT, first.id, True, True), result.reason
    assert result.run is not None
    child = runs.run(store, result.run)
    assert (child.parent, child.release, child.outcome) == (first.id, 2, "complete")
    assert (child.config, child.edge_types) == (first.config, first.edge_types)
    assert child.note.startswith("gate passed: foscttm")
    assert served(store).runs == {SLOT: child.id}
    assert (run_folder(home, child.id) / "gate.json").exists()
    steps = {path.stem for path in (run_folder(home, child.id) / "checkpoints").glob("*.json")}
    assert steps == {"member-0-second"}
    assert retrain.retrain(store, home, RetrainOptions(if_changed=True, gate=OPEN))[1] == []


def test_a_failed_gate_leaves_the_old_run_published(store: Store, home: Path, first: Run) -> None:
    _, (result,) = retrain.retrain(store, home, RetrainOptions(if_changed=True, gate=SHUT))
    assert (result.published, result.gate["passed"]) == (False, False)
    assert result.run is not None
    child = runs.run(store, result.run)
    assert child.outcome == "complete"
    figure = next(f for f in result.gate["figures"] if f["name"] == "foscttm")
    assert (figure["parent"], figure["child"], figure["tolerance"]) == (
        first.metrics["foscttm"], child.metrics["foscttm"], -1.0,
    )  # fmt: skip
    assert result.reason.startswith(f"gate failed: foscttm {child.metrics['foscttm']:.4g}, published run")
    assert served(store).runs == {SLOT: first.id}
    decided, again = retrain.retrain(store, home, RetrainOptions(if_changed=True, gate=OPEN))
    assert again == []
    assert decided[0].reason.endswith(result.reason)


def test_without_the_weights_the_start_is_cold_and_said(store: Store, home: Path, first: Run) -> None:
    shutil.rmtree(run_folder(home, first.id) / "checkpoints")
    progress = Told()
    _, (result,) = retrain.retrain(store, home, RetrainOptions(gate=OPEN), progress=progress)
    assert (result.warm, result.published) == (False, True)
    assert any("a cold start, not from the weights of" in line for line in progress.lines)


def test_a_retrain_that_was_cut_short_goes_on(
    store: Store, home: Path, first: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(train, "keep_outputs", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            retrain.retrain(store, home, RetrainOptions(if_changed=True, gate=OPEN))
    cut = runs.runs(store)[0]
    assert (cut.parent, cut.outcome) == (first.id, "running")
    store.write("MATCH (r:ModelRun {id: $id}) SET r.process = split(r.process, ':')[0] + ':999999:1.00'", id=cut.id)
    _, (result,) = retrain.retrain(store, home, RetrainOptions(if_changed=True, gate=OPEN))
    assert (result.run, result.warm, result.published) == (cut.id, True, True)
    assert len(runs.runs(store)) == 2


def test_two_retrains_do_not_race_and_a_run_published_meanwhile_stays(
    store: Store, home: Path, first: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        leases.held(store, "regkg retrain --slot a", leases.RETRAIN),
        pytest.raises(Conflict, match=r"a retrain is under way by `regkg retrain --slot a` \(.*:\d+"),
    ):
        retrain.retrain(store, home, RetrainOptions())
    published_since = train.train(
        store, home, train.TrainingRequest("glue", "demo", STEPS, device="cpu", threads=1, edge_types=("NEAR",))
    )
    plain = train.train

    def and_meanwhile(*args: object, **options: object) -> Run:
        run = plain(*args, **options)  # type: ignore[arg-type]
        runs.publish_run(store, published_since.id)
        return run

    monkeypatch.setattr(train, "train", and_meanwhile)
    _, (result,) = retrain.retrain(store, home, RetrainOptions(gate=OPEN))
    assert not result.published
    assert f"{published_since.id} was published for {SLOT} in the meantime" in result.reason
    assert served(store).runs == {SLOT: published_since.id}
    assert first.id != published_since.id


def test_a_run_without_a_dataset_is_an_experiment(store: Store, home: Path, first: Run) -> None:
    del first
    retrain.retrain(store, home, RetrainOptions(gate=OPEN))
    parent = runs.run(store, served(store).runs[SLOT])
    (run,) = leave_out(store, home, RetrainOptions(warm=False), ["links:extra"])
    assert (run.parent, run.release, run.experiment) == (parent.id, 2, "trained without links:extra")
    assert set(parent.datasets) - set(run.datasets) == {"links:extra"}
    links = "MATCH ()-[e:PREDICTED_LINK {run: $run}]->() RETURN count(e) AS n"
    counts = [store.read(links, run=r.id)[0]["n"] for r in (parent, run)]
    assert counts[0] - counts[1] == 7
    assert not runs.environment(store, run.id)["request"]["warm"]
    with pytest.raises(Conflict, match="is an experiment"):
        runs.publish_run(store, run.id)
    assert served(store).runs == {SLOT: parent.id}
    assert not decisions(store)[0].retrain
    with pytest.raises(Conflict, match="no published run has read pchic:x"):
        leave_out(store, home, RetrainOptions(), ["pchic:x"])


def test_held_out_chromosomes_follow_the_parent_and_clean_weights(store: Store, first: Run) -> None:
    def asked(held_out: list[str], edge_types: list[str], wanted: tuple[str, ...] | None = None) -> tuple[object, ...]:
        request = {**runs.environment(store, first.id)["request"], "held_out": held_out}
        about = runs.Registration(
            "glue", "demo", 1, 0, 1, first.config, "a", "b", {}, {"request": request}, tuple(edge_types)
        )
        parent = runs.run(store, runs.register(store, about))
        made = request_for(store, parent, RetrainOptions(held_out=wanted))
        return made.held_out, made.warm

    guided = ["NEAR", "CONTACTS"]
    assert asked([], ["NEAR"]) == ((), True)
    assert asked([], guided) == (("chr8", "chr9"), False), "its weights have seen contacts of chr8"
    assert asked(["chr1"], guided) == (("chr1",), True)
    assert asked(["chr1"], guided, ("chr1", "chr2")) == (("chr1", "chr2"), False)
    assert asked(["chr1"], guided, ()) == ((), True)
