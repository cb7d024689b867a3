"""Where motifs match in peaks: by scanning sequences, or from the hits of another program -> HAS_HIT.

Load peaks and motifs first. FASTA files are scanned: either a genome, whose chromosomes must have the lengths of
--assembly, or cut-outs named by position (chr1:1000-1500, 0-based half-open, as bedtools getfasta names them). Both
strands are scanned with all motifs of the graph. The score is log2 odds against the background, in steps of 1/1000
bit; the p-value is that of such a score or a higher one at one position, exact for these steps, and a hit has at
most --p-value (a score exactly at the threshold is a hit). The background is the share of G and C of all
sequences, rounded to a thousandth and equal on both strands, or --gc. Letters other than A, C, G and T never match;
small letters count as capitals. Results are kept under the home and reused while sequences, matrix, threshold,
background and pseudocount are the same.

Hits of other programs: FIMO's TSV (1-based with both ends inside; sequence_name is a chromosome, or chr1:1000-1500
for sequences cut out there) and BED with the motif as its name, the score in column 5, the strand in column 6 and,
if there is one, the p-value in column 7. A motif is found by its id, or by a name that one motif has; others count
as filtered. So do hits of a larger p-value than --p-value, and hits that are not wholly inside a peak: a scan finds
no others either. A hit in several overlapping peaks is one of each.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from kg.errors import InputError, MissingInput
from kg.parameters import param
from kg.schema import HAS_HIT, MOTIF, PEAK, EdgeType
from loaders.genome.intervals import overlapping
from loaders.motifs.hit_cache import HitCache
from loaders.motifs.scan import MotifHits, Text, find
from loaders.motifs.scores import STEP, Profile, profile
from loaders.motifs.sequences import is_fasta, read_cut_outs
from loaders.registry import loader
from loaders.tables.checks import check_columns, check_intervals, parse_integers, parse_numbers, shift_one_based
from loaders.tables.files import InputFile
from loaders.tables.joins import intervals_in, intervals_of, on_assembly, texts, warn_unknown
from loaders.tables.rows import Reason, Rows, read_delimited
from loaders.tables.source_context import SourceContext

BED = ("chrom", "start", "end", "motif", "score", "strand", "p_value")
FIMO = {"motif_id": "motif", "sequence_name": "chrom", "stop": "end", "p-value": "p_value"}
NEEDED = ("motif", "chrom", "start", "end", "strand", "score")
BATCH = 256  # motifs scanned before their hits are kept


@dataclass(frozen=True)
class Options:
    """The threshold of a hit and the background of the scan."""

    p_value: float = param("the largest p-value of a hit", 1e-5, above=0, high=1)
    gc: float | None = param(
        "share of G and C of the background; default: that of the sequences", None, above=0, below=1
    )
    pseudocount: float = param("added to each position of a motif, divided as the background", 0.1, above=0)


@loader(
    files="FASTA to scan, FIMO TSV or BED of hits",
    writes=(HAS_HIT,),
    lookup=(PEAK, MOTIF),
    assembly=True,
    lifts=False,
    cites="lookahead scoring (doi:10.1093/bioinformatics/16.3.233); FIMO (doi:10.1093/bioinformatics/btr064)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[EdgeType, Rows]]:
    """Yield hits of every file."""
    for label in (PEAK.label, MOTIF.label):
        if not context.graph[label].num_rows:
            raise MissingInput(f"the draft holds no {label.lower()}s", f"regkg load {label.lower()}s FILE")
    fasta = [file for file in context.files if is_fasta(file)]
    if fasta:
        yield HAS_HIT, _scan(fasta, context, options.p_value, options.gc, options.pseudocount)
    for file in context.files:
        if file not in fasta:
            yield HAS_HIT, _import(file, context, options.p_value)


def _scan(files: list[InputFile], context: SourceContext, p_value: float, gc: float | None, pseudocount: float) -> Rows:
    wanted = intervals_of(on_assembly(context.graph[PEAK.label], context.assembly.name))
    parts = [read_cut_outs(file, context.notes, context.assembly, wanted) for file in files]
    pieces = pd.concat([rows.frame for rows in parts]).drop_duplicates()
    pieces = pieces.sort_values(["chrom", "start", "end", "sequence"], ignore_index=True)
    if pieces.empty:
        raise InputError(f"{files[0].name}: no sequence lies on a chromosome with peaks", "is it the right genome?")
    text = Text.of(pieces["sequence"].tolist())
    share = round(text.gc, 3) if gc is None else gc
    motifs = context.graph[MOTIF.label]
    profiles = [profile(_matrix(json_), p_value, share, pseudocount) for json_ in motifs.column("matrix").to_pylist()]
    cache = HitCache.of(context.cache, text, p_value, share, pseudocount)
    by_motif = _find(text, profiles, motifs.column("digest").to_pylist(), cache, context)
    hits = _in_sequences(by_motif, profiles, texts(motifs, "id"), text, pieces)
    rows = Rows(files[0].name, hits, [table for part in parts for table in part.rejected])
    rows.renamed = sum(part.renamed for part in parts)
    rows.warnings += [warning for part in parts for warning in part.warnings]
    scanned = zip(motifs.column("id").to_pylist(), profiles, strict=True)
    short = [id_ for id_, motif_profile in scanned if not len(motif_profile.tail)]
    if short:
        rows.warnings.append(f"{len(short):,} motifs are too short for --p-value {p_value:g}, the first {min(short)}")
    _to_peaks(rows, context)
    return rows


def _matrix(text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(json.loads(text), dtype=np.float64)


def _find(
    text: Text, profiles: list[Profile], digests: list[str], cache: HitCache, context: SourceContext
) -> list[MotifHits]:
    """Return hits by motif; those that are not cached are found and cached; equal matrices are scanned once."""
    known = {digest: cache.get(digest) for digest in digests}
    todo = {d: p for d, p in zip(digests, profiles, strict=True) if known[d] is None and len(p.tail)}
    context.progress.begin(f"scanning with {len(todo):,} motifs", len(todo) * len(text.codes), "bases")
    for at in range(0, len(todo), BATCH):
        batch = list(todo)[at : at + BATCH]
        for digest, motif_hits in zip(batch, find(text, [todo[d] for d in batch], context.progress), strict=True):
            known[digest] = motif_hits
            cache.put(digest, motif_hits)
    hits = [known[digest] or MotifHits.none() for digest in digests]
    context.progress.end(f"{sum(len(motif_hits.position) for motif_hits in hits):,} hits")
    return hits


def _in_sequences(
    by_motif: list[MotifHits], profiles: list[Profile], ids: np.ndarray[tuple[int], np.dtype[np.object_]], text: Text,
    pieces: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """Return one row for each hit on the genome; pieces may overlap."""
    motif = np.repeat(np.arange(len(by_motif)), [len(hits.position) for hits in by_motif])
    position = np.concatenate([hits.position for hits in by_motif])
    piece = np.searchsorted(text.starts, position, side="right") - 1
    start = pieces["start"].to_numpy()[piece] + position - text.starts[piece]
    width = np.array([len(scanned.scores) for scanned in profiles], dtype=np.int64)[motif]
    frame = pd.DataFrame(
        {
            "start_id": ids[motif],
            "chrom": pieces["chrom"].to_numpy(dtype=object)[piece],
            "start": start,
            "end": start + width,
            "strand": np.where(np.concatenate([hits.minus for hits in by_motif]), "-", "+").astype(object),
            "score": np.concatenate([hits.score for hits in by_motif]) / STEP,
            "p_value": np.concatenate(
                [scanned.p_values(hits.score) for scanned, hits in zip(profiles, by_motif, strict=True)]
            ),
        }
    )
    return frame.drop_duplicates(ignore_index=True)


def _import(file: InputFile, context: SourceContext, p_value: float) -> Rows:
    rows = _fimo(file, context) if b"sequence_name" in file.head else _bed(file, context)
    parse_numbers(rows, "score")
    if "p_value" not in rows.frame:
        rows.set(p_value=np.nan)
    else:
        parse_numbers(rows, "p_value", low=0, high=1, needed=False)
    check_intervals(rows, context.assembly)
    rows.reject(~rows["strand"].isin(["+", "-"]), "strand", Reason.STRAND)
    good = ~(rows["p_value"] > p_value)
    rows.filtered += int((~good).sum())
    rows.keep(good)
    _set_motifs(rows, context.graph[MOTIF.label])
    _to_peaks(rows, context)
    return rows


def _bed(file: InputFile, context: SourceContext) -> Rows:
    rows = read_delimited(file, context.notes, BED)
    check_columns(rows, NEEDED, "give FIMO's fimo.tsv, or BED with motif, score and strand in columns 4 to 6")
    parse_integers(rows, "start", "end")
    return rows


def _fimo(file: InputFile, context: SourceContext) -> Rows:
    rows = read_delimited(file, context.notes, None)
    rows.frame = rows.frame.rename(columns=FIMO)
    check_columns(rows, NEEDED, "give FIMO's fimo.tsv")
    parse_integers(rows, "start", "end")
    shift_one_based(rows)
    cut_out = rows["chrom"].str.extract(r"^(?:.*::)?([^:\s]+):(\d+)-\d+$")
    inside = cut_out[0].notna()
    shift = cut_out[1].fillna("0").astype(np.int64)
    rows.set(chrom=rows["chrom"].mask(inside, cut_out[0]), start=rows["start"] + shift, end=rows["end"] + shift)
    return rows


def _set_motifs(rows: Rows, motifs: pa.Table) -> None:
    """Set start_id by the id of the motif, by its id without version if one motif has it, or by its name likewise."""
    ids = pd.Series(texts(motifs, "id"))
    known: dict[str, str] = {}
    several: set[str] = set()
    for column in ("name", "base_id"):
        names = pd.Series(texts(motifs, column))
        unique = ~names.duplicated(keep=False)
        several |= set(names[~unique])
        known |= dict(zip(names[unique], ids[unique], strict=True))
    known |= dict(zip(ids, ids, strict=True))
    rows.reject(rows["motif"].isin(several - set(known)), "motif", Reason.NO_MOTIF)
    start_id = rows["motif"].map(known)
    warn_unknown(rows, rows["motif"][start_id.isna()], "motifs")
    rows.filtered += int(start_id.isna().sum())
    rows.keep(start_id.notna())
    rows.set(start_id=start_id.loc[rows.frame.index])
    length = rows["start_id"].map(dict(zip(ids, motifs.column("length").to_pylist(), strict=True)))
    rows.set(length=length, match_length=rows["end"] - rows["start"])
    rows.reject(rows["length"] != rows["match_length"], "motif", Reason.HIT_LENGTH)


def _to_peaks(rows: Rows, context: SourceContext) -> None:
    """Take one row for each peak that a hit lies in, with its offset there."""
    peaks = on_assembly(context.graph[PEAK.label], context.assembly.name)
    intervals = intervals_of(peaks)
    hits = intervals_in(rows)
    at, peak = overlapping(hits, intervals)
    inside = (hits.start[at] >= intervals.start[peak]) & (hits.end[at] <= intervals.end[peak])
    at, peak = at[inside], peak[inside]
    rows.filtered += len(rows) - len(np.unique(at))
    rows.spread(at, end_id=texts(peaks, "id")[peak], offset_bp=hits.start[at] - intervals.start[peak])
