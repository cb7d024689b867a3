"""A whole query: the clauses that read, one after another, and the bounds of what they hand on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kg.cypher import functions
from kg.cypher.expressions import Expressions
from kg.cypher.tokens import refused
from kg.cypher.values import (
    PROPERTY,
    SCALAR,
    SORT_KEY,
    UNWIND_IT,
    Value,
    cost,
    either,
    held,
    held_steps,
    made,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CLAUSES = frozenset({"MATCH", "OPTIONAL", "WITH", "UNWIND", "RETURN", "CALL", "USE"})
OPTIONS = frozenset({("RUNTIME", "SLOTTED")})


def check_query(cypher: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a query of which one expression could take Neo4j's time or memory beyond its limits.

    Args:
        cypher: one statement.
        parameters: the values of its parameters.

    Raises:
        QueryRefused: naming what is not read or not bounded, and what to write instead.
    """
    Statement(cypher, parameters).check()


class Statement(Expressions):
    """Reads a query from its first word to its last."""

    def check(self) -> None:
        """Read it all; see `check_query`."""
        self._options()
        self._query()
        self.accept(";")
        if self.look().kind != "end":
            raise self.unexpected("a clause that reads, or its end")
        held(made(self.all), "all that it works out")
        held_steps(cost(self.all), "all that it works out")

    def subquery(self, kind: str) -> Value:
        """See `Expressions`."""
        self.expect("{")
        with self.inner():
            if self.look().keyword in CLAUSES:
                columns = self._query()
            else:
                self.patterns()
                if self.accept("WHERE"):
                    self.counted()
                columns = {}
        self.expect("}")
        if kind == "COLLECT":
            return replace(functions.call("collect", list(columns.values())), made=0, cost=1)
        return SCALAR

    def _options(self) -> None:
        """`CYPHER 5 runtime=slotted`."""
        if not self.accept("CYPHER"):
            return
        if self.look().kind == "integer" and self.take().integer != 5:
            raise refused("of Cypher, version 5 is read", "leave the version out")
        while self.look(1).symbol == "=":
            name, _, value = self.take(), self.take(), self.take()
            if (name.keyword, value.keyword) not in OPTIONS:
                raise refused(f"option {name.text}={value.text}", "leave it out")

    def _query(self) -> dict[str, Value]:
        """Parts joined by UNION; gives the columns."""
        outer = dict(self.names)
        columns = self._part()
        while self.accept("UNION"):
            self.accept("ALL", "DISTINCT")
            self.names = dict(outer)
            others = self._part()
            columns = {name: either([value, others.get(name, value)]) for name, value in columns.items()}
        return columns

    def _part(self) -> dict[str, Value]:
        columns: dict[str, Value] = {}
        while True:
            if self.accept("MATCH") or self.accept_all("OPTIONAL", "MATCH"):
                self._match()
            elif self.accept("UNWIND"):
                self._unwind()
            elif self.accept("WITH"):
                self.names = self._projection_clause()
            elif self.accept("CALL") or self.accept_all("OPTIONAL", "CALL"):
                self._call_clause()
            elif self.accept("RETURN"):
                return self._projection_clause()
            elif self.look().kind == "end" or self.look().symbol in {"}", ";"} or self.look().keyword == "UNION":
                return columns
            else:
                raise self._no_clause()

    def _no_clause(self) -> Exception:
        token = self.look()
        if token.is_name:
            return refused(f"`{token.text}` is not among the clauses that read", "MATCH, WITH, UNWIND, CALL, RETURN")
        return self.unexpected("a clause that reads: MATCH, WITH, UNWIND, CALL or RETURN")

    def _match(self) -> None:
        if self.accept("REPEATABLE", "DIFFERENT"):
            self.accept("ELEMENTS", "ELEMENT", "RELATIONSHIPS", "RELATIONSHIP")
        self.patterns()
        if self.accept("WHERE"):
            self.counted()

    def _unwind(self) -> None:
        if self.look().keyword == "RANGE" and self.look(1).symbol == "(":
            element = self._unwound_range()
        else:
            element = self.counted().element()
        self.expect("AS")
        self.names[self.name()] = element

    def _unwound_range(self) -> Value:
        """A range that is handed on number by number, so of any length."""
        self.take()
        self.take()
        self.all += self.expressions(")")
        if self.look().keyword != "AS":
            raise refused("more is made of a `range` than its numbers one by one", "UNWIND range(...) AS x")
        return SCALAR

    def _projection_clause(self) -> dict[str, Value]:
        """Behind WITH or RETURN; gives the names that it hands on."""
        self.accept("DISTINCT")
        given = dict(self.names) if (everything := self.accept("*") != "") else {}
        if not everything or self.accept(","):
            self._items(given)
        before, self.names = self.names, _merged(self.names, given)
        self._sorted_and_cut()
        if self.accept("WHERE"):
            self.counted()
        self.names = before
        return given

    def _items(self, given: dict[str, Value]) -> None:
        while True:
            begun = self.look().start
            value = self.counted()
            text = self.cypher[begun : self.look().start].strip()
            name = self.name() if self.accept("AS") else value.name or text
            given[name] = replace(value, name=None, text=None)
            if not self.accept(","):
                return

    def _sorted_and_cut(self) -> None:
        if self.accept_all("ORDER", "BY"):
            self._sort_key()
            while self.accept(","):
                self._sort_key()
        while self.accept("SKIP", "OFFSET", "LIMIT"):
            self.counted()

    def _sort_key(self) -> None:
        if self.counted().size > SORT_KEY:
            raise refused("it sorts by a list or text that may be very long", f"sort by one value; {UNWIND_IT}")
        self.accept("ASC", "ASCENDING", "DESC", "DESCENDING")

    def _call_clause(self) -> None:
        if self.look().symbol in {"(", "{"}:
            self._called_query()
        else:
            self._called_procedure()

    def _called_query(self) -> None:
        outer = dict(self.names)
        if self.accept("("):
            while not self.accept(")"):
                self.accept(",")
                if not self.accept("*"):
                    self.name()
        self.expect("{")
        columns = self._query()
        self.expect("}")
        if self.look().keyword == "IN":
            raise refused("CALL {} IN TRANSACTIONS", "it reads in one transaction only")
        self.names = {**outer, **columns}

    def _called_procedure(self) -> None:
        self.name()
        while self.accept("."):
            self.name()
        if self.accept("("):
            self.all += self.expressions(")")
        if self.accept("YIELD") and not self.accept("*"):
            self._yielded()
            while self.accept(","):
                self._yielded()
        if self.accept("WHERE"):
            self.counted()

    def _yielded(self) -> None:
        name = self.name()
        self.names[self.name() if self.accept("AS") else name] = PROPERTY


def _merged(old: dict[str, Value], new: dict[str, Value]) -> dict[str, Value]:
    """Names as ORDER BY and WHERE see them; of two meanings the larger bounds."""
    return {**old, **new, **{name: either([old[name], new[name]]) for name in old.keys() & new.keys()}}
