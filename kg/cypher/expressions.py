"""Expressions of Cypher, read once from left to right and turned into bounds of what they give and cost.

Every construct that is not read here is refused; so is each that could do more for one row than `kg/cypher/values.py`
allows. Nothing is built from an expression but its bounds: Neo4j reads the text itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kg.cypher import functions
from kg.cypher.lists import Lists, property_of
from kg.cypher.patterns import path_of
from kg.cypher.tokens import DEEPEST, refused
from kg.cypher.values import (
    ATOM,
    SCALAR,
    SLOT,
    Value,
    container,
    either,
    joined,
    matched,
    of_parameter,
    scalar,
    worked_out,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_XORS = 4  # Neo4j's planner writes each out as four terms, and those of the next as four times as many
COMPARISONS = ("=", "<>", "<", ">", "<=", ">=", "=~", "IN", "CONTAINS", "STARTS", "ENDS", "IS")
CONSTANTS = frozenset({"TRUE", "FALSE", "NULL", "INF", "INFINITY", "NAN"})
QUANTIFIERS = frozenset({"ALL", "ANY", "NONE", "SINGLE"})
SUBQUERIES = frozenset({"EXISTS", "COUNT", "COLLECT"})
TYPES = frozenset(
    {
        *("ANY", "ARRAY", "BOOL", "BOOLEAN", "DATE", "DATETIME", "DURATION", "EDGE", "FLOAT", "INT", "INTEGER", "LIST"),
        *("LOCAL", "MAP", "NODE", "NOT", "NOTHING", "NULL", "PATH", "POINT", "PROPERTY", "RELATIONSHIP", "SIGNED"),
        *("STRING", "TIME", "TIMESTAMP", "VALUE", "VARCHAR", "VERTEX", "ZONED"),
    }
)


class Expressions(Lists):
    """The part of the reader that reads expressions; variables and their bounds are in `names`."""

    def __init__(self, cypher: str, parameters: Mapping[str, Any]) -> None:
        super().__init__(cypher)
        self.parameters = {name: of_parameter(value, name) for name, value in parameters.items()}
        self._xors = 0
        self._depth = 0  # expressions around here

    def subquery(self, kind: str) -> Value:
        """What EXISTS, COUNT or COLLECT gives for the braces that come next."""
        raise NotImplementedError

    def expression(self) -> Value:
        """Read an expression as a whole."""
        self._depth += 1
        if self._depth > 2 * DEEPEST:
            raise refused("it nests expressions too deeply", "name parts of it in a WITH")
        first = self._comparison()
        rest = []
        while operator := self.accept("AND", "OR", "XOR"):
            self._count_xor(operator)
            rest.append(self._comparison())
        self._depth -= 1
        return worked_out([first, *rest], 1) if rest else first

    def map_values(self) -> list[Value]:
        """Read what comes behind the brace of a map, and the one that ends it."""
        found: list[Value] = []
        while not self.accept("}"):
            if found:
                self.expect(",")
            self.name()
            self.expect(":")
            found.append(self.expression())
        return found

    def parameter(self) -> Value:
        """Read a parameter, whose value is known."""
        name = self.take().text
        if name not in self.parameters:
            raise refused(f"parameter ${name} was not given", f"--param {name}=VALUE")
        return self.parameters[name]

    def _count_xor(self, operator: str) -> None:
        self._xors += operator == "XOR"
        if self._xors > MOST_XORS:
            raise refused(f"more than {MOST_XORS} XOR", "compare truth values by <>")

    def _comparison(self) -> Value:
        negated = self.accept("NOT") != ""
        if self.look().keyword == "NOT":
            raise refused("NOT NOT", "leave both out")
        value = self._sum()
        parts = []
        while operator := self.accept(*COMPARISONS):
            if operator == "IS":
                self._is()
                parts.append(value)
                continue
            if operator in {"STARTS", "ENDS"}:
                self.expect("WITH")
            right = self._sum()
            parts.append(self._compared(operator, value, right))
            value = replace(right, made=0, cost=0)
        if parts:
            return worked_out(parts, 1)
        return scalar(value) if negated else value

    def _compared(self, operator: str, left: Value, right: Value) -> Value:
        if operator == "=~":
            return matched(left, right)
        both = [left, right]
        if operator == "IN":
            # Neo4j keeps a set of a list that has a name of its own; it asks the set about all but lists and maps.
            kept = right.name is not None and right.name not in self.walking and left.kind != ""
            steps = 1 if kept else right.read
        elif operator == "CONTAINS":
            steps = left.searched(right)
        else:
            steps = min(left.read, right.read)
        return worked_out(both, 1 + steps)

    def _is(self) -> None:
        self.accept("NOT")
        if self.accept("NULL"):
            return
        if self.accept("NFC", "NFD", "NFKC", "NFKD", "NORMALIZED"):
            self.accept("NORMALIZED")
            return
        if not self.accept("::", "TYPED"):
            raise self.unexpected("NULL, NORMALIZED or a type")
        self._type()

    def _type(self) -> None:
        while self.look().keyword in TYPES or self.look().symbol in {"<", "|"}:
            if self.take().symbol == "<":
                self._type()
                self.expect(">")

    def _sum(self) -> Value:
        parts, signs = [self._operand()], set()
        while sign := self.accept("+", "-", "*", "/", "%", "^", "||"):
            signs.add(sign)
            parts.append(self._operand())
        if not signs:
            return parts[0]
        if signs & {"+", "||"}:
            value = joined(parts)
            return value if signs == {"+"} else replace(value, number=value.number if signs <= {"+", "-"} else None)
        numbers = [part.number for part in parts]
        known = signs == {"-"} and None not in numbers
        number = sum(number for number in numbers if number is not None) if known else None
        return replace(scalar(*parts), number=number)

    def _operand(self) -> Value:
        while self.accept("+", "-"):
            pass
        value = self._atom()
        while True:
            if self.look().symbol == "." and self.look(1).is_name:
                self.take()
                value = property_of(value, self.name())
            elif self.accept("["):
                value = self.part_of(value)
            elif self.look().symbol == ":" and value.name is not None:
                self.take()
                self.label_expression(bar=not self.bars)
                value = worked_out([value], 1)
            else:
                return value

    def _atom(self) -> Value:  # noqa: PLR0911 - one for each kind of atom
        token = self.look()
        if token.kind in {"integer", "float", "string", "parameter"}:
            return self._literal()
        if token.symbol == "(":
            return self._parenthesised()
        if token.symbol == "[":
            return self.list_()
        if token.symbol == "{":
            self.take()
            return container(self.map_values())
        if not token.is_name:
            raise self.unexpected("an expression")
        if token.keyword == "CASE":
            return self._case()
        if token.keyword in CONSTANTS and self.look(1).symbol not in {"(", "."}:
            self.take()
            return SCALAR
        return self._named()

    def _literal(self) -> Value:
        if self.look().kind == "parameter":
            return self.parameter()
        token = self.take()
        if token.kind == "integer":
            return Value(number=token.integer, kind=ATOM)
        if token.kind == "float":
            return SCALAR
        return Value(SLOT + 2 * len(token.text), len(token.text), SLOT, text=token.text, kind=ATOM)

    def _parenthesised(self) -> Value:
        if self.begins_pattern():
            return self._pattern_predicate()
        self.take()
        value = self.expression()
        self.expect(")")
        return replace(value, text=None)

    def _pattern_predicate(self) -> Value:
        with self.inner():
            self.path()
        return SCALAR

    def _case(self) -> Value:
        self.take()
        asked = [] if self.look().keyword == "WHEN" else [self.expression()]
        given: list[Value] = []
        while self.accept("WHEN"):
            asked.append(self.expression())
            while self.accept(","):
                asked.append(self.expression())
            self.expect("THEN")
            given.append(self.expression())
        if self.accept("ELSE"):
            given.append(self.expression())
        self.expect("END")
        return either(given or [SCALAR], *asked)

    def _named(self) -> Value:
        token, then = self.look(), self.look(1).symbol
        if token.keyword in SUBQUERIES and then == "{":
            self.take()
            return self.subquery(token.keyword)
        if token.keyword in QUANTIFIERS and then == "(" and self.look(3).keyword == "IN":
            self.take()
            self.take()
            return self.comprehension(")", f"`{token.text}`", keeps=False)
        if token.keyword in {"SHORTESTPATH", "ALLSHORTESTPATHS"}:
            with self.inner():
                return path_of(self.path())
        if self._called():
            return self._call()
        self.take()
        if token.text not in self.names:
            raise refused(f"variable `{token.text}` is not known here", "bind it by MATCH, WITH or UNWIND first")
        value = replace(self.names[token.text], name=token.text, made=0, cost=1)
        if self.look().symbol == "{":
            return self._projection(value)
        return value

    def _called(self) -> bool:
        ahead = 1
        while self.look(ahead).symbol == "." and self.look(ahead + 1).is_name:
            ahead += 2
        return self.look(ahead).symbol == "("

    def _call(self) -> Value:
        name = self.name()
        while self.accept("."):
            name += f".{self.name()}"
        name = name.lower()
        if name == "exists" and self.begins_pattern(1):
            self.take()
            value = self._pattern_predicate()
            self.expect(")")
            return value
        functions.check_name(name)
        self.expect("(")
        self.accept("DISTINCT")
        if name == "range" and (length := self.literal_range()) is not None:
            self.expressions(")")
            return functions.numbers(length)
        if name == "count" and self.accept("*"):
            self.expect(")")
            return SCALAR
        if name in {"trim", "normalize"}:
            return self._wordy(name)
        return functions.call(name, self.expressions(")"))

    def _wordy(self, name: str) -> Value:
        """`trim(BOTH 'x' FROM text)`, `normalize(text, NFKC)`."""
        self.accept("BOTH", "LEADING", "TRAILING")
        found = [] if self.accept("FROM") else [self.expression()]
        if self.accept("FROM"):
            found.append(self.expression())
        elif name == "normalize" and self.accept(","):
            self.name()
        elif not found:
            found.append(self.expression())
        self.expect(")")
        return functions.call(name, found)

    def _projection(self, value: Value) -> Value:
        """`node {.id, .*, key: expression, variable}`."""
        self.expect("{")
        parts: list[Value] = []
        entries = 0
        while not self.accept("}"):
            if entries:
                self.expect(",")
            entries += 1
            if self.accept("."):
                if not self.accept("*"):
                    self.name()
                parts.append(property_of(value))
            elif self.look(1).symbol == ":":
                self.name()
                self.take()
                parts.append(self.expression())
            else:
                parts.append(self._named())
        return container(parts)
