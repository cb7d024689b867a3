"""Patterns of Cypher: what they bind, and how long their paths can be."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kg.cypher.tokens import Cursor, refused
from kg.cypher.values import ENTITY, NODE, SLOT, Value

LONGEST_PATH = 50  # relationships of one variable-length part
MOST_PATHS = 1_000  # of SHORTEST k and ANY k
BOUND_IT = f"say how long it may be, at most {LONGEST_PATH}: -[:NEAR*1..3]-> or (...){{1,3}}"


class Patterns(Cursor, ABC):
    """The part of the reader that reads patterns; variables and their bounds are in `names`."""

    def __init__(self, cypher: str) -> None:
        super().__init__(cypher)
        self.names: dict[str, Value] = {}
        self.all: list[Value] = []  # what is worked out for each row

    @abstractmethod
    def counted(self) -> Value:
        """Read an expression that stands in no other, and count what it costs."""

    @abstractmethod
    def map_values(self) -> list[Value]:
        """Read what comes behind the brace of a map, and the one that ends it."""

    def patterns(self) -> None:
        """Read patterns between commas."""
        self.pattern()
        while self.accept(","):
            self.pattern()

    def pattern(self) -> int:
        """Read a pattern, named or not; gives the number of its relationships at most."""
        path = ""
        if self.look().is_name and self.look(1).symbol == "=":
            path = self.name()
            self.take()
        self._selector()
        hops = self.path()
        if path:
            self.names[path] = path_of(hops)
        return hops

    def path(self) -> int:
        """Read a path; gives the number of its relationships at most."""
        if self.accept("SHORTESTPATH", "ALLSHORTESTPATHS"):
            self.expect("(")
            hops = self.path()
            self.expect(")")
            return hops
        hops = self._element()
        while self.look().symbol in {"(", "-", "<"}:
            if self.look().symbol == "(":
                hops += self._element()
            else:
                hops += self._relationship()
        return hops

    def begins_pattern(self, ahead: int = 0) -> bool:
        """Whether a node stands `ahead`, and a relationship behind it."""
        if self.look(ahead).symbol != "(":
            return False
        behind = ahead + self.closing(ahead) + 1
        arrow = [self.look(behind + i).symbol for i in range(3)]
        arrow = arrow[1:] if arrow[0] == "<" else arrow
        return arrow[0] == "-" and (arrow[1] == "[" or (arrow[1] == "-" and self._goes_on(behind)))

    def label_expression(self, *, bar: bool = True) -> None:
        """Read labels or types: `A&!B`, `A|B`, `(A|B)&C`; without `bar`, a bar ends them."""
        self._label_term()
        while self.accept("&", ":") or (bar and self.accept("|")):
            self.accept(":")
            self._label_term()

    def _label_term(self) -> None:
        if self.accept("!") and self.look().symbol == "!":
            raise refused("!! before a label", "leave both out")
        if self.accept("%"):
            return
        if self.accept("("):
            self.label_expression()
            self.expect(")")
            return
        self.name()

    def _goes_on(self, behind: int) -> bool:
        """Behind `--`, `<--` or `-->` another node must follow, else it is arithmetic."""
        signs = [self.look(behind + i).symbol for i in range(5)]
        while signs and signs[0] in {"<", "-", ">"}:
            signs.pop(0)
        return bool(signs) and signs[0] == "("

    def _selector(self) -> None:
        """ANY, ALL SHORTEST, SHORTEST k PATHS, ..."""
        if self.accept("ALL"):
            self.accept("SHORTEST")
        elif self.accept("ANY", "SHORTEST"):
            self.accept("SHORTEST")
            if (paths := self._integer()) is not None and paths > MOST_PATHS:
                raise refused(f"it asks for {paths:,} paths", f"ask for at most {MOST_PATHS:,}")
        self.accept("PATH", "PATHS")
        self.accept("GROUP", "GROUPS")

    def _element(self) -> int:
        """A node, or a path in parentheses, repeated or not."""
        if self.look().symbol != "(":
            raise self.unexpected("a node such as (g:Gene)")
        inside = self.look(1).symbol == "(" or (self.look(1).is_name and self.look(2).symbol == "=")
        return self._group() if inside else self._node()

    def _node(self) -> int:
        self.expect("(")
        self._details("(", ")")
        self.expect(")")
        return 0

    def _group(self) -> int:
        self.expect("(")
        before = set(self.names)
        hops = self.pattern()
        if self.accept("WHERE"):
            self.counted()
        self.expect(")")
        times = self._quantifier()
        for name in set(self.names) - before if times != 1 else ():
            self.names[name] = _many(times)
        return times * max(1, hops)

    def _relationship(self) -> int:
        self.accept("<")
        self.expect("-")
        hops = 1
        if self.accept("["):
            hops = self._details("[", "]")
            self.expect("]")
        self.expect("-")
        self.accept(">")
        return hops * self._quantifier()

    def _details(self, opened: str, end: str) -> int:
        """What stands between the brackets of a node or relationship; gives the hops at most."""
        name = self.name() if self.look().is_name and self.look().keyword not in {"WHERE", "IS"} else ""
        hops = 1
        if self.accept(":", "IS"):
            self.label_expression()
        if opened == "[" and self.accept("*"):
            hops = self._range()
            if name:
                self.names[name] = _many(hops)
        if self.accept("{"):
            self.all += self.map_values()
        elif self.look().kind == "parameter":
            self.counted()
        if name and name not in self.names:
            self.names[name] = ENTITY
        if self.accept("WHERE"):
            self.counted()
        if self.look().symbol != end:
            raise self.unexpected(end)
        return hops

    def _range(self) -> int:
        """`*`, `*2`, `*1..3`, `*..3`."""
        lowest = self._integer()
        if not self.accept(".."):
            return self._short(lowest)
        return self._short(self._integer())

    def _quantifier(self) -> int:
        """`{3}`, `{1,3}`, or nothing; `+` and `*` have no end."""
        if self.look().symbol in {"+", "*"}:
            return self._short(None)
        if self.look().symbol != "{":
            return 1
        self.take()
        lowest = self._integer()
        highest = self._integer() if self.accept(",") else lowest
        self.expect("}")
        return self._short(highest)

    def _integer(self) -> int | None:
        return self.take().integer if self.look().kind == "integer" else None

    @staticmethod
    def _short(hops: int | None) -> int:
        if hops is None:
            raise refused("a path of any length", BOUND_IT)
        if hops > LONGEST_PATH:
            raise refused(f"a path of up to {hops:,} relationships", BOUND_IT)
        return hops


def path_of(hops: int) -> Value:
    """A path of at most so many relationships."""
    return Value(size=2 * SLOT * (hops + 1), length=hops)


def _many(times: int) -> Value:
    """What a variable within a repeated part holds: a list."""
    return Value(size=SLOT * times, length=times, item_kind=NODE)
