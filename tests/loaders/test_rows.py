"""Reading rows at once gives what reading them line by line gives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.tables import rows as reading
from loaders.tables.files import check_file
from loaders.tables.rows import read_delimited
from tests.loaders.world import write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FIELD = st.text(st.sampled_from("ab1 .,\"'#é"), max_size=3)
ROW = st.lists(FIELD, min_size=3, max_size=3).map("\t".join)
ODD = st.sampled_from(
    [
        "",
        " ",
        "# note",
        "track name=x",
        "browser hide",
        "tracking\t1\t2",
        "a\tb",
        "a\tb\tc\td",
        "\t\t",
        "a\tb\tc ",
        " a\tb\tc",
    ]
)
LINES = st.lists(st.one_of(ROW, ROW, ROW, ODD), min_size=1, max_size=12)


@given(lines=LINES, header=st.booleans(), ended=st.booleans(), block=st.integers(4, 60))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_at_once_and_line_by_line_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], *, header: bool, ended: bool, block: int
) -> None:
    file = write(tmp_path / "rows.tsv", "x\ty\tz\n" + "\n".join(lines) + ("\n" if ended else ""))
    names = None if header else ["x", "y", "z"]
    monkeypatch.setattr("loaders.tables.files.BLOCK_BYTES", block)
    fast = read_delimited(check_file(file), Counter(), names)
    with monkeypatch.context() as slow_only:
        slow_only.setattr(reading, "_regular", lambda *_: None)
        slow = read_delimited(check_file(file), Counter(), names)
    pd.testing.assert_frame_equal(fast.frame, slow.frame, check_index_type=False, check_column_type=False)
    assert (fast.read, [t.to_dict("records") for t in fast.rejected]) == (
        slow.read,
        [t.to_dict("records") for t in slow.rejected],
    )


def test_a_plain_file_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("line by line")

    monkeypatch.setattr(reading, "_data_lines", never)
    file = write(tmp_path / "rows.bed", "#chrom\nchr1\t1\t2\nchr1\t3\t4\n")
    rows = read_delimited(check_file(file), Counter(), ["chrom", "start", "end"])
    assert rows.frame.index.tolist() == [2, 3]
    assert rows["start"].tolist() == ["1", "3"]
