"""Model runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from api.answers import reader_of
from api.models import Runs, problems
from api.parameters import refuse_unknown
from api.responses import html_page, listing
from kg.query.catalogue import RunListed, list_runs
from kg.runs.reports import read_report

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.get("", operation_id="list_runs", response_model=Runs, responses=problems(422, 503))
async def runs(request: Request) -> Response:
    """All complete runs, newest first; `served` marks those that readers get."""
    refuse_unknown(request, set())
    return listing(request, {"rows": await reader_of(request).run(list_runs())})


@router.get("/{run}", operation_id="get_run", response_model=RunListed, responses=problems(404, 422, 503))
async def one_run(request: Request, run: str) -> Response:
    """One complete run: configuration, datasets used, metrics."""
    refuse_unknown(request, set())
    return listing(request, (await reader_of(request).run(list_runs(run)))[0])


@router.get(
    "/{run}/report", operation_id="get_run_report", response_class=HTMLResponse, responses=problems(404, 422, 503)
)
async def report(request: Request, run: str) -> Response:
    """The report of a complete run, as one HTML page: what it read, its losses and metrics, and what it predicts.

    It was drawn when the run ended, or when it was last drawn again by `regkg runs report`.
    """
    refuse_unknown(request, set())
    named = (await reader_of(request).run(list_runs(run)))[0]
    return html_page(request, await run_in_threadpool(read_report, request.app.state.home, named.id))
