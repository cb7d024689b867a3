"""Pages that need nothing but themselves: pictures stand in the file, and nothing is fetched."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from kg.files import replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

DPI = 130
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1100px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:.25em .7em;text-align:left;"
    "border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}"
    ".wide{overflow-x:auto}.missing{color:#6b6b6b;border-left:3px solid #ccc;padding-left:.8em}"
)


def write_page(title: str, parts: Iterable[str], path: Path) -> None:
    """Write a page of these pieces of HTML; it appears whole or not at all."""
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style>"
    with replaced(path) as partial:
        partial.write_text(f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>")


def image(figure: Figure, alt: str) -> str:
    """A picture as it stands in the page."""
    held = BytesIO()
    figure.savefig(held, format="png", dpi=DPI)
    return png(held.getvalue(), alt)


def png(content: bytes, alt: str) -> str:
    """The bytes of a PNG as they stand in the page."""
    return f"<p><img alt='{escape(alt)}' src='data:image/png;base64,{b64encode(content).decode()}'></p>"


def table(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Rows with the same columns; numbers to the right."""
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f"<td class='n'>{value:.4g}</td>" if isinstance(value, float) else f"<td class='n'>{value:,}</td>"
