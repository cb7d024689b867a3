"""How the losses of a run went, kept in its folder for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from kg.files import replaced

if TYPE_CHECKING:
    from pathlib import Path

HISTORY = "history.parquet"


def keep_history(folder: Path, history: pd.DataFrame) -> Path:
    """Keep the rows of `Fit.history` as Parquet in a run's folder; the file appears whole or not at all."""
    path = folder / HISTORY
    with replaced(path) as temporary:
        history.to_parquet(temporary, index=False)
    return path


def read_history(folder: Path) -> pd.DataFrame | None:
    """What `keep_history` kept; None where the run is older than that or its folder is elsewhere."""
    path = folder / HISTORY
    return pd.read_parquet(path) if path.exists() else None
