"""What moved between two runs, and why."""

from kg.run_diff.comparison import CAUSES, CHANGES, LINKS, RunDiff, compare, joined

__all__ = [
    "CAUSES",
    "CHANGES",
    "LINKS",
    "RunDiff",
    "compare",
    "joined",
]
