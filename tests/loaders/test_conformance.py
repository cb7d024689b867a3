"""Odd BED files, made for this project: each is accepted, loses rows or is refused as `conformance/cases.tsv` says.

`told` names the rejected rows as line:reason, or what the refusal says.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kg.errors import InputError
from loaders.load import check_rejected
from loaders.requests import LoadRequest
from tests.loaders.world import run_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER = Path(__file__).parent / "conformance"
SHARE = 0.95


def table() -> list[dict[str, str]]:
    with (FOLDER / "cases.tsv").open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def outcome(file: str) -> tuple[str, int, str]:
    """Return what happens to a file: outcome, peaks, and what is reported."""
    try:
        reading = run_source("peaks", [FOLDER / file])
        check_rejected(reading, LoadRequest("peaks"), reload=False)
    except InputError as error:
        return "refused", 0, error.message
    rejected = " ".join(f"{row['line']}:{row['rule']}" for row in reading.rejected.to_dict("records"))
    assert reading.rows + reading.folded + reading.filtered + len(reading.rejected) == reading.read
    return "rejects" if rejected else "accepted", reading.rows, rejected


def is_as_documented(case: Mapping[str, str]) -> bool:
    happened, peaks, actual = outcome(case["file"])
    matches = re.search(case["told"], actual) is not None if happened == "refused" else actual == case["told"]
    return (happened, peaks) == (case["outcome"], int(case["peaks"])) and matches


@pytest.mark.parametrize("case", table(), ids=lambda case: case["file"])
def test_an_odd_file_is_handled_as_documented(case: dict[str, str]) -> None:
    assert is_as_documented(case), f"{outcome(case['file'])}; {case}"


def test_nearly_all_are_handled_as_documented(record_property: Callable[[str, object], None]) -> None:
    cases = table()
    wrong = [case["file"] for case in cases if not is_as_documented(case)]
    share = 1 - len(wrong) / len(cases)
    record_property("handled_as_documented", f"{share:.1%} of {len(cases)}")
    assert share >= SHARE, f"{share:.1%} of {len(cases)}; not {', '.join(wrong)}"


def test_the_table_is_whole() -> None:
    cases = table()
    assert len(cases) >= 60
    assert sorted(case["file"] for case in cases) == sorted(
        path.name for path in FOLDER.iterdir() if path.name != "cases.tsv"
    )
    assert {case["outcome"] for case in cases} == {"accepted", "rejects", "refused"}
    assert all(case["why"] for case in cases)
