"""Shapes of responses, for the OpenAPI document; the bytes are made without them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, create_model

from api.errors import MEDIA_TYPE
from kg.query.catalogue import ReleaseListed, RunListed  # noqa: TC001 - pydantic reads annotations
from kg.query.edge_pages import Edge  # noqa: TC001
from kg.query.registry import Answer
from kg.query.scope import RunRead

if TYPE_CHECKING:
    from kg.query.registry import Question


class InvalidParameter(BaseModel):
    """One thing that is wrong with a request."""

    detail: str
    parameter: str | None = None


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(examples=["urn:regkg:error:unknown-gene"])
    title: str
    status: int
    detail: str | None = None
    hint: str | None = Field(None, description="What to do next.")
    instance: str
    errors: list[InvalidParameter] | None = None
    request_id: str


class Edges(BaseModel):
    """One page of edges."""

    publication: int
    release: int
    hash: str
    runs: list[RunRead]
    stale: bool
    rows: list[Edge]
    next: str | None = Field(description="Path and query of the next page, as in the Link header; null on the last.")


class Releases(BaseModel):
    """All releases, newest first."""

    rows: list[ReleaseListed]


class Runs(BaseModel):
    """All complete runs, newest first."""

    rows: list[RunListed]


class Health(BaseModel):
    """The process answers."""

    status: str


class Readiness(BaseModel):
    """The database answers and something is published."""

    status: str
    publication: int
    release: int


def answer_model(question: Question) -> type[BaseModel]:
    """Return the shape of an answer to this question."""
    fields: dict[str, Any] = {f.name: (f.type, ...) for f in dataclasses.fields(Answer)}
    fields |= {"rows": (list[question.row], ...), "runs": (list[RunRead], ...), "subject": (dict[str, Any] | None, ...)}  # type: ignore[name-defined]
    name = "".join(part.title() for part in question.name.split("-"))
    return create_model(f"{name}Answer", __doc__=question.doc.partition("\n")[0], **fields)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses that are problems, for a route's documentation."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    about = {
        404: "Nothing has that name at that release.",
        422: "A parameter is wrong.",
        503: "The database does not answer, or nothing is published.",
    }
    return {status: {"description": about[status], "content": content} for status in statuses}
