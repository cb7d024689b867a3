"""`train --candidates`, then what answers, exports and `runs evaluate` say of the run, on a small simulated world."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cli.admin.demo import read_truth
from cli.main import main
from cli.runs.train import base_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

SIZES = ["--genes", "40", "--peaks", "200", "--cells", "150", "--chromosomes", "1"]
SHORT = ["--first-steps", "40", "--second-steps", "40", "--latent-dim", "8", "--hidden-dim", "32", "--members", "2"]


@pytest.mark.parametrize(
    ("said", "base_pairs_"), [("150kb", 150_000), ("1Mb", 1_000_000), ("2,500", 2500), ("10 bp", 10), (None, None)]
)
def test_a_distance_is_read_as_people_write_it(said: str | None, base_pairs_: int | None) -> None:
    context = click.Context(click.Command("x"))
    assert base_pairs(context, click.Option(["--x"]), said) == base_pairs_


@pytest.mark.parametrize("said", ["far", "-5", "1.5kb", "5 miles", ""])
def test_what_is_no_distance_is_refused(said: str) -> None:
    with pytest.raises(click.BadParameter, match="not a distance"):
        base_pairs(click.Context(click.Command("x")), click.Option(["--x"]), said)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint, tmp_path: Path) -> None:
    monkeypatch.setenv("REGKG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)


def regkg(*words: object) -> Any:
    """Run with --json and give what it printed."""
    done = CliRunner().invoke(main, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_candidates_are_scored_written_marked_and_left_out_of_figures(store: Store, tmp_path: Path) -> None:
    world, stated = tmp_path / "world", ["--licence", "CC0-1.0", "--citation", "made here"]
    regkg("simulate", world, *SIZES)
    regkg("load", "genes", world / "genes.gtf.gz", "--assembly", "GRCh38", *stated)
    regkg("load", "peaks", world / "peaks.narrowPeak.gz", "--assembly", "GRCh38", *stated)
    near = regkg("load", "proximity", "--rule", "window", "--window-bp", "20000")["added"]
    regkg("load", "cells", world / "rna.h5ad", world / "atac.h5ad", "--name", "toy")
    regkg("release", "publish")
    run = regkg("train", "glue", "--cells", "toy", "--device", "cpu", *SHORT, "--candidates", "150kb", "--publish")
    truth = read_truth(world / "truth.tsv")
    every = pq.read_table(tmp_path / "home" / "runs" / run["id"] / "candidates.parquet")
    assert every.num_rows + near == len(truth), "every pair of the window is scored once"
    rows = store.read("MATCH (p)-[e:PREDICTED_LINK]->(g) RETURN p.id AS peak, g.id AS gene, properties(e) AS e")
    assert sum(row["e"]["in_prior"] for row in rows) == near
    beyond = [row for row in rows if not row["e"]["in_prior"]]
    assert 40 <= len(beyond) < every.num_rows
    assert all(row["e"]["without_prior"] == row["e"]["score"] for row in beyond)
    assert len({row["e"]["from_cells"] for row in rows}) > len(rows) / 2
    assert any(abs(row["e"]["without_prior"] - row["e"]["score"]) > 1e-4 for row in rows if row["e"]["in_prior"])

    gene = beyond[0]["gene"]
    answer = regkg("ask", "gene-regulators", "--gene", gene, "--limit", "1000")
    told = {row["peak"]: row["in_prior"] for row in answer["rows"]}
    assert told == {row["peak"]: row["e"]["in_prior"] for row in rows if row["gene"] == gene}

    regkg("runs", "report", run["id"], "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"{every.num_rows:,} pairs that no evidence joins were scored" in page
    assert f"<p>{near:,} pairs were scored" in page

    (tmp_path / "oracle.tsv").write_text((world / "truth.tsv").read_text().replace("is_link", "score"))
    more = ("--metacells", "--beside", tmp_path / "oracle.tsv")
    found = regkg("runs", "evaluate", run["id"], "--against", world / "truth.tsv", *more)
    names = ["run", "distance", "without_prior", "from_cells", "oracle", "metacells"]
    assert [one["score"] for one in found["scores"]] == names
    oracle, metacells = found["scores"][4:]
    assert (oracle["auroc"]["value"], oracle["matched_auroc"]["value"]) == (1, 1)
    assert oracle["beyond_metacells"]["value"] == pytest.approx(1 - metacells["matched_auroc"]["value"])
    assert found["pairs"] == near
    assert found["positives"] == sum(truth[row["gene"], row["peak"]][0] for row in rows if row["e"]["in_prior"])
    assert len(found["calibration"]) == 10
    assert metacells["auroc"]["value"] > 0.6
    (tmp_path / "run.tsv").write_text("peak\tgene\tscore\n")
    clash = CliRunner().invoke(
        main, ["runs", "evaluate", run["id"], "--beside", str(tmp_path / "run.tsv"), "--against", "NEAR"]
    )
    assert "another score is called run" in str(clash.exception)
    shown = CliRunner().invoke(main, ["runs", "evaluate", run["id"], "--against", "NEAR"])
    assert shown.exit_code == 0
    assert "guided this run" in shown.output
    assert "matched_auroc" in shown.output
