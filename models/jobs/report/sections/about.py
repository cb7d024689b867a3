"""What the run is, in one table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from kg.pages.blocks import Table
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from kg.runs import Run
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """Return one section."""
    run, request = contents.run, contents.environment.get("request", {})
    device = contents.environment.get("device") or f"not recorded (requested: {request.get('device', 'auto')})"
    served, note = ", served" if contents.is_served else "", f": {run.note}" if run.note else ""
    rows = {
        "model": run.model if run.derived else f"{run.model}, {run.members} member(s) from seed {run.seed}",
        "reference": contents.model.cites if contents.model else None,
        "cells": run.cells or None,
        "release": str(run.release),
        "outcome": f"{run.outcome}{served}{note}",
        "evidence read": ", ".join(run.edge_types) or "not recorded",
        "started, ended": f"{run.started_at[:19]}, {(run.finished_at or 'not ended')[:19]}",
        "took": _duration(run),
        "device": None if run.derived else device,
        "code": run.code,
        "configuration": run.config_hash,
        "derived from" if run.derived else "parent": run.parent or "none",
        "experiment": run.experiment,
    }
    return [Section("About", [Table.of_pairs({name: value for name, value in rows.items() if value is not None})])]


def _duration(run: Run) -> str:
    if run.finished_at is None:
        return "not ended"
    ended, started = (datetime.fromisoformat(at.replace("Z", "+00:00")) for at in (run.finished_at, run.started_at))
    return f"{(ended - started).total_seconds():,.0f} s from registration to the end of writing"
