"""A Progress that remembers."""

from __future__ import annotations


class Listener:
    """What was reported, in order."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, float | None, str]] = []
        self.advanced: float = 0
        self.ended: list[str] = []
        self.said: list[str] = []

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        self.begun.append((task, total, unit))

    def advance(self, amount: float = 1, note: str = "") -> None:
        del note
        self.advanced += amount

    def end(self, summary: str = "") -> None:
        self.ended.append(summary)

    def say(self, line: str) -> None:
        self.said.append(line)
