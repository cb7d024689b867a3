"""Sums of row hashes by row type and dataset, as of any release, from rows and how long they hold."""

from __future__ import annotations

from kg.schema.batches import HASH_BITS


class ReleaseHashes:
    """What the hashes of releases must be, summed from the rows themselves; keeps no rows in memory."""

    def __init__(self) -> None:
        self._changes: dict[tuple[str, str], dict[int, int]] = {}

    def add(self, type_: str, dataset: str, row_hash: str, since: int, until: int) -> None:
        """Count a row that holds from release `since` to the one before `until`."""
        changes = self._changes.setdefault((type_, dataset), {})
        value = int(row_hash, 16)
        changes[since] = changes.get(since, 0) + value
        changes[until] = changes.get(until, 0) - value

    def hash(self, type_: str, dataset: str, release: int) -> str:
        """Return the hash of the rows of one type and dataset at a release; zeros when there are none."""
        changes = self._changes.get((type_, dataset), {})
        return _hex(sum(value for number, value in changes.items() if number <= release))

    def datasets(self, release: int) -> dict[str, str]:
        """Return dataset -> hash over its row types at a release; those without rows have zeros."""
        sums: dict[str, int] = {}
        for type_, dataset in self._changes:
            sums[dataset] = sums.get(dataset, 0) + int(self.hash(type_, dataset, release), 16)
        return {dataset: _hex(total) for dataset, total in sums.items()}


def _hex(total: int) -> str:
    return f"{total % (1 << HASH_BITS):032x}"
