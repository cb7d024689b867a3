"""Scored pairs of a run, labelled by what evidence or truth says about the same pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from kg.errors import Conflict, NotFound
from kg.runs.pair_files import PAIR, read_verdicts
from kg.runs.records import complete_run, guiding
from kg.schema import EDGE_TYPES, GENE, PERTURBS, PREDICTED_LINK, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.runs.records import Run
    from kg.schema import EdgeType
    from kg.store import Store

EXTRA_SCORES = ("without_prior", "from_cells")  # columns of a pair besides its score


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs with a score and a verdict.

    Attributes:
        pairs: columns peak, gene, chrom, distance_bp (from the transcription start site to the peak, unsigned), score,
            those of `EXTRA_SCORES` (NaN where the run has none), positive.
        of: type of the edges that make a pair positive, or name of the file that does.
        guided: whether such edges guided the training, so that figures derived from them are meaningless.
    """

    pairs: pd.DataFrame
    of: str
    guided: bool


def pair_columns(of: EdgeType) -> tuple[str, str]:
    """Return the column names of the ends of a predicted type: peak and gene, or tf and gene."""
    first = "tf" if of.start == GENE.label else of.start.lower()
    return first, of.end.lower()


def labelled_pairs(
    store: Store,
    run_id: str,
    against: str,
    release: int,
    biosamples: Sequence[str] = (),
    of: EdgeType = PREDICTED_LINK,
) -> LabelledPairs:
    """Return the pairs that a run scored, positive where an edge of a type joins them at a release.

    For truth (PERTURBS) the universe is what was tested: pairs without a row are left out, and those that the
    experiment called are positive. For evidence it is the pairs of genes that have any row (baits of a capture, genes
    with an eQTL), or of factors that have one: about the others, and chromosomes that a file leaves out, nothing is
    known.

    Args:
        store: the graph.
        run_id: a complete run.
        against: an edge type between peaks and genes.
        release: the release whose rows are read.
        biosamples: only rows of these; empty for all.
        of: the predicted type of the pairs.

    Raises:
        UnknownRun: there is no such run.
        NotFound: the release has no such rows, or the run no pairs.
        Conflict: the type does not join peaks and genes, or the run is not complete.
    """
    type_ = EDGE_TYPES.get(against)
    if type_ is None or (type_.start, type_.end) != (of.start, of.end):
        fitting = [t.name for t in EDGE_TYPES.values() if (t.start, t.end) == (of.start, of.end)]
        raise Conflict(
            f"{against} does not join a {of.start.lower()} and a {of.end.lower()}", f"these do: {', '.join(fitting)}"
        )
    run_ = complete_run(store, run_id)
    pair = list(pair_columns(of))
    pairs = _pairs(store, run_, release) if of == PREDICTED_LINK else _gene_pairs(store, run_id, release, of)
    rows = _rows(store, type_, release, biosamples, pair)
    if pairs.empty or rows.empty:
        lacking = f"no {against} row" if rows.empty else f"no pair of {run_id}"
        raise NotFound(f"release {release} holds {lacking} to compare", "regkg datasets; regkg runs show RUN")
    if type_.kind is not Kind.TRUTH:
        known = pair[1] if of == PREDICTED_LINK else pair[0]
        pairs = pairs[pairs[known].isin(rows[known])]
    joined = pairs.merge(rows, how="inner" if type_.kind is Kind.TRUTH else "left", on=pair)
    joined["positive"] = joined["positive"].fillna(value=False).astype(bool)
    return LabelledPairs(joined, against, against in guiding(run_))


