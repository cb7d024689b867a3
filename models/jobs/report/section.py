"""A section of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.pages.blocks import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.pages.blocks import Block


@dataclass(frozen=True)
class Section:
    """A part of the report under a title.

    Attributes:
        title: heading.
        blocks: its content.
        missing: name of what a run of this model should have but this one lacks; None if nothing is missing.
    """

    title: str
    blocks: Sequence[Block]
    missing: str | None = None


def missing(title: str, name: str, sentence: str) -> Section:
    """Return a section that only says that, and why, something could not be shown."""
    return Section(title, [Text(sentence, is_missing=True)], name)
