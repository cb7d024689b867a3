"""Comparison of rows: whatever loads and publishes come in whatever order, each release keeps its rows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.errors import WriteConflict
from kg.evidence.row_diff import Changes, RowWrites, StoredRow, compare
from kg.schema import OPEN

CONTENT = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)
STEP = st.one_of(st.just("publish"), CONTENT)


class Model:
    """A dataset kept as plain rows: what the database does, in a few lines."""

    def __init__(self) -> None:
        self.rows: list[StoredRow] = []
        self.draft = 1
        self.published: dict[int, dict[str, str]] = {}

    def at(self, number: int) -> dict[str, str]:
        return {row.id: row.hash for row in self.rows if row.since <= number < row.until}

    def load(self, content: dict[str, str], part: str | None = None) -> RowWrites:
        ids, hashes = list(content), list(content.values())
        stored = [row for row in self.rows if row.until in (OPEN, self.draft)]
        plan = compare(stored, ids, hashes, draft=self.draft, part=part)
        gone, close, reopen, move = set(plan.delete), set(plan.close), set(plan.reopen), set(plan.move)
        kept = []
        for row in self.rows:
            key = (row.id, row.since)
            if key in gone:
                continue
            until = self.draft if key in close else OPEN if key in reopen else row.until
            kept.append(row._replace(until=until, part=part if key in reopen | move else row.part))
        self.rows = kept + [StoredRow(ids[i], hashes[i], self.draft, OPEN, part) for i in plan.create]
        assert len({(row.id, row.since) for row in self.rows}) == len(self.rows)
        return plan

    def publish(self) -> None:
        self.published[self.draft] = self.at(self.draft)
        self.draft += 1


def counted(before: dict[str, str], after: dict[str, str]) -> Changes:
    both = set(before) & set(after)
    changed = sum(before[k] != after[k] for k in both)
    return Changes(len(set(after) - both), changed, len(set(before) - both), len(both) - changed)


@settings(max_examples=400)
@given(steps=st.lists(STEP, max_size=12))
def test_releases_keep_their_rows_and_the_draft_has_the_last_load(steps: list[str | dict[str, str]]) -> None:
    model = Model()
    for step in steps:
        if isinstance(step, str):
            model.publish()
            continue
        before = model.at(model.draft)
        plan = model.load(step)
        assert model.at(model.draft) == step
        assert plan.changes == counted(before, step)
        assert model.load(step).is_empty
        assert all(model.at(number) == rows for number, rows in model.published.items())


@given(first=CONTENT, second=CONTENT)
def test_going_back_to_what_was_published_leaves_no_trace(first: dict[str, str], second: dict[str, str]) -> None:
    model = Model()
    model.load(first)
    model.publish()
    rows = sorted(model.rows)
    model.load(second)
    model.load(first)
    assert sorted(model.rows) == rows


@given(one=CONTENT, two=CONTENT, order=st.booleans())
def test_two_parts_are_the_whole(one: dict[str, str], two: dict[str, str], order: bool) -> None:
    two = {key.upper(): value for key, value in two.items()}
    parts = [("one", one), ("two", two)]
    model = Model()
    for part, content in parts if order else reversed(parts):
        model.load(content, part)
    assert model.at(1) == one | two
    whole = model.load(one | two)
    assert whole.changes.written == 0
    assert {row.part for row in model.rows} <= {None}


def test_a_part_keeps_the_rows_of_the_others_and_counts_their_hashes() -> None:
    model = Model()
    model.load({"a": "1"}, "one")
    plan = model.load({"b": "2"}, "two")
    assert plan.kept == ["1"]
    assert model.at(1) == {"a": "1", "b": "2"}


def test_a_row_in_two_parts_is_refused() -> None:
    model = Model()
    model.load({"a": "1"}, "one")
    with pytest.raises(WriteConflict, match="already belongs to part 'one'"):
        model.load({"a": "1"}, "two")


def test_the_same_row_twice_is_refused() -> None:
    with pytest.raises(WriteConflict, match="1 incoming rows"):
        compare([], ["a", "a"], ["1", "1"], draft=1)
