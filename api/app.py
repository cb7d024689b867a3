"""The application: routes found by module, one store for its life."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from api.answers import Latest
from api.errors import add_error_handlers
from api.middleware import RequestId
from api.models import Problem
from kg.discovery import discover
from kg.query.plan import Reader
from kg.store import connect_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kg.settings import Settings

DESCRIPTION = """
Evidence and predictions of gene regulation, as they are at one release.

**Coordinates are 0-based half-open everywhere**: `chr1:0-100` is the first hundred bases, as in BED. Chromosomes are
named as at UCSC (`chr1`; `1` is understood). Genes are named by Ensembl id, with or without version, or by symbol;
peaks by `assembly:chrom:start-end`.

Answers are read from what is published; `release` and `run` narrow that. Every answer says its release and runs, and
`stale` where a run was trained on datasets that have changed since. An ETag stands for a query at a publication:
send it back as If-None-Match. A limit that is too large, or a parameter that does not exist, is refused, not corrected.
"""


def create_app(settings: Settings) -> FastAPI:
    """Return the API of the graph that the settings name; it connects when it starts, not when it is made."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with connect_async(settings) as store:
            app.state.reader, app.state.latest = Reader(store), Latest()
            yield

    app = FastAPI(title="regkg", version=version("regkg"), description=DESCRIPTION, lifespan=lifespan)
    app.state.home = settings.home
    app.add_middleware(RequestId)
    add_error_handlers(app)
    for router in discover("api.routes", "router").values():
        app.include_router(router)
    _add_problem_schema(app)
    return app


def _add_problem_schema(app: FastAPI) -> None:
    """Add the schema of problems, which FastAPI leaves out: it collects models of its JSON responses only."""
    document = app.openapi

    def openapi() -> dict[str, Any]:
        described = document()
        parts = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = described["components"]["schemas"]
        schemas |= parts.pop("$defs", {})
        schemas["Problem"] = parts
        return described

    app.openapi = openapi  # type: ignore[method-assign]
