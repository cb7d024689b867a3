"""Scores of peak-gene pairs against the distance from the gene's start site to the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kg.pages.blocks import Picture, Table, Text
from kg.pages.colours import CALLED, GREY, INK
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from models.jobs.report.contents import RunContents

BIN_BP, LAST_BP = 25_000, 150_000
SHOWN_CALLED = 400  # points of each bin


def sections(contents: RunContents) -> list[Section]:
    """Return one section, on the pairs that evidence joins; none without such pairs."""
    pairs = contents.links[contents.links["in_prior"]]
    if pairs.empty:
        return []
    lead = f"{len(pairs):,} pairs were scored, {pairs['called'].sum():,} are called (q below 0.05)."
    counted = Table(by_bin(pairs).drop(columns="scores").to_dict("records"))
    return [Section("Score by distance", [Text(lead), Picture.of(by_distance(pairs), "score by distance"), counted])]


def by_bin(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each bin of 25 kb up to 150 kb and one beyond, with counts, median score and scores."""
    number, rows = _bin(pairs), []
    for n in np.unique(number).tolist():
        score, called = (pairs[column].to_numpy()[number == n] for column in ("score", "called"))
        rows.append(
            {
                "kb": f"{n * BIN_BP // 1000}-{(n + 1) * BIN_BP // 1000}" if n * BIN_BP < LAST_BP else "beyond 150",
                "pairs": len(score),
                "called": int(called.sum()),
                "share called": float(called.mean()),
                "median score": float(np.median(score)),
                "scores": score,
            }
        )
    return pd.DataFrame(rows)


def _bin(pairs: pd.DataFrame) -> NDArray[np.int64]:
    number: NDArray[np.int64] = np.minimum(pairs["distance_bp"].to_numpy(dtype=np.int64), LAST_BP) // BIN_BP
    return number


def by_distance(pairs: pd.DataFrame) -> Figure:
    """Draw a box of all scores in each bin of distance, with called pairs as points next to it."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9.6, 4))
    axes = figure.add_subplot()
    bins = by_bin(pairs)
    axes.boxplot(
        bins["scores"].tolist(),
        positions=range(len(bins)),
        widths=0.35,
        showfliers=False,
        medianprops={"color": INK},
        boxprops={"color": GREY},
        whiskerprops={"color": GREY},
        capprops={"color": GREY},
    )
    rng = np.random.default_rng(0)
    called = pairs[pairs["called"].astype(bool)]
    for at, n in enumerate(np.unique(_bin(pairs))):
        score = rng.permutation(called["score"].to_numpy()[_bin(called) == n])[:SHOWN_CALLED]
        axes.scatter(at + 0.25 + 0.2 * rng.random(len(score)), score, s=6, lw=0, alpha=0.6, color=CALLED)
    axes.scatter([], [], s=12, color=CALLED, label=f"called (at most {SHOWN_CALLED} a bin are drawn)")
    axes.set_xticks(range(len(bins)), [f"{r['kb']}\nn={r['pairs']:,}" for r in bins.to_dict("records")], fontsize=8)
    axes.set(xlabel="kb from the gene's start site to the peak", ylabel="score")
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.9, bottom=0.17)
    return figure
