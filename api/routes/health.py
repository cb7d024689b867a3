"""Is it alive, can it answer?"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.answers import reader_of
from api.errors import problem_of
from api.models import Health, Readiness, problems
from api.responses import to_json
from kg.errors import UnknownRelease
from kg.query.scope import scope_of

router = APIRouter(tags=["health"])
_NEVER_KEPT = {"Cache-Control": "no-store"}


@router.get("/healthz", operation_id="get_health", response_model=Health)
async def health() -> Response:
    """Answer that the process is alive; this says nothing about the database."""
    return Response(to_json({"status": "ok"}), media_type="application/json", headers=_NEVER_KEPT)


@router.get("/readyz", operation_id="get_readiness", response_model=Readiness, responses=problems(503))
async def readiness(request: Request) -> Response:
    """The database answers and something is published."""
    try:
        scope = await reader_of(request).run(scope_of())
    except UnknownRelease as error:
        return problem_of(request, error, status=503)
    body = {"status": "ready", "publication": scope.publication, "release": scope.release}
    return Response(to_json(body), media_type="application/json", headers=_NEVER_KEPT)
