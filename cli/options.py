"""Options made from declarations, so that a parameter is said once."""

from __future__ import annotations

import re
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kg.parameters import Parameter


def options_for(parameters: Iterable[Parameter]) -> list[click.Parameter]:
    """Return one option for each parameter: on and off for a bool, a range for a limited number, a choice, a path."""
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
    flag = parameter.name.replace("_", "-")
    if parameter.type is bool:
        pair = f"--{flag}/--no-{flag}"
        return click.Option([pair], default=parameter.default, help=_sentence(parameter.doc))
    # None as a default counts as a value to click, which would make a required option optional
    default = (
        {} if parameter.required else {"default": parameter.default, "show_default": parameter.default is not None}
    )
    return click.Option(
        [f"--{flag}"], type=_type(parameter), required=parameter.required, help=_sentence(parameter.doc), **default
    )


def _type(parameter: Parameter) -> Any:
    if parameter.choices:
        return click.Choice(parameter.choices)
    if parameter.type is Path:
        return click.Path(path_type=Path)
    low, high = _first_of(parameter.low, parameter.above), _first_of(parameter.high, parameter.below)
    if parameter.type not in (int, float) or (low, high) == (None, None):
        return parameter.type
    limits = {"min_open": parameter.above is not None, "max_open": parameter.below is not None}
    if parameter.type is float:
        return click.FloatRange(low, high, **limits)
    return click.IntRange(None if low is None else int(low), None if high is None else int(high), **limits)


def _first_of(inclusive: float | None, exclusive: float | None) -> float | None:
    return exclusive if inclusive is None else inclusive


def _sentence(doc: str) -> str:
    return f"{doc[:1].upper()}{doc[1:]}{'' if doc.endswith('.') else '.'}"
