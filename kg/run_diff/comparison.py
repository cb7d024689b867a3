"""What moved between two runs, and why: edges gained, lost, flipped or shifted, each with its cause.

Noise comes first: a shift that the spread over seeds explains is noise. Beyond that, the cause is *prior* where
evidence rows at the edge's ends changed, *propagated* where changed rows lie further away in the guidance graph,
*code/config* where these differ, and *unexplained* otherwise. `docs/run-diff.md` says what each cause can and cannot
mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.run_diff.attribution import NAMED, strata, trace
from kg.run_diff.significance import shift_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kg.run_diff.attribution import Evidence
    from kg.run_diff.significance import Noise

BEYOND = 0.05  # a shift is beyond noise when its q is under this,
SCATTER = 2.0  # and it exceeds this many standard deviations over seeds, within which 19 seeds in 20 lie
LINKS = ("edge_id", "peak", "gene", "score", "stability", "q_value", "sign", "called")
_OF_DATASET = ("dataset", "influence", "share", "hops", "rows")
CHANGES = ("gained", "lost", "flipped", "shifted", "entered", "left", "none")
"""Newly called or no longer called, sign reversed, shifted beyond noise; scored by only one run, uncalled; none."""
CAUSES = ("noise", "prior", "propagated", "code/config", "unexplained")


@dataclass(frozen=True)
class RunDiff:
    """The diff of two runs over every pair that either run scored.

    Attributes:
        rows: one a pair, the strongest changes first: edge_id, peak, gene, change (of CHANGES), cause (of CAUSES);
            score, q_value, sign, called with the endings _a and _b; shift (score_b - score_a), spread (standard
            deviation of a shift due to seeds alone), p, q (of the shift; missing where only one run scored the pair);
            then what `kg.run_diff.attribution.trace` returns: `dataset`, `influence`, `share`, `hops`, `rows`
            and `row_...`.
        noise: where the spread comes from.
        settings: what else differs between the runs, such as "code"; empty when nothing does.
        of: type of the pairs; `peak` and `gene` are its first and second end.
    """

    rows: pd.DataFrame
    noise: str
    settings: tuple[str, ...] = ()
    of: str = "PREDICTED_LINK"

    @property
    def counts(self) -> pd.DataFrame:
        """Edges by change and cause, in the order of CHANGES; all causes are columns."""
        table = pd.crosstab(self.rows["change"], self.rows["cause"])
        return table.reindex(index=list(CHANGES), columns=list(CAUSES), fill_value=0)

    @property
    def datasets(self) -> pd.DataFrame:
        """Edges by the dataset that is named and by cause, most first."""
        named = self.rows[self.rows["dataset"].notna()]
        table = pd.crosstab(named["dataset"], named["cause"]).reindex(columns=["prior", "propagated"], fill_value=0)
        return table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def join_links(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Join the links of two runs side by side, by edge_id.

    Args:
        a, b: columns LINKS, a row for each pair.
    """
    both = a[list(LINKS)].merge(b[list(LINKS)], how="outer", on=["edge_id", "peak", "gene"], suffixes=("_a", "_b"))
    for name in ("called_a", "called_b"):
        both[name] = both[name].eq(other=True)
    return both.sort_values("edge_id", ignore_index=True)


def compare(both: pd.DataFrame, noise: Noise, evidence: Evidence | None, settings: tuple[str, ...] = ()) -> RunDiff:
    """Test each shift and name its cause.

    Args:
        both: the links of both runs (`join_links`).
        noise: of its rows, in the same order.
        evidence: what the runs read; None when it is the same for both.
        settings: what else differs, such as "config" or "code".
    """
    named = _named(both, evidence)
    groups = strata(named, both["peak"], both["gene"]) if evidence is not None else None
    shift = (both["score_b"] - both["score_a"]).to_numpy(float)
    tests = shift_test(shift, noise, groups)
    rows = both.assign(shift=shift, spread=tests.spread, p=tests.p, q=tests.q)
    beyond = np.isnan(shift) | ((tests.q < BEYOND) & (np.abs(shift) > SCATTER * tests.scatter))
    hops = named["hops"].astype(float).to_numpy()
    rest = "code/config" if settings else "unexplained"
    rows["cause"] = np.select([~beyond, hops == 0, hops > 0], ["noise", "prior", "propagated"], rest)
    rows["change"] = _change(rows)
    named = named.rename(columns={c: f"row_{c.removeprefix('row_')}" for c in NAMED if c not in _OF_DATASET})
    rows = rows.join(named.where(pd.Series(beyond)))
    return RunDiff(_in_order(rows), noise.source, settings)


def _change(rows: pd.DataFrame) -> NDArray[np.str_]:
    in_a, in_b = rows["score_a"].notna(), rows["score_b"].notna()
    conditions = [
        rows["called_b"] & ~rows["called_a"],
        rows["called_a"] & ~rows["called_b"],
        in_a & in_b & (rows["sign_a"] != rows["sign_b"]),
        in_a & in_b & (rows["cause"] != "noise"),
        ~in_a,
        ~in_b,
    ]
    return np.select(conditions, CHANGES[:-1], CHANGES[-1])


def _named(both: pd.DataFrame, evidence: Evidence | None) -> pd.DataFrame:
    if evidence is None:
        found = pd.DataFrame({name: [None] * len(both) for name in NAMED})
    else:
        found = trace(evidence, both["peak"].tolist(), both["gene"].tolist())
    return found.astype({"influence": "Float64", "share": "Float64", "hops": "Int64", "rows": "Int64"})


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort rows: called or lost edges first, those beyond noise before noise, then by how many spreads they moved."""
    keys = pd.DataFrame(
        {
            "change": rows["change"].map({name: i for i, name in enumerate(CHANGES)}),
            "noise": rows["cause"].eq("noise"),
            "moved": -(rows["shift"].abs() / rows["spread"]).fillna(np.inf),
            "edge_id": rows["edge_id"],
        }
    )
    order = keys.sort_values(["noise", "change", "moved", "edge_id"]).index
    return rows.loc[order].reset_index(drop=True)
