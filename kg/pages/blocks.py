"""What a page is made of: paragraphs, tables, pictures, and parts that are folded until somebody opens them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

DPI = 110


@dataclass(frozen=True)
class Text:
    """A paragraph; plain text, nothing in it is read as HTML.

    Attributes:
        is_missing: it says that something could not be shown.
    """

    kind: ClassVar[str] = "text"
    text: str
    is_missing: bool = False


@dataclass(frozen=True)
class Table:
    """Rows with the same columns; numbers are set to the right."""

    kind: ClassVar[str] = "table"
    rows: Sequence[Mapping[Any, Any]]

    @classmethod
    def of_pairs(cls, pairs: Mapping[str, Any]) -> Self:
        """A table of names and values, without a heading."""
        return cls([{"": name, " ": value} for name, value in pairs.items()])


@dataclass(frozen=True)
class Picture:
    """A PNG that stands in the page itself.

    Attributes:
        png: its bytes.
        alt: what it shows, for people who do not see it.
    """

    kind: ClassVar[str] = "picture"
    png: bytes
    alt: str

    @classmethod
    def of(cls, figure: Figure, alt: str, dpi: int = DPI) -> Self:
        """A figure of matplotlib, drawn."""
        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi)
        return cls(drawn.getvalue(), alt)

    @property
    def base64(self) -> str:
        """The bytes as they stand in a data URL."""
        return b64encode(self.png).decode()


@dataclass(frozen=True)
class Folded:
    """A table that is shown when its title is clicked."""

    kind: ClassVar[str] = "folded"
    title: str
    table: Table


Block = Text | Table | Picture | Folded
