"""Peaks on the assembly of another species, through a UCSC chain file, plain or gzipped (chr1 or 1).

The peaks are those of the graph on --assembly; what was itself lifted from another species stays out. A peak is
lifted by the rule of UCSC liftOver: one chain aligns at least --min-match of its bases. The default of 0.5 suits
mammals; liftOver's own 0.95 is for assemblies of one species. It must end on a main chromosome, at most
--width-ratio times as wide or narrow as it was and at most --max-width-bp wide; --width-bp makes windows of one
width around the midpoints. Lifted back, its midpoint must lie within --back-bp of where it was.

The way back goes through a second chain file, of the other direction, if one is given: it is recognised by the lengths
of its chromosomes. Otherwise the chains are inverted. They then find that two places of the one species share
one of the other, but not that the place there has a better partner, which its own alignment would tell.

Every peak is accounted for. LIFTED_TO leads to a new peak of the other assembly, which keeps the position that it
was lifted from (several, where peaks fall together). NOT_LIFTED leads to the assembly and says why: deleted (too
few bases are aligned, or on no main chromosome, or too little of its width is left), split (several chains align
parts), duplicated (several chains align enough), too_wide, not_reciprocal. That a peak was not lifted does not mean
that it is inactive there.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from kg.errors import AssemblyMismatch, MissingInput
from kg.parameters import param
from kg.schema import ASSEMBLY, LIFTED_TO, NOT_LIFTED, PEAK, EdgeType, NodeType
from loaders.genome.assemblies import Assembly, assemblies, assembly
from loaders.genome.intervals import Intervals
from loaders.registry import loader
from loaders.tables.chain import Chains, fits, join, read_chains
from loaders.tables.joins import intervals_of, on_assembly, texts
from loaders.tables.lift import Fate, Lifted, check_way_back, check_widths, lift, lift_points, resize
from loaders.tables.rows import Rows
from loaders.tables.source_context import SourceContext

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """What to lift to, and what a lifted peak must keep to."""

    to: str | None = param("assembly to lift to; default: the one whose chromosomes the chains end on", None)
    min_match: float = param("share of the bases that one chain must align", 0.5, above=0, high=1)
    width_ratio: float = param("largest factor by which a peak may widen or narrow", 2.0, low=1)
    max_width_bp: int = param("largest width of a lifted peak", 1000, low=1)
    width_bp: int | None = param("make every lifted peak this wide, around its midpoint", None, low=1)
    reciprocal: bool = param("lift back, and leave out peaks that do not return", default=True)
    back_bp: int = param("largest distance of a returning midpoint from where it was", 250, low=0)


@loader(
    files="UCSC chain",
    writes=(PEAK, ASSEMBLY, LIFTED_TO, NOT_LIFTED),
    lookup=(PEAK,),
    assembly=True,
    lifts=False,
    cites="UCSC liftOver (doi:10.1093/nar/gkj144)",
)
def read(context: SourceContext, options: Options) -> Iterator[tuple[NodeType | EdgeType, Rows]]:
    """Yield every peak of the assembly, lifted or not."""
    chains, back, target = _directions(context, assembly(options.to) if options.to else None)
    peaks = _peaks(context, target)
    before = intervals_of(peaks)
    lifted = lift(chains, before, options.min_match)
    minor = ~pd.Series(lifted.at.chrom).isin(list(target.lengths)).to_numpy()
    lifted.refuse(minor, Fate.DELETED, "it goes to " + lifted.at.chrom + ", which is no main chromosome")
    check_widths(lifted, before, options.width_ratio, options.max_width_bp)
    width = lifted.at.end - lifted.at.start
    if options.width_bp:
        lifted.at = resize(lifted.at, options.width_bp, chains.to_size[lifted.chain])
    if options.reciprocal:
        check_way_back(lifted, back, before, options.min_match, options.back_bp)
    about = pd.DataFrame({"id": [target.name], "species": [target.species]})
    yield ASSEMBLY, Rows("", about, counted=False)
    yield PEAK, Rows("", _lifted_peaks(peaks, lifted, chains, target), counted=False)
    ratio = width / (before.end - before.start)
    matched = lifted.matched / (before.end - before.start)
    edges = _edges(peaks, lifted, target, matched, ratio).assign(reciprocal=options.reciprocal or None)
    yield LIFTED_TO, Rows("", edges)
    yield NOT_LIFTED, _losses(peaks, lifted, target)


def _directions(context: SourceContext, to: Assembly | None) -> tuple[Chains, Chains, Assembly]:
    """Return chains there, chains back, and the assembly that they lead to."""
    there: list[Chains] = []
    back: list[Chains] = []
    for file in context.files:
        chains = read_chains(file, context.notes)
        (there if fits(chains.sizes, context.assembly) else back).append(chains)
    names = ", ".join(file.name for file in context.files)
    if not there:
        raise AssemblyMismatch(
            f"{names}: no chain starts from chromosomes of {context.assembly.name}", "give the --assembly of the peaks"
        )
    chains = join(there)
    fitting = [known for known in assemblies().values() if fits(chains.to_sizes, known)]
    targets = [known for known in fitting if known.species != context.assembly.species and to in (known, None)]
    if len(targets) != 1:
        ends = ", ".join(known.name for known in fitting) or "no known assembly"
        raise AssemblyMismatch(
            f"{names}: the chains end on {ends}{f', not on {to.name}' if to else ''}",
            "peaks are lifted to another species; files of another assembly of one species load with --lift-with",
        )
    target = targets[0]
    chains = chains.named(context.assembly, target)
    if not back:
        return chains, chains.back(), target
    way_back = join(back)
    if not (fits(way_back.sizes, target) and fits(way_back.to_sizes, context.assembly)):
        raise AssemblyMismatch(
            f"{names}: not all go from {context.assembly.name} to {target.name} or back", "give one chain each way"
        )
    return chains, way_back.named(target, context.assembly), target


def _peaks(context: SourceContext, target: Assembly) -> pa.Table:
    """Return those of the assembly that were not lifted from another species."""
    every = context.graph[PEAK.label]
    held = {str(name) for name in pd.unique(texts(every, "assembly"))} - {target.name}
    same = [name for name in sorted(held) if assembly(name).species == target.species]
    if same:
        raise AssemblyMismatch(
            f"the graph holds peaks of {same[0]}, the chains end on {target.name}",
            "a graph has one assembly of a species: use a chain to that one",
        )
    peaks = on_assembly(every, context.assembly.name)
    came_from = [str(original or context.assembly.name).partition(":")[0] for original in texts(peaks, "original")]
    own = [assembly(name).species == context.assembly.species for name in came_from]
    peaks = peaks.filter(np.array(own, dtype=bool))
    if not peaks.num_rows:
        raise MissingInput(f"the draft holds no peaks of {context.assembly.name}", "regkg load peaks FILE")
    return peaks


def _lifted_peaks(peaks: pa.Table, lifted: Lifted, chains: Chains, target: Assembly) -> pd.DataFrame:
    """Return the peaks there; those that fall together are one."""
    summit = peaks.column("summit").to_pandas()
    there = lift_points(chains, np.where(summit.notna(), lifted.chain, -1), summit.fillna(0).to_numpy(dtype=np.int64))
    inside = (there >= lifted.at.start) & (there < lifted.at.end)
    every = pd.DataFrame(
        {
            "id": _ids(lifted.at, target),
            "assembly": target.name,
            **lifted.at._asdict(),
            "summit": pd.Series(there, dtype="Int64").where(inside),
            "original": texts(peaks, "id"),
        }
    )
    good = every[lifted.good].sort_values("original")
    together = good.groupby("id")["original"].agg(";".join)
    unique = good.drop_duplicates("id")
    return unique.assign(original=unique["id"].map(together))


def _edges(peaks: pa.Table, lifted: Lifted, target: Assembly, matched: Floats, ratio: Floats) -> pd.DataFrame:
    every = pd.DataFrame(
        {
            "start_id": texts(peaks, "id"),
            "end_id": _ids(lifted.at, target),
            "class": str(Fate.LIFTED),
            "strand": np.where(lifted.inverted, "-", "+"),
            "matched": matched,
            "width_ratio": ratio,
        }
    )
    return every[lifted.good]


def _losses(peaks: pa.Table, lifted: Lifted, target: Assembly) -> Rows:
    fate = lifted.fate.astype(str)
    every = pd.DataFrame(
        {"start_id": texts(peaks, "id"), "end_id": target.name, "class": fate, "reason": lifted.reason}, dtype=object
    )
    rows = Rows("", every[~lifted.good])
    counts = Counter(fate.tolist())
    lifted_count = counts.pop(Fate.LIFTED, 0)
    lost = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items())) or "none was lost"
    rows.warnings.append(f"of {len(fate):,} peaks {lifted_count:,} were lifted to {target.name}; {lost}")
    return rows


def _ids(at: Intervals, target: Assembly) -> list[str]:
    columns = zip(*(column.tolist() for column in at), strict=True)
    return [f"{target.name}:{chrom}:{start}-{end}" for chrom, start, end in columns]
