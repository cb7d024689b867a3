"""Files about peak-gene pairs: verdicts, or scores of another program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.errors import InputError, MissingInput

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAIR = ["peak", "gene"]


def read_verdicts(path: Path) -> pd.DataFrame:
    """Read columns peak, gene and positive of a file, one row per pair.

    Args:
        path: tab-separated with a header: peak (or peak_id), gene (or gene_id), and positive (or is_link), 0 or 1. If a
            pair has several rows, a single 1 is enough.

    Raises:
        MissingInput: there is no such file.
        InputError: it lacks a column, or has a value other than 0 or 1.
    """
    frame = _read(path, "positive", "name an edge type, or a TSV of peak, gene and positive")
    _refuse(path, frame[~frame["positive"].isin(["0", "1"])], "positive", "0 or 1")
    return frame.assign(positive=frame["positive"] == "1").groupby(PAIR)["positive"].max().reset_index()


def read_scores(path: Path, pairs: pd.DataFrame) -> NDArray[np.float64]:
    """Read the (pairs,) scores that a file gives; pairs that it does not name rank last, below all others.

    Args:
        path: tab-separated with a header: peak, gene and score, a number, higher for better pairs. If a pair has
            several rows, the highest counts.
        pairs: columns peak and gene.

    Raises:
        MissingInput: there is no such file.
        InputError: it lacks a column, a score is not a finite number, or it names none of the pairs.
    """
    frame = _read(path, "score", "a TSV of peak, gene and score")
    score = pd.to_numeric(frame["score"], errors="coerce").replace([np.inf, -np.inf], np.nan)
    _refuse(path, frame[score.isna()], "score", "a finite number")
    best = frame.assign(score=score).groupby(PAIR)["score"].max().reset_index()
    scores = pairs[PAIR].merge(best, how="left", on=PAIR)["score"].to_numpy(dtype=np.float64)
    if np.isnan(scores).all():
        hint = f"its first is {frame.iloc[0]['peak']}, {frame.iloc[0]['gene']}" if len(frame) else "it has no rows"
        raise InputError(f"{path} names none of the {len(pairs):,} pairs", hint)
    return np.where(np.isnan(scores), np.nanmin(scores) - 1, scores)


def _read(path: Path, column: str, hint: str) -> pd.DataFrame:
    if not path.exists():
        raise MissingInput(f"{path}: no such file", hint)
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    frame = frame.rename(columns={"peak_id": "peak", "gene_id": "gene", "is_link": "positive"})
    missing = [name for name in (*PAIR, column) if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}", f"it has {', '.join(frame.columns)}")
    return frame


def _refuse(path: Path, invalid: pd.DataFrame, column: str, expected: str) -> None:
    if len(invalid):
        raise InputError(f"{path}:{invalid.index[0] + 2} column {column!r}: {invalid[column].iloc[0]!r}", expected)
