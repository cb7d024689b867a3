"""What moved between two runs, and why."""

from kg.run_diff.comparison import CAUSES, CHANGES, LINKS, RunDiff, compare, join_links

__all__ = [
    "CAUSES",
    "CHANGES",
    "LINKS",
    "RunDiff",
    "compare",
    "join_links",
]
