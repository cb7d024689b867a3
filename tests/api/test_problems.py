"""Failures over HTTP: a problem each, with what to do, and nothing of the server's inside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from api.errors import MEDIA_TYPE, STATUSES, status_of, type_of
from api.models import Problem
from kg import errors
from kg.errors import RegkgError

if TYPE_CHECKING:
    from kg.store import Store
    from tests.api.conftest import Api
    from tests.kg.published import Published


def all_errors() -> list[type[RegkgError]]:
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, RegkgError)]
    return [e for e in found if e is not RegkgError]


def made(error: type[RegkgError]) -> RegkgError:
    if error is errors.MalformedRow:
        return errors.MalformedRow("secret-file", 1, "end", "rule")
    if error is errors.Diverged:
        return errors.Diverged(1, ["secret-cell"])
    return error("secret-message", hint="secret-hint")


def checked(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    Problem.model_validate(body)
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_every_family_has_a_status_of_its_own_kind() -> None:
    families = {e for e in all_errors() if e.__bases__ == (RegkgError,)}
    assert families <= set(STATUSES)
    assert {status_of(e) for e in all_errors()} <= {403, 404, 409, 422, 500, 503}
    assert len({type_of(e) for e in all_errors()}) == len(all_errors())
    assert all(re.fullmatch(r"urn:regkg:error:[a-z0-9-]+", type_of(e)) for e in all_errors())


@pytest.mark.parametrize("error", all_errors(), ids=lambda e: e.__name__)
def test_every_error_of_ours_is_a_problem(api: Api, monkeypatch: pytest.MonkeyPatch, error: type[RegkgError]) -> None:
    async def fails(*_: Any) -> None:
        raise made(error)

    monkeypatch.setattr(api.app.state.reader, "run", fails)
    response = api.get("/v1/releases")
    body = checked(response, status_of(error))
    assert body["type"] == type_of(error)
    assert body["title"] == (error.__doc__ or "").partition("\n")[0]
    assert body["instance"] == "/v1/releases"
    assert ("secret" in response.text) == (response.status_code < 500)
    assert ("retry-after" in response.headers) == (response.status_code == 503)
    if response.status_code < 500 and error is not errors.MalformedRow:
        assert (body["detail"], body["hint"]) == ("secret-message", "secret-hint")


def test_what_nobody_expected_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(api.app.state.reader, "run", fails)
    response = api.get("/v1/releases")
    assert checked(response, 500)["type"] == "about:blank"
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("/v1/genes/X/regulators?limit=1001", ["limit"]),
        ("/v1/genes/X/regulators?limit=0&called_only=perhaps", ["limit", "called_only"]),
        ("/v1/genes/X/regulators?limt=5", ["limt"]),
        ("/v1/edges?limit=1001&min_score=high", ["min_score", "limit"]),
        ("/v1/edges?genes=X", ["genes"]),
        ("/v1/q/region-edges", ["region"]),
        ("/v1/q/region-edges?region=chr1:0-5&release=0", ["release"]),
        ("/v1/releases?page=2", ["page"]),
        ("/v1/runs?page=2", ["page"]),
    ],
)
def test_a_parameter_that_is_wrong_or_unknown_is_named_and_refused(api: Api, url: str, wrong: list[str]) -> None:
    body = checked(api.get(url), 422)
    assert sorted(e["parameter"] for e in body["errors"]) == sorted(wrong)
    assert body["type"] == type_of(errors.ParameterError)


@pytest.mark.parametrize("region", ["chr1:5-5", "chr1:9-3", "nowhere"])
def test_a_region_that_is_none_is_refused(api: Api, world: Published, region: str) -> None:
    assert "region" in checked(api.get("/v1/q/region-edges", params={"region": region}), 422)["detail"]
    assert "region" in checked(api.get("/v1/edges", params={"region": region}), 422)["detail"]
    assert world.served


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("/v1/genes/NOBODY/regulators", errors.UnknownGene),
        ("/v1/edges?gene=NOBODY", errors.UnknownGene),
        ("/v1/edges?peak=GRCh38:chr1:1-2", errors.UnknownPeak),
        ("/v1/q/peak-targets?peak=x", errors.UnknownPeak),
        ("/v1/q/nothing", errors.UnknownQuestion),
        ("/v1/runs/nothing", errors.UnknownRun),
        ("/v1/edges?run=nothing", errors.UnknownRun),
        ("/v1/edges?release=99", errors.UnknownRelease),
    ],
)
def test_what_is_not_there_is_404_with_a_hint(api: Api, world: Published, url: str, kind: type[RegkgError]) -> None:
    body = checked(api.get(url), 404)
    assert body["type"] == type_of(kind)
    assert body["hint"]
    assert world.served


INJECTIONS = [
    "' OR 1=1 //",
    '"}) DETACH DELETE n //',
    "`) MATCH (n) DETACH DELETE n //",
    "x\u0000y",
    "$gene",
    "{id: 1}",
    "\\u0027",
    "𝗡𝗖𝗙𝟮",
    "a" * 5000,
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_cypher_in_a_parameter_is_only_text(api: Api, world: Published, session_store: Store, text: str) -> None:
    count = "MATCH (n) OPTIONAL MATCH (n)-[r]->() RETURN count(DISTINCT n) AS nodes, count(r) AS edges"
    before = session_store.read(count)
    for url, name in (
        ("/v1/q/gene-regulators", "gene"),
        ("/v1/q/peak-targets", "peak"),
        ("/v1/q/region-edges", "region"),
        ("/v1/q/similar-genes", "gene"),
        ("/v1/edges", "gene"),
        ("/v1/edges", "peak"),
        ("/v1/edges", "type"),
        ("/v1/edges", "cursor"),
        ("/v1/edges", "run"),
    ):
        assert api.get(url, params={name: text}).status_code in {404, 422}
    assert api.get("/v1/edges", params={"dataset": text}).json()["rows"] == []
    assert session_store.read(count) == before
    assert world.served


def test_an_unknown_path_and_a_wrong_method_are_problems(api: Api) -> None:
    assert checked(api.get("/v2/edges"), 404)["type"] == "about:blank"
    response = api.run(lambda: api.client.post("/v1/edges"))
    assert checked(response, 405)["title"] == "Method Not Allowed"
    assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("given", "taken"), [("abc-1.2_3", True), ("a b", False), ("<script>", False), ("x" * 65, False)]
)
def test_a_request_id_is_taken_when_it_is_sane(api: Api, given: str, *, taken: bool) -> None:
    response = api.get("/healthz", headers={"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) == taken
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", response.headers["x-request-id"])


def test_nothing_published_is_not_ready(api: Api, store: Store) -> None:
    assert store.read("MATCH (p:Publication) RETURN p") == []
    assert checked(api.get("/readyz"), 503)["type"] == type_of(errors.UnknownRelease)
    assert checked(api.get("/v1/edges"), 404)["type"] == type_of(errors.UnknownRelease)
    assert api.get("/healthz").status_code == 200
    assert api.get("/v1/releases").json() == {"rows": []}


def test_a_read_that_takes_too_long_is_stopped(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kg.store.connection.READ_TIMEOUT_S", 0.5)
    with pytest.raises(errors.StoreUnavailable, match="time limit"):
        api.run(lambda: api.app.state.reader.store.read("UNWIND range(1, 1000000000000) AS x RETURN count(x) AS n"))
