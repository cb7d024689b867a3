"""A run comes out again bit by bit, or what differs is said; its export says how it came about."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cli.admin.demo import load_world
from cli.main import main
from kg import runs
from kg.errors import ChecksumMismatch, Conflict, MissingInput
from kg.evidence.datasets import dataset_versions
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.operations.ro_crate import CRATE, export_run
from kg.progress import SILENT
from kg.releases import publish, served
from kg.runs.predictions import kept, run_folder
from kg.schema import NEAR
from kg.schema.batches import EdgeBatch
from loaders.simulation.simulate import WorldConfig, simulate
from models.jobs import reproduce
from models.jobs import train as job
from models.jobs.reproduce import CLOSE, EXACT, OTHER
from models.training import checkpoint
from tests.conftest import empty
from tests.kg.frozen import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    from kg.runs import Run
    from kg.server import Endpoint
    from kg.store import Store

EXTRA = Source("links:extra", "links", licence="CC0", citation="made here", looked_up=("Gene", "Peak"))
STEPS = {"first_steps": 9, "second_steps": 18, "latent_dim": 8, "hidden_dim": 16, "seed": 3}


@pytest.fixture(scope="module")
def frozen(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Frozen, Run]:
    """Freeze a run on release 1, and a release after it."""
    store, folder = session_store, tmp_path_factory.mktemp("reproduce")
    home, world = folder / "home", folder / "world"
    empty(store)
    simulate(WorldConfig(genes=20, peaks=100, cells=120, cell_types=3, programs=4, chromosomes=2), world)
    load_world(store, home, world, SILENT)
    publish(store)
    made = job.train(
        store, home, job.TrainingRequest("glue", "demo", STEPS, device="cpu", threads=1, edge_types=("NEAR",))
    )
    runs.publish_run(store, made.id)
    far = store.read("MATCH (p:Peak), (g:Gene) WHERE NOT (p)-[:NEAR]->(g) RETURN p.id AS p, g.id AS g LIMIT 1")[0]
    batch = EdgeBatch.build(NEAR, start_id=[far["p"]], end_id=[far["g"]], distance_bp=9, tss_distance_bp=9)
    with open_draft(store, "test") as draft:
        draft.load(EXTRA, Snapshot(("one",), "toy@1"), [batch])
    publish(store)
    return Frozen.of(store, home), made


@pytest.fixture
def home(frozen: tuple[Frozen, Run], neo4j_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = frozen[0].home
    monkeypatch.setenv("REGKG_HOME", str(home))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)
    return home


@pytest.fixture
def run(frozen: tuple[Frozen, Run], session_store: Store, home: Path) -> Run:
    """Return the run, with everything as it was after the release that followed it."""
    del home
    frozen[0].thaw(session_store)
    return frozen[1]


@pytest.fixture
def store(session_store: Store, run: Run) -> Store:
    """Return a store that holds the world of `run`."""
    del run
    return session_store


def test_weights_come_out_bit_by_bit_from_the_release_that_was_read(store: Store, home: Path, run: Run) -> None:
    assert served(store).release == 2
    reproduction = reproduce.reproduce(store, home, run.id)
    assert (reproduction.verdict, reproduction.differs, reproduction.of) == (EXACT, {}, run.id)
    assert (reproduction.largest, reproduction.shift, reproduction.calls) == (0.0, 0.0, 1.0)
    assert reproduction.correlation == pytest.approx(1)
    files = sorted(p.name for p in (run_folder(home, run.id) / "checkpoints").glob("*.safetensors"))
    assert files
    again = [p.read_bytes() for p in sorted((run_folder(home, reproduction.run) / "checkpoints").glob("*.safetensors"))]
    assert len(files) == len(again)
    assert reproduction.weights[0] == reproduction.weights[1] > 20
    made = runs.run(store, reproduction.run)
    assert (made.release, made.experiment) == (1, f"a reproduction of {run.id}")
    with pytest.raises(Conflict, match="is an experiment"):
        runs.publish_run(store, made.id)


def test_one_that_was_cut_short_goes_on(store: Store, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(job, "keep_outputs", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reproduce.reproduce(store, home, run.id)
    cut = runs.runs(store)[0]
    store.write("MATCH (r:ModelRun {id: $id}) SET r.process = split(r.process, ':')[0] + ':999999:1.00'", id=cut.id)
    reproduction = reproduce.reproduce(store, home, run.id)
    assert (reproduction.run, reproduction.verdict) == (cut.id, EXACT)


def test_other_weights_are_refused_here_and_weighed_elsewhere(store: Store, home: Path, run: Run) -> None:
    """The kept weights are spoilt, as if another processor had made them."""
    stage = run_folder(home, run.id) / "checkpoints" / "member-0-second"
    tensors, meta = checkpoint.load(stage, {})
    name = next(n for n in tensors if n.startswith("module/") and tensors[n].is_floating_point())
    document = json.loads(stage.with_name(f"{stage.name}.json").read_text())
    checkpoint.save(stage, {**tensors, name: tensors[name] + 0.5}, meta, document["identity"])
    reproduction = reproduce.reproduce(store, home, run.id)
    assert (reproduction.verdict, reproduction.differs, reproduction.shift) == (OTHER, {}, 0.0)
    assert reproduction.weights[0] == reproduction.weights[1] - 1
    assert reproduction.largest == pytest.approx(0.5, abs=1e-6)
    environment = runs.environment(store, run.id)
    environment["machine"] |= {"cpu": "another one", "lock": "0"}
    store.write("MATCH (r:ModelRun {id: $id}) SET r.environment = $e", id=run.id, e=json.dumps(environment))
    reproduction = reproduce.reproduce(store, home, run.id)
    assert reproduction.verdict == CLOSE
    assert sorted(reproduction.differs) == ["cpu", "lock"]
    assert "another one then" in reproduction.reason
    del environment["machine"]
    store.write("MATCH (r:ModelRun {id: $id}) SET r.environment = $e", id=run.id, e=json.dumps(environment))
    assert reproduce.reproduce(store, home, run.id).differs["machine"][0] == "not recorded"


def test_another_seed_is_not_a_reproduction(store: Store, home: Path, run: Run) -> None:
    request = job.TrainingRequest("glue", "demo", {**STEPS, "seed": 4}, device="cpu", threads=1, edge_types=("NEAR",))
    reseeded = job.train(store, home, request, release=1)
    tensors = reproduce.weights(home, run.id), reproduce.weights(home, reseeded.id)
    links = [reproduce.RunRows(reproduce._scores(kept(home, r.id)[0]), {}) for r in (run, reseeded)]
    reproduction = reproduce._compared(run, reseeded, {"cpu": ("a", "b")}, tensors, (links[0], links[1]))
    assert reproduction.verdict == OTHER
    assert reproduction.correlation < reproduce.CORRELATION


def test_what_is_not_here_any_more_is_said(store: Store, home: Path, run: Run) -> None:
    environment = runs.environment(store, run.id)

    def said(**changes: Any) -> None:
        told = json.dumps({**environment, **changes})
        store.write("MATCH (r:ModelRun {id: $id}) SET r.environment = $e", id=run.id, e=told)

    said(cells={**environment["cells"], "rna": "0" * 64})
    with pytest.raises(ChecksumMismatch, match=r"are other files now than .* read: rna"):
        reproduce.reproduce(store, home, run.id)
    said(request={**environment["request"], "warm": True, "parent": "glue-demo-99"})
    with pytest.raises(MissingInput, match="glue-demo-99 has no weights"):
        reproduce.reproduce(store, home, run.id)
    said()
    runs.finish(store, run.id, "failed")
    with pytest.raises(Conflict, match="is failed"):
        reproduce.reproduce(store, home, run.id)
    assert len(runs.runs(store)) == 1


def test_an_export_holds_the_run_and_says_how_it_was_made(store: Store, home: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    files = export_run(store, home, run.id, folder)
    document = json.loads((folder / CRATE).read_text())
    entities = {e["@id"]: e for e in document["@graph"]}
    assert entities[CRATE]["about"] == {"@id": "./"}
    assert entities[CRATE]["conformsTo"]["@id"].endswith("/ro/crate/1.1")
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {CRATE}
    assert {part["@id"] for part in entities["./"]["hasPart"]} == on_disk == set(files)
    for name in on_disk:
        assert entities[name]["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert {"run.json", "commands.sh", "metrics.json", "PREDICTED_LINK.parquet"} <= on_disk
    assert any(name.endswith(".safetensors") for name in on_disk)
    action = entities[f"#{run.id}"]
    assert action["@type"] == "CreateAction"
    versions = {v.dataset: v for v in dataset_versions(store, 1)}
    read = [entities[o["@id"]] for o in action["object"] if o["@id"].startswith("#dataset-")]
    assert {e["name"]: e["identifier"] for e in read} == run.datasets
    assert all(e.get("license") == versions[e["name"]].licence for e in read)
    assert all(e.get("citation") == versions[e["name"]].citation for e in read)
    record = json.loads((folder / "run.json").read_text())
    assert record["environment"]["machine"]["threads"] == 1
    assert record["config"] == run.config
    with pytest.raises(Conflict, match="holds a whole one already"):
        export_run(store, home, run.id, folder)


def test_the_commands_of_an_export_are_ones_that_regkg_takes(
    store: Store, home: Path, run: Run, tmp_path: Path
) -> None:
    export_run(store, home, run.id, tmp_path / "export")
    lines = (tmp_path / "export" / "commands.sh").read_text().splitlines()
    typed = [shlex.split(line)[1:] for line in lines if line.startswith("regkg ")]
    assert [words[:2] for words in typed if words[0] != "load"] == [["release", "publish"], ["train", "glue"]]
    for words in typed:
        done = CliRunner().invoke(main, [*words, "--help"])
        assert done.exit_code == 0, (words, done.output)
    train = next(words for words in typed if words[0] == "train")
    assert train[train.index("--first-steps") + 1] == "9"
    assert train[train.index("--seed") + 1] == "3"
    assert train[train.index("--edge-types") + 1] == "NEAR"
    loaded = [words[words.index("--dataset") + 1] for words in typed if words[0] == "load" and "--dataset" in words]
    assert set(loaded) == set(run.datasets)
    options = {word for words in typed if words[0] == "load" for word in words if word.startswith("FILE_")}
    recorded = {
        f"FILE_{s}" for v in dataset_versions(store, 1) if v.dataset in run.datasets for s in v.sha256[0].split()
    }
    assert recorded <= options


def test_the_commands_print_what_programs_read(store: Store, home: Path, run: Run, tmp_path: Path) -> None:
    del home
    folder = tmp_path / "export"
    done = CliRunner().invoke(main, ["runs", "export", run.id, str(folder), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["folder"] == str(folder)
    done = CliRunner().invoke(main, ["runs", "reproduce", run.id, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["verdict"] == EXACT
    stored = runs.environment(store, run.id)
    assert replace(job.TrainingRequest.of(stored["request"])).threads == 1
