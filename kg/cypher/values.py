"""How large a value can be, and what it costs to work it out: the arithmetic of the guard.

Neo4j looks at the limits on time and memory between rows (measured: of time, after a hundred or so of them), never
inside one expression. So the guard works out, from the text alone, the most that each expression can do for one row.
Sizes are bytes of Java's heap, costs are steps of about 50 ns.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kg.cypher.tokens import refused

LONGEST_WALK = 10_000  # elements that one comprehension or quantifier visits
MOST_STEPS = 3_000_000  # of all expressions of a query, each for one row
MOST_MADE = 64 * 2**20  # bytes that all expressions of a query allocate for one row, which no limit of Neo4j counts
LARGEST = 2**30  # bytes that a list can hold, which is put together from collected ones
SORT_KEY = 64 * 2**10  # bytes of one key: a sort compares all its rows at one go
WRITTEN = 60  # characters of a number or a moment within a text
SLOT = 32  # bytes of a number, a truth value, a reference
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RUNAWAY = re.compile(r"\)[*+?{]|[*+?}]\{|\{[^}]*\d{4}|\(\?[=!<>]|\\[1-9k]")
UNWIND_IT = "take a part of it, as in xs[..1000], or UNWIND it: the time limit holds between rows"


@dataclass(frozen=True)
class Value:
    """Upper bounds of what an expression gives, for one row.

    Attributes:
        size: bytes reachable from it.
        length: elements, if it is a list; characters, if it is text.
        item: bytes reachable from one element.
        made: bytes allocated while it is worked out.
        cost: steps to work it out.
        number: the largest magnitude, if it is an integer of which one is known.
        name: the variable that it is, if it is nothing but that.
        text: the characters themselves, where it is a literal.
        kind: ATOM (neither list nor map), NODE (or relationship), or nothing where it may be anything.
        item_kind: the same of each element.
    """

    size: int = SLOT
    length: int = 1
    item: int = SLOT
    made: int = SLOT
    cost: int = 1
    number: int | None = None
    name: str | None = None
    text: str | None = None
    kind: str = ""
    item_kind: str = ""

    @property
    def read(self) -> int:
        """Steps of reading it once from end to end."""
        return self.size // 64

    @property
    def is_large(self) -> bool:
        """Whether only Neo4j's limit on the memory of a transaction bounds it."""
        return self.size > MOST_MADE

    def searched(self, wanted: Value) -> int:
        """Steps of looking for a text in it, which starts anew at each place."""
        return 1 + self.read * (1 + 4 * wanted.read)

    def element(self) -> Value:
        """Any one of its elements."""
        return Value(self.item, max(1, self.item // 2), self.item, kind=self.item_kind)

    def first(self, count: int) -> Value:
        """At most so many of its elements."""
        length = min(self.length, count)
        return replace(self, length=length, size=min(self.size, SLOT + length * self.item), name=None, text=None)


ATOM, NODE = "atom", "node"
SCALAR = Value(kind=ATOM)
# What is stored was loaded by us: the longest texts are the JSON of a run, the longest lists are embeddings. To make
# one of a thousand such costs less than the largest one suggests.
PROPERTY = Value(size=16 * 2**10, length=8_000, item=2 * 2**10, made=4 * 2**10, cost=4)
ENTITY = Value(kind=NODE)
COLLECTED = Value(size=2**29, length=2**24, item=SLOT)  # at most what db.memory.transaction.max lets a query hold


def scalar(*parts: Value) -> Value:
    """A number, a truth value or a moment, worked out from parts that are each read once."""
    return worked_out(parts, 1 + sum(part.read for part in parts))


def worked_out(parts: Sequence[Value], steps: int) -> Value:
    """A number, a truth value or a moment, worked out in so many steps from parts."""
    return Value(made=SLOT + made(parts), cost=cost(parts) + steps, kind=ATOM)


def only(kinds: Iterable[str]) -> str:
    """The one kind that all have, or nothing."""
    found = set(kinds)
    return found.pop() if len(found) == 1 else ""


def cost(parts: Sequence[Value]) -> int:
    """Steps to work out all of these."""
    return sum(part.cost for part in parts)


def made(parts: Sequence[Value]) -> int:
    """Bytes allocated to work out all of these."""
    return sum(part.made for part in parts)


def joined(parts: list[Value]) -> Value:
    """`a + b`: a number, a longer text or a longer list. Neo4j joins lists without copying them."""
    size = sum(max(part.size, 2 * WRITTEN) for part in parts)
    if size > LARGEST:
        raise refused("`+` joins lists without end", UNWIND_IT)
    copied = 0 if any(part.is_large for part in parts) else size
    numbers = [part.number for part in parts]
    return Value(
        size=size,
        length=sum(max(part.length, WRITTEN) for part in parts),
        item=max(max(part.item, part.size) for part in parts),
        made=held(SLOT + made(parts) + copied, "`+`"),
        cost=1 + cost(parts) + copied // 64,
        number=None if None in numbers else sum(number for number in numbers if number is not None),
        kind=only(part.kind for part in parts) if parts[0].kind == ATOM else "",
        item_kind=only(part.kind or part.item_kind for part in parts),
    )


def either(parts: list[Value], *others: Value) -> Value:
    """One of `parts`, after any of `others` has been looked at: CASE, coalesce, columns of a UNION."""
    return Value(
        size=max(part.size for part in parts),
        length=max(part.length for part in parts),
        item=max(part.item for part in parts),
        made=made(parts) + made(others),
        cost=1 + cost(parts) + cost(others) + sum(other.read for other in others),
        kind=only(part.kind for part in parts),
        item_kind=only(part.item_kind for part in parts),
    )


def container(parts: list[Value]) -> Value:
    """A list or a map of these."""
    return Value(
        size=SLOT + sum(part.size + SLOT for part in parts),
        length=len(parts),
        item=max((part.size for part in parts), default=SLOT),
        made=held(SLOT + made(parts) + 3 * SLOT * len(parts), "a list or map"),
        cost=1 + cost(parts),
        item_kind=only(part.kind for part in parts),
    )


def walked(over: Value, asked: Value, given: Value | None, what: str) -> Value:
    """A comprehension or a quantifier.

    Args:
        over: the list.
        asked: all that is worked out for each element.
        given: what a comprehension keeps of each element; None for a quantifier.
        what: its name, for messages.

    Raises:
        QueryRefused: the list may be too long, or all of it takes too much.
    """
    if over.length > LONGEST_WALK:
        named = f"`{over.name}`" if over.name else "the list"
        raise refused(f"{what} walks {named}, which may have more than {LONGEST_WALK:,} elements", UNWIND_IT)
    steps = held_steps(over.cost + over.length * (1 + asked.cost), what)
    if given is None:
        return Value(made=over.made + asked.made, cost=steps, kind=ATOM)
    kept = SLOT + min(given.made, given.size)
    allocated = held(over.made + asked.made + over.length * kept, what)
    size = SLOT + over.length * (SLOT + given.size)
    return Value(size, over.length, given.size, allocated, steps, item_kind=given.kind)


def held(allocated: int, what: str) -> int:
    """`allocated`, if it is within bounds."""
    if allocated > MOST_MADE:
        much = f"{allocated >> 20:,} MB for one row, allowed are {MOST_MADE >> 20} MB"
        raise refused(f"{what} could make {much}", UNWIND_IT)
    return allocated


def held_steps(steps: int, what: str) -> int:
    """`steps`, if they are within bounds."""
    if steps > MOST_STEPS:
        raise refused(
            f"{what} could take {steps:,} steps for one row, allowed are {MOST_STEPS:,}",
            "walk fewer elements, or UNWIND one of the lists: the time limit holds between rows",
        )
    return steps


def of_parameter(value: Any, name: str) -> Value:
    """The bounds of a parameter, which are known."""
    size, length = _measure(value)
    held(size, f"parameter ${name}")
    number = abs(value) if isinstance(value, int) else None
    text = value if isinstance(value, str) else None
    kind = "" if isinstance(value, (list, tuple, dict)) else ATOM
    items = value if isinstance(value, (list, tuple)) else ()
    item_kind = "" if any(isinstance(item, (list, tuple, dict)) for item in items) else ATOM
    length = max(1, length)
    return Value(size, length, size, name=f"${name}", number=number, text=text, kind=kind, item_kind=item_kind)


def _measure(value: Any) -> tuple[int, int]:
    if isinstance(value, str):
        return SLOT + 2 * len(value), len(value)
    if isinstance(value, (list, tuple)):
        return SLOT + sum(SLOT + _measure(inner)[0] for inner in value), len(value)
    if isinstance(value, dict):
        return SLOT + sum(2 * SLOT + _measure(inner)[0] for inner in value.values()), len(value)
    return SLOT, 1


def matched(subject: Value, pattern: Value) -> Value:
    """`subject =~ pattern`; Java tries all ways: each repetition multiplies them, each choice doubles them."""
    if pattern.text is None:
        raise refused("`=~` with a pattern that is not written out", "write the pattern as text or pass it by --param")
    if found := _RUNAWAY.search(pattern.text):
        raise refused(
            f"{found.group()!r} in a pattern of `=~`: repeated groups and repetitions, more than 999 of them, "
            "looking around and referring back are not read",
            "use CONTAINS, STARTS WITH or several patterns",
        )
    repeats = sum(map(pattern.text.count, "*+{"))
    choices = sum(map(pattern.text.count, "?|"))
    tenfolds = min(18.0, math.log10(max(10, subject.length)) * repeats + math.log10(2) * choices)
    steps = held_steps(int(10**tenfolds) // 50, "a pattern of `=~`")
    return worked_out([subject, pattern], subject.read + steps + len(pattern.text))
