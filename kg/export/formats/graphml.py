"""GraphML."""

from __future__ import annotations

import json
import shutil
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from kg.export.registry import Format, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kg.export.content import Content, Frame

_NODE = {
    **dict.fromkeys(("label", "name", "species", "assembly", "chrom", "strand"), "string"),
    **dict.fromkeys(("start", "end", "tss"), "long"),
}
_EDGE = {
    **dict.fromkeys(("type", "said_by", "edge_id"), "string"),
    **dict.fromkeys(("score", "weight"), "double"),
    "sign": "int",
}


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write a directed graph. Nodes come before edges, which wait in a temporary file until all nodes are known."""
    written, seen = 0, set[str]()
    with TemporaryFile() as edges:
        for links in content.links():
            edges.write(_edges(links).encode())
            seen |= {*links["start_id"], *links["end_id"]}
            written += len(links)
        stream = streams[0]
        stream.write(_head(content).encode())
        stream.write(_nodes(content.nodes, content.nodes.index if content.isolated else sorted(seen)).encode())
        edges.seek(0)
        shutil.copyfileobj(edges, stream)
        stream.write(b"</graph>\n</graphml>\n")
    return Tally(written)


def _head(content: Content) -> str:
    keys = [
        f'<key id="{domain[0]}_{name}" for="{domain}" attr.name="{name}" attr.type="{kind}"/>'
        for domain, columns in (("node", _NODE), ("edge", _EDGE))
        for name, kind in columns.items()
    ]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
            *keys,
            '<graph id="regkg" edgedefault="directed">',
            f"<desc>{escape(json.dumps(dict(content.about), sort_keys=True))}</desc>\n",
        ]
    )


def _nodes(nodes: Frame, ids: Iterable[str]) -> str:
    rows = nodes.reindex(list(ids)).to_dict("index")
    return "".join(f"<node id={quoteattr(str(id_))}>{_data('n', _NODE, row)}</node>\n" for id_, row in rows.items())


def _edges(links: Frame) -> str:
    rows = links.to_dict("records")
    return "".join(
        f"<edge source={quoteattr(row['start_id'])} target={quoteattr(row['end_id'])}>{_data('e', _EDGE, row)}</edge>\n"
        for row in rows
    )


def _data(domain: str, columns: Iterable[str], row: dict[Any, Any]) -> str:
    return "".join(
        f'<data key="{domain}_{name}">{escape(str(row[name]))}</data>' for name in columns if not pd.isna(row[name])
    )


FORMAT = Format("GraphML of links and their nodes", "ends", (".graphml", ".xml"), write)
