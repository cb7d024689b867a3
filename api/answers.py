"""Questions over HTTP: resolve the version, compare the ETag, and only then read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.responses import etag_of, json_response, not_modified
from kg.questions.scope import scope_of

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import Response

    from kg.questions.plan import Reader
    from kg.questions.registry import Asked, Question


def reader_of(request: Request) -> Reader:
    """What carries plans out for this app."""
    reader: Reader = request.app.state.reader
    return reader


async def answer(request: Request, question: Question, asked: Asked) -> Response:
    """The answer as JSON, or 304 when the caller has it."""
    reader = reader_of(request)
    scope = await reader.run(scope_of(asked.release, asked.run))
    etag = etag_of(request, scope)
    known = not_modified(request, etag)
    return known or json_response(await reader.run(question.answer(asked, scope)), etag)
