r"""The words of a Cypher query, and a cursor over them.

Neo4j replaces `\uXXXX` anywhere in a query before it reads it, knows letters and white space of all alphabets, and more
than one end of a line. Two readers that differ in these see two queries, so they are refused outside of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kg.errors import QueryRefused

LONGEST_QUERY = 20_000  # characters
MOST_TOKENS = 1_500  # such a query is planned within seconds
DEEPEST = 24  # brackets within brackets: the time of Neo4j's parser grows steeply with them

_TOKEN = re.compile(
    r"""
    (?P<space>     [ \t\n]+ | //[^\n]* | /\*.*?\*/ )
  | (?P<string>    '(?:[^'\\] | \\[\\'"tbnrf_%`])*' | "(?:[^"\\] | \\[\\'"tbnrf_%`])*" )
  | (?P<quoted>    `(?:[^`\\] | ``)+` )
  | (?P<parameter> \$[A-Za-z_][A-Za-z0-9_]* )
  | (?P<name>      [A-Za-z_][A-Za-z0-9_]* )
  | (?P<float>     (?:[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+)(?![A-Za-z0-9_]) )
  | (?P<integer>   (?:0x[0-9A-Fa-f]+ | 0o[0-7]+ | [0-9]+)(?![A-Za-z0-9_]) )
  | (?P<symbol>    \.\. | :: | <= | >= | <> | =~ | \|\| | [-+*/%^=<>.,:;|&!()\[\]{}] )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNCLEAR = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]"
)  # ends of a line for some readers, and what none shows
_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f"}
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Token:
    """One word of a query.

    Attributes:
        kind: string, quoted (a name in backticks), name, parameter, integer, float, symbol or end.
        text: its value: a string without quotes and escapes, a name without backticks, a parameter without `$`.
        start: where it begins, in characters from the beginning of the query.
    """

    kind: str
    text: str
    start: int

    @property
    def keyword(self) -> str:
        """The word in capitals where it may be one of Cypher's own, else nothing."""
        return self.text.upper() if self.kind == "name" else ""

    @property
    def symbol(self) -> str:
        """The sign, where it is one, else nothing."""
        return self.text if self.kind == "symbol" else ""

    @property
    def integer(self) -> int:
        """Its value, if its kind is integer: decimal, 0x or 0o."""
        return int(self.text, 0) if self.text[:2] in {"0x", "0o"} else int(self.text)

    @property
    def is_name(self) -> bool:
        """Whether it can name something: a variable, a label, a function, a property."""
        return self.kind in {"name", "quoted"}


def refused(why: str, instead: str) -> QueryRefused:
    """The refusal of a query: what is not allowed, and what to write in its place."""
    return QueryRefused(f"the query was refused: {why}", hint=instead)


def tokenize(cypher: str) -> list[Token]:
    """All words of a query and one token of kind `end`; comments and white space are left out.

    Raises:
        QueryRefused: a sign that is not Cypher's or is read differently by different readers; too long; too deep.
    """
    if len(cypher) > LONGEST_QUERY:
        raise refused(f"it has {len(cypher):,} characters, allowed are {LONGEST_QUERY:,}", "pass long lists by --param")
    if "\\u" in cypher.lower():
        raise refused(r"it holds a Unicode escape (\u)", "write the character itself")
    if unclear := _UNCLEAR.search(cypher):
        where = place(cypher, unclear.start())
        raise refused(f"{unclear.group()!r} at {where} cannot be read", "leave it out, or pass it by --param")
    tokens: list[Token] = []
    at = depth = 0
    while at < len(cypher):
        found = _TOKEN.match(cypher, at)
        if found is None or found.lastgroup is None:
            raise refused(f"{cypher[at]!r} at {place(cypher, at)} cannot be read", _advice(cypher[at]))
        if found.lastgroup != "space":
            tokens.append(_token(found.lastgroup, found.group(), at))
            depth += (tokens[-1].symbol in _OPENING) - (tokens[-1].symbol in _CLOSING) if tokens[-1].symbol else 0
            _hold(len(tokens), depth)
        at = found.end()
    return [*tokens, Token("end", "", len(cypher))]


def place(cypher: str, at: int) -> str:
    """Line and column of a character, both from 1."""
    before = cypher[:at]
    return f"line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))}"


class Cursor:
    """Where the reading of a query stands."""

    def __init__(self, cypher: str) -> None:
        self.cypher = cypher
        self._tokens = tokenize(cypher)
        self._at = 0

    def look(self, ahead: int = 0) -> Token:
        """A token from here on; the end, behind the last one."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The next token, which is then behind the cursor."""
        token = self.look()
        self._at += 1
        return token

    def accept(self, *words: str) -> str:
        """Step over the next token if it is one of these keywords or signs; gives it, else nothing."""
        token = self.look()
        found = token.keyword or token.symbol
        if found in words and found:
            self._at += 1
            return found
        return ""

    def accept_all(self, *words: str) -> bool:
        """Step over a sequence of keywords or signs if it comes next as a whole."""
        here = [token.keyword or token.symbol for token in (self.look(i) for i in range(len(words)))]
        if here == list(words):
            self._at += len(words)
            return True
        return False

    def expect(self, word: str) -> None:
        """Step over a keyword or sign that must come next."""
        if not self.accept(word):
            raise self.unexpected(word)

    def name(self) -> str:
        """Step over a name that must come next."""
        if not self.look().is_name:
            raise self.unexpected("a name")
        return self.take().text

    def closing(self, ahead: int = 0) -> int:
        """How many tokens behind the bracket `ahead` the one stands that closes it."""
        depth = 0
        for distance in range(len(self._tokens) - self._at - ahead):
            sign = self.look(ahead + distance).symbol
            depth += (sign in _OPENING) - (sign in _CLOSING) if sign else 0
            if depth == 0:
                return distance
        raise self.unexpected("a bracket that closes this one")

    def unexpected(self, wanted: str) -> QueryRefused:
        """The refusal of what comes next."""
        token = self.look()
        found = f"{token.text!r}" if token.kind != "end" else "its end"
        return refused(
            f"{found} at {place(self.cypher, token.start)}, where {wanted} was expected",
            "see the Cypher manual; docs/graph.md lists what `regkg cypher` reads",
        )


def _token(kind: str, text: str, at: int) -> Token:
    if kind == "string":
        text = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape.group(1), escape.group(1)), text[1:-1])
    elif kind == "quoted":
        text = text[1:-1].replace("``", "`")
    elif kind == "parameter":
        text = text[1:]
    return Token(kind, text, at)


def _hold(tokens: int, depth: int) -> None:
    if tokens > MOST_TOKENS:
        raise refused(
            f"it has more than {MOST_TOKENS:,} words", "pass long lists by --param, or ask in several queries"
        )
    if depth > DEEPEST:
        raise refused(f"it nests more than {DEEPEST} brackets", "name parts of it in a WITH")


def _advice(sign: str) -> str:
    if sign in "'\"`":
        return r"close what it opens; of escapes \\ \' \" \t \n \r \b \f are read"
    return "write it in quotes if it is text, in backticks if it is a name"
