"""Arc plot of one locus: a gene, the peaks around it, and the links that a run scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FORMATS = (".png", ".svg", ".pdf")
INK, MUTED, OTHER_GENE, PEAK, UNCALLED = "#222222", "#6b6b6b", "#a0a0a0", "#555555", "#cfcfcf"
PLANTED = "#D55E00"  # vermillion of Okabe and Ito, told from every dark colour of the map by all readers
COLOURS = "viridis_r"
ARC_POINTS = 61
DPI = 160
WIDEST_PEAK_SHARE = 0.004  # of the view; peaks are drawn at least this wide, or they would vanish


class _Row:
    """Fields that are read from rows of questions and of the API alike."""

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a mapping or an object that has these fields among others."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        held = row if isinstance(row, Mapping) else {name: getattr(row, name) for name in names}
        return cls(**{name: held[name] for name in names})


@dataclass(frozen=True)
class DrawnGene(_Row):
    """A gene as drawn; 0-based half-open, `tss` 0-based."""

    symbol: str
    assembly: str
    chrom: str
    start: int
    end: int
    strand: str
    tss: int


@dataclass(frozen=True)
class DrawnLink(_Row):
    """A scored pair of a peak and the gene, as drawn.

    Attributes:
        peak: its id.
        start, end: of the peak, 0-based half-open, on the gene's chromosome.
        score: height of the arc.
        called: drawn in colour; otherwise thin and grey.
    """

    peak: str
    start: int
    end: int
    score: float
    called: bool

    @property
    def centre(self) -> float:
        """Middle of the peak, bp."""
        return (self.start + self.end) / 2


def arc_plot(
    gene: DrawnGene,
    links: Sequence[DrawnLink],
    out: Path,
    *,
    neighbours: Iterable[DrawnGene] = (),
    planted: Iterable[str] | None = None,
    subtitle: str = "",
) -> Path:
    """Draw one locus to a file.

    An arc runs from a peak to the gene's TSS and is as high as its score; arcs of negative scores hang
    below the line. Called links are coloured by score, the others are thin and grey.

    Args:
        gene: whose links these are.
        links: every scored pair of the gene, called or not.
        out: .png, .svg or .pdf; its folder is made if needed.
        neighbours: other genes; those outside the view are left out.
        planted: ids of the peaks that truly regulate the gene, where that is known.
        subtitle: such as "release 1 · run 2f6c".

    Returns:
        `out`.

    Raises:
        InputError: there are no links, or the format is not one of `FORMATS`.
    """
    if out.suffix.lower() not in FORMATS:
        raise InputError(f"cannot draw to {out.name}", f"name a file that ends in one of {', '.join(FORMATS)}")
    _save(arc_figure(gene, links, neighbours=neighbours, planted=planted, subtitle=subtitle), out)
    return out


def arc_figure(
    gene: DrawnGene,
    links: Sequence[DrawnLink],
    *,
    neighbours: Iterable[DrawnGene] = (),
    planted: Iterable[str] | None = None,
    subtitle: str = "",
) -> Figure:
    """Draw one locus; arguments as of `arc_plot`.

    Raises:
        InputError: there are no links.
    """
    if not links:
        raise InputError(f"{gene.symbol} has no scored links to draw", "choose a gene that the run scored")
    true = None if planted is None else set(planted)
    figure, arcs, genes = _canvas(gene, links)
    _draw_arcs(arcs, gene, links)
    _draw_peaks(arcs, links, true or set())
    _mark_planted(arcs, gene, links, true or set())
    _draw_genes(genes, gene, neighbours)
    _draw_words(figure, arcs, genes, _Words(gene, links, true, subtitle))
    return figure


def arc(start: float, end: float, height: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (x, y) of half an ellipse from (start, 0) over (or under) `height` to (end, 0)."""
    angle = np.linspace(np.pi, 0, ARC_POINTS)
    return (start + end) / 2 + (end - start) / 2 * np.cos(angle), height * np.sin(angle)


