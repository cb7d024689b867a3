"""What people see: progress lines that are true, tables that lose nothing, JSON that is JSON."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli import output
from cli.options import attributes_of
from cli.output import PlainProgress, TerminalProgress, emit, plain, progress
from kg.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Inner:
    path: Path
    values: tuple[float, ...]


def test_plain_progress_says_rate_and_time_left_and_not_too_often() -> None:
    stream, clock = io.StringIO(), Clock()
    report = PlainProgress(stream, every_s=5, clock=clock)
    report.begin("loading", 1000, "rows")
    for _ in range(8):
        clock.now += 1
        report.advance(100, "note")
    report.end("added 1,000")
    assert stream.getvalue().splitlines() == [
        "loading ...",
        "loading: 500 of 1,000 rows, 100/s, 5 s left, note",
        "loading: added 1,000 (8.0 s)",
    ]


def test_plain_progress_of_unknown_length_and_nested() -> None:
    stream, clock = io.StringIO(), Clock()
    report = PlainProgress(stream, every_s=2, clock=clock)
    report.begin("outer")
    report.begin("inner", unit="epochs")
    clock.now += 4
    report.advance(2)
    report.end()
    clock.now += 1
    report.advance(1)
    report.end()
    assert stream.getvalue().splitlines() == [
        "outer ...",
        "inner ...",
        "inner: 2 epochs, 0.5/s",
        "inner: done (4.0 s)",
        "outer: 1, 0.2/s",
        "outer: done (5.0 s)",
    ]


def test_terminal_progress_leaves_a_line_for_each_task_and_the_terminal_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(output, "Console", lambda **_: Console(file=stream, force_terminal=True, width=100))
    bars = TerminalProgress()
    bars.begin("loading", 10, "rows")
    bars.begin("inner")
    bars.advance(3, "note")
    bars.say("[red]a line[/red]")
    bars.end("three")
    bars.advance(10)
    bars.end("all")
    bars.close()
    text = stream.getvalue()
    assert "[red]a line[/red]" in text
    assert "inner: three (" in text
    assert "loading: all (" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # cursor hidden and shown again


@pytest.mark.parametrize(("as_json", "kind"), [(False, PlainProgress), (True, Silent)])
def test_elsewhere_than_on_a_terminal_lines_are_plain_or_none(kind: type, *, as_json: bool) -> None:
    with progress(as_json=as_json) as report:
        assert isinstance(report, kind)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Inner(Path("/a"), (1.5, float("nan"))), {"path": "/a", "values": [1.5, None]}),
        ({1: np.float32(0.5), "n": np.int64(3), "b": np.bool_(True)}, {"1": 0.5, "n": 3, "b": True}),
        (np.arange(3), [0, 1, 2]),
        (float("inf"), None),
        ({"when": b"x"}, {"when": "b'x'"}),
        ((True, None, "x", 2**60), [True, None, "x", 2**60]),
    ],
)
def test_anything_becomes_json(value: Any, expected: Any) -> None:
    assert plain(value) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_json_values_come_back_as_they_were(value: Any) -> None:
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == value


Show = "Callable[[Any], str]"


@pytest.fixture
def table(capsys: pytest.CaptureFixture[str]) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        emit(value, as_json=False)
        return capsys.readouterr().out

    return show


def test_a_table_in_a_pipe_is_as_wide_as_it_needs(table: Callable[[Any], str]) -> None:
    long = "GRCh38:chr1:" + "1" * 300
    text = table([{"peak": long, "score": 0.123456789, "called": True}, {"peak": "x", "score": None, "called": False}])
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split() == ["peak", "score", "called"]
    assert lines[2].split() == [long, "0.1235", "yes"]
    assert lines[3].split() == ["x", "-", "no"]


def test_cells_are_text_not_markup(table: Callable[[Any], str]) -> None:
    assert "[bold]x[/bold]" in table([{"a": "[bold]x[/bold]"}])


def test_a_record_is_shown_line_by_line_and_nothing_is_said_to_be_nothing(table: Callable[[Any], str]) -> None:
    assert [line.split() for line in table({"release": 2, "runs": {"glue:x": "r"}}).splitlines()] == [
        ["release", "2"],
        ["runs", '{"glue:x":', '"r"}'],
    ]
    assert table([]) == "nothing found\n"
    assert table("a sentence") == "a sentence\n"


def test_json_is_one_value_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit([Inner(Path("/a"), (1.0,))], as_json=True)
    assert capsys.readouterr().out == '[{"path": "/a", "values": [1.0]}]\n'


def test_attributes_are_read_from_a_docstring() -> None:
    doc = """Head.

    Attributes:
        one: first.
        two, three: both
            over two lines.

    More: text.
    """
    assert attributes_of(doc) == {"one": "first.", "two": "both over two lines.", "three": "both over two lines."}
    assert attributes_of(None) == {}
