"""From SuSiE's log Bayes factors to posterior inclusion probabilities (Wang et al. 2020, doi:10.1111/rssb.12388)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from loaders.tables.checks import parse_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loaders.tables.rows import Rows

PREFIX = "lbf_variable"


def factor_columns(rows: Rows) -> list[str]:
    """Return the columns of log Bayes factors, one for each effect."""
    return [str(name) for name in rows.frame.columns if str(name).startswith(PREFIX)]


def set_pip(parts: Sequence[Rows]) -> None:
    """Set `pip`, as text, from the log Bayes factors of all files together.

    The rows of one molecular trait and region are the variants that its effects choose among, all equally likely
    before; so the variants of a region may be spread over files, but none may be missing. An effect whose factors
    are all 0 was switched off by the fit and counts for nothing, as in susieR's susie_get_pip.
    """
    for rows in parts:
        parse_numbers(rows, *factor_columns(rows))
    if not parts:
        return
    keys = ["molecular_trait_id", *(["region"] if all("region" in rows.frame for rows in parts) else []), "variant"]
    every = pd.concat([rows.frame[[*keys, *factor_columns(rows)]] for rows in parts], ignore_index=True).fillna(0.0)
    # sorted, since sums of floats depend on their order
    every = every.sort_values(list(every.columns)).drop_duplicates(keys).set_index(keys)
    region = every.groupby(level=keys[:-1], sort=False).ngroup().to_numpy()
    odds = (every - every.groupby(region).transform("max")).map(np.exp)
    alpha = odds / odds.groupby(region).transform("sum")
    is_on = every.abs().groupby(region).transform("max") > 0
    pip = 1 - (1 - alpha.where(is_on, 0.0)).prod(axis=1)
    for rows in parts:
        values = pip.reindex(pd.MultiIndex.from_frame(rows.frame[keys]))
        rows.set(pip=[f"{value:.9g}" for value in values])
