"""Every named question, as GET /v1/q/{name}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002

from api.answers import answer
from api.models import answer_model, problems
from api.parameters import endpoint
from kg.query.registry import question_named, questions

if TYPE_CHECKING:
    from kg.query.registry import Parameters, Question

router = APIRouter(prefix="/v1/q", tags=["questions"])


def _add(question: Question) -> None:
    async def ask(request: Request, parameters: Parameters) -> Response:
        return await answer(request, question, parameters)

    router.add_api_route(
        f"/{question.name}",
        endpoint(question.parameters, ask),
        operation_id=f"ask_{question.name.replace('-', '_')}",
        summary=question.doc.partition("\n")[0],
        description=question.doc,
        response_model=answer_model(question),
        responses=problems(404, 422, 503),
    )


for _question in questions().values():
    _add(_question)


@router.get("/{name}", include_in_schema=False)
async def ask_unknown(name: str) -> None:
    """Say which questions there are."""
    question_named(name)
