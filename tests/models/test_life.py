"""The whole life of every model of the zoo, and of two toys, by what each declares: nothing here names a model.

Train, be killed, resume, publish, report, be judged by what others say, change evidence, retrain through the gate, be
compared and reproduced, pruned and restored, backed up and restored, asked over REST and in the shell.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import models.zoo
from kg import runs
from kg.releases import served
from kg.schema import GENE, PEAK
from models import registry
from models.contract import Metric
from models.jobs import train as job
from tests.cli.test_loop import Shell, get

if TYPE_CHECKING:
    from kg.runs import Run
    from kg.server import Endpoint
    from kg.store import Store
    from models.contract import Model

TOYS = Path(__file__).parent / "toys"
NAMES = [
    *(pytest.param(name, marks=pytest.mark.slow) for name in registry.names()),
    *sorted(path.stem for path in TOYS.glob("toy_*.py")),
]
STATED = ("--licence", "CC0-1.0", "--citation", "made here")
WORLD = {"genes": 40, "peaks": 200, "cells": 160, "chromosomes": 2, "cell_types": 4}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.zoo, "__path__", [*models.zoo.__path__, str(TOYS)])


@pytest.fixture
def regkg(store: Store, neo4j_endpoint: Endpoint, tmp_path: Path) -> Shell:
    del store  # empties the graph
    return Shell(tmp_path / "home", neo4j_endpoint)


def load_world(regkg: Shell, model: Model, folder: Path) -> None:
    """Load the tiny world that a model declares: genes, peaks, proximity, factors, other links, cells."""
    sizes = {**WORLD, **model.tiny.simulation}
    words = [word for name, value in sizes.items() for word in (f"--{name.replace('_', '-')}", value)]
    regkg("simulate", folder, *words)
    regkg("load", "genes", folder / "genes.gtf.gz", "--assembly", "GRCh38", *STATED)
    regkg("load", "peaks", folder / "peaks.narrowPeak.gz", "--assembly", "GRCh38", *STATED)
    regkg("load", "proximity", "--rule", "window", "--window-bp", "150000")
    factors = folder / "factors.tsv"
    factors.write_text("gene_id\n" + "".join(f"{gene}\n" for gene in _genes(folder)[:5]))
    regkg("load", "tfs", factors, "--dataset", "tfs:toy", *STATED)
    regkg("load", "cells", folder / "rna.h5ad", folder / "atac.h5ad", "--name", "toy")
    regkg("release", "publish")


def _genes(folder: Path) -> list[str]:
    lines = (folder / "truth.tsv").read_text().splitlines()
    column = lines[0].split("\t").index("gene_id")
    return list(dict.fromkeys(line.split("\t")[column] for line in lines[1:]))


def words_of(model: Model) -> list[Any]:
    words: list[Any] = ["--cells", "toy"] if model.needs.assays else []
    options = {**model.tiny.options, "device": "cpu", "threads": 1}
    return words + [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_life_of_a_model(
    name: str, regkg: Shell, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = registry.get(name)
    load_world(regkg, model, tmp_path / "world")
    first = killed_and_resumed(regkg, store, model, monkeypatch)
    regkg("runs", "publish", first.id)
    assert asyncio.run(get("/v1/runs", regkg.settings)).json()["rows"][0]["id"] == first.id
    page = tmp_path / "report.html"
    regkg("runs", "report", first.id, "--html", page)
    assert first.id in page.read_text()
    judged_by_others(regkg, store, model, first, tmp_path)

    change_evidence(regkg, tmp_path)
    decided = regkg("retrain", "--if-changed", "--plan")
    assert [d["retrain"] for d in decided] == [bool(reads_genes(first))]
    second = retrained(regkg, store, model, first)
    compared(regkg, model, first, second)

    reproduced = regkg("runs", "reproduce", first.id)
    assert reproduced["verdict"] == "bit-equal", reproduced
    pruned_and_restored(regkg, store, first, second)
    backed_up_and_restored(regkg, store, tmp_path, second)


def killed_and_resumed(regkg: Shell, store: Store, model: Model, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Resume a training that ended when everything was fitted but nothing kept."""
    with monkeypatch.context() as patch:
        patch.setattr(job, "keep_outputs", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(AssertionError, match="Aborted"):
            regkg("train", model.name, *words_of(model))
    (cut,) = runs.runs(store)
    assert cut.outcome == "running"
    store.write("MATCH (r:ModelRun {id: $id}) SET r.process = split(r.process, ':')[0] + ':999999:1.00'", id=cut.id)
    assert runs.run(store, cut.id).interrupted
    regkg("runs", "resume", cut.id)
    run = runs.run(store, cut.id)
    assert run.outcome == "complete"
    for declared in model.gate:
        if isinstance(declared, Metric):
            assert any(metric.startswith(declared.name) for metric in run.metrics), declared.name
    return run


def judged_by_others(regkg: Shell, store: Store, model: Model, run: Run, folder: Path) -> None:
    """Rank pairs of peaks and genes against the planted links, and query them in the shell and over REST."""
    links = rows_of(store, run).get("PREDICTED_LINK", 0)
    assert bool(links) == ("PREDICTED_LINK" in {type_.name for type_ in model.predicts})
    if not links:
        return
    truth = folder / "verdicts.tsv"
    lines = [line.split("\t") for line in (folder / "world" / "truth.tsv").read_text().splitlines()]
    at = [lines[0].index(column) for column in ("peak_id", "gene_id", "is_link")]
    truth.write_text("\n".join(["peak\tgene\tpositive", *("\t".join(line[i] for i in at) for line in lines[1:])]))
    evaluated = regkg("runs", "evaluate", run.id, "--against", truth)
    assert 0 < evaluated["positives"] < evaluated["pairs"]
    gene = lines[1][at[1]]
    rows = regkg("ask", "gene-regulators", "--gene", gene, "--limit", "1000")["rows"]
    assert {row["run"] for row in rows} == {run.id}
    answered = asyncio.run(get(f"/v1/genes/{gene}/regulators?limit=1000", regkg.settings)).json()["rows"]
    assert [row["edge_id"] for row in answered] == [row["edge_id"] for row in rows]


def change_evidence(regkg: Shell, folder: Path) -> None:
    """Add one gene, which affects every model that reads genes."""
    extra = folder / "more.tsv"
    header = ["gene_id", "symbol", "chr", "start", "end", "strand", "biotype"]
    row = ["ENSG99999999999", "EXTRA", "chr1", "1000000", "1001000", "+", "protein_coding"]
    extra.write_text("\t".join(header) + "\n" + "\t".join(row) + "\n")
    regkg("load", "genes", extra, "--assembly", "GRCh38", "--dataset", "genes:more", *STATED)
    regkg("load", "proximity", "--rule", "window", "--window-bp", "150000")
    regkg("release", "publish")


def reads_genes(run: Run) -> set[str]:
    return {GENE.label, PEAK.label} & {*run.node_types}


def retrained(regkg: Shell, store: Store, model: Model, first: Run) -> Run:
    """Return the successor, judged by the figures that its model declares; publish it by hand if the gate does not."""
    with suppress(AssertionError):  # a gate that fails is a failure of the command, and judged below
        regkg("retrain", *(["--if-changed"] if reads_genes(first) else []))
    second = next(run for run in runs.runs(store) if run.parent == first.id)
    assert second.outcome == "complete", second.note
    gate = json.loads((regkg.home / "runs" / second.id / "gate.json").read_text())
    declared = [one.name for one in model.gate if isinstance(one, Metric)]
    assert all(any(figure["name"].startswith(name) for figure in gate["figures"]) for name in declared)
    assert (served(store).runs[first.slot] == second.id) == gate["passed"]
    regkg("runs", "publish", second.id)
    return second


def compared(regkg: Shell, model: Model, first: Run, second: Run) -> None:
    """Check what moved between the two, for models of scored pairs."""
    if not model.predicts or "PREDICTED_LINK" not in {type_.name for type_ in model.predicts}:
        return
    diffed = regkg("runs", "diff", first.id, second.id)
    assert diffed["pairs"] > 0
    if diffed["top"]:
        row = diffed["top"][0]
        history = regkg("runs", "why", row["peak"], row["gene"])
        assert {chapter["run"] for chapter in history["chapters"]} >= {first.id, second.id}


def rows_of(store: Store, run: Run) -> dict[str, int]:
    counts = store.read("MATCH ()-[e]->() WHERE e.run = $run RETURN type(e) AS type, count(e) AS n", run=run.id)
    vectors = store.read("MATCH (e:Embedding {run: $run}) RETURN count(e) AS n", run=run.id)[0]["n"]
    return {**{row["type"]: row["n"] for row in counts}, "Embedding": vectors}


def pruned_and_restored(regkg: Shell, store: Store, first: Run, second: Run) -> None:
    """Take a run out of the graph and bring it back from its files."""
    store.write("MATCH (r:ModelRun {id: $id}) SET r.parent = null", id=second.id)  # or the parent would be kept
    before = rows_of(store, first)
    regkg("runs", "prune", first.id)
    assert set(rows_of(store, first).values()) == {0}
    regkg("runs", "restore", first.id)
    assert rows_of(store, first) == before
    assert sum(before.values()) or first.metrics


def backed_up_and_restored(regkg: Shell, store: Store, folder: Path, second: Run) -> None:
    """Empty the graph, and restore it with the run that is served."""
    before, files = rows_of(store, second), sorted(p.name for p in (regkg.home / "runs" / second.id).iterdir())
    regkg("backup", folder / "backup", "--logical")
    store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    again = Shell(folder / "again", regkg.endpoint)
    again("restore", folder / "backup")
    assert rows_of(store, second) == before
    assert served(store).runs[second.slot] == second.id
    assert sorted(p.name for p in (again.home / "runs" / second.id).iterdir()) == files
