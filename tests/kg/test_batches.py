"""Batches: invalid ones cannot exist; identities and hashes mean what design section 4 says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.errors import SchemaError
from kg.schema import NEAR, PEAK, PREDICTED_LINK
from kg.schema.batches import EdgeBatch, NodeBatch, hash_sum

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), min_size=1, max_size=8)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.integers(0, 10**9), st.integers(-(10**9), 10**9)), min_size=1, max_size=20)


def near(rows: list[tuple[str, str, int, int]]) -> EdgeBatch:
    start, end, distance, tss = zip(*rows, strict=True)
    return EdgeBatch.build(NEAR, start_id=list(start), end_id=list(end), distance_bp=distance, tss_distance_bp=tss)


def link(score: float, **more: object) -> EdgeBatch:
    columns = {"p_value": 0.1, "q_value": 0.2, "sign": 1, "called": False, "score_kind": "cosine", **more}
    return EdgeBatch.build(PREDICTED_LINK, start_id=["p"], end_id=["g"], score=[score], **columns)


def test_every_discrepancy_is_told_at_once() -> None:
    with pytest.raises(SchemaError) as caught:
        EdgeBatch.build(
            NEAR, start_id=["a\x01", "b"], end_id=["g", None], distance_bp=[1, 2], tss_distance_bp=[1, None]
        )
    told = "\n".join(caught.value.discrepancies)
    assert len(caught.value.discrepancies) == 3
    assert "'start_id': 1 rows hold control characters" in told
    assert "'end_id': 1 rows have no value" in told
    assert "'tss_distance_bp': 1 rows have no value" in told


@pytest.mark.parametrize(
    ("start", "end", "said"), [([-1], [5], "negative"), ([5], [5], "do not end after"), ([7], [5], "do not end after")]
)
def test_intervals_are_half_open_and_not_empty(start: list[int], end: list[int], said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        NodeBatch.build(PEAK, id=["x"], assembly="GRCh38", chrom="chr1", start=start, end=end)


def test_undeclared_columns_wrong_types_and_nan_are_refused() -> None:
    with pytest.raises(SchemaError, match="'weight' is not declared"):
        link(0.5, weight=1.0)
    with pytest.raises(SchemaError, match="'sign'"):
        link(0.5, sign=["up"])
    with pytest.raises(SchemaError, match="not finite"):
        link(float("inf"))
    with pytest.raises(SchemaError, match="declared are"):
        EdgeBatch(NEAR, pa.table({"start_id": ["a"]}))


def test_a_missing_optional_column_is_null_and_not_zero() -> None:
    batch = link(0.5)
    assert batch.table["stability"].null_count == 1
    assert batch.row_hashes("d") != link(0.5, stability=[0.0]).row_hashes("d")


def test_the_score_is_no_part_of_the_identity_but_of_the_content() -> None:
    one, other = link(0.5), link(0.25)
    assert one.edge_ids == other.edge_ids
    assert one.row_hashes("") != other.row_hashes("")


def test_equal_numbers_hash_equal_whatever_their_width() -> None:
    wide = link(np.float64(np.float32(0.1)))
    assert wide.row_hashes("d") == link(np.float32(0.1)).row_hashes("d")
    assert link(-0.0).row_hashes("d") == link(0.0).row_hashes("d")


def test_the_dataset_is_part_of_the_identity() -> None:
    batch = near([("p", "g", 0, 0)])
    assert batch.row_ids("one") != batch.row_ids("two")


def test_values_do_not_run_into_each_other() -> None:
    assert near([("ab", "c", 1, 1)]).row_ids("d") != near([("a", "bc", 1, 1)]).row_ids("d")


@given(rows=ROWS, data=st.data())
def test_the_hash_of_a_set_of_rows_is_independent_of_their_order(
    rows: list[tuple[str, str, int, int]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    assert hash_sum(near(rows).row_hashes("d")) == hash_sum(near(shuffled).row_hashes("d"))


@given(rows=ROWS, at=st.integers(0, 19), by=st.integers(1, 1000))
def test_any_changed_measurement_changes_the_hash_of_the_set(
    rows: list[tuple[str, str, int, int]], at: int, by: int
) -> None:
    at %= len(rows)
    changed = [*rows]
    changed[at] = (*rows[at][:2], rows[at][2] + by, rows[at][3])
    assert hash_sum(near(rows).row_hashes("d")) != hash_sum(near(changed).row_hashes("d"))
    assert near(rows).row_ids("d") == near(changed).row_ids("d")


def test_hash_sum_wraps_and_subtracts() -> None:
    top = "f" * 32
    assert hash_sum([top, f"{1:032x}"]) == 0
    assert hash_sum([f"{5:032x}"], start=2**128 - 3) == 2