def _canvas(gene: DrawnGene, links: Sequence[DrawnLink]) -> tuple[Figure, Axes, Axes]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that `--help` need not wait for

    figure = Figure(figsize=(11, 5.6), dpi=DPI, facecolor="white")
    arcs, genes = figure.subplots(2, 1, sharex=True, height_ratios=[6, 1.3])
    low = min([gene.start, *(link.start for link in links)])
    high = max([gene.end, *(link.end for link in links)])
    edge = 0.02 * (high - low)
    genes.set_xlim(low - edge, high + edge)
    for axes in (arcs, genes):
        axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
        axes.tick_params(axis="x", length=0, labelbottom=False, colors=INK)
        axes.axvline(gene.tss, color=MUTED, lw=0.8, ls=(0, (2, 3)), zorder=1)
    genes.set_yticks([])
    figure.subplots_adjust(left=0.075, right=0.985, top=0.83, bottom=0.11, hspace=0.03)
    return figure, arcs, genes


def _draw_arcs(axes: Axes, gene: DrawnGene, links: Sequence[DrawnLink]) -> None:
    from matplotlib import colormaps  # noqa: PLC0415

    for link in sorted(links, key=lambda one: (one.called, one.score)):
        x, y = arc(link.centre, gene.tss, link.score)
        colour = colormaps[COLOURS](link.score) if link.called else UNCALLED
        axes.plot(x, y, color=colour, lw=2.6 if link.called else 0.9, solid_capstyle="round", zorder=2 + link.called)
    axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(MUTED)
    axes.set_ylabel("score (height of the arc)", color=INK)


