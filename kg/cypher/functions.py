"""The functions that a query may call, and how large each makes what it gives. What is not here is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

from kg.cypher.tokens import refused
from kg.cypher.values import (
    ATOM,
    COLLECTED,
    ENTITY,
    LONGEST_WALK,
    NODE,
    PROPERTY,
    SCALAR,
    SLOT,
    UNWIND_IT,
    Value,
    cost,
    either,
    held,
    made,
    only,
    scalar,
    worked_out,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DIGITS = 300  # of `round`, which writes them all out

# A number, a truth value, a moment, an id: nothing that grows.
_SCALARS = frozenset(
    {
        *("abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cot", "degrees", "e", "exp", "floor", "haversin"),
        *("isnan", "log", "log10", "pi", "radians", "rand", "sign", "sin", "sqrt", "tan"),
        *("toboolean", "tobooleanornull", "tofloat", "tofloatornull", "tointeger", "tointegerornull"),
        *(
            "elementid",
            "endnode",
            "exists",
            "id",
            "isempty",
            "randomuuid",
            "startnode",
            "timestamp",
            "type",
            "valuetype",
        ),
        *("avg", "count", "percentilecont", "percentiledisc", "stdev", "stdevp", "sum"),
        *("distance", "point", "point.distance", "point.withinbbox"),
        *("vector.similarity.cosine", "vector.similarity.euclidean"),
        *("date", "date.truncate", "datetime", "datetime.fromepoch", "datetime.fromepochmillis", "datetime.truncate"),
        *("localdatetime", "localdatetime.truncate", "localtime", "localtime.truncate", "time", "time.truncate"),
        *("duration", "duration.between", "duration.indays", "duration.inmonths", "duration.inseconds"),
    }
)
# One of what is given, or a part of it.
_PARTS = frozenset({"coalesce", "head", "last", "max", "min", "nullif"})
# Text or a list, written anew, at most so many times as large.
_COPIES = {
    **dict.fromkeys(("btrim", "left", "ltrim", "reverse", "right", "rtrim", "substring", "tail", "trim"), 1),
    **dict.fromkeys(("lower", "tolower", "toupper", "upper"), 3),
    **dict.fromkeys(("tobooleanlist", "tofloatlist", "tointegerlist", "tostring", "tostringlist", "tostringornull"), 4),
    "normalize": 18,
}
_OF_PLUGINS = "functions of plug-ins (apoc, gds) are not read; the Cypher manual lists Neo4j's own"


def check_name(name: str) -> None:
    """Refuse a function that is not on the list.

    Args:
        name: in lower case, with its namespace.

    Raises:
        QueryRefused: naming it.
    """
    if name == "reduce":
        raise refused("`reduce` can grow without end", "UNWIND the list and aggregate: UNWIND xs AS x RETURN sum(x)")
    if not (name in _SCALARS or name in _PARTS or name in _COPIES or name in _RULES):
        raise refused(f"function `{name}` is not among those that read within bounds", _OF_PLUGINS)


def call(name: str, arguments: list[Value]) -> Value:
    """What a function of the list gives.

    Raises:
        QueryRefused: it may be too large.
    """
    if name in _COPIES:
        return _copied(name, arguments)
    if name in _PARTS:
        return _part(name, arguments)
    return _RULES[name](arguments) if name in _RULES else scalar(*arguments)


def numbers(length: int) -> Value:
    """A `range` of so many numbers.

    Raises:
        QueryRefused: it is too long.
    """
    if length > LONGEST_WALK:
        raise refused(f"`range` of more than {LONGEST_WALK:,} numbers", "UNWIND range(...) AS x may be of any length")
    return Value(length * SLOT, max(1, length), SLOT, SLOT + length * SLOT, 1 + length, item_kind=ATOM)


def _copied(name: str, arguments: list[Value]) -> Value:
    times = _COPIES[name]
    size = SLOT + times * sum(argument.size for argument in arguments)
    length = times * max((argument.length for argument in arguments), default=1)
    item = times * max((argument.item for argument in arguments), default=SLOT)
    allocated = held(made(arguments) + size, f"`{name}`")
    kind = arguments[0].kind if arguments else ATOM
    steps = 1 + cost(arguments) + size // 64 + _searched(arguments)
    return Value(size, length, item, allocated, steps, kind=kind, item_kind=ATOM)


def _searched(arguments: list[Value]) -> int:
    """Steps of looking for one text in another; which is which differs between functions."""
    return max((a.searched(b) for a, b in permutations(arguments[:2], 2)), default=0)


def _part(name: str, arguments: list[Value]) -> Value:
    if not arguments:
        return SCALAR
    if name in {"head", "last"}:
        return replace(arguments[0].element(), made=arguments[0].made, cost=1 + arguments[0].cost)
    return either(arguments)


def _collect(arguments: list[Value]) -> Value:
    item = max((argument.size for argument in arguments), default=SLOT)
    kind = only(argument.kind for argument in arguments)
    return replace(COLLECTED, item=item, item_kind=kind, made=made(arguments), cost=1 + cost(arguments))


def _size(arguments: list[Value]) -> Value:
    number = max((argument.length for argument in arguments), default=0)
    return replace(worked_out(arguments, 1), number=number)


def _range(arguments: list[Value]) -> Value:
    ends = [argument.number for argument in arguments[:2]]
    if len(ends) < 2 or None in ends:
        raise refused("`range` between numbers that are not written out", f"write its ends, or {UNWIND_IT}")
    found = numbers(1 + sum(end for end in ends if end is not None))
    return replace(found, made=found.made + made(arguments), cost=found.cost + cost(arguments))


def _replace(arguments: list[Value]) -> Value:
    if len(arguments) != 3:
        raise refused("`replace` takes three texts", "replace(text, old, new)")
    text, _, new = arguments
    size = SLOT + text.size * max(1, new.length)
    allocated = held(made(arguments) + size, "`replace`")
    steps = 1 + cost(arguments) + size // 64 + _searched(arguments)
    return Value(size, text.length * max(1, new.length), SLOT, allocated, steps, kind=ATOM)


def _split(arguments: list[Value]) -> Value:
    text = max((argument.size for argument in arguments), default=SLOT)
    length = 1 + max((argument.length for argument in arguments), default=0)
    size = text + length * 2 * SLOT
    item = PROPERTY.item if text <= PROPERTY.size else text
    allocated = held(made(arguments) + size, "`split`")
    return Value(size, length, item, allocated, cost(arguments) + length + _searched(arguments), item_kind=ATOM)


def _of_path(arguments: list[Value]) -> Value:
    path = arguments[0] if arguments else ENTITY
    length = path.length + 1
    return Value(length * SLOT, length, SLOT, path.made + length * SLOT, 1 + path.cost + length, item_kind=NODE)


def _length(arguments: list[Value]) -> Value:
    return replace(worked_out(arguments, 1), number=max((argument.length for argument in arguments), default=0))


def _names(arguments: list[Value]) -> Value:
    return Value(4 * 2**10, 100, 200, 4 * 2**10 + made(arguments), 20 + cost(arguments), item_kind=ATOM)


def _round(arguments: list[Value]) -> Value:
    digits = arguments[1].number if len(arguments) > 1 else 0
    if digits is None or digits > MOST_DIGITS:
        raise refused(
            f"`round` to more than {MOST_DIGITS} digits, or to a number of them that is not written out", "round(x, 3)"
        )
    return scalar(*arguments)


def _name(arguments: list[Value]) -> Value:
    return replace(scalar(*arguments), size=400, length=200)


def _properties(arguments: list[Value]) -> Value:
    size = PROPERTY.size + sum(argument.size for argument in arguments)
    return Value(size, 100, size, PROPERTY.made + made(arguments), 20 + cost(arguments))


_RULES: dict[str, Callable[[list[Value]], Value]] = {
    "collect": _collect,
    "size": _size,
    "char_length": _size,
    "character_length": _size,
    "length": _length,
    "range": _range,
    "replace": _replace,
    "split": _split,
    "nodes": _of_path,
    "relationships": _of_path,
    "keys": _names,
    "labels": _names,
    "elementid": _name,
    "randomuuid": _name,
    "round": _round,
    "type": _name,
    "valuetype": _name,
    "properties": _properties,
}
