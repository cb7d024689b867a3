"""Answers as bytes: JSON without validating again what the database returned, with an ETag for its version."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from kg.query.scope import Scope

REVALIDATE = "no-cache"  # may be kept, but is asked for each time, which the ETag makes cheap
FOREVER = "public, max-age=31536000, immutable"
PAGE_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def to_json(value: Any) -> bytes:
    """Return JSON of plain values and dataclasses."""
    return json.dumps(value, default=vars, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def etag_of(request: Request, scope: Scope) -> str:
    """Return a name for what this query answers at this publication, before it is answered."""
    version = (scope.publication, scope.published_at, scope.hash, *scope.run_ids, request.app.version)
    text = "\n".join([*map(str, version), request.url.path, *sorted(request.url.query.split("&"))])
    return f'"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"'


def not_modified(request: Request, etag: str, cache: str = REVALIDATE) -> Response | None:
    """Return a 304 when the caller has this version already."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or known == ["*"]:
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": cache})
    return None


def json_response(value: Any, etag: str, cache: str = REVALIDATE, headers: Mapping[str, str] | None = None) -> Response:
    """Return a 200 response that caches may keep as `cache` says."""
    return Response(
        to_json(value), media_type="application/json", headers={"ETag": etag, "Cache-Control": cache, **(headers or {})}
    )


def listing(request: Request, value: Any) -> Response:
    """Return a list that changes with no publication: its ETag is the hash of the bytes."""
    return _of_bytes(request, to_json(value), "application/json", {})


def html_page(request: Request, page: bytes) -> Response:
    """Return a page that holds its own pictures and style, and may neither run scripts nor fetch anything."""
    return _of_bytes(request, page, "text/html; charset=utf-8", {"Content-Security-Policy": PAGE_POLICY})


def _of_bytes(request: Request, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": REVALIDATE, **headers}
    return not_modified(request, etag) or Response(body, media_type=media_type, headers=dict(headers))
