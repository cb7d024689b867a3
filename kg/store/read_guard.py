"""Hand-written Cypher that can only read, and cannot take the server down.

Five layers: the text (clauses, functions and expressions must be known and bounded, see `kg/cypher`: the server looks
at its limits between rows, never within an expression), a read session (the server refuses writes), the plan that
EXPLAIN gives (operators and procedures must be on the lists below: a read session alone lets LOAD CSV, SHOW
TRANSACTIONS and CALL dbms.* through), no functions from plug-ins, and limits on time, rows and memory
(`kg/server/config.py`). docs/graph.md argues why this is enough.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neo4j.exceptions import ClientError, Neo4jError
from neo4j.graph import Node, Path, Relationship

from kg.cypher.statements import check_query
from kg.errors import QueryRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import neo4j

    from kg.store.connection import Store

TIMEOUT_S = 30.0
ROWS = 10_000
GRACE_S = 15.0  # the longest that one expression within bounds goes on after the time limit, on a slow machine

PROCEDURES = frozenset(
    {
        "db.index.fulltext.querynodes",
        "db.index.fulltext.queryrelationships",
        "db.index.vector.querynodes",
        "db.index.vector.queryrelationships",
        "db.labels",
        "db.propertykeys",
        "db.relationshiptypes",
        "db.schema.nodetypeproperties",
        "db.schema.reltypeproperties",
        "db.schema.visualization",
    }
)

# Operators of Neo4j 5 that only shape rows or read; scans and seeks are known by their endings, and what stands in
# brackets after a name is a variety of it. What is not here is refused, also what later versions bring.
OPERATORS = frozenset(
    {
        *("Anti", "AntiConditionalApply", "AntiSemiApply", "Apply", "Argument", "AssertSameNode"),
        *("AssertSameRelationship", "BidirectionalRepeat", "CacheProperties", "CartesianProduct", "ConditionalApply"),
        *("Distinct", "Eager", "EagerAggregation", "EmptyResult", "EmptyRow", "ExhaustiveLimit", "Expand", "Filter"),
        *("LetAntiSemiApply", "LetSelectOrAntiSemiApply", "LetSelectOrSemiApply", "LetSemiApply", "Limit"),
        *("NodeCountFromCountStore", "NodeHashJoin", "NodeLeftOuterHashJoin", "NodeRightOuterHashJoin", "NonFuseable"),
        *("NullifyMetadata", "Optional", "OptionalExpand", "OrderedAggregation", "OrderedDistinct", "OrderedUnion"),
        *("PartialSort", "PartialTop", "PartitionedUnwind", "PathPropagatingBFS", "PreserveOrder", "ProcedureCall"),
        *("ProduceResults", "ProjectEndpoints", "Projection", "RelationshipCountFromCountStore", "Repeat"),
        *("RollUpApply", "SelectOrAntiSemiApply", "SelectOrSemiApply", "SemiApply", "ShortestPath", "Skip", "Sort"),
        *("StatefulShortestPath", "Top", "Top1WithTies", "TriadicBuild", "TriadicFilter", "TriadicSelection"),
        *("Union", "Unwind", "ValueHashJoin", "VarLengthExpand"),
    }
)
LEAVES = ("Scan", "Seek", "SeekByRange")

_PLUGIN_FUNCTIONS = "SHOW FUNCTIONS YIELD name, isBuiltIn WHERE NOT isBuiltIn RETURN collect(toLower(name)) AS names"


@dataclass(frozen=True)
class Table:
    """What a query answered.

    Attributes:
        truncated: there were more rows than the limit; the rest was not read.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    truncated: bool


def read_only(
    store: Store,
    cypher: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    rows: int = ROWS,
) -> Table:
    """Run one query that only reads.

    Args:
        store: the graph.
        cypher: one statement.
        parameters: its parameters.
        timeout_s: the server stops the query after so long.
        rows: at most so many rows are read.

    Raises:
        QueryRefused: it would do more than read, or more than the limits can stop, or makes no sense to the server.
        StoreUnavailable: it reached the time limit.
    """
    query, given = cypher.replace("\r\n", "\n"), dict(parameters or {})
    check_query(query, given)
    return _watched(lambda: _read(store, query, given, timeout_s, rows), store.uri, query, timeout_s + GRACE_S)


def _read(store: Store, cypher: str, parameters: dict[str, Any], timeout_s: float, rows: int) -> Table:
    with store.reading(timeout_s) as tx:
        plan = _explain(tx, cypher, parameters)
        check_plan(plan, tx.run(_PLUGIN_FUNCTIONS).single(strict=True)["names"])
        result = tx.run(cypher, parameters)
        found = [record.values() for _, record in zip(range(rows + 1), result, strict=False)]
        columns = list(result.keys())
    shown = [dict(zip(columns, map(_plain, values), strict=True)) for values in found[:rows]]
    return Table(columns, shown, truncated=len(found) > rows)


def _watched(work: Callable[[], Table], uri: str, cypher: str, patience_s: float) -> Table:
    """The result of `work`, or an error that names the query if the server does not come back in time."""
    outcome: Future[Table] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True, name="free Cypher").start()
    try:
        return outcome.result(patience_s)
    except TimeoutError as error:
        raise StoreUnavailable(
            f"Neo4j at {uri} still works on a query {GRACE_S:.0f} s after it was told to stop: {cypher[:500]}",
            "please report the query; `regkg db stop` and `regkg db start` end it, and whatever else runs",
        ) from error


def check_plan(plan: Mapping[str, Any], plugin_functions: list[str]) -> None:
    """Refuse a plan that does more than read.

    Args:
        plan: of EXPLAIN: operatorType, args, children.
        plugin_functions: names, in lower case, of functions that are not Neo4j's own.

    Raises:
        QueryRefused: naming the operator, procedure or function.
    """
    for step in _walk(plan):
        operator = str(step["operatorType"]).partition("@")[0].partition("(")[0]
        details = str(step.get("args", {}).get("Details", "")).lower().replace("`", "").replace(" ", "")
        if operator not in OPERATORS and not operator.endswith(LEAVES):
            raise _refused(f"{operator} is not among the operations that read")
        if operator == "ProcedureCall" and details.partition("(")[0] not in PROCEDURES:
            raise _refused(f"procedure {details.partition('(')[0]} is not among those that read")
        called = next((name for name in plugin_functions if f"{name}(" in details), None)
        if called:
            raise _refused(f"function {called} comes from a plug-in")


def _explain(tx: neo4j.Transaction, cypher: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        summary = tx.run(f"EXPLAIN {cypher}", dict(parameters)).consume()
    except Neo4jError as error:
        if not isinstance(error, ClientError) or ".Transaction." in (error.code or ""):  # too slow to plan, or too busy
            raise
        raise QueryRefused(f"Neo4j cannot run this query: {error.message}", hint="see the Cypher manual") from error
    if summary.query_type != "r" or summary.plan is None:
        raise _refused("it does not only read")
    return summary.plan


def _refused(why: str) -> QueryRefused:
    return QueryRefused(f"the query was refused: {why}", hint="`regkg cypher` only reads; write through the commands")


def _walk(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("children", []):
        yield from _walk(child)


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return {"labels": sorted(value.labels), "properties": _plain(dict(value.items()))}
    if isinstance(value, Relationship):
        return {"type": value.type, "properties": _plain(dict(value.items()))}
    if isinstance(value, Path):
        return {"nodes": _plain(list(value.nodes)), "relationships": _plain(list(value.relationships))}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.iso_format() if hasattr(value, "iso_format") else value
