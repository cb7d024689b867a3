"""Questions over HTTP: resolve the version, compare the ETag, and only then read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.responses import etag_of, json_response, not_modified
from kg.query.plan import NoRows
from kg.query.scope import guard_of, scope_of

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import Response

    from kg.query.plan import Reader
    from kg.query.registry import Parameters, Question
    from kg.query.scope import Scope


@dataclass
class Latest:
    """What was served when it was last asked; an answer that starts from it checks in its own query that it still is.

    That saves one of two trips to the database.
    """

    scope: Scope | None = None


def reader_of(request: Request) -> Reader:
    """Return what carries plans out for this app."""
    reader: Reader = request.app.state.reader
    return reader


async def answer(request: Request, question: Question, parameters: Parameters) -> Response:
    """Return the answer as JSON, or 304 when the caller has it."""
    latest: Latest = request.app.state.latest
    reader = reader_of(request)
    narrowed = parameters.release is not None or parameters.run is not None
    if latest.scope is not None and not narrowed and "if-none-match" not in request.headers:
        with suppress(NoRows):
            fresh_answer = await reader.run(question.answer(parameters, latest.scope), guard_of(latest.scope))
            return json_response(fresh_answer, etag_of(request, latest.scope))
    scope = await reader.run(scope_of(parameters.release, parameters.run))
    if not narrowed:
        latest.scope = scope
    etag = etag_of(request, scope)
    known = not_modified(request, etag)
    return known or json_response(await reader.run(question.read_consistently(parameters, scope)), etag)
