"""Edges of every type, in pages that hold on to one publication."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi import APIRouter

from api.answers import reader_of
from api.models import Edges, problems
from api.parameters import endpoint
from api.responses import FOREVER, REVALIDATE, etag_of, json_response, not_modified
from kg.errors import ParameterError
from kg.parameters import param
from kg.query.edge_pages import EdgeParameters, Position, edge_page
from kg.query.scope import read_consistently, scope_of

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import Response


@dataclass(frozen=True, kw_only=True)
class EdgePageParameters(EdgeParameters):
    """A filter and where to go on."""

    cursor: str | None = param("where the next page begins; take it from the Link header of the page before", None)

    def filter(self) -> dict[str, Any]:
        """Return what must stay the same from page to page."""
        return {
            f.name: value for f in fields(self) if f.name != "cursor" and (value := getattr(self, f.name)) is not None
        }


async def list_edges(request: Request, filters: EdgePageParameters) -> Response:
    """Return one page; a cursor pins the publication, so later publishing does not shift the pages."""
    reader = reader_of(request)
    publication, after = _decoded(filters) if filters.cursor else (None, None)
    scope = await reader.run(scope_of(filters.release, filters.run, publication))
    etag, cache = etag_of(request, scope), FOREVER if filters.cursor else REVALIDATE
    if known := not_modified(request, etag, cache):
        return known
    again = partial(scope_of, filters.release, filters.run, scope.publication)
    page = await reader.run(read_consistently(scope, lambda at: edge_page(filters, at, after), again))
    following = None
    if page.last is not None:
        cursor = _encoded(filters, scope.publication, page.last)
        following = f"{request.url.path}?{urlencode({**filters.filter(), 'cursor': cursor})}"
    body = {"publication": scope.publication, "release": scope.release, "hash": scope.hash, "runs": scope.runs}
    body |= {"stale": scope.stale, "rows": page.rows, "next": following}
    return json_response(body, etag, cache, {"Link": f'<{following}>; rel="next"'} if following else None)


router = APIRouter(prefix="/v1/edges", tags=["edges"])
router.add_api_route(
    "",
    endpoint(EdgePageParameters, list_edges),
    operation_id="list_edges",
    summary="Edges by type, gene, peak, region, dataset, run or score",
    description="Evidence and predictions in the order of type, edge_id and run. Every condition must hold.",
    response_model=Edges,
    responses=problems(404, 422, 503),
)


def _encoded(filters: EdgePageParameters, publication: int, last: Position) -> str:
    text = json.dumps([publication, _digest(filters), *asdict(last).values()])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(filters: EdgePageParameters) -> tuple[int, Position]:
    """Return publication and position.

    Raises:
        ParameterError: not a cursor, or one of another query.
    """
    hint = "take it unchanged from the Link header, with the same filter, or start again without it"
    try:
        cursor = str(filters.cursor)
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        publication, digest, type_, edge_id, run = json.loads(text)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ParameterError(f"cursor {filters.cursor!r} is not a cursor", hint=hint) from error
    if digest != _digest(filters) or not isinstance(publication, int):
        raise ParameterError("the cursor belongs to another query", hint=hint)
    return publication, Position(str(type_), str(edge_id), str(run))


def _digest(filters: EdgePageParameters) -> str:
    return blake2b(json.dumps(filters.filter(), sort_keys=True).encode(), digest_size=8).hexdigest()