def _draw_peaks(axes: Axes, links: Sequence[DrawnLink], planted: set[str]) -> None:
    """On the line where arcs end."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    half, least = 0.018 * (top - bottom), WIDEST_PEAK_SHARE * (right - left)
    for link in links:
        width = max(link.end - link.start, least)
        true = link.peak in planted
        axes.broken_barh(
            [(link.centre - width / 2, width)],
            (-half, 2 * half),
            facecolor=PLANTED if true else PEAK,
            edgecolor="white",
            linewidth=0.6,
            zorder=6 + true,
        )
    axes.set_ylim(bottom, top)


def _mark_planted(axes: Axes, gene: DrawnGene, links: Sequence[DrawnLink], planted: set[str]) -> None:
    true = [link for link in links if link.peak in planted]
    x, y = [(link.centre + gene.tss) / 2 for link in true], [link.score for link in true]
    axes.scatter(x, y, marker="D", s=38, color=PLANTED, edgecolors="white", linewidths=0.9, zorder=8)


def _draw_genes(axes: Axes, gene: DrawnGene, neighbours: Iterable[DrawnGene]) -> None:
    low, high = axes.get_xlim()
    seen = [n for n in neighbours if n.chrom == gene.chrom and n.start < high and n.end > low and n != gene]
    shown = [gene, *sorted(seen, key=lambda one: one.start)]
    rows = lines_without_overlap(shown, pad=0.07 * (high - low))
    for one, row in zip(shown, rows, strict=True):
        _draw_gene(axes, one, -row, INK if one == gene else OTHER_GENE)
    axes.set_ylim(-max(rows) - 0.6, 0.85)
    axes.set_ylabel("genes", color=INK)


def lines_without_overlap(genes: Sequence[DrawnGene], pad: float) -> list[int]:
    """The first line on which each gene, with room for its name on both sides, meets none before it in the list."""
    taken: list[list[DrawnGene]] = []
    rows = []
    for gene in genes:
        free = (i for i, row in enumerate(taken) if all(_apart(gene, other, pad) for other in row))
        row = next(free, len(taken))
        taken += [[]] * (row == len(taken))
        taken[row] = [*taken[row], gene]
        rows.append(row)
    return rows


def _apart(one: DrawnGene, other: DrawnGene, pad: float) -> bool:
    return one.start >= other.end + pad or other.start >= one.end + pad


def _draw_gene(axes: Axes, gene: DrawnGene, y: float, colour: str) -> None:
    low, high = axes.get_xlim()
    width, forward = high - low, gene.strand == "+"
    axes.plot([max(gene.start, low), min(gene.end, high)], [y, y], color=colour, lw=5, solid_capstyle="butt", zorder=2)
    if low <= gene.tss <= high:
        tip = gene.tss + (0.016 if forward else -0.016) * width
        axes.plot([gene.tss, gene.tss], [y, y + 0.5], color=colour, lw=1.2, zorder=3)
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (tip, y + 0.5), (gene.tss, y + 0.5), arrowprops=arrow)
    where, side = _beside(gene, low, high)
    axes.text(
        where,
        y,
        gene.symbol,
        color=colour,
        ha=side,
        va="center",
        size=9,
        style="italic",
        weight="bold" if colour == INK else "normal",
        bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
        zorder=3,
    )


def _beside(gene: DrawnGene, low: float, high: float) -> tuple[float, str]:
    """Where the name of a gene has room: after it, else before it, else on it."""
    gap, room = 0.006 * (high - low), 0.06 * (high - low)
    if gene.end + room < high:
        return gene.end + gap, "left"
    if gene.start - room > low:
        return gene.start - gap, "right"
    return (max(gene.start, low) + min(gene.end, high)) / 2, "center"


@dataclass(frozen=True)
class _Words:
    gene: DrawnGene
    links: Sequence[DrawnLink]
    planted: set[str] | None
    subtitle: str

    @property
    def count(self) -> str:
        called = [link for link in self.links if link.called]
        text = f"{len(called)} of {len(self.links)} peaks called"
        if self.planted is None:
            return text
        found = sum(link.peak in self.planted for link in called)
        return f"{text}; {found} of {len(self.planted)} true links among them"


def _draw_words(figure: Figure, arcs: Axes, genes: Axes, words: _Words) -> None:
    gene = words.gene
    figure.text(0.075, 0.945, f"Predicted regulators of {gene.symbol}", fontsize=15, color=INK, weight="bold")
    said = [words.count, words.subtitle]
    figure.text(0.075, 0.9, "  ·  ".join(s for s in said if s), fontsize=9.5, color=MUTED)
    genes.tick_params(axis="x", length=4, labelbottom=True)
    genes.spines["bottom"].set_visible(True)
    genes.spines["bottom"].set_color(MUTED)
    low, high = genes.get_xlim()
    decimals = 2 if high - low > 200_000 else 3
    genes.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:.{decimals}f}")
    genes.set_xlabel(f"{gene.assembly} {gene.chrom}, Mb (0-based)", color=INK)
    handles = _legend(with_truth=words.planted is not None)
    arcs.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(handles), frameon=False, fontsize=9
    )


def _legend(*, with_truth: bool) -> list[Any]:
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    handles = [
        Line2D([], [], color=colormaps[COLOURS](0.8), lw=2.6, label="called"),
        Line2D([], [], color=UNCALLED, lw=1.2, label="not called"),
        Line2D([], [], color=PEAK, marker="s", ls="", ms=5, label="peak"),
    ]
    truth = Line2D([], [], color=PLANTED, marker="D", ls="", ms=6, label="true link")
    return [*handles, truth] if with_truth else handles


def _save(figure: Figure, out: Path) -> None:
    from matplotlib import rc_context  # noqa: PLC0415

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial{out.suffix}")
    with rc_context(
        {"svg.hashsalt": "regkg", "svg.fonttype": "none"}
    ):  # equal pictures are equal files; text stays text
        figure.savefig(partial, metadata={"Date": None} if out.suffix.lower() == ".svg" else None)
    partial.replace(out)
