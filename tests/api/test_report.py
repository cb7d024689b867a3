"""The kept report of a run over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.runs.reports import keep_report

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Api
    from tests.kg.published import Published


def test_the_kept_page_is_served_as_it_is(api: Api, world: Published, home: Path) -> None:
    run = world.served[0]
    keep_report(home, run, "<!doctype html><p>é</p>", {"sections": []})
    page = api.get(f"/v1/runs/{run}/report")
    assert (page.status_code, page.text) == (200, "<!doctype html><p>é</p>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    again = api.get(f"/v1/runs/{run}/report", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_run_without_a_page_and_names_that_lead_elsewhere(api: Api, world: Published, home: Path) -> None:
    bare = api.get(f"/v1/runs/{world.unserved}/report")
    assert (bare.status_code, bare.json()["type"]) == (404, "urn:regkg:error:not-found")
    assert "has no report" in bare.json()["detail"]
    assert f"regkg runs report {world.unserved}" in bare.json()["hint"]
    (home / "report.html").write_text("not a run's")
    for name in (world.writing, "glue-nothing-1", "%2E%2E"):
        assert api.get(f"/v1/runs/{name}/report").json()["type"] == "urn:regkg:error:unknown-run"
