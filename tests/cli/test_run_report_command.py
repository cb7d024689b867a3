"""`runs report` on a small graph: what stands on the page, and what it says of a run that has little."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.main import call
from kg import runs
from kg.errors import InputError
from kg.progress import Silent
from kg.releases import publish, releases
from kg.runs import predictions
from kg.runs.cell_files import read_cell_files, write_cell_files
from kg.runs.outputs import CellAnnotation, FeatureEmbedding
from kg.schema import IMPUTED_GENE, PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from models import registry
from models.evaluation.projection import project
from models.jobs.report.drawing import FIRST, LAST, OUTPUTS, draw_report, section_named
from models.jobs.report.ending import end_with_report
from models.jobs.report.sections.best_edges import strongest_genes
from models.jobs.report.sections.by_distance import by_bin
from models.jobs.report.sections.labels import confused
from models.jobs.run_artifacts import keep_history, read_history
from models.zoo.glue.link_scores import Trained
from models.zoo.glue.predicted import CANDIDATES, cell_outputs
from tests.kg.toy import GENES, NEARS, PEAKS, genes, load, near, peak_id, peaks
from tests.models.toy import toy

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

STARTS = [1000 * i for i in range(0, 200, 5)]
METRICS = {"consistency_10": 0.2, "consistency_20": 0.1, "mixing": 0.9}
HISTORY = pd.DataFrame(
    {
        "member": [0] * 4,
        "stage": ["first", "first", "second", "second"],
        "epoch": [1, 2, 1, 2],
        "train_total": [4.0, 3.0, 2.5, 2.0],
        "val_total": [4.1, 3.1, 2.6, 2.1],
        "train_nll_0": [2.0, 1.5, 1.2, 1.0],
        "train_seconds": [1.0, 2.0, 1.0, 2.0],
        "seconds": [3.0, 6.0, 4.0, 7.0],
    }
)


@pytest.fixture
def graph_of_one_release(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint
) -> Store:
    for name, value in (
        ("HOME", str(tmp_path)),
        ("NEO4J_URI", neo4j_endpoint.uri),
        ("NEO4J_PASSWORD", neo4j_endpoint.password),
    ):
        monkeypatch.setenv(f"REGKG_{name}", value)
    load(store, GENES, genes({"G1": "ALPHA", "G2": "BETA"}))
    load(store, PEAKS, peaks(STARTS))
    load(store, NEARS, near([(s, "G1") for s in STARTS]))
    publish(store)
    return store


class Lines(Silent):
    """Keeps the lines that people should read."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def registered(store: Store, **more: Any) -> str:
    about: dict[str, Any] = {
        "config": {"lr": 0.002, "use_labels": False},
        "config_hash": "c0ffee",
        "code": "0.1.0+abc",
        "datasets": releases(store)[-1].datasets,
        "environment": {"cells": {"rna": "f11e"}, "device": "cpu", "versions": {"torch": "2"}},
    }
    named = {"model": "glue", "cells": "cortex", "release": 1, "seed": 0, "members": 1}
    return runs.register(store, runs.Registration(**named | about | more))


def keep_links(home: Path, run: str, beyond: int = 0) -> None:
    """Links of one gene; the first so many are candidates, the best of whatever was scored."""
    score = np.linspace(0.9, -0.3, len(STARTS))
    in_prior = [None] * len(STARTS) if not beyond else [i >= beyond for i in range(len(STARTS))]
    links = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[peak_id(s) for s in STARTS],
        end_id=["G1"] * len(STARTS),
        score=score,
        score_kind="cosine",
        p_value=[0.5] * len(STARTS),
        q_value=[0.5] * len(STARTS),
        sign=[1] * len(STARTS),
        stability=[0.0] * len(STARTS),
        called=score > 0.5,
        in_prior=in_prior,
        from_cells=0.25 + 0.001 * np.arange(len(STARTS)),
    )
    made = predictions.Predictions([links], FeatureEmbedding(["G1"], ["Gene"], np.ones((1, 2), np.float32)))
    predictions.keep(home, run, made, METRICS)


def keep_cells(folder: Path) -> float:
    """Cells of both modalities; gives the share of those that get their own label."""
    world = toy(60, 8)
    names = np.unique(np.concatenate([m.features for m in world.cells.modalities.values()]))
    rng = np.random.default_rng(0)
    labels = world.cells["rna"].labels
    assert labels is not None
    space = np.eye(4, dtype=np.float32)[np.unique(labels, return_inverse=True)[1]]
    cells = {name: (space + 0.6 * rng.normal(size=space.shape)).astype(np.float32) for name in ("rna", "atac")}
    write_cell_files(
        folder,
        cell_outputs(world.cells, Trained(names, np.ones((1, len(names), 4), np.float32), cells, HISTORY, {})),
        "glue",
        {},
    )
    atac = read_cell_files(folder, "glue")[1]
    assert atac.name == "atac"
    return float(np.mean(atac.carried == labels))


