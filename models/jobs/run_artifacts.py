"""The history of a run's losses, kept in its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from kg.files import replaced

if TYPE_CHECKING:
    from pathlib import Path

HISTORY = "history.parquet"


def keep_history(folder: Path, history: pd.DataFrame) -> Path:
    """Write the rows of `Fit.history` as Parquet into a run's folder; the file appears whole or not at all."""
    path = folder / HISTORY
    with replaced(path) as temporary:
        history.to_parquet(temporary, index=False)
    return path


def read_history(folder: Path) -> pd.DataFrame | None:
    """Read what `keep_history` wrote; None if the run predates it or its folder is elsewhere."""
    path = folder / HISTORY
    return pd.read_parquet(path) if path.exists() else None
