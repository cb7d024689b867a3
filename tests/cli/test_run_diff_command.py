"""`runs diff` and `runs why` on a small graph of two releases, by their output and their files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from cli.main import call
from kg import runs
from kg.evidence.draft import Source
from kg.releases import publish, releases
from kg.runs import predictions
from kg.runs.outputs import FeatureEmbedding
from kg.schema import CONTACTS, PREDICTED_LINK
from kg.schema.batches import EdgeBatch
from tests.kg.toy import GENES, METRICS, NEARS, PEAKS, genes, load, near, peak_id, peaks

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

N = 40
STARTS = [2000 * i for i in range(N)]
LAB = Source("pchic:lab", "pchic", licence="CC0", citation="made here")


def contacts(pairs: list[tuple[int, str]]) -> EdgeBatch:
    n = len(pairs)
    return EdgeBatch.build(
        CONTACTS,
        start_id=[peak_id(s) for s, _ in pairs],
        end_id=[g for _, g in pairs],
        score=[5.0] * n,
        score_kind="chicago",
        biosample="Mono",
        bait="chr1:1-2",
        other_end="chr1:5-6",
        bait_to_bait=[False] * n,
    )


def add_run(store: Store, home: Path, release: int, seed: int, moved: dict[int, float], **more: Any) -> str:
    hashes = next(r.datasets for r in releases(store) if r.number == release)
    about: dict[str, Any] = {"config": {"seed": seed, "lr": 1}, "config_hash": str(seed), "code": "v1"}
    types = ("NEAR", "CONTACTS")
    run = runs.register(
        store,
        runs.Registration("glue", "cortex", release, seed, 5, datasets=hashes, edge_types=types, **about | more),
    )
    rng = np.random.default_rng(seed)
    score = 0.2 + 0.001 * rng.normal(size=N)
    for i, value in moved.items():
        score[i] = value
    links = EdgeBatch.build(
        PREDICTED_LINK,
        start_id=[peak_id(s) for s in STARTS],
        end_id=["G1" if i < N // 2 else "G2" for i in range(N)],
        score=score,
        score_kind="cosine",
        p_value=[0.5] * N,
        q_value=[0.5] * N,
        sign=[1] * N,
        stability=0.01 * np.sqrt(rng.chisquare(4, N) / 4),
        called=score > 0.5,
    )
    made = predictions.Predictions([links], FeatureEmbedding(["G1"], ["Gene"], np.ones((1, 2), np.float32)))
    predictions.keep(home, run, made, METRICS)
    runs.write_back(store, home, run)
    return run


@pytest.fixture
def pair(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint) -> tuple[str, str]:
    """Runs on two releases; the second has no contact of the first peak any more, and the peak lost its link."""
    for name, value in (
        ("HOME", str(tmp_path)),
        ("NEO4J_URI", neo4j_endpoint.uri),
        ("NEO4J_PASSWORD", neo4j_endpoint.password),
    ):
        monkeypatch.setenv(f"REGKG_{name}", value)
    load(store, GENES, genes({"G1": "ALPHA", "G2": "BETA"}))
    load(store, PEAKS, peaks(STARTS))
    load(store, NEARS, near([(s, "G1" if i < N // 2 else "G2") for i, s in enumerate(STARTS)], 20_000))
    load(store, LAB, contacts([(0, "G1"), (2000, "G1"), (4000, "G1")]))
    publish(store)
    first = add_run(store, tmp_path, 1, 0, {0: 0.9})
    runs.publish_run(store, first)
    load(store, LAB, contacts([(2000, "G1"), (4000, "G1")]), tag="two")
    publish(store)
    return first, add_run(store, tmp_path, 2, 7, {0: 0.1, N - 1: 0.4}, parent=first)


def said(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert call([*args, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_diff_names_the_row_that_went(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = {name: tmp_path / f"diff.{name}" for name in ("parquet", "ndjson", "html")}
    found = said(capsys, "runs", "diff", *pair, "--rows", str(files["parquet"]), "--html", str(files["html"]))
    top = found["top"]
    assert [(r["peak"], r["symbol"], r["change"], r["cause"], r["dataset"]) for r in top] == [
        (peak_id(0), "ALPHA", "lost", "prior", "pchic:lab"),
        (peak_id(STARTS[-1]), "BETA", "shifted", "unexplained", None),
    ]
    assert top[0]["evidence"] == f"removed CONTACTS {peak_id(0)} -> G1"
    assert (found["pairs"], found["settings"], found["noise"]) == (N, [], "stability over 5 and 5 members")
    assert found["changes"]["none"]["noise"] == N - 2
    rows = pd.read_parquet(files["parquet"])
    assert (len(rows), rows["cause"].eq("noise").sum()) == (N, N - 2)
    page = files["html"].read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert call(["runs", "diff", *pair, "--rows", str(files["ndjson"])]) == 0
    out, err = capsys.readouterr()
    assert "pchic:lab" in out
    assert "lost: 1 (1 prior)" in err
    assert [json.loads(line)["edge_id"] for line in files["ndjson"].read_text().splitlines()] == rows[
        "edge_id"
    ].tolist()


def test_a_run_without_a_dataset_and_one_of_other_settings(
    pair: tuple[str, str], store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = add_run(store, tmp_path, 1, 3, {0: 0.9, 1: 0.9}, code="v2")
    found = said(capsys, "runs", "diff", pair[0], other)
    assert [(r["peak"], r["change"], r["cause"]) for r in found["top"]] == [(peak_id(2000), "gained", "code/config")]
    assert found["settings"] == ["code"]
    assert call(["runs", "diff", *pair, "--noise-runs", other]) == 1
    assert "differs from" in capsys.readouterr().err
    assert call(["runs", "diff", pair[0], "glue-none-1"]) == 1
    assert call(["runs", "diff", *pair, "--rows", "x.csv"]) == 2


def test_an_edge_tells_its_story(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "runs", "why", peak_id(0), "ALPHA")
    one, two = told["chapters"]
    assert [c["run"] for c in (one, two)] == list(pair)
    assert (told["gene"], one["called"], two["called"], one["moved"]) == ("G1", True, False, None)
    assert [len(c["published_at"]) for c in (one, two)] == [1, 0]
    assert [[(e["type"], e["dataset"]) for e in c["evidence"]] for c in (one, two)] == [
        [("CONTACTS", "pchic:lab"), ("NEAR", "proximity:toy")],
        [("NEAR", "proximity:toy")],
    ]
    moved = two["moved"]
    assert (moved["since"], moved["change"], moved["cause"], moved["dataset"]) == (
        pair[0],
        "lost",
        "prior",
        "pchic:lab",
    )
    assert moved["row_change"] == "removed"
    assert call(["runs", "why", peak_id(0), "ALPHA"]) == 0
    out, err = capsys.readouterr()
    assert "removed CONTACTS" in out
    assert "2 runs, oldest first" in err
    assert call(["runs", "why", peak_id(0), "NOBODY"]) == 1
    assert call(["runs", "why", "GRCh38:chr1:1-2", "ALPHA"]) == 1
