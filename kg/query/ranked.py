"""What questions share whose answer is the best predictions at one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kg.query.registry import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kg.query.scope import Scope
    from kg.store import Row


class Ranked(Protocol):
    """How much of the answer is asked for."""

    @property
    def limit(self) -> int:
        """Rows at most."""

    @property
    def called_only(self) -> bool:
        """Only what the run called."""


def ranked_parameters(asked: Ranked, scope: Scope) -> Row:
    """Of the query; one row more than asked for, which tells whether the answer is cut."""
    return {
        "release": scope.release,
        "runs": scope.run_ids,
        "called_only": asked.called_only,
        "limit": asked.limit + 1,
    }


def ranked_answer(
    found: Sequence[Sequence[Any]],
    columns: Iterable[str],
    row: Callable[..., Any],
    asked: Ranked,
    scope: Scope,
    about: Row,
) -> Found:
    """Rows of a type from the lists of the query, each with the release that its run was made on."""
    made_on = {run.run: run.release for run in scope.runs}
    named = [dict(zip(columns, one, strict=True)) for one in found[: asked.limit]]
    return Found([row(**one, release=made_on[one["run"]]) for one in named], about, truncated=len(found) > asked.limit)
