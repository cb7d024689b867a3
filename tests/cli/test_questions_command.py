"""`ask`, `cypher`, `release`, `runs` and `serve` on a published world, by their output."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cli.main import call
from kg.query.plan import run_plan
from kg.query.registry import questions
from tests.kg.published import Published, gene_id, peak_id, publish_world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

ASKED = {
    "compare-links": ["--gene", "AGENE2"],
    "gene-regulators": ["--gene", "AGENE2", "--called-only"],
    "peak-targets": ["--peak", peak_id(3)],
    "region-edges": ["--region", "chr1:0-9000", "--limit", "5"],
    "similar-genes": ["--gene", "AGENE0", "--run", "glue-cortex-1"],
    "tf-targets": ["--tf", "AGENE0", "--called-only"],
    "why-not": ["--tf", "AGENE0", "--gene", "AGENE2"],
}

GIVEN: dict[str, dict[str, Any]] = {
    "compare-links": {"gene": "AGENE2"},
    "gene-regulators": {"gene": "AGENE2", "called_only": True},
    "peak-targets": {"peak": peak_id(3)},
    "region-edges": {"region": "chr1:0-9000", "limit": 5},
    "similar-genes": {"gene": "AGENE0", "run": "glue-cortex-1"},
    "tf-targets": {"tf": "AGENE0", "called_only": True},
    "why-not": {"tf": "AGENE0", "gene": "AGENE2"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def world(session_store: Store, home: Path) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, home)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, neo4j_endpoint: Endpoint, home: Path) -> None:
    monkeypatch.setenv("REGKG_HOME", str(home))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], world: Published) -> Any:
    """Run a command that must succeed; gives its JSON."""
    assert world.served

    def run(*args: str) -> Any:
        assert call([*args, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def expected_scores(world: Published, gene: str) -> list[float]:
    links = [link for run in world.served for link in world.links[run] if link["end_id"] == gene]
    here = [link["score"] for link in links if link["called"] and link["start_id"] in world.peaks[2]]
    return sorted(here, reverse=True)


def test_an_answer_is_the_same_for_people_and_programs(
    said: Any, world: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = said("ask", "gene-regulators", *ASKED["gene-regulators"])
    assert [row["score"] for row in answer["rows"]] == expected_scores(world, gene_id(2))
    assert call(["ask", "gene-regulators", *ASKED["gene-regulators"]]) == 0
    out, err = capsys.readouterr()
    shown = out.splitlines()
    assert [line.split()[0] for line in shown[2:]] == [row["peak"] for row in answer["rows"]]
    assert f"{len(answer['rows'])} rows; release 2; {', '.join(sorted(world.served))}" in err
    assert "is stale" in err


@pytest.mark.parametrize("name", questions())
def test_the_json_is_that_of_the_question(said: Any, session_store: Store, name: str) -> None:
    """REST is held to the same in tests/api."""
    question = questions()[name]
    answer = run_plan(question.plan(question.parameters(**GIVEN[name])), session_store)
    assert said("ask", name, *ASKED[name]) == json.loads(json.dumps(dataclasses.asdict(answer)))


def test_a_cut_answer_says_so(world: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.served
    assert call(["ask", "region-edges", *ASKED["region-edges"]]) == 0
    assert "there are more: raise --limit" in capsys.readouterr().err


def test_an_unknown_gene_is_told_with_near_ones(world: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.served
    assert call(["ask", "gene-regulators", "--gene", "AGEN2"]) == 1
    assert "did you mean AGENE2" in capsys.readouterr().err


def test_an_unknown_question_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "gene-regulator", "--gene", "X"]) == 1
    assert "gene-regulators" in capsys.readouterr().err


def test_cypher_reads_with_parameters_and_limits(said: Any) -> None:
    table = said(
        "cypher", "UNWIND range(1, $n) AS x RETURN x, $name AS name", "-p", "n=5", "-p", "name=NCF2", "--limit", "3"
    )
    assert table == {
        "columns": ["x", "name"],
        "rows": [{"x": x, "name": "NCF2"} for x in (1, 2, 3)],
        "truncated": True,
    }


def test_cypher_refuses_to_write(world: Published, capsys: pytest.CaptureFixture[str], session_store: Store) -> None:
    assert world.served
    assert call(["cypher", "MATCH (n) DETACH DELETE n", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["type"] == "QueryRefused"
    assert session_store.read("MATCH (g:Gene) RETURN count(g) AS n")[0]["n"] > 0


def test_releases_are_listed_shown_and_verified(
    said: Any, world: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = said("release", "list")
    assert [(r["number"], r["note"]) for r in listed] == [(2, "second"), (1, "first")]
    shown = said("release", "show", "1")
    assert (shown["release"], shown["hash"]) == (1, listed[1]["hash"])
    assert sorted(shown["runs"].values()) == sorted(world.served)
    assert {d["dataset"]: d["hash"] for d in shown["datasets"]} == listed[1]["datasets"]
    assert said("release", "verify", "1")["hash"] == listed[1]["hash"]
    assert said("release", "verify")["number"] == 2
    for command in (["list"], ["show"], ["verify"]):
        assert call(["release", *command]) == 0
        assert listed[0]["hash"][:12] in capsys.readouterr().out


def test_a_release_that_was_tampered_with_is_found_out(world: Published, session_store: Store, said: Any) -> None:
    assert said("release", "verify", "2")["number"] == 2
    one_open = "MATCH ()-[e:NEAR {until: 2147483647}]->() WITH e ORDER BY e.edge_id LIMIT 1"
    change = f"{one_open} SET e.distance_bp = e.distance_bp + $by"
    session_store.write(change, by=1)
    try:
        assert call(["release", "verify"]) == 1
    finally:
        session_store.write(change, by=-1)
    assert world.served


def test_publishing_nothing_new_is_fine_and_said(said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answer = said("release", "publish")
    assert (answer["published"], answer["served"]["release"]) == (False, 2)
    assert call(["release", "publish"]) == 0
    assert "nothing new" in capsys.readouterr().err
    assert said("release", "discard") == {"discarded": 0}


def test_runs_are_listed_shown_published_and_discarded(
    said: Any, world: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {run["id"]: run["outcome"] for run in said("runs", "list")}
    assert listed == {**dict.fromkeys([*world.served, world.unserved], "complete"), world.writing: "running"}
    assert said("runs", "show", world.unserved)["metrics"] == {"foscttm": 0.1}
    assert call(["runs", "list"]) == 0
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:]}
    assert {run for run, line in shown.items() if " yes " in line} == set(world.served)
    assert said("runs", "publish", world.unserved, "--note", "try")["runs"]["glue:cortex"] == world.unserved
    assert said("runs", "publish", world.served[0])["runs"]["glue:cortex"] == world.served[0]
    assert call(["runs", "discard", world.served[0]]) == 1
    assert "is served" in capsys.readouterr().err
    assert call(["runs", "publish", world.writing]) == 1
    assert call(["runs", "resume", world.unserved]) == 1
    assert said("runs", "discard", world.writing)["outcome"] == "discarded"


def test_serve_answers_until_it_is_stopped(world: Published) -> None:
    assert world.served
    command = [sys.executable, "-c", "from cli.main import run; run()", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = next(found.group() for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        assert httpx.get(f"{url}/readyz", timeout=60).json()["release"] == 2
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 0, rest
    assert "Traceback" not in rest


def test_serve_says_plainly_that_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGKG_NEO4J_URI", "bolt://127.0.0.1:1")
    assert call(["serve"]) == 1
    assert "does not answer" in capsys.readouterr().err
