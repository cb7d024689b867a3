"""Progress, as the working code sees it. `cli.output` draws it; everything else stays silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a long job reports; implementations must be cheap to call."""

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Start a named piece of work; `total` is in `unit`s, if it is known."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Report that `amount` more `unit`s are done; `note` is a short state such as a loss."""

    def end(self, summary: str = "") -> None:
        """Finish the piece of work."""

    def say(self, line: str) -> None:
        """Show a line that people should read."""


class Silent:
    """Reports nothing."""

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Start a named piece of work; `total` is in `unit`s, if it is known."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Report that `amount` more `unit`s are done; `note` is a short state such as a loss."""

    def end(self, summary: str = "") -> None:
        """Finish the piece of work."""

    def say(self, line: str) -> None:
        """Show a line that people should read."""


SILENT = Silent()
