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
    """One option for each parameter: a flag for a bool, a range for a limited number."""
    return [_option(p) for p in parameters]


def attributes_of(docstring: str | None) -> dict[str, str]:
    """Name -> text of an Attributes section; one entry may describe several names, and run over several lines."""
    section = cleandoc(docstring or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n {5,}.+)*)$", section, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


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
    if parameter.choices:
        return click.Choice(parameter.choices)
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
