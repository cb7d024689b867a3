"""What people see: progress on stderr; results on stdout as tables or, with --json, one JSON value."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from kg.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kg.progress import Progress

PLAIN_EVERY_S = 5.0
MAX_WIDTH = 100_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of a table.")


@contextmanager
def progress(*, as_json: bool = False) -> Iterator[Progress]:
    """Open where a job reports: bars on a terminal, plain lines elsewhere, nothing when a program reads our JSON."""
    if sys.stderr.isatty():
        bars = TerminalProgress()
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield SILENT if as_json else PlainProgress(sys.stderr)


def emit(value: Any, *, as_json: bool) -> None:
    """Print a result: rows (mappings or dataclasses) as a table, one record as lines, anything else as text."""
    shown = plain(value)
    if as_json:
        click.echo(json.dumps(shown, allow_nan=False))
    elif isinstance(shown, dict):
        _show([{"": name, " ": inner} for name, inner in shown.items()], header=False)
    elif isinstance(shown, list) and shown and isinstance(shown[0], dict):
        _show(shown)
    else:
        click.echo("nothing found" if shown == [] else str(shown))


def note(line: str) -> None:
    """Print a line beside a result, on stderr so that the result can be piped."""
    click.echo(line, err=True)


def plain(value: Any) -> Any:
    """Return the value in JSON's own types: dataclasses as objects, NaN as null, whatever else as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else None  # noqa: PLR0124 - NaN differs from itself
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(inner) for inner in value]
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


class PlainProgress:
    """Lines for logs and pipes: one when a task begins, one every few seconds, one when it ends."""

    def __init__(self, stream: TextIO, every_s: float = PLAIN_EVERY_S, clock: Callable[[], float] = time.monotonic):
        self._stream, self._every_s, self._clock = stream, every_s, clock
        self._tasks: list[_Task] = []

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Say that it starts."""
        now = self._clock()
        self._tasks.append(_Task(task, total, unit, started=now, said=now))
        self.say(f"{task} ...")

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count; say so when the last line is old enough."""
        task, now = self._tasks[-1], self._clock()
        task.done += amount
        if now - task.said >= self._every_s:
            task.said = now
            self.say(task.line(now, note))

    def end(self, summary: str = "") -> None:
        """Say that it is done, and how long it took."""
        task = self._tasks.pop()
        self.say(f"{task.name}: {summary or 'done'} ({self._clock() - task.started:.1f} s)")

    def say(self, line: str) -> None:
        """Print the line."""
        print(line, file=self._stream, flush=True)


class TerminalProgress:
    """Bars with rate and time left, one for each task that is open."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._open: list[TaskID] = []

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Draw a bar."""
        self._bars.start()
        self._open.append(self._bars.add_task(task, total=total, unit=unit, rate="", note=""))

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Move the innermost bar."""
        task = self._bars.tasks[self._bars.task_ids.index(self._open[-1])]
        rate = f"{task.speed:,.0f}/s" if task.speed else ""
        self._bars.update(task.id, advance=amount, rate=rate, note=note or task.fields["note"])

    def end(self, summary: str = "") -> None:
        """Take the bar away and leave a line."""
        task = self._bars.tasks[self._bars.task_ids.index(self._open.pop())]
        self._bars.remove_task(task.id)
        self.say(f"{task.description}: {summary or 'done'} ({task.elapsed or 0:.1f} s)")
        if not self._open:
            self.close()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back, also after a failure."""
        self._bars.stop()


@dataclasses.dataclass
class _Task:
    name: str
    total: float | None
    unit: str
    started: float
    said: float
    done: float = 0

    def line(self, now: float, note: str) -> str:
        rate = self.done / max(now - self.started, 1e-9)
        parts = [f"{self.done:,.0f}{f' of {self.total:,.0f}' if self.total else ''} {self.unit}".rstrip()]
        parts.append(f"{rate:,.1f}/s" if rate < 10 else f"{rate:,.0f}/s")
        if self.total and rate:
            parts.append(f"{max(self.total - self.done, 0) / rate:,.0f} s left")
        return f"{self.name}: {', '.join([*parts, note] if note else parts)}"


def _show(rows: list[dict[str, Any]], *, header: bool = True) -> None:
    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=header, show_edge=False, pad_edge=False)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows) and header
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file or a pipe has no edge to fold at
        needed = Console(width=MAX_WIDTH).measure(table).maximum
        console = Console(highlight=False, markup=False, width=max(needed, 20))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