def reported(capsys: pytest.CaptureFixture[str], run: str, page: Path) -> Any:
    assert call(["runs", "report", run, "--html", str(page), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def words_of(page: str) -> str:
    """What a reader reads: the text of a page, without tags."""
    return unescape(re.sub(r"<[^>]+>", " ", page))


def test_all_of_a_run_stands_on_one_page(
    graph_of_one_release: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, page = graph_of_one_release, tmp_path / "page.html"
    run = registered(store)
    folder = predictions.run_folder(tmp_path, run)
    folder.mkdir(parents=True)
    right = keep_cells(folder)
    keep_history(folder, HISTORY)
    keep_links(tmp_path, run)
    runs.write_back(store, tmp_path, run)
    assert reported(capsys, run, page) == {"run": run, "html": str(page), "missing": []}
    text = page.read_text()
    assert "http" not in text
    assert text.count("data:image/png;base64,") == 7  # losses, consistency, labels, cells, distance, one gene, scores
    words = words_of(text)
    for value in ("c0ffee", "0.1.0+abc", "f11e", *releases(store)[-1].datasets.values(), "ALPHA", peak_id(0)):
        assert value in words
    assert "4 epochs in 13 s" in words
    assert 0.3 < right < 1
    assert f"atac: {right:.1%} of 60 cells get their own label" in words
    assert "on principal components, since umap-learn is not installed" in words
    assert f"{len(STARTS)} pairs were scored, 13 are called" in words
    assert "No pair that evidence does not join was scored" in words
    assert "from_cells" in words
    assert "0.251" in words
    assert "without_prior" not in words  # this run says nothing of it


def test_the_page_of_a_run_is_kept_when_it_ends_and_drawn_again_as_things_are_now(
    graph_of_one_release: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = graph_of_one_release
    run = registered(store)
    keep_links(tmp_path, run)
    runs.write_back(store, tmp_path, run)
    lines = Lines()
    end_with_report(store, tmp_path, run, lines)
    assert lines.said == []
    page = predictions.run_folder(tmp_path, run) / "report.html"
    assert "complete, served" not in page.read_text()
    kept = json.loads((page.parent / "report.json").read_text())
    assert kept["run"] == run
    assert [s["missing"] for s in kept["sections"] if s["missing"]] == ["history", "labels", "cells"]
    assert all(section["html"].strip() in page.read_text() for section in kept["sections"])
    runs.publish_run(store, run)
    assert call(["runs", "report", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["html"] == str(page)
    assert "complete, served" in page.read_text()


def test_a_picture_that_fails_does_not_fail_the_run(
    graph_of_one_release: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = graph_of_one_release
    run = registered(store)
    keep_links(tmp_path, run)
    runs.write_back(store, tmp_path, run)
    monkeypatch.setattr("models.jobs.report.sections.pairs.distribution", lambda *_: 1 / 0)
    lines = Lines()
    end_with_report(store, tmp_path, run, lines)
    assert len(lines.said) == 1
    assert "could not be drawn (ZeroDivisionError: division by zero)" in lines.said[0]
    assert f"regkg runs report {run}" in lines.said[0]
    assert not (predictions.run_folder(tmp_path, run) / "report.html").exists()
    assert runs.run(store, run).outcome == "complete"


def test_a_page_mentions_only_what_its_model_has(graph_of_one_release: Store, tmp_path: Path) -> None:
    """A model without losses, vectors and declared sections, but with annotations and imputed layers."""
    store = graph_of_one_release
    run = registered(store, model="annotator")
    folder = predictions.run_folder(tmp_path, run)
    folder.mkdir(parents=True)
    keep_history(folder, pd.DataFrame())
    labels, cells = np.array(["B", "B", "<T>", ""]), np.array(["c1", "c2", "c3", "c4"])
    given = CellAnnotation("rna", cells, "predicted_label", labels, np.array([0.5, 1, 0.25, 0], np.float32))
    write_cell_files(folder, [given], "annotator", {})
    imputed = EdgeBatch.build(
        IMPUTED_GENE,
        start_id=["cortex/rna"] * 2,
        end_id=["G1", "G2"],
        layer=["x"] * 2,
        correlation=[0.5, 0.7],
        n=[9, 9],
    )
    predictions.keep(tmp_path, run, predictions.Predictions([imputed]), {"accuracy": 0.75})
    runs.finish(store, run, "complete", metrics={"accuracy": 0.75})
    drawn = draw_report(store, tmp_path, run)
    titles = [section.title for section in drawn.sections]
    assert titles == ["About", "Evidence", "Cells", "Annotation of rna", "Imputed layers", "Metrics", "Settings"]
    assert drawn.missing == []
    assert "<T>" not in drawn.html
    words = " ".join(words_of(drawn.html).split())
    assert "3 of 4 cells got a label, of 2 kinds" in words
    assert "B 2 0.5 0.75" in words
    assert "<T> 1 0.25 0.25" in words
    assert "x cortex/rna Gene 2 0.6" in words
    assert not re.search("loss|embed|joint space|consistency", words, re.IGNORECASE)


def test_every_section_that_a_model_declares_is_there() -> None:
    for model in map(registry.get, registry.names()):
        for name in (*FIRST, *model.report, *OUTPUTS, *LAST):
            assert callable(section_named(name))
    with pytest.raises(InputError, match="no report section is called 'nothing'"):
        section_named("nothing")


def test_candidates_stand_apart(
    graph_of_one_release: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, page = graph_of_one_release, tmp_path / "page.html"
    run = registered(store)
    keep_links(tmp_path, run, beyond=15)
    folder = predictions.run_folder(tmp_path, run)
    pq.write_table(pa.table({"peak": ["p"] * 1234}), folder / CANDIDATES)
    runs.write_back(store, tmp_path, run)
    for _ in ("from its files", "from the graph"):
        reported(capsys, run, page)
        words = words_of(page.read_text())
        assert f"{len(STARTS) - 15} pairs were scored, 0 are called (q below 0.05)" in words
        assert "1,234 pairs that no evidence joins were scored, 13 are called among themselves" in words
        below = words.split("Beyond the prior")[1].split("Scored pairs")[0]
        assert [s for s in STARTS if peak_id(s) in below] == STARTS[:15]
        (folder / "PREDICTED_LINK.parquet").unlink(missing_ok=True)


def test_what_a_run_has_not_is_said(
    graph_of_one_release: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, page = graph_of_one_release, tmp_path / "page.html"
    older = registered(store, environment={"request": {"device": "auto"}})
    keep_links(tmp_path, older)
    runs.write_back(store, tmp_path, older)
    assert reported(capsys, older, page)["missing"] == ["history", "labels", "cells"]
    assert "Metrics" in page.read_text()
    text = page.read_text()
    assert "kept no history" in text
    assert "not recorded (requested: auto)" in text
    assert text.count("data:image/png;base64,") == 4
    begun = registered(store)
    everything = ["history", "consistency", "labels", "cells", "pairs"]
    assert reported(capsys, begun, page)["missing"] == everything
    assert call(["runs", "report", begun, "--html", str(page)]) == 0
    assert "this run lacks history, consistency" in capsys.readouterr().err
    assert call(["runs", "report", "glue-none-1", "--html", str(page)]) == 1


def test_bins_of_distance() -> None:
    pairs = pd.DataFrame(
        {
            "distance_bp": [0, 24_999, 25_000, 149_999, 150_000, 900_000],
            "score": [0.2, 0.4, 0.1, 0.3, 0.5, 0.7],
            "called": [True, False, False, True, True, True],
        }
    )
    bins = by_bin(pairs)
    assert bins["kb"].tolist() == ["0-25", "25-50", "125-150", "beyond 150"]
    assert bins["pairs"].tolist() == [2, 1, 1, 2]
    assert bins["share called"].tolist() == [0.5, 0.0, 1.0, 1.0]
    np.testing.assert_allclose(bins["median score"], [0.3, 0.1, 0.3, 0.6])


def test_confusion_by_hand() -> None:
    share = confused(np.array(["b", "b", "a", "b", "b"]), np.array(["b", "a", "a", "", "c"]))
    assert (share.index.tolist(), share.columns.tolist()) == (["a", "b"], ["a", "b", "c", "none"])
    assert share.to_numpy().tolist() == [[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]]


def test_genes_by_what_is_called_of_them() -> None:
    pairs = pd.DataFrame(
        {"gene": list("aabbc"), "score": [0.5, 0.5, 0.8, 0.9, 0.95], "called": [True, True, True] + [False] * 2}
    )
    assert strongest_genes(pairs) == ["a", "b"]
    assert strongest_genes(pairs.assign(called=False)) == ["c", "b", "a"]


def kept(folder: Path) -> pd.DataFrame:
    found = read_history(folder)
    assert found is not None
    return found


def test_history_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_history(tmp_path, HISTORY)
    pd.testing.assert_frame_equal(kept(tmp_path), HISTORY)

    def half(_frame: pd.DataFrame, path: Path, **_options: object) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(28, "no space")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", half)
    with pytest.raises(OSError, match="no space"):
        keep_history(tmp_path, HISTORY.assign(epoch=0))
    pd.testing.assert_frame_equal(kept(tmp_path), HISTORY)
    assert [path.name for path in tmp_path.iterdir()] == ["history.parquet"]


def test_principal_components_or_umap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = (np.random.default_rng(1).normal(size=(40, 5)) * np.arange(1, 6)).astype(np.float32)
    flat, names = project(vectors)
    left, size, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(flat), np.abs(left[:, :2] * size[:2]), rtol=1e-3, atol=1e-4)
    assert names[0] == f"PC 1 ({size[0] ** 2 / (size**2).sum():.0%} of variance)"
    (tmp_path / "umap.py").write_text(
        "class UMAP:\n    def __init__(self, random_state): pass\n    def fit_transform(self, v): return v[:, :2]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    flat, names = project(vectors)
    assert names == ("UMAP 1", "UMAP 2")
    np.testing.assert_array_equal(flat, vectors[:, :2])
