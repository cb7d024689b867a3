"""Progress, as the working code sees it. `cli.output` draws it; everything else stays silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a long job reports; implementations must be cheap to call."""

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """A named piece of work starts; `total` in `unit`s if it is known."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """So many more `unit`s are done; `note` is a short state such as a loss."""

    def end(self, summary: str = "") -> None:
        """The piece of work is done."""

    def say(self, line: str) -> None:
        """A line that people should read."""


class Silent:
    """Reports nothing."""

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Do nothing."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Do nothing."""

    def end(self, summary: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


SILENT = Silent()
