"""The answer to a question as something to export: its rows, and the pairs and places that they speak of."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pandas as pd
import pyarrow as pa

from kg.export.content import PLACE, Content, Frame, described, links, peaks_of, together
from kg.schema import GENE, PEAK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kg.query.registry import Answer
    from kg.schema import NodeType
    from kg.store import Store

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_AT_RELEASE = """
UNWIND $ids AS id MATCH (n:{node} {{id: id}})-[:HAS_RECORD]->(r:{record})
WHERE r.since <= $release AND $release < r.until
WITH n, r ORDER BY r.dataset WITH n, head(collect(r)) AS r
RETURN n.id AS id, r {{.*}} AS found
"""


def of_answer(store: Store, answer: Answer, row: type) -> Content:
    """Export an answer; its rows join what they name as `peak` and `gene`, or one of these and the subject.

    Args:
        store: where the peaks and genes of the rows are described.
        answer: of a question.
        row: the type of its rows.
    """
    schema = pa.schema([(field.name, _type(get_type_hints(row)[field.name])) for field in fields(row)])
    plain = [{name: _plain(value) for name, value in asdict(one).items()} for one in answer.rows]
    rows = pa.Table.from_pylist(plain, schema)
    subject = str((answer.subject or {}).get("id") or "")
    ends = _ends(schema.names, subject)
    ids = {subject, *(id_ for c in ("peak", "gene") if c in schema.names for id_ in rows[c].to_pylist())} - {"", None}
    known = together(_found(store, type_, sorted(ids), answer.release) for type_ in (GENE, PEAK))
    about = {
        "export": answer.question,
        "release": answer.release,
        "hash": answer.hash,
        "publication": answer.publication,
        "runs": [run.run for run in answer.runs],
        "subject": dict(answer.subject or {}),
        "truncated": answer.truncated,
        "regkg": version("regkg"),
    }

    def joined(frame: Frame) -> Frame:
        start, end = (frame[c] if c in frame else pd.Series(subject, frame.index, dtype=object) for c in ends or ())
        score = frame.get("score", frame.get("cosine"))
        linked = links(frame.assign(start_id=start, end_id=end, score=score))
        return linked.assign(type=frame.get("type", answer.question))

    def own_places(frame: Frame) -> Frame:
        name = frame.get("symbol", frame.get("peak", pd.Series(answer.question, frame.index)))
        return frame.reindex(columns=[*PLACE, "assembly"]).assign(
            name=name, score=frame.get("score", frame.get("cosine"))
        )

    place = None
    if ends and PEAK.label in set(known["label"]):
        place = lambda frame: peaks_of(joined(frame), known)  # noqa: E731 - one of two
    elif {"chrom", "start", "end"} <= set(schema.names):
        place = own_places
    return Content(about, schema, [rows], known, joined if ends else None, place)


def _ends(columns: Sequence[str], subject: str) -> tuple[str, str] | None:
    """Return the columns of the start and the end; "" is what was asked about."""
    named = [c for c in ("peak", "gene") if c in columns]
    if len(named) == 2:
        return "peak", "gene"
    if named and subject:
        return ("peak", "") if named == ["peak"] else ("", "gene")
    return None


def _found(store: Store, type_: NodeType, ids: list[str], release: int) -> Frame:
    query = _AT_RELEASE.format(node=type_.node_label, record=type_.record_label)
    rows = store.read(query, ids=ids, release=release)
    columns = {f.name: [{"id": row["id"], **row["found"]}.get(f.name) for row in rows] for f in type_.schema}
    arrays = [pa.array(columns[field.name], field.type) for field in type_.schema]
    return described(type_, pa.table(arrays, schema=type_.schema))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)


def _type(hint: Any) -> pa.DataType:
    """Return the Arrow type of a field of a row; anything but the plain types becomes text."""
    kind = next((one for one in get_args(hint) if one is not type(None)), hint)
    return _TYPES.get(kind, pa.string())
