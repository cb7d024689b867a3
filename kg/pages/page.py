"""Pages by Jinja2: one self-contained file each; pictures and style stand in the file, and nothing is fetched."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from kg.files import replaced

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.pages.blocks import Block


def render(template: str, **content: Any) -> str:
    """A whole page.

    Args:
        template: name of a file in kg/pages/templates.
        content: what the template names; all text is escaped.
    """
    return _environment().get_template(template).render(**content)


def write(path: Path, template: str, **content: Any) -> None:
    """Write a page; it appears whole or not at all."""
    text = render(template, **content)
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def fragment(blocks: Sequence[Block]) -> str:
    """The HTML of some blocks, without a page around them."""
    return _environment().get_template("fragment.html").render(blocks=blocks)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("kg.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["cell"] = cell
    made.tests["numeric"] = is_numeric
    return made


def is_numeric(value: Any) -> bool:
    """Whether a value of a table is a number, which is set to the right; truth values are not."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def cell(value: Any) -> str:
    """A value as a table shows it: four significant digits, thousands parted, nothing where nothing is known."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if is_numeric(value):
        return f"{value:,}"
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(str, value))
    return str(value)
