"""Lists of Cypher: written out, comprehended, taken apart. What walks a list must know how long it is at most."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pyarrow.types import is_nested

from kg.cypher import functions
from kg.cypher.patterns import Patterns
from kg.cypher.values import ATOM, NODE, PROPERTY, SLOT, Value, container, cost, either, made, walked
from kg.schema import EDGE_TYPES, NODE_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

# Properties that are never lists: the columns of all declared types, and what each row of them has.
COLUMNS = frozenset(
    {
        *("id", "run", "dataset", "since", "until", "edge_id", "row_id", "number", "release", "status", "kind", "node"),
        *(column.name for kind in NODE_TYPES.values() for column in kind.columns if not is_nested(column.type)),
        *(column.name for kind in EDGE_TYPES.values() for column in kind.columns if not is_nested(column.type)),
    }
)


class Lists(Patterns):
    """The part of the reader that reads lists."""

    def __init__(self, cypher: str) -> None:
        super().__init__(cypher)
        self.walking: list[str] = []  # variables of the comprehensions and quantifiers around here
        self.bars = 0  # comprehensions around here, in which a bar does not stand between two labels

    @abstractmethod
    def expression(self) -> Value:
        """Read an expression as a whole."""

    @contextmanager
    def inner(self) -> Iterator[None]:
        """Names that are bound in here are unknown behind."""
        outer = dict(self.names)
        try:
            yield
        finally:
            self.names = outer

    def expressions(self, end: str) -> list[Value]:
        """Read expressions between commas, and the bracket that ends them."""
        found: list[Value] = []
        while not self.accept(end):
            if found:
                self.expect(",")
            found.append(self.expression())
        return found

    def counted(self) -> Value:
        """Read an expression that stands in no other, and count what it costs."""
        value = self.expression()
        self.all.append(value)
        return value

    def list_(self) -> Value:
        """Read a list or a comprehension, from its bracket on."""
        self.take()
        if self.look().is_name and self.look(1).keyword == "IN":
            return self.comprehension("]", "a list comprehension", keeps=True)
        named = 2 if self.look().is_name and self.look(1).symbol == "=" else 0
        if self.begins_pattern(named):
            return self._pattern_comprehension()
        return container(self.expressions("]"))

    def comprehension(self, end: str, what: str, *, keeps: bool) -> Value:
        """Read a comprehension (`keeps` what it gives) or a quantifier, from its variable on."""
        variable = self.name()
        self.expect("IN")
        over = self.expression()
        with self.inner():
            self.names[variable] = replace(over.element(), name=variable, made=0, cost=1)
            self.walking.append(variable)
            self.bars += keeps
            parts = [self.expression()] if self.accept("WHERE") else []
            given = replace(self.names[variable], made=0) if keeps else None
            if keeps and self.accept("|"):
                given = self.expression()
                parts.append(given)
            self.walking.pop()
            self.bars -= keeps
        self.expect(end)
        return walked(over, Value(made=made(parts), cost=cost(parts)), given, what)

    def _pattern_comprehension(self) -> Value:
        with self.inner():
            self.pattern()
            self.bars += 1
            if self.accept("WHERE"):
                self.counted()
            self.bars -= 1
            self.expect("|")
            given = self.counted()
        self.expect("]")
        return functions.call("collect", [given])

    def part_of(self, value: Value) -> Value:
        """Read an index or a slice of `value`, from behind its bracket."""
        count, ends = self._short_slice(), []
        if self.look().symbol != "..":
            ends.append(self.expression())
            if self.accept("]"):
                return self._indexed(value, ends[0])
        self.expect("..")
        if self.look().symbol != "]":
            ends.append(self.expression())
        self.expect("]")
        sliced = replace(value, name=None, text=None) if count is None else value.first(count)
        return replace(sliced, made=value.made + made(ends), cost=value.cost + 2 + cost(ends))

    @staticmethod
    def _indexed(value: Value, index: Value) -> Value:
        """An element of a list, or what stands in a map or a node under a name."""
        found = value.element()
        if value.size <= PROPERTY.size:
            found = either([found, property_of(value)])
        return replace(found, made=value.made + index.made + PROPERTY.made, cost=value.cost + index.cost + 4)

    def _short_slice(self) -> int | None:
        """How many elements `..3]`, `1..3]` or `-3..]` take at most; None where that is not written out."""
        signs = [self.look(i).symbol or self.look(i).kind for i in range(4)]
        if signs[:3] == ["..", "integer", "]"]:
            return self.look(1).integer
        if signs == ["integer", "..", "integer", "]"]:
            return max(0, self.look(2).integer - self.look(0).integer)
        return self.look(1).integer if signs == ["-", "integer", "..", "]"] else None

    def literal_range(self) -> int | None:
        """How many numbers `1, 9)` or `0, 100, 5)` give; None where they are not written out."""
        signs = [self.look(i).symbol or self.look(i).kind for i in range(6)]
        if signs[:4] == ["integer", ",", "integer", ")"]:
            return len(range(self.look(0).integer, self.look(2).integer + 1))
        if signs == ["integer", ",", "integer", ",", "integer", ")"]:
            return len(range(self.look(0).integer, self.look(2).integer + 1, max(1, self.look(4).integer)))
        return None


def property_of(of: Value, name: str = "") -> Value:
    """A property of a node or relationship, or what stands in a map."""
    if of.size > PROPERTY.size:
        return Value(of.size, max(PROPERTY.length, of.size // SLOT), of.size, of.made, of.cost + PROPERTY.cost)
    kind = ATOM if of.kind == NODE and name in COLUMNS else ""
    item_kind = ATOM if of.kind == NODE else ""
    made_ = of.made + PROPERTY.made
    return replace(PROPERTY, made=made_, cost=of.cost + PROPERTY.cost, kind=kind, item_kind=item_kind)
