"""Model runs: records, predictions, staleness and retention."""

from kg.runs.records import (
    Registration,
    Run,
    add_note,
    discard,
    environment,
    finish,
    interrupted,
    publish_run,
    register,
    run,
    runs,
    take_over,
    write_back,
)

__all__ = [
    "Registration",
    "Run",
    "add_note",
    "discard",
    "environment",
    "finish",
    "interrupted",
    "publish_run",
    "register",
    "run",
    "runs",
    "take_over",
    "write_back",
]
