"""Exported rows as objects of other Python libraries: pandas, networkx and pyranges.

networkx and pyranges are imported when they are asked for, so that nothing else waits for them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from kg.errors import ParameterError, SettingsError
from kg.export.content import PLACE, Content, Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import networkx as nx
    import pyranges

LINK_ATTRIBUTES = ("type", "said_by", "edge_id", "score", "weight", "sign")
_PYRANGES_NAMES = {"chrom": "Chromosome", **{name: name.capitalize() for name in PLACE[1:]}}


def to_pandas(content: Content) -> Frame:
    """Return all rows as one frame, with the columns of `content.schema`."""
    frames = list(content.frames())
    return pd.concat(frames, ignore_index=True) if frames else content.schema.empty_table().to_pandas()


def to_networkx(content: Content, columns: Sequence[str] = ()) -> nx.MultiDiGraph:
    """Return the links as a directed multigraph.

    Nodes are graph ids with the attributes label, name, species, assembly, chrom, start, end (0-based half-open),
    strand and tss; edges have type, said_by (the dataset or the run), edge_id, score, weight and sign. An attribute
    without a value is left out. The graph has the attributes release, hash, and regkg: the whole provenance as JSON.

    Args:
        content: rows that join nodes; guidance graphs include nodes without links.
        columns: further columns of the rows that become attributes of their edges.

    Raises:
        ParameterError: the rows join nothing, or have no such column.
    """
    import networkx as nx  # noqa: PLC0415

    if content.ends is None:
        raise ParameterError(f"an export of {content.about['export']} has no links", hint="edges and guidance have")
    unknown = sorted(set(columns) - set(content.schema.names))
    if unknown:
        raise ParameterError(f"no column is called {', '.join(unknown)}", hint=", ".join(content.schema.names))
    about = dict(content.about)
    graph = nx.MultiDiGraph(
        release=about["release"], hash=about["hash"], regkg=json.dumps(about, sort_keys=True, default=str)
    )
    if content.isolated:
        graph.add_nodes_from(content.nodes.index)
    for frame in content.frames():
        links = content.ends(frame)
        extra = frame[[name for name in columns if name not in LINK_ATTRIBUTES]].set_axis(links.index)
        attributes = _attributes(pd.concat([links[list(LINK_ATTRIBUTES)], extra], axis=1))
        graph.add_edges_from(zip(links["start_id"], links["end_id"], attributes, strict=True))
    nodes = content.nodes.reindex(list(graph))
    graph.add_nodes_from(zip(nodes.index, _attributes(nodes), strict=True))
    return graph


def to_intervals(content: Content, assembly: str | None = None) -> Frame:
    """Return one interval for each row: where it lies, under the names that pyranges uses, then the row's columns.

    Start and End are 0-based half-open, as everywhere in regkg and in pyranges. A link lies at its peak, of two peaks
    the first; Name is then the other end. Score is the row's score, or its weight. Strand is "." where there is none.

    Args:
        content: rows that lie somewhere.
        assembly: keep only rows of this assembly, which intervals do not carry themselves.

    Raises:
        ParameterError: some row lies nowhere, or the rows lie on several assemblies and none was chosen.
    """
    if content.place is None:
        raise ParameterError(f"an export of {content.about['export']} has no positions", hint="peaks and genes have")
    parts = [_with_places(content.place(frame), frame) for frame in content.frames()]
    rows = pd.concat(parts, ignore_index=True)
    unplaced = int(rows["Chromosome"].isna().sum())
    if unplaced:
        raise ParameterError(
            f"{unplaced:,} of {len(rows):,} rows have no position", hint="choose edge types that join a peak"
        )
    assemblies = sorted(rows["assembly"].dropna().unique())
    if assembly is not None and assembly not in assemblies:
        raise ParameterError(f"no row lies on {assembly}", hint=f"there is {', '.join(assemblies) or 'none'}")
    if assembly is None and len(assemblies) > 1:
        raise ParameterError(
            f"the rows lie on {' and '.join(assemblies)}, which one set of intervals would mix",
            hint="choose one: assembly=...",
        )
    chosen = rows if assembly is None else rows[rows["assembly"] == assembly].reset_index(drop=True)
    return chosen.astype({"Start": "int64", "End": "int64"})


def to_pyranges(content: Content, assembly: str | None = None) -> pyranges.PyRanges:
    """Return the intervals of `to_intervals` as PyRanges.

    Raises:
        ParameterError: as `to_intervals`.
        SettingsError: pyranges is not installed.
    """
    try:
        import pyranges  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"pyranges is not installed: {error}",
            "pip install 'regkg[intervals]' up to Python 3.12; later, give to_intervals() to pyranges1.PyRanges",
        ) from error
    return pyranges.PyRanges(to_intervals(content, assembly))


def _with_places(places: Frame, frame: Frame) -> Frame:
    named = places.reset_index(drop=True).rename(columns=_PYRANGES_NAMES)
    own = frame.drop(columns=[c for c in frame if c in (*PLACE, "assembly")]).reset_index(drop=True)
    return pd.concat([named.assign(Strand=named["Strand"].fillna(".")), own], axis=1)


def _attributes(frame: Frame) -> Iterator[dict[str, Any]]:
    """Yield the values of each row by column, without those that are missing."""
    columns = [frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame]
    for row in zip(*columns, strict=True):
        yield {name: value for name, value in zip(frame.columns, row, strict=True) if value is not None}
