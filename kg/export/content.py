"""What is exported, as a stream of tables that every format can read in the shape that it needs.

Positions are 0-based half-open. A gene stands for its transcription start site in links, one base long, and for
its whole body as a place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kg.schema import PEAK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from kg.schema import NodeType

Frame = pd.DataFrame
NODES = ("label", "name", "species", "assembly", "chrom", "start", "end", "strand", "tss")
_GIVEN = ("type", "edge_id", "dataset", "run", "start_id", "end_id", "score", "weight", "sign")
PLACE = ("chrom", "start", "end", "name", "score", "strand")  # the columns of BED6
_DTYPES: dict[str, Any] = {name: "Int64" if name in ("start", "end", "tss") else object for name in NODES}
_TYPES = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int64Dtype(), pa.int8(): pd.Int64Dtype()}
_NULLABLE = _TYPES | {pa.bool_(): pd.BooleanDtype()}


@dataclass(frozen=True)
class Content:
    """What is exported.

    Attributes:
        about: release, hash, runs and the like, in JSON's own types.
        schema: of `rows`.
        rows: tables of that schema, one after another; they can be read once.
        nodes: by id, with the columns NODES: at least those that links join.
        ends: gives the links of a table: type, edge_id, said_by (dataset or run), start_id, end_id, score, weight
            and sign; None where rows join nothing.
        place: gives the places of a table, the columns PLACE and assembly; None where rows lie nowhere.
        vectors: gives ids and a (V, dims) float32 matrix; None for everything but embeddings.
        isolated: write nodes without links too.
    """

    about: Mapping[str, Any]
    schema: pa.Schema
    rows: Iterable[pa.Table]
    nodes: Frame = field(default_factory=lambda: no_nodes())  # noqa: PLW0108 - it stands below
    ends: Callable[[Frame], Frame] | None = None
    place: Callable[[Frame], Frame] | None = None
    vectors: Callable[[], tuple[list[str], NDArray[np.float32]]] | None = None
    isolated: bool = False

    def frames(self) -> Iterator[Frame]:
        """Yield the rows with nullable integers and booleans, and lists as text separated by semicolons."""
        lists = [field.name for field in self.schema if pa.types.is_list(field.type)]
        for table in self.rows:
            frame = table.to_pandas(types_mapper=_NULLABLE.get)
            yield frame.assign(**{name: frame[name].map(";".join, na_action="ignore") for name in lists})

    def links(self) -> Iterator[Frame]:
        """Yield the links, with name, chrom, start, end and strand of both ends, such as `start_name`, `end_chrom`."""
        assert self.ends is not None  # noqa: S101 - formats are only given what they take
        for frame in self.frames():
            links = self.ends(frame)
            sides = [_side(links[f"{side}_id"], self.nodes, side) for side in ("start", "end")]
            yield pd.concat([links.reset_index(drop=True), *sides], axis=1)

    def places(self) -> Iterator[Frame]:
        """Yield where the rows lie."""
        assert self.place is not None  # noqa: S101
        for frame in self.frames():
            yield self.place(frame)


def no_nodes() -> Frame:
    """Return no nodes, with the columns of `Content.nodes`."""
    return pd.DataFrame(columns=list(NODES), index=pd.Index([], name="id", dtype=object)).astype(_DTYPES)


def together(parts: Iterable[Frame]) -> Frame:
    """Return nodes of several types, each once."""
    present = [part for part in parts if len(part)]
    every = pd.concat(present) if present else no_nodes()
    return every[~every.index.duplicated()]


def described(type_: NodeType, table: pa.Table) -> Frame:
    """Return nodes of a type as `Content.nodes` has them."""
    frame = table.to_pandas(types_mapper=_NULLABLE.get).set_index("id")
    name = next((c for c in ("symbol", "name", "rsid") if c in frame), None)
    attributes = frame.reindex(columns=list(NODES)).astype(_DTYPES)
    text = pd.Series(frame.index, frame.index, dtype=object)
    named: Frame = attributes.assign(label=type_.label, name=text if name is None else frame[name].fillna(text))
    return named


def links(frame: Frame) -> Frame:
    """Return rows with start_id and end_id as `Content.ends` gives them; columns that they lack are missing."""
    columns = frame.reindex(columns=list(_GIVEN))
    said_by = columns["dataset"].where(columns["dataset"].notna(), columns["run"])
    numbers: dict[str, Any] = {"score": np.float64, "weight": np.float64, "sign": "Int64"}
    typed = columns.drop(columns=["dataset", "run"]).astype(numbers).assign(said_by=said_by)
    return typed.assign(type=typed["type"].fillna("GUIDANCE"))


def peaks_of(links: Frame, nodes: Frame) -> Frame:
    """Return the peak of each link, under the name of its other end; of two peaks the first."""
    first = (nodes["label"].reindex(links["start_id"]) == PEAK.label).to_numpy()
    peaks = links["start_id"].where(first, links["end_id"])
    others = links["end_id"].where(first, links["start_id"])
    score = links["score"].where(links["score"].notna(), links["weight"])
    places = places_of(nodes, peaks, nodes["name"].reindex(others), score)
    return places.assign(chrom=places["chrom"].where(nodes["label"].reindex(peaks).to_numpy() == PEAK.label))


def places_of(nodes: Frame, ids: pd.Series[str], name: pd.Series[str], score: pd.Series[Any]) -> Frame:
    """Return the places of nodes under other names."""
    placed = nodes.reindex(ids)
    columns = {c: placed[c].to_numpy() for c in ("chrom", "start", "end", "strand", "assembly")}
    return pd.DataFrame({**columns, "name": name.to_numpy(), "score": score.to_numpy()})[[*PLACE, "assembly"]]


def _side(ids: pd.Series[str], nodes: Frame, side: str) -> Frame:
    described_nodes = nodes.reindex(ids).reset_index(drop=True)
    start, end = (
        described_nodes["start"].where(described_nodes["tss"].isna(), described_nodes["tss"]),
        described_nodes["end"],
    )
    end = end.where(described_nodes["tss"].isna(), described_nodes["tss"] + 1)
    side_columns = described_nodes[["label", "name", "chrom", "strand"]].assign(start=start, end=end)
    return side_columns.add_prefix(f"{side}_")
