"""Model runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002

from api.answers import reader_of
from api.models import Runs, problems
from api.parameters import refuse_unknown
from api.responses import listing
from kg.query.catalogue import RunListed, list_runs

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
