"""Plans: the reads of a question as a generator, so that one definition serves jobs and the API.

A plan yields `Query` objects, is sent their rows, and returns its result. It never touches a database.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from kg.store import AsyncStore, Store

T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One read.

    Attributes:
        cypher: text without values; they go into `parameters`.
        shape: what becomes of the rows before the plan sees them.
        lasting: names a result that can never change, such as the vectors of a complete run; "" for all others.
    """

    cypher: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    shape: Callable[[list[Row]], Any] = lambda rows: rows
    lasting: str = ""


Plan = Generator[Query, Any, T]


def run_plan(plan: Plan[T], store: Store) -> T:
    """Carry a plan out, one read after another."""
    rows = None
    while True:
        try:
            query = plan.send(rows)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        rows = query.shape(store.read(query.cypher, **query.parameters))


class Reader:
    """Carries plans out on an asynchronous store and keeps the few latest results that can never change."""

    def __init__(self, store: AsyncStore, keep: int = 4) -> None:
        self.store = store
        self._keep = keep
        self._kept: dict[str, Any] = {}

    async def run(self, plan: Plan[T], guard: Query | None = None) -> T:
        """Carry a plan out, one read after another.

        Args:
            plan: whose queries give no rows when nothing matches.
            guard: head of every query; it matches one row while some condition holds, else none.

        Raises:
            NoRows: a guarded query gave none, because of the guard or by itself.
        """
        rows = None
        while True:
            try:
                query = plan.send(rows)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            rows = self._kept[query.lasting] if query.lasting in self._kept else await self._read(query, guard)

    async def _read(self, query: Query, guard: Query | None) -> Any:
        head = guard or Query("")
        rows = await self.store.read(head.cypher + query.cypher, **query.parameters, **head.parameters)
        if guard is not None and not rows:
            raise NoRows
        shaped = query.shape(rows)
        if query.lasting:
            self._kept[query.lasting] = shaped
            while len(self._kept) > self._keep:
                self._kept.pop(next(iter(self._kept)))
        return shaped


class NoRows(Exception):  # noqa: N818 - nothing is wrong: the caller reads again without the guard
    """A guarded query gave no rows."""
