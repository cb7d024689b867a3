"""Genes and what regulates them."""

from __future__ import annotations

from fastapi import APIRouter

from api.answers import answer
from api.models import answer_model, problems
from api.parameters import endpoint
from kg.query.registry import question_named

REGULATORS = question_named("gene-regulators")

router = APIRouter(prefix="/v1/genes", tags=["genes"])
router.add_api_route(
    "/{gene}/regulators",
    endpoint(
        REGULATORS.parameters, lambda request, parameters: answer(request, REGULATORS, parameters), path=("gene",)
    ),
    operation_id="list_gene_regulators",
    summary="Which peaks regulate a gene?",
    description=REGULATORS.doc,
    response_model=answer_model(REGULATORS),
    responses=problems(404, 422, 503),
)
