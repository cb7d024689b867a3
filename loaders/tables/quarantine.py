"""Rejected rows on disk: a Parquet table and the same as TSV, both or neither, one folder a load."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING

import pandas as pd

from loaders.tables.rows import REJECTED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def gather(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all rejected rows, by file and line."""
    if not tables:
        return pd.DataFrame({column: [] for column in REJECTED}, dtype=object)
    return pd.concat(tables, ignore_index=True).sort_values(["file", "line"], kind="stable", ignore_index=True)


def keep(rejected: pd.DataFrame, home: Path, dataset: str) -> Path | None:
    """Write them under `home`/quarantine; equal rejects of a dataset share a folder. None when there are none."""
    if rejected.empty:
        return None
    content = hashlib.sha256(rejected.to_csv(index=False).encode()).hexdigest()[:12]
    folder = home / "quarantine" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', dataset)}-{content}"
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    partial.mkdir(parents=True)
    try:
        rejected.to_parquet(partial / "rejected.parquet", index=False)
        rejected.to_csv(partial / "rejected.tsv", sep="\t", index=False)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
