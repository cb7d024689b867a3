"""Releases of the evidence."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002

from api.answers import reader_of
from api.models import Releases, problems
from api.parameters import refuse_unknown
from api.responses import listing
from kg.query.catalogue import list_releases

router = APIRouter(prefix="/v1/releases", tags=["releases"])


@router.get("", operation_id="list_releases", response_model=Releases, responses=problems(422, 503))
async def releases(request: Request) -> Response:
    """All releases, newest first; `served` marks the one that readers get."""
    refuse_unknown(request, set())
    return listing(request, {"rows": await reader_of(request).run(list_releases())})
