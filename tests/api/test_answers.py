"""What REST answers: the same as the questions do, with its version, its ETag and its pages."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from api.models import Edges, Readiness, Releases, Runs, answer_model
from kg import runs
from kg.query.plan import run_plan
from kg.query.registry import question_named, questions
from tests.kg.published import gene_id, peak_id

if TYPE_CHECKING:
    from kg.store import Store
    from tests.api.conftest import Api
    from tests.kg.published import Published

ASKED: dict[str, dict[str, Any]] = {
    "compare-links": {"gene": "AGENE2", "limit": 5},
    "gene-regulators": {"gene": "AGENE2", "limit": 5},
    "peak-targets": {"peak": peak_id(3)},
    "region-edges": {"region": "chr1:0-9000"},
    "similar-genes": {"gene": gene_id(0), "run": "glue-cortex-1"},
    "tf-targets": {"tf": "AGENE0"},
    "why-not": {"tf": "AGENE0", "gene": "AGENE2"},
}


NO_ROWS = {"tf-targets"}  # this world has no derived run; tests/kg/test_tf_targets.py has


def test_every_question_is_tried() -> None:
    assert set(ASKED) == set(questions())


@pytest.mark.parametrize("name", ASKED)
def test_rest_answers_as_the_question_does(api: Api, world: Published, session_store: Store, name: str) -> None:
    question = question_named(name)
    expected = run_plan(question.plan(question.parameters(**ASKED[name])), session_store)
    response = api.get(f"/v1/q/{name}", params=ASKED[name])
    assert response.status_code == 200
    assert response.json() == json.loads(json.dumps(dataclasses.asdict(expected)))
    assert bool(response.json()["rows"]) == (name not in NO_ROWS)
    assert world.served


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_has_the_shape_that_is_documented(api: Api, world: Published, name: str) -> None:
    body = api.get(f"/v1/q/{name}", params=ASKED[name]).json()
    model = answer_model(question_named(name))
    assert set(body) == set(model.model_fields)
    rebuilt = json.loads(TypeAdapter(model).validate_python(body).model_dump_json())
    assert rebuilt == body
    assert world.served


def test_regulators_of_a_gene_are_the_question_under_its_own_path(api: Api, world: Published) -> None:
    for name in ("AGENE2", gene_id(2), f"{gene_id(2)}.3"):
        by_path = api.get(f"/v1/genes/{name}/regulators", params={"called_only": "true", "limit": 7})
        by_name = api.get("/v1/q/gene-regulators", params={"gene": name, "called_only": "true", "limit": 7})
        assert by_path.content == by_name.content
        assert by_path.json()["subject"]["id"] == gene_id(2)
        assert all(row["called"] for row in by_path.json()["rows"])
    assert world.served


def test_release_and_run_narrow(api: Api, world: Published) -> None:
    both = api.get(f"/v1/genes/{gene_id(2)}/regulators", params={"limit": 1000}).json()
    one = api.get(f"/v1/genes/{gene_id(2)}/regulators", params={"limit": 1000, "run": world.served[0]}).json()
    old = api.get(f"/v1/genes/{gene_id(2)}/regulators", params={"limit": 1000, "release": 1}).json()
    assert [row for row in both["rows"] if row["run"] == world.served[0]] == one["rows"]
    assert (both["release"], both["stale"], old["release"], old["stale"]) == (2, True, 1, False)


# --- versions and caches ---


def test_an_etag_stands_for_a_query_at_a_publication(api: Api, world: Published, session_store: Store) -> None:
    url = f"/v1/genes/{gene_id(2)}/regulators"
    first = api.get(url)
    again = api.get(url, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    assert api.get(url, params={"limit": 3}).headers["etag"] != first.headers["etag"]
    runs.publish_run(session_store, world.served[0])  # nothing differs but the publication
    assert api.get(url).json()["publication"] == first.json()["publication"] + 1
    moved = api.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert moved.status_code == 200
    assert moved.json()["publication"] == first.json()["publication"] + 1
    assert moved.json()["rows"] == first.json()["rows"]


@pytest.mark.parametrize("path", ["/v1/releases", "/v1/runs"])
def test_a_list_has_the_etag_of_its_bytes(api: Api, world: Published, path: str) -> None:
    first = api.get(path)
    assert api.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert world.served


def test_what_is_published_is_seen_by_the_next_answer(api: Api, world: Published, session_store: Store) -> None:
    url = f"/v1/genes/{gene_id(2)}/regulators?limit=1000"
    seen = []
    for run in (world.unserved, world.served[0], world.unserved, world.served[0]):
        published = runs.publish_run(session_store, run).publication
        for _ in range(2):  # the second starts from what the first has learnt
            body = api.get(url).json()
            assert body["publication"] == published
            seen.append({row["run"] for row in body["rows"]} - {world.served[1]})
    assert seen == [{world.unserved}] * 2 + [{world.served[0]}] * 2 + [{world.unserved}] * 2 + [{world.served[0]}] * 2


# --- edges ---


def all_pages(api: Api, **asked: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    response = api.get("/v1/edges", params=asked)
    while True:
        body = response.json()
        assert response.status_code == 200, body
        Edges.model_validate(body)
        assert len(body["rows"]) <= asked.get("limit", 100)
        rows += body["rows"]
        if body["next"] is None:
            assert "link" not in response.headers
            return rows
        assert response.headers["link"] == f'<{body["next"]}>; rel="next"'
        response = api.get(body["next"])


def expected_edges(world: Published, release: int, served: list[str]) -> list[dict[str, Any]]:
    near = [
        {"type": "NEAR", "start_id": p, "end_id": g, "dataset": "near:a", "run": None, "score": None, "called": None}
        for p, g in world.near[release]
    ]
    predicted = [
        {"type": "PREDICTED_LINK", "dataset": None}
        | {name: link[name] for name in ("start_id", "end_id", "run", "score", "called")}
        for run in served
        for link in world.links[run]
        if link["start_id"] in world.peaks[release] and link["end_id"] in world.genes[release]
    ]
    return near + predicted


def shown(edges: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    flat = [{"score": None, "called": None} | e | e.get("columns", {}) for e in edges]
    names = ("type", "start_id", "end_id", "dataset", "run", "score", "called")
    return sorted((tuple(e[name] for name in names) for e in flat), key=str)


@pytest.mark.parametrize("limit", [7, 100, 1000])
def test_pages_hold_every_edge_once_in_order(api: Api, world: Published, limit: int) -> None:
    rows = all_pages(api, limit=limit)
    assert shown(rows) == shown(expected_edges(world, 2, world.served))
    keys = [(row["type"], row["edge_id"], row["run"] or "") for row in rows]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"type": "NEAR"}, lambda e, _: e["type"] == "NEAR"),
        ({"gene": "AGENE2"}, lambda e, _: e["end_id"] == gene_id(2)),
        ({"peak": peak_id(3)}, lambda e, _: e["start_id"] == peak_id(3)),
        ({"dataset": "near:a"}, lambda e, _: e["dataset"] == "near:a"),
        ({"dataset": "near:none"}, lambda _, __: False),
        ({"min_score": 0.25}, lambda e, _: e["score"] is not None and e["score"] >= 0.25),
        ({"called": "true"}, lambda e, _: e["called"] is True),
        ({"called": "false"}, lambda e, _: e["called"] is False),
        (
            {"region": "chr1:1,200-5,001"},
            lambda e, peaks: (
                peaks[e["start_id"]]["chrom"] == "chr1"
                and peaks[e["start_id"]]["start"] < 5001
                and peaks[e["start_id"]]["end"] > 1200
            ),
        ),
        ({"gene": "AGENE6", "type": "NEAR"}, lambda e, _: e["end_id"] == gene_id(6) and e["type"] == "NEAR"),
    ],
)
@pytest.mark.parametrize("release", [1, 2])
def test_every_condition_holds(api: Api, world: Published, asked: dict[str, Any], holds: Any, release: int) -> None:
    expected = [e for e in expected_edges(world, release, world.served) if holds(e, world.peaks[release])]
    assert shown(all_pages(api, limit=50, release=release, **asked)) == shown(expected)


def test_edges_of_a_named_run_are_its_own(api: Api, world: Published) -> None:
    rows = all_pages(api, type="PREDICTED_LINK", run=world.unserved, limit=1000)
    assert {row["run"] for row in rows} == {world.unserved}
    assert shown(rows) == shown([e for e in expected_edges(world, 2, [world.unserved]) if e["run"]])


def test_evidence_says_since_when_it_holds(api: Api, world: Published) -> None:
    old = {(e["start_id"], e["end_id"]): e for e in all_pages(api, type="NEAR", release=1)}
    new = {(e["start_id"], e["end_id"]): e for e in all_pages(api, type="NEAR")}
    for pair, edge in new.items():
        changed = world.near[1].get(pair) != world.near[2][pair]
        assert (edge["since"], edge["until"]) == ((2, None) if changed else (1, None))
        assert (old[pair]["since"], old[pair]["until"]) == ((1, 2) if changed else (1, None))
        assert old[pair]["edge_id"] == edge["edge_id"]
    assert all(old[pair]["until"] == 2 for pair in old.keys() - new.keys())


def test_a_page_is_pinned_to_its_publication(api: Api, world: Published, session_store: Store) -> None:
    first = api.get("/v1/edges", params={"limit": 10}).json()
    before = api.get(first["next"])
    runs.publish_run(session_store, world.unserved)
    after = api.get(first["next"])
    try:
        assert after.json() == before.json()
        assert after.json()["publication"] == first["publication"]
        assert "immutable" in after.headers["cache-control"]
        assert api.get("/v1/edges", params={"limit": 10}).json()["publication"] == first["publication"] + 1
    finally:
        runs.publish_run(session_store, world.served[0])


@pytest.mark.parametrize("cursor", ["x", "%%%", "bnVsbA", "W10", "WzEsMiwzLDQsNV0"])
def test_a_cursor_that_is_none_is_refused(api: Api, world: Published, cursor: str) -> None:
    response = api.get("/v1/edges", params={"cursor": cursor})
    assert response.status_code == 422
    assert "cursor" in response.json()["detail"]
    assert world.served


def test_a_cursor_of_another_query_is_refused(api: Api, world: Published) -> None:
    following = api.get("/v1/edges", params={"limit": 10}).json()["next"]
    assert api.get(f"{following}&called=true").status_code == 422
    assert world.served


# --- releases, runs, health ---


def test_releases_and_runs_say_which_are_served(api: Api, world: Published) -> None:
    releases, listed = api.get("/v1/releases").json(), api.get("/v1/runs").json()
    Releases.model_validate(releases)
    Runs.model_validate(listed)
    assert [(r["number"], r["note"], r["served"]) for r in releases["rows"]] == [
        (2, "second", True),
        (1, "first", False),
    ]
    assert {r["id"]: r["served"] for r in listed["rows"]} == {
        **dict.fromkeys(world.served, True),
        world.unserved: False,
    }
    one = api.get(f"/v1/runs/{world.served[0]}").json()
    assert one == next(r for r in listed["rows"] if r["id"] == world.served[0])
    assert one["metrics"] == {"foscttm": 0.1}


def test_a_run_that_is_not_complete_does_not_exist(api: Api, world: Published) -> None:
    assert api.get(f"/v1/runs/{world.writing}").status_code == 404
    assert api.get("/v1/edges", params={"run": world.writing}).status_code == 404


def test_it_is_alive_and_ready(api: Api, world: Published) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz")
    Readiness.model_validate(ready.json())
    assert ready.json()["release"] == 2
    assert ready.headers["cache-control"] == "no-store"
    assert world.served
