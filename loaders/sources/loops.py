"""Chromatin loops that are not capture Hi-C: HiChIP, ChIA-PET, Hi-C, as BEDPE, mango or WashU text.

The format is recognised by the first row: BEDPE (tabs or blanks, with or without chr; hichipper writes it, and loop
callers that put a count right after the anchors), mango (anchors, PETs, q), WashU longrange (chrom, start, end,
chrom:start-end,score) or WashU text (chrom,start,end twice and a score). Positions are 0-based half-open, but
1-based with both ends inside in WashU text.

An anchor within --tolerance-bp of a transcription start site is at that gene's promoter: every peak under the
other anchor then contacts the gene, and a loop between two promoters gives both directions (bait_to_bait). In addition,
each peak under one anchor contacts each under the other one (PEAK_CONTACTS, from the anchor that comes first on the
genome); a loop of more than --max-pairs such pairs is too coarse to say which peaks touch and gives none of them,
which a warning counts.

What the score is: mango's becomes minus_log10_q (a q of 0 counts as 1e-300); for the other formats it is what
--score-kind states, a count of read pairs by default. Loops below --min-score count as filtered; it is 2 for counts,
since a single read pair is not a loop, -log10 0.05 for mango, and there is none for other kinds. Loops whose anchors
overlap each other, and those that meet no peak, count as filtered too. Loops between chromosomes are kept. Of several
rows with the same two anchors, either way round, the highest score stays and the others count as folded.

Where --lift-with lifted the anchors, `original` holds both old positions, first;second as in the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kg.parameters import param
from kg.schema import BIOSAMPLE, CONTACTS, GENE, PEAK, PEAK_CONTACTS, RowType
from loaders.formats.pairs import MANGO, AnchorHits, anchor, label, pairs_meeting, place_anchors, read_pairs, renumbered
from loaders.registry import loader
from loaders.tables.checks import check_columns, parse_numbers
from loaders.tables.files import InputFile
from loaders.tables.joins import biosamples, keep_best, leave_out, peaks_under, promoters_under
from loaders.tables.rows import Rows
from loaders.tables.source_context import SourceContext

COUNT, MINUS_LOG10_Q = "count", "minus_log10_q"
THRESHOLDS = {COUNT: 2.0, MINUS_LOG10_Q: -np.log10(0.05)}
SMALLEST_Q = 1e-300


class _Ends(NamedTuple):
    """Anchors of all loops of a file with what lies under them."""

    label: NDArray[np.object_]
    genes: AnchorHits
    peaks: AnchorHits


@dataclass(frozen=True)
class Options:
    """Which loops count, and what counts as lying under an anchor."""

    min_score: float | None = param("smallest score; default: 2 for counts, -log10 0.05 for mango", None)
    score_kind: str = param("kind of the score in BEDPE and WashU text", COUNT)
    tolerance_bp: int = param("largest distance between an anchor and a transcription start site", 1000, low=0)
    max_pairs: int = param("most pairs of peaks of a loop; with more, it gives no contacts between peaks", 100, low=0)


@loader(
    files="BEDPE, mango or WashU text of loops",
    writes=(CONTACTS, PEAK_CONTACTS, BIOSAMPLE),
    lookup=(GENE, PEAK),
    assembly=True,
    biosample=True,
    cites="hichipper (doi:10.1038/nmeth.4583), mango (doi:10.1093/bioinformatics/btv336)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[RowType, Rows]]:
    """Yield contacts of every file."""
    at_genes, between_peaks = [], []
    for file in context.files:
        rows = _loops(file, context, options.min_score, options.score_kind)
        ends = [_end(rows, k, context, options.tolerance_bp) for k in "12"]
        contacts, pairs = _contacts(ends), _peak_pairs(rows, ends, options.max_pairs)
        used = np.zeros(len(rows), dtype=bool)
        used[contacts["at"]] = used[pairs["at"]] = True
        contacts, pairs = (renumbered(frame, used) for frame in (contacts, pairs))
        leave_out(rows, ~used, "have no peak at both anchors, nor one opposite a promoter")
        between_peaks.append(_spread(Rows(rows.file, rows.frame, counted=False), pairs))
        at_genes.append(_spread(rows, contacts))
    for type_, parts in ((CONTACTS, at_genes), (PEAK_CONTACTS, between_peaks)):
        keep_best(parts, ("start_id", "end_id", *type_.keys), ("score", "score_kind", "original"))
        yield from ((type_, rows) for rows in parts)
    yield biosamples([context.biosample])


def _loops(file: InputFile, context: SourceContext, min_score: float | None, score_kind: str) -> Rows:
    """Return those with a score that is high enough, on the assembly."""
    rows, kind = read_pairs(file, context.notes)
    if kind is MANGO:
        parse_numbers(rows, "q_value", low=0, high=1)
        rows.set(score=-np.log10(rows["q_value"].clip(lower=SMALLEST_Q)))
    else:
        check_columns(rows, ("score",), "the eighth column of BEDPE is the score")
        parse_numbers(rows, "score")
    score_kind = MINUS_LOG10_Q if kind is MANGO else score_kind
    rows.set(score_kind=score_kind, biosample=context.biosample)
    least = THRESHOLDS.get(score_kind, -np.inf) if min_score is None else min_score
    leave_out(rows, rows["score"] < least, f"have a score below {least:g}")
    place_anchors(rows, context)
    overlapping = (rows["start1"] < rows["end2"]) & (rows["start2"] < rows["end1"])
    leave_out(rows, (rows["chrom1"] == rows["chrom2"]) & overlapping, "have anchors that overlap each other")
    return rows


def _end(rows: Rows, k: str, context: SourceContext, tolerance_bp: int) -> _Ends:
    at = anchor(rows, k)
    return _Ends(label(rows, k), promoters_under(at, context, tolerance_bp=tolerance_bp), peaks_under(at, context))


def _contacts(ends: list[_Ends]) -> pd.DataFrame:
    """Return peaks under one anchor with genes at the other, both ways."""
    parts = []
    for bait, other in (ends, ends[::-1]):
        pairs = pairs_meeting(other.peaks, bait.genes)
        parts.append(
            pairs.assign(
                bait=bait.label[pairs["at"]],
                other_end=other.label[pairs["at"]],
                bait_to_bait=pairs["at"].isin(other.genes[0]),
            )
        )
    return pd.concat(parts, ignore_index=True)


def _peak_pairs(rows: Rows, ends: list[_Ends], most: int) -> pd.DataFrame:
    """Return peaks under one anchor with those under the other, from the anchor that comes first to the later one."""
    pairs = pairs_meeting(ends[0].peaks, ends[1].peaks)
    of_loop = pairs.groupby("at")["at"].transform("size")
    coarse = pairs["at"][of_loop > most].nunique()
    if coarse:
        rows.warnings.append(f"{rows.file}: {coarse:,} loops have more than {most} pairs of peaks, which were left out")
    pairs = pairs[(of_loop <= most) & (pairs["left"] != pairs["right"])]
    at = pairs["at"].to_numpy()
    turned = _later_first(rows)[at]
    peaks, anchors = pairs[["left", "right"]].to_numpy(), np.column_stack([end.label[at] for end in ends])
    peaks[turned], anchors[turned] = peaks[turned, ::-1], anchors[turned, ::-1]
    columns = {"left": peaks[:, 0], "right": peaks[:, 1], "anchor": anchors[:, 0], "other_end": anchors[:, 1]}
    return pd.DataFrame({"at": at, **columns})


def _later_first(rows: Rows) -> NDArray[np.bool_]:
    """Return whether the first anchor of each row comes after the second one, by name of chromosome, then by start."""
    same = rows["chrom1"] == rows["chrom2"]
    later = np.where(same, rows["start1"] > rows["start2"], rows["chrom1"] > rows["chrom2"])
    return np.asarray(later, dtype=bool)


def _spread(rows: Rows, pairs: pd.DataFrame) -> Rows:
    columns = pairs.drop(columns="at").rename(columns={"left": "start_id", "right": "end_id"})
    rows.spread(pairs["at"].to_numpy(), **{str(name): columns[name].to_numpy() for name in columns})
    return rows
