"""`regkg retrain` and `regkg datasets dependence` as people have them: exit codes, plans, refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cli.load import datasets
from cli.main import call, main
from kg import runs
from kg.releases import publish, served
from kg.store.leases import RETRAIN, held
from tests.kg import toy
from tests.kg.test_staleness import PCHIC, complete, contacts

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store


@pytest.fixture
def home(neo4j_endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    for name, value in {
        "REGKG_HOME": str(home),
        "REGKG_NEO4J_URI": neo4j_endpoint.uri,
        "REGKG_NEO4J_USER": neo4j_endpoint.user,
        "REGKG_NEO4J_PASSWORD": neo4j_endpoint.password,
    }.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def run(store: Store, home: Path) -> str:
    """The published run, which reads contacts."""
    toy.load_world(store)
    toy.load(store, PCHIC, contacts([(0, "G1"), (2000, "G2")]))
    publish(store)
    run = complete(store, home, "toy", ("NEAR", "CONTACTS"))
    runs.publish_run(store, run)
    return run


def regkg(*words: str) -> tuple[int, Any]:
    done = CliRunner().invoke(main, [*words, "--json"])
    return done.exit_code, json.loads(done.stdout) if done.stdout else done.stderr


def graph_of(store: Store) -> list[Any]:
    return store.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS p ORDER BY elementId(n)")


def test_nothing_to_do_is_exit_code_3(store: Store, run: str) -> None:
    before = graph_of(store)
    code, found = regkg("retrain", "--if-changed", "--plan")
    assert (code, [(d["run"], d["retrain"]) for d in found]) == (3, [(run, False)])
    assert graph_of(store) == before
    code, found = regkg("retrain", "--if-changed")
    assert (code, found["retrained"]) == (3, [])


def test_nothing_published_is_nothing_to_train(store: Store, home: Path) -> None:
    del home
    toy.load_world(store)
    publish(store)
    assert regkg("retrain", "--if-changed", "--plan") == (3, [])


def test_a_plan_says_what_changed_and_writes_nothing(store: Store, run: str) -> None:
    toy.load(store, PCHIC, contacts([(0, "G1"), (5000, "G3")]), "two")
    publish(store)
    before = graph_of(store)
    code, (decision,) = regkg("retrain", "--if-changed", "--plan", "--slot", "glue:toy")
    assert code == 0
    assert (decision["run"], decision["retrain"], decision["release"], decision["served"]) == (run, True, 1, 2)
    assert decision["changes"] == [
        {"dataset": "pchic:toy", "added": 1, "removed": 1, "changed": 0, "genes": 2, "peaks": 2}
    ]
    shown = CliRunner().invoke(main, ["retrain", "--if-changed", "--plan"])
    assert shown.exit_code == 0
    assert "pchic:toy: 1 rows added, 1 removed, 0 changed, at 2 genes and 2 peaks" in " ".join(shown.stdout.split())
    assert graph_of(store) == before


def test_a_training_that_fails_is_exit_code_1(store: Store, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    toy.load(store, PCHIC, contacts([(0, "G1"), (5000, "G3")]), "two")
    publish(store)
    assert call(["retrain", "--if-changed", "--json"]) == 1  # its cells were never registered
    told = capsys.readouterr()
    (one,) = json.loads(told.out)["retrained"]
    assert (one["run"], one["published"]) == (None, False)
    error = json.loads(told.err.splitlines()[-1])["error"]
    assert "no cells are called 'toy'" in error["message"]
    assert f"{run} stays published" in error["hint"]
    assert served(store).runs == {"glue:toy": run}


def test_two_retrains_at_once(store: Store, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    toy.load(store, PCHIC, contacts([(0, "G1"), (5000, "G3")]), "two")
    publish(store)
    with held(store, "regkg retrain of somebody", RETRAIN):
        before = runs.runs(store), served(store)
        assert call(["retrain", "--if-changed"]) == 1
        assert "regkg retrain of somebody" in capsys.readouterr().err
        assert (runs.runs(store), served(store)) == before
        assert call(["retrain", "--without", "pchic:toy", "--as-experiment"]) == 1
        assert regkg("retrain", "--if-changed", "--plan")[0] == 0, "a plan writes nothing and waits for nobody"
    assert served(store).runs == {"glue:toy": run}
    assert call(["retrain", "--if-changed"]) == 1, "and goes on to what it is for: these cells were never registered"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--without", "pchic:toy"], "--without and --as-experiment go together"),
        (["--as-experiment"], "--without and --as-experiment go together"),
        (["--without", "a", "--as-experiment", "--plan"], "neither --plan nor --if-changed"),
        (["--gate", "nowhere.toml"], "does not exist"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["retrain", *words]) == 2
    assert message in capsys.readouterr().err


def test_unknown_slots_and_datasets_are_exit_code_1(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    del run
    assert call(["retrain", "--slot", "glue:blood"]) == 1
    assert "no run is published for glue:blood" in capsys.readouterr().err
    assert call(["retrain", "--without", "eqtl:x", "--as-experiment"]) == 1
    assert "no published run has read eqtl:x" in capsys.readouterr().err


def test_dependence_counts_and_lists(run: str, tmp_path: Path) -> None:
    code, found = regkg("datasets", "dependence")
    assert code == 0
    assert found["datasets"] == [
        {"run": run, "dataset": "pchic:toy", "called": 1, "alone": 0},
        {"run": run, "dataset": "proximity:toy", "called": 1, "alone": 0},
    ]
    assert found["links"] == []
    near, out = regkg("datasets", "dependence", run)[1], tmp_path / "links.ndjson"
    assert near == found
    assert regkg("datasets", "dependence", run, "--dataset", "pchic:toy", "--out", str(out))[0] == 0
    assert out.read_text() == ""


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_single_source_links_are_listed_by_score_and_all_written(limit: int, tmp_path: Path) -> None:
    scores = {"p1": 0.25, "p2": 0.75, "p3": 0.5}
    read = [{"run": "r", "peak": peak, "gene": "g", "score": score} for peak, score in scores.items()]
    listed = datasets._listed(iter(read), limit, tmp_path / "links.ndjson")
    assert [link["peak"] for link in listed] == ["p2", "p3", "p1"][:limit]
    assert [json.loads(line) for line in (tmp_path / "links.ndjson").read_text().splitlines()] == read
    assert datasets._listed(iter(read), limit, None) == listed
