"""What a question is: typed parameters with limits, a row type, a docstring, and a plan of reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from kg.discovery import discover
from kg.errors import UnknownQuestion
from kg.parameters import check, param
from kg.query.scope import RunRead, Scope, read_consistently, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kg.query.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What every question takes: which version of the graph answers."""

    release: int | None = param("read the last publication of this release instead of what is served", None, low=1)
    run: str | None = param("read this complete run instead of all served runs", None)


@dataclass(frozen=True)
class Result:
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
    parameters: type[Parameters]
    row: type
    find: Callable[[Any, Scope], Plan[Result]]

    def plan(self, parameters: Parameters) -> Plan[Answer]:
        """Return all reads of one answer as a plan.

        Raises:
            ParameterError: a parameter is outside its limits.
            UnknownRelease: nothing is published, or not this release.
            UnknownRun: no complete run has this id.
        """
        check(parameters)
        scope = yield from scope_of(parameters.release, parameters.run)
        return (yield from self.read_consistently(parameters, scope))

    def read_consistently(self, parameters: Parameters, scope: Scope) -> Plan[Answer]:
        """Answer at this scope, or at the current one if a run that it reads was pruned meanwhile."""
        return read_consistently(
            scope, partial(self.answer, parameters), partial(scope_of, parameters.release, parameters.run)
        )

    def answer(self, parameters: Parameters, scope: Scope) -> Plan[Answer]:
        """Make the reads that are left once it is known which version answers."""
        result = yield from self.find(parameters, scope)
        return Answer(
            question=self.name,
            publication=scope.publication,
            release=scope.release,
            hash=scope.hash,
            runs=scope.runs,
            stale=scope.stale,
            truncated=result.truncated,
            subject=result.subject,
            rows=result.rows,
        )


def question(*, parameters: type[Parameters], row: type) -> Callable[[Callable[[Any, Scope], Plan[Result]]], Question]:
    """Make a plan function a question, named after the function; it must stand in a module of the same name."""

    def declare(find: Callable[[Any, Scope], Plan[Result]]) -> Question:
        return Question(find.__name__.replace("_", "-"), cleandoc(find.__doc__ or ""), parameters, row, find)

    return declare


@cache
def questions() -> dict[str, Question]:
    """Return every question by name, found in the modules of `kg.questions`."""
    return {q.name: q for q in discover("kg.questions").values() if isinstance(q, Question)}


def question_named(name: str) -> Question:
    """Return the question of this name.

    Raises:
        UnknownQuestion: with the names that exist.
    """
    known = questions()
    if name not in known:
        raise UnknownQuestion(f"no question is named {name!r}", f"the questions are {', '.join(known)}")
    return known[name]
