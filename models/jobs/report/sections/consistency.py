"""Whether linked features vary together over the joint space, and what that says about the alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Picture, Text
from kg.pages.colours import COLOURS, GREY
from models.evaluation.diagnostics import TRUSTED, verdict
from models.jobs.report.section import Section, missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from models.jobs.report.contents import RunContents

PREFIX = "consistency_"


def sections(contents: RunContents) -> list[Section]:
    """Return one section: the verdict on the alignment and the score by number of metacells."""
    title, numbers = "Consistency", contents.numbers
    scores = {int(name.removeprefix(PREFIX)): value for name, value in numbers.items() if name.startswith(PREFIX)}
    if not scores:
        return [missing(title, "consistency", "The metrics of this run include no integration consistency.")]
    lead = f"Do linked features vary together over metacells of the joint space? A score above {TRUSTED} is trusted."
    judged = [Text(f"{verdict(numbers).sentence}.")] if "mixing" in numbers else []
    drawn = Picture.of(consistency(scores, TRUSTED), "consistency by number of metacells")
    return [Section(title, [*judged, Text(lead), drawn])]


def consistency(scores: Mapping[int, float], trusted: float) -> Figure:
    """Draw the score by number of metacells, with the threshold of trust."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(6.4, 3.2))
    axes = figure.add_subplot()
    numbers = sorted(scores)
    axes.axhline(trusted, color=GREY, lw=0.8, ls=(0, (2, 3)), label=f"trusted above {trusted}")
    axes.plot(numbers, [scores[n] for n in numbers], "o-", color=COLOURS[0])
    axes.set(xlabel="metacells", ylabel="consistency", xscale="log")
    axes.set_xticks(numbers, [str(n) for n in numbers], minor=False)
    axes.minorticks_off()
    axes.set_ylim(min(0, *scores.values()) * 1.1, max(trusted, *scores.values()) * 1.15)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.subplots_adjust(left=0.13, right=0.98, top=0.96, bottom=0.16)
    return figure
