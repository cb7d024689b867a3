"""Errors as problem+json (RFC 9457): what went wrong and what to do, never what is inside the server."""

from __future__ import annotations

import json
import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from kg.errors import (
    Conflict,
    InputError,
    NotFound,
    ParameterError,
    QueryRefused,
    RegkgError,
    SchemaError,
    SettingsError,
    StoreError,
    StoreUnavailable,
    TrainingError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request

STATUSES: dict[type[RegkgError], int] = {
    SettingsError: 500,
    ParameterError: 422,
    QueryRefused: 403,
    InputError: 422,
    SchemaError: 500,
    NotFound: 404,
    Conflict: 409,
    StoreError: 500,
    StoreUnavailable: 503,
    TrainingError: 500,
}
"""Family of errors -> HTTP status; the nearest ancestor counts."""

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_log = logging.getLogger(__name__)


def status_of(error: type[RegkgError]) -> int:
    """Return the HTTP status of a kind of error, by its family."""
    return next(STATUSES[family] for family in error.__mro__ if family in STATUSES)


def type_of(error: type[RegkgError]) -> str:
    """Return the problem type of an error: a URN, in kebab case."""
    return f"urn:regkg:error:{re.sub(r'(?<!^)(?=[A-Z])', '-', error.__name__).lower()}"


def add_error_handlers(app: FastAPI) -> None:
    """Let every failure of a request end as a problem."""
    app.add_exception_handler(RegkgError, _on_regkg_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


def problem(
    request: Request,
    status: int,
    type_: str,
    title: str,
    *,
    detail: str = "",
    hint: str = "",
    errors: Sequence[Any] = (),
) -> Response:
    """Return a problem as a response; empty members are left out."""
    request_id = request.scope["state"]["request_id"]
    body: dict[str, Any] = {"type": type_, "title": title, "status": status, "detail": detail, "hint": hint}
    body |= {"instance": request.url.path, "errors": list(errors), "request_id": request_id}
    headers: Mapping[str, str] = {"Cache-Control": "no-store", "X-Request-ID": request_id}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {**headers, "Retry-After": str(RETRY_AFTER_S)}
    content = json.dumps({name: value for name, value in body.items() if value not in ("", [])})
    return Response(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers))


def problem_of(request: Request, error: RegkgError, status: int | None = None) -> Response:
    """Return an error of ours as a problem; of the server's own failures only the kind is told."""
    code = status or status_of(type(error))
    title = (type(error).__doc__ or "").partition("\n")[0]
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, NotFound):
        _log.error("%s %s: %s", request.scope["state"]["request_id"], type(error).__name__, error.message)
        return problem(request, code, type_of(type(error)), title)
    errors = [{"detail": each} for each in getattr(error, "discrepancies", ())]
    return problem(request, code, type_of(type(error)), title, detail=error.message, hint=error.hint, errors=errors)


async def _on_regkg_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegkgError)  # noqa: S101 - registered for these alone
    return problem_of(request, error)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [{"detail": e["msg"], "parameter": str(e["loc"][-1])} for e in error.errors()]
    detail = "; ".join(f"{e['parameter']}: {e['detail']}" for e in errors)
    title = (ParameterError.__doc__ or "").partition("\n")[0]
    return problem(request, 422, type_of(ParameterError), title, detail=detail, errors=errors)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    response = problem(request, error.status_code, "about:blank", HTTPStatus(error.status_code).phrase)
    response.headers.update(error.headers or {})
    return response


async def _on_unexpected(request: Request, error: Exception) -> Response:
    _log.error("%s failed", request.scope["state"]["request_id"], exc_info=error)
    return problem(request, 500, "about:blank", HTTPStatus.INTERNAL_SERVER_ERROR.phrase)
