"""Options made from declarations, so that a parameter is said once."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kg.parameters import Parameter


def options_for(parameters: Iterable[Parameter]) -> list[click.Parameter]:
    """Return one option for each parameter: a flag for a bool, a range for a limited number."""
    return [_option(p) for p in parameters]


def attributes_of(docstring: str | None) -> dict[str, str]:
    """Return name -> text of an Attributes section, whose entries may describe several names over several lines."""
    section = cleandoc(docstring or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n {5,}.+)*)$", section, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def attributes_of_class(cls: type) -> dict[str, str]:
    """Return name -> text of the Attributes sections of a class and of those that it inherits from."""
    return {name: text for base in reversed(cls.__mro__) for name, text in attributes_of(base.__doc__).items()}


def _option(parameter: Parameter) -> click.Option:
    flag = f"--{parameter.name.replace('_', '-')}"
    if parameter.type is bool:
        return click.Option([flag], is_flag=True, default=bool(parameter.default), help=_sentence(parameter.doc))
    # None as a default counts as a value to click, which would make a required option optional
    default = (
        {} if parameter.required else {"default": parameter.default, "show_default": parameter.default is not None}
    )
    return click.Option(
        [flag], type=_type(parameter), required=parameter.required, help=_sentence(parameter.doc), **default
    )


def _type(parameter: Parameter) -> Any:
    if parameter.type is int and (parameter.low, parameter.high) != (None, None):
        return click.IntRange(
            min=None if parameter.low is None else int(parameter.low),
            max=None if parameter.high is None else int(parameter.high),
        )
    if parameter.type is float and (parameter.low, parameter.high) != (None, None):
        return click.FloatRange(min=parameter.low, max=parameter.high)
    return parameter.type


def _sentence(doc: str) -> str:
    return f"{doc[:1].upper()}{doc[1:]}{'' if doc.endswith('.') else '.'}"
