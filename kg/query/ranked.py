"""What questions share whose answer is the best predictions at one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kg.query.registry import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kg.query.scope import Scope
    from kg.store import Row


class RankedParameters(Protocol):
    """How much of the answer is asked for."""

    @property
    def limit(self) -> int:
        """Rows at most."""

    @property
    def called_only(self) -> bool:
        """Only what the run called."""


def ranked_parameters(parameters: RankedParameters, scope: Scope) -> Row:
    """Return the parameters of the query; its limit is one row more, which shows whether the answer is cut off."""
    return {
        "release": scope.release,
        "runs": scope.run_ids,
        "called_only": parameters.called_only,
        "limit": parameters.limit + 1,
    }


def ranked_answer(
    rows: Sequence[Sequence[Any]],
    columns: Iterable[str],
    row: Callable[..., Any],
    parameters: RankedParameters,
    scope: Scope,
    about: Row,
) -> Result:
    """Return rows of a type from the lists of the query, each with the release that its run was made on."""
    release_of = {run.run: run.release for run in scope.runs}
    named = [dict(zip(columns, row_values, strict=True)) for row_values in rows[: parameters.limit]]
    return Result(
        [row(**row_values, release=release_of[row_values["run"]]) for row_values in named],
        about,
        truncated=len(rows) > parameters.limit,
    )
