"""Parameters declared once: questions, routes, options of models and of sources are made from the same declaration.

A parameter is a field of a frozen dataclass, made by `param`: its type, default, limits, choices and what it means.
"""

from __future__ import annotations

import dataclasses
import operator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from kg.errors import ParameterError


@dataclass(frozen=True)
class Parameter:
    """One parameter, as the command line, REST and the reference need it.

    Attributes:
        type: str, int, float, bool or Path; `optional` says whether it may also be None.
        low, high: inclusive limits of a number.
        above, below: exclusive limits of a number.
        choices: the values that it may take; empty for any.
        example: a value that makes sense, for documentation.
    """

    name: str
    type: type
    optional: bool
    default: Any
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    example: Any = None
    above: float | None = None
    below: float | None = None

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    def objection(self, value: Any) -> str | None:
        """Why a value is not acceptable; None when it is."""
        if value is None:
            return None if self.optional else f"{self.name} must not be empty"
        if not _is_of(value, self.type):
            return f"{self.name} is {value!r}: expected {_NAMES.get(self.type, self.type.__name__)}"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}: one of {', '.join(self.choices)}"
        limits = (
            ("at least", self.low, operator.ge),
            ("at most", self.high, operator.le),
            ("more than", self.above, operator.gt),
            ("less than", self.below, operator.lt),
        )
        for words, limit, keeps in limits:
            if limit is not None and not keeps(value, limit):
                return f"{self.name} is {value}: {words} {limit:g}"
        return None


def param(
    doc: str,
    default: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    example: Any = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A documented field of a parameter class."""
    limits = {"low": low, "high": high, "above": above, "below": below}
    return dataclasses.field(default=default, metadata={"doc": doc, "choices": choices, "example": example, **limits})


def parameters_of(cls: type, shared: type | None = None) -> list[Parameter]:
    """The fields of a parameter class: required ones first, those of the class `shared` last."""
    hints = get_type_hints(cls)
    made = [_parameter(field, hints[field.name]) for field in dataclasses.fields(cls)]
    last = {field.name for field in dataclasses.fields(shared)} if shared is not None else set()
    return sorted(made, key=lambda p: (not p.required, p.name in last))


def check(values: Any) -> None:
    """Refuse an instance of a parameter class with values outside their limits, all at once.

    Raises:
        ParameterError: naming each.
    """
    said = (p.objection(getattr(values, p.name)) for p in parameters_of(type(values)))
    wrong = [objection for objection in said if objection is not None]
    if wrong:
        raise ParameterError("parameters are not valid", wrong)


def made(cls: type, options: Any) -> Any:
    """An instance of a parameter class from options by name, checked.

    Raises:
        ParameterError: an option is not declared, or a value is outside its limits.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ParameterError(
            "parameters are not valid", [f"{name} is not an option" for name in unknown], f"options: {', '.join(known)}"
        )
    instance = cls(**options)
    check(instance)
    return instance


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def _is_of(value: Any, kind: type) -> bool:
    """Whether a value is of a type; whole numbers are numbers, and true and false are neither."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _parameter(field: dataclasses.Field[Any], hint: Any) -> Parameter:
    options = get_args(hint)
    kind = next((t for t in options if t is not type(None)), hint)
    return Parameter(field.name, kind, type(None) in options, field.default, **field.metadata)
