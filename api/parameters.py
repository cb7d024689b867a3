"""Query parameters from a parameter class, so that REST says the same names, limits and words as the rest."""

from __future__ import annotations

from inspect import Parameter as Argument
from inspect import Signature
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from kg.parameters import Parameter, parameters_of
from kg.query.registry import Parameters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = TypeVar("P", bound=Parameters)


def endpoint(
    parameters: type[P], answer: Callable[[Request, P], Awaitable[Response]], *, path: tuple[str, ...] = ()
) -> Callable[..., Awaitable[Response]]:
    """Return an endpoint that reads `parameters` from the query string (or the path) and answers.

    A query parameter that nobody declared is refused, since a misspelt filter would otherwise be no filter.
    """
    declared = parameters_of(parameters, Parameters)
    known = {p.name for p in declared} - set(path)

    async def call(request: Request, **values: Any) -> Response:
        refuse_unknown(request, known)
        return await answer(request, parameters(**values))

    arguments = [Argument("request", Argument.KEYWORD_ONLY, annotation=Request)]
    arguments += [
        Argument(p.name, Argument.KEYWORD_ONLY, annotation=_annotation(p), default=_field(p, in_path=p.name in path))
        for p in declared
    ]
    call.__signature__ = Signature(arguments, return_annotation=Response)  # type: ignore[attr-defined]
    return call


def refuse_unknown(request: Request, known: set[str]) -> None:
    """Refuse query parameters that are not declared.

    Raises:
        RequestValidationError: naming each.
    """
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        message = (
            f"no such parameter; the parameters are {', '.join(sorted(known))}" if known else "takes no parameters"
        )
        raise RequestValidationError([{"loc": ("query", name), "msg": message} for name in unknown])


def _annotation(parameter: Parameter) -> Any:
    return parameter.type | None if parameter.optional else parameter.type


def _field(parameter: Parameter, *, in_path: bool) -> Any:
    documented: dict[str, Any] = {
        "description": parameter.doc,
        "ge": parameter.low,
        "le": parameter.high,
        "gt": parameter.above,
        "lt": parameter.below,
        "examples": None if parameter.example is None else [parameter.example],
    }
    if in_path:
        return Path(**documented)
    return Query(**documented) if parameter.required else Query(parameter.default, **documented)
