"""What a load has to write: the stored rows of a dataset compared with the incoming ones. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kg.errors import WriteConflict
from kg.schema import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class StoredRow(NamedTuple):
    """A row of the dataset that is open, or was closed by the draft."""

    id: str
    hash: str
    since: int
    until: int
    part: str | None


@dataclass(frozen=True)
class Changes:
    """Counts of one load against the draft as it was before."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
        )

    @property
    def written(self) -> int:
        """Rows that are not as they were."""
        return self.added + self.changed + self.removed


Key = tuple[str, int]  # row id, since


@dataclass
class RowWrites:
    """The writes of one load of one type.

    Attributes:
        create: positions in the incoming rows.
        delete: rows of this draft that go; no release ever saw them.
        close: rows that end with this draft.
        reopen: rows that this draft had closed.
        move: rows that only change their part.
        kept: hashes of rows of other parts, which stay.
    """

    create: list[int] = field(default_factory=list)
    delete: list[Key] = field(default_factory=list)
    close: list[Key] = field(default_factory=list)
    reopen: list[Key] = field(default_factory=list)
    move: list[Key] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        return not (self.create or self.delete or self.close or self.reopen or self.move)


def compare(
    stored: Iterable[StoredRow], ids: Sequence[str], hashes: Sequence[str], *, draft: int, part: str | None = None
) -> RowWrites:
    """Work out what to write so that the dataset's rows (or those of one part) become the incoming ones.

    Args:
        stored: open rows of the dataset and those that this draft closed.
        ids, hashes: of the incoming rows; ids are unique (the driver folds and quarantines before).
        draft: number of the draft.
        part: compare only within this part; None means the whole dataset and clears parts.

    Raises:
        WriteConflict: an incoming row already belongs to another part, or comes twice.
    """
    position = {row_id: i for i, row_id in enumerate(ids)}
    if len(position) != len(ids):
        raise WriteConflict(f"{len(ids) - len(position)} incoming rows have the id of another incoming row")
    stored = list(stored)
    closed = {(row.id, row.hash): row for row in stored if row.until == draft}
    plan, open_ids = RowWrites(), set()
    changed = unchanged = removed = 0
    for row in stored:
        if row.until != OPEN:
            continue
        at = position.get(row.id)
        if part is not None and row.part != part:
            _refuse_other_part(row, at, part)
            plan.kept.append(row.hash)
            continue
        open_ids.add(row.id)
        if at is not None and hashes[at] == row.hash:
            unchanged += 1
            if row.part != part:
                plan.move.append((row.id, row.since))
            continue
        changed, removed = (changed + 1, removed) if at is not None else (changed, removed + 1)
        (plan.delete if row.since == draft else plan.close).append((row.id, row.since))
        if at is not None:
            _write(plan, at, row.id, hashes[at], closed)
    added = [i for i, row_id in enumerate(ids) if row_id not in open_ids]
    for at in added:
        _write(plan, at, ids[at], hashes[at], closed)
    plan.changes = Changes(len(added), changed, removed, unchanged)
    return plan


def _write(plan: RowWrites, at: int, row_id: str, row_hash: str, closed: dict[tuple[str, str], StoredRow]) -> None:
    original = closed.get((row_id, row_hash))
    if original is None:
        plan.create.append(at)
    else:
        plan.reopen.append((original.id, original.since))


def _refuse_other_part(row: StoredRow, at: int | None, part: str) -> None:
    if at is not None:
        raise WriteConflict(
            f"row {row.id} of part {part!r} already belongs to part {row.part!r}",
            "a row may come in one part only; load the whole dataset without --part to clear the parts",
        )
