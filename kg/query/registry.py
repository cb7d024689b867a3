"""What a question is: typed parameters with limits, a row type, a docstring, and a plan of reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from kg.discovery import discover
from kg.errors import UnknownQuestion
from kg.parameters import check, param
from kg.query.scope import RunRead, Scope, scope_of, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kg.query.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every question takes: which version of the graph answers."""

    release: int | None = param("read the last publication of this release instead of what is served", None, low=1)
    run: str | None = param("read this complete run instead of all served runs", None)


@dataclass(frozen=True)
class Found:
    """What a plan returns: rows in order, whom they are about, and whether a limit cut them off."""

    rows: list[Any]
    subject: Mapping[str, Any] | None = None
    truncated: bool = False


@dataclass(frozen=True)
class Answer:
    """Rows with the version that they were read from.

    Attributes:
        runs: whose predictions were read.
        stale: one of them was trained on datasets that have changed since.
        truncated: there are more rows than the limit.
        subject: the gene, peak or region that was asked about, as it is at that release.
    """

    question: str
    publication: int
    release: int
    hash: str
    runs: tuple[RunRead, ...]
    stale: bool
    truncated: bool
    subject: Mapping[str, Any] | None
    rows: list[Any]


@dataclass(frozen=True)
class Question:
    """A named question; made by `question`, found by `questions`."""

    name: str
    doc: str
    parameters: type[Asked]
    row: type
    find: Callable[[Any, Scope], Plan[Found]]

    def plan(self, asked: Asked) -> Plan[Answer]:
        """All reads of one answer.

        Raises:
            ParameterError: a parameter is outside its limits.
            UnknownRelease: nothing is published, or not this release.
            UnknownRun: no complete run has this id.
        """
        check(asked)
        scope = yield from scope_of(asked.release, asked.run)
        return (yield from self.settled(asked, scope))

    def settled(self, asked: Asked, scope: Scope) -> Plan[Answer]:
        """The answer at this scope, or at what it is by now when a run that it reads was pruned meanwhile."""
        return settled(scope, partial(self.answer, asked), partial(scope_of, asked.release, asked.run))

    def answer(self, asked: Asked, scope: Scope) -> Plan[Answer]:
        """The reads that are left once it is known which version answers."""
        found = yield from self.find(asked, scope)
        return Answer(
            question=self.name,
            publication=scope.publication,
            release=scope.release,
            hash=scope.hash,
            runs=scope.runs,
            stale=scope.stale,
            truncated=found.truncated,
            subject=found.subject,
            rows=found.rows,
        )


def question(*, parameters: type[Asked], row: type) -> Callable[[Callable[[Any, Scope], Plan[Found]]], Question]:
    """Make a plan function a question, named after the function; it must stand in a module of the same name."""

    def made(find: Callable[[Any, Scope], Plan[Found]]) -> Question:
        return Question(find.__name__.replace("_", "-"), cleandoc(find.__doc__ or ""), parameters, row, find)

    return made


@cache
def questions() -> dict[str, Question]:
    """Every question by name, found in the modules of `kg.questions`."""
    return {q.name: q for q in discover("kg.questions").values() if isinstance(q, Question)}


def question_named(name: str) -> Question:
    """The question of this name.

    Raises:
        UnknownQuestion: with the names that exist.
    """
    known = questions()
    if name not in known:
        raise UnknownQuestion(f"no question is named {name!r}", f"the questions are {', '.join(known)}")
    return known[name]