def pairs_of_file(store: Store, run_id: str, path: Path, release: int) -> LabelledPairs:
    """Return the pairs that a run scored and that a file labels; others are left out.

    Args:
        store: the graph.
        run_id: a complete run.
        path: tab-separated with a header: peak (or peak_id), gene (or gene_id), and positive (or is_link), 0 or 1. If a
            pair has several rows, a single 1 is enough.
        release: gives the positions of peaks and genes.

    Raises:
        UnknownRun: there is no such run.
        MissingInput: there is no such file.
        InputError: it lacks a column, or has a value other than 0 or 1.
        NotFound: the run scored none of its pairs.
        Conflict: the run is not complete.
    """
    run_ = complete_run(store, run_id)
    rows = read_verdicts(path)
    joined = _pairs(store, run_, release).merge(rows, on=PAIR)
    if joined.empty:
        hint = f"its first is {rows.iloc[0]['peak']}, {rows.iloc[0]['gene']}" if len(rows) else "it has no rows"
        raise NotFound(f"run {run_id} scored none of the {len(rows):,} pairs of {path}", hint)
    return LabelledPairs(joined, path.name, guided=False)


def _pairs(store: Store, of: Run, release: int) -> pd.DataFrame:
    """Return the pairs of a run, without candidates beyond the evidence that guided it.

    Only the best candidates are in the graph, which would flatter the run. An unguided run writes all its pairs, and
    keeps them here.
    """
    extra = ", ".join(f"e.{name}" for name in EXTRA_SCORES)
    rows = store.stream(
        f"MATCH (p:Peak)-[e:{PREDICTED_LINK.name} {{run: $run}}]->(g:Gene) WHERE $every OR coalesce(e.in_prior, true) "
        "MATCH (g)-[:HAS_RECORD]->(r:GeneRecord) WHERE r.since <= $n AND $n < r.until "
        "MATCH (p)-[:HAS_RECORD]->(q:PeakRecord) WHERE q.since <= $n AND $n < q.until "
        f"RETURN p.id, g.id, q.chrom, q.start, q.end, r.tss, e.score, {extra}",
        run=of.id,
        n=release,
        every=not guiding(of),
    )
    frame = pd.DataFrame(list(rows), columns=[*PAIR, "chrom", "start", "end", "tss", "score", *EXTRA_SCORES])
    frame = frame.drop_duplicates(PAIR, ignore_index=True).astype(dict.fromkeys(EXTRA_SCORES, float))
    frame["distance_bp"] = distance_to_tss(frame["start"], frame["end"], frame["tss"])
    return frame[[*PAIR, "chrom", "distance_bp", "score", *EXTRA_SCORES]]


def _gene_pairs(store: Store, run_id: str, release: int, of: EdgeType) -> pd.DataFrame:
    """Return pairs of two genes with the chromosome of the second."""
    rows = store.stream(
        f"MATCH (a:Gene)-[e:{of.name} {{run: $run}}]->(b:Gene) "
        "MATCH (b)-[:HAS_RECORD]->(r:GeneRecord) WHERE r.since <= $n AND $n < r.until "
        "RETURN a.id, b.id, r.chrom, e.score",
        run=run_id,
        n=release,
    )
    pair = list(pair_columns(of))
    return pd.DataFrame(list(rows), columns=[*pair, "chrom", "score"]).drop_duplicates(pair, ignore_index=True)


def distance_to_tss(start: pd.Series[int], end: pd.Series[int], tss: pd.Series[int]) -> pd.Series[int]:
    """Return base pairs from each start site to the nearest base of its peak (0-based half-open); 0 inside it."""
    return pd.concat([start - tss, tss - (end - 1)], axis=1).max(axis=1).clip(lower=0)


def _rows(
    store: Store, against: EdgeType, release: int, biosamples: Sequence[str], pair: Sequence[str]
) -> pd.DataFrame:
    """Return one row per pair; if several experiments tested it, one call is enough."""
    verdict = "e.significant" if against == PERTURBS else "true"
    rows = store.stream(
        f"MATCH (a:{against.start})-[e:{against.name}]->(b:{against.end}) WHERE e.since <= $n AND $n < e.until "
        "AND ($biosamples = [] OR e.biosample IN $biosamples) RETURN a.id, b.id, "
        f"max(toInteger({verdict}))",
        n=release,
        biosamples=list(biosamples),
    )
    return pd.DataFrame(list(rows), columns=[*pair, "positive"])
