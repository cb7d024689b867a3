"""Pictures of a run report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Okabe and Ito, told apart by all readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CALLED, GREY, LIGHT = "#D55E00", "#6b6b6b", "#cfcfcf"
MOST_LABELS = 20
BIN_BP, LAST_BP = 25_000, 150_000
SHOWN_CALLED = 400  # points of each bin
COLUMNS = 3


def losses(history: pd.DataFrame, modalities: Sequence[str]) -> Figure:
    """Parts of the loss over the epochs of a member, one stage after the other; each member a line.

    A part of one modality, such as nll_0, is named by it; the highest twentieth of the values may lie above the frame.
    """
    names = [name for name in map(str, history) if name.startswith("train_") and name != "train_seconds"]
    parts = sorted((name.removeprefix("train_") for name in names), key=lambda part: part != "total")
    n_rows = -(-len(parts) // COLUMNS)
    figure = Figure(figsize=(11, 2.5 * n_rows + 0.4), layout="constrained")
    panels = figure.subplots(n_rows, COLUMNS, squeeze=False, sharex=True).ravel()
    for axes, part in zip(panels, parts, strict=False):
        _loss(axes, history, part)
        name, _, number = part.rpartition("_")
        of = int(number) if number.isdigit() else len(modalities)
        axes.set_title(f"{name} of {modalities[of]}" if of < len(modalities) else part, loc="left", fontsize=10)
    for axes in panels[len(parts) :]:
        axes.set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def _loss(axes: Axes, history: pd.DataFrame, part: str) -> None:
    for number, (_, rows) in enumerate(history.groupby("member" if "member" in history else [0] * len(history))):
        epoch = np.arange(1, len(rows) + 1)
        for kind, colour in (("train", COLOURS[0]), ("val", COLOURS[1])):
            if f"{kind}_{part}" in rows:
                told = {"train": "training", "val": "held-out cells"}[kind] if not number else None
                axes.plot(epoch, rows[f"{kind}_{part}"], color=colour, lw=1.2, alpha=0.8, label=told)
        starts = epoch[1:][rows["stage"].to_numpy()[1:] != rows["stage"].to_numpy()[:-1]]
        for at in starts:
            axes.axvline(at - 0.5, color=GREY, lw=0.8, ls=(0, (2, 3)))
    values = history[[f"{kind}_{part}" for kind in ("train", "val") if f"{kind}_{part}" in history]].to_numpy().ravel()
    low, high = np.nanpercentile(values, [0, 95])
    axes.set_ylim(low - 0.05 * (high - low) - 1e-12, high + 0.05 * (high - low) + 1e-12)
    axes.set_xlabel("epoch; dashed: the next stage starts", fontsize=8)
    _bare(axes)


def consistency(held: Mapping[int, float], trusted: float) -> Figure:
    """The score by number of metacells, and where trust begins."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    numbers = sorted(held)
    axes.axhline(trusted, color=GREY, lw=0.8, ls=(0, (2, 3)), label=f"trusted above {trusted}")
    axes.plot(numbers, [held[n] for n in numbers], "o-", color=COLOURS[0])
    axes.set(xlabel="metacells", ylabel="consistency", xscale="log")
    axes.set_xticks(numbers, [str(n) for n in numbers], minor=False)
    axes.minorticks_off()
    axes.set_ylim(min(0, *held.values()) * 1.1, max(trusted, *held.values()) * 1.15)
    axes.legend(frameon=False, fontsize=8)
    _bare(axes)
    return figure


def confused(truth: NDArray[np.str_], guess: NDArray[np.str_]) -> pd.DataFrame:
    """Share of the cells of each label (rows) that get each label (columns); "none" where they got none."""
    counts = pd.crosstab(pd.Series(truth, name="own"), pd.Series(np.where(guess == "", "none", guess), name="given"))
    order = [*counts.index, *sorted(set(counts.columns) - set(counts.index))]
    counts = counts.reindex(columns=order, fill_value=0)
    return counts.div(counts.sum(axis=1), axis=0)


def confusion(truth: NDArray[np.str_], guess: NDArray[np.str_], confidence: NDArray[np.float32]) -> Figure:
    """Own labels against transferred ones, and how sure the right and the wrong ones were."""
    share = confused(truth, guess)
    size = max(3.2, 0.28 * len(share) + 1.6)
    figure = Figure(figsize=(11, size), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    drawn = left.imshow(share.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    left.set_xticks(range(share.shape[1]), [str(c) for c in share.columns], rotation=90, fontsize=8)
    left.set_yticks(range(len(share)), [str(c) for c in share.index], fontsize=8)
    left.set(xlabel="transferred label", ylabel="own label")
    figure.colorbar(drawn, ax=left, label="share of the cells of a row")
    edges = np.linspace(0, 1, 21)
    sure = [confidence[truth == guess], confidence[truth != guess]]
    right.hist(sure, edges.tolist(), stacked=True, color=[COLOURS[0], COLOURS[1]], label=["right", "wrong"])
    right.set(xlabel="confidence", ylabel="cells")
    right.legend(frameon=False, fontsize=8)
    _bare(right)
    return figure


def cells(
    flat: NDArray[np.float32], names: tuple[str, str], modality: NDArray[np.str_], label: NDArray[np.str_] | None
) -> Figure:
    """The same cells twice: by modality and, where there are labels, by label."""
    panels = [modality] if label is None else [modality, label]
    figure = Figure(figsize=(5.6 * len(panels), 5.2), layout="constrained")
    order = np.random.default_rng(0).permutation(len(flat))  # or the last modality would hide the first
    for axes, value in zip(figure.subplots(1, len(panels), squeeze=False).ravel(), panels, strict=True):
        _coloured(axes, flat[order], value[order])
        axes.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
        _bare(axes)
    return figure


def _coloured(axes: Axes, flat: NDArray[np.float32], value: NDArray[np.str_]) -> None:
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    kinds, counts = np.unique(value[value != ""], return_counts=True)
    kinds = np.sort(kinds[np.argsort(-counts, kind="stable")][:MOST_LABELS])
    more = colormaps["tab10" if len(kinds) <= 10 else "tab20"]
    colours = {k: COLOURS[i] if len(kinds) <= len(COLOURS) else more(i) for i, k in enumerate(kinds.tolist())}
    size = min(max(2e4 / max(len(flat), 1), 2), 12)
    axes.scatter(flat[:, 0], flat[:, 1], s=size, lw=0, alpha=0.7, c=[colours.get(str(v), LIGHT) for v in value])
    handles = [Line2D([], [], color=c, marker="o", ls="", ms=4, label=name) for name, c in colours.items()]
    if not set(value.tolist()) <= set(colours):
        handles.append(Line2D([], [], color=LIGHT, marker="o", ls="", ms=4, label="other or none"))
    axes.legend(handles=handles, frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def by_bin(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row a bin of 25 kb up to 150 kb and one beyond: bin, pairs, called, share called, median score, scores."""
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
    """A box of all scores in each bin of distance; called pairs as points beside it."""
    figure = Figure(figsize=(9.6, 4), layout="constrained")
    axes = figure.add_subplot()
    bins = by_bin(pairs)
    axes.boxplot(
        bins["scores"].tolist(),
        positions=range(len(bins)),
        widths=0.35,
        showfliers=False,
        medianprops={"color": "#222222"},
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
    _bare(axes)
    return figure


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
