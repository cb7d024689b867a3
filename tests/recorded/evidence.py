"""Evidence of many kinds for a simulated world, in the formats of its loaders, as two manifests: first and second.

Everything is derived from the world's own files without drawing, so equal worlds give equal evidence.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEAD = 'assembly = "GRCh38"\nlicence = "CC0-1.0"\ncitation = "made for the tests"\n'
ALWAYS = [
    ("genes", "genes:made", "genes.gtf.gz", ""),
    ("peaks", "peaks:made", "peaks.narrowPeak.gz", ""),
    ("proximity", "proximity:20kb", "", 'options = { rule = "window", window_bp = 20000 }'),
    ("biosamples", "biosamples:made", "biosamples.tsv", ""),
    (
        "accessibility",
        "accessibility:made",
        "atac.h5ad",
        'options = { group = "cell_type", min_cells = 5, min_share = 0.3 }',
    ),
    ("tfs", "tfs:made", "factors.txt", ""),
    ("tf_targets", "targets:made", "targets.tsv", ""),
    ("motifs", "motifs:made", "motifs.jaspar", ""),
    ("hits", "hits:made", "hits.bed", ""),
    ("chipseq", "chipseq:made", "chip.narrowPeak", 'biosample = "monocyte"\noptions = { tf = "%s" }'),
    ("loops", "loops:made", "loops.bedpe", 'biosample = "monocyte"'),
    ("links", "links:made", "re2g.tsv", ""),
    ("crispri", "crispri:made", "crispri.tsv", ""),
]
CONTACTS = ("pchic", "contacts:made", "contacts.{n}.ibed", 'biosample = "monocyte"')
EQTL = ("eqtl", "eqtl:made", "eqtl.gtex.tsv", 'biosample = "whole blood"')  # of the second manifest alone
MATRIX = (  # one for each factor; they differ in what their first bases are
    "A [ {} 58 0 1 59 1 59 0 1 1 ]\nC [ 1 1 0 0 1 59 0 1 1 58 ]\n"
    "G [ 57 1 0 0 0 0 1 58 57 0 ]\nT [ 1 0 60 59 0 0 0 1 1 1 ]\n"
)


@dataclass(frozen=True)
class Pair:
    """A peak within reach of a gene; positions are 0-based half-open, `tss` is the gene's start site."""

    gene: str
    symbol: str
    tss: int
    chrom: str
    start: int
    end: int
    is_link: bool

    @property
    def middle(self) -> int:
        """Of the peak."""
        return (self.start + self.end) // 2


def write_evidence(world: Path) -> None:
    """Write the files and manifests beside those of a simulated world."""
    pairs = _pairs(world)
    links = [pair for pair in pairs if pair.is_link]
    factors = sorted({pair.symbol for pair in links})[:3]
    (world / "factors.txt").write_text("\n".join(factors) + "\n")
    (world / "biosamples.tsv").write_text("text\tid\tname\nmonocyte\tCL:0000576\tmonocyte\n")
    (world / "motifs.jaspar").write_text(
        "".join(f">MA900{i}.1\t{factor}\n{MATRIX.format(i)}" for i, factor in enumerate(factors))
    )
    _write_factors(world, factors, pairs, links)
    _write_links(world, pairs, links)
    _write_contacts(world / "contacts.1.ibed", links[::2] + pairs[::17])
    _write_contacts(world / "contacts.2.ibed", links[2::2] + pairs[5::17])
    for number, more in ((1, []), (2, [EQTL])):
        loads = [*ALWAYS, CONTACTS, *more]
        text = "".join(_load(*load, number=number, factor=factors[0]) for load in loads)
        (world / f"evidence.{number}.toml").write_text(HEAD + text)


def _load(source: str, dataset: str, file: str, more: str, *, number: int, factor: str) -> str:
    files = f'files = ["{file.format(n=number)}"]\n' if file else ""
    return f'\n[[load]]\nsource = "{source}"\ndataset = "{dataset}"\n{files}{more.replace("%s", factor)}\n'


def _pairs(world: Path) -> list[Pair]:
    genes = {}
    with gzip.open(world / "genes.gtf.gz", "rt") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            fields = line.split("\t")
            about = dict(part.split(" ", 1) for part in fields[8].strip().rstrip(";").split("; "))
            tss = int(fields[3]) - 1 if fields[6] == "+" else int(fields[4]) - 1
            genes[about["gene_id"].strip('"').partition(".")[0]] = (about["gene_name"].strip('"'), tss)
    found = []
    with (world / "truth.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            _, chrom, place = row["peak_id"].split(":")
            start, end = map(int, place.split("-"))
            found.append(Pair(row["gene_id"], *genes[row["gene_id"]], chrom, start, end, row["is_link"] == "1"))
    return found


def _write_factors(world: Path, factors: list[str], pairs: list[Pair], links: list[Pair]) -> None:
    """Sites, binding and curated targets: the n-th factor has sites in the true peaks of every third gene."""
    genes = sorted({pair.symbol for pair in pairs})
    of = {gene: n % len(factors) for n, gene in enumerate(genes)}
    hits = [
        (p.chrom, p.start + 5, p.start + 15, f"MA900{of[p.symbol]}.1", 17.5, "+-"[n % 2])
        for n, p in enumerate([*links, *pairs[::11]])
    ]
    _write(world / "hits.bed", hits)
    bound = [p for p in links if of[p.symbol] == 0]
    _write(
        world / "chip.narrowPeak",
        [(p.chrom, p.start, p.middle, ".", 500, ".", 4.5 + n % 7, -1, 3.25, -1) for n, p in enumerate(bound)],
    )
    modes = ("Activation", "Repression", "Unknown")
    _write(
        world / "targets.tsv", [(factors[of[g]], g, modes[n % 3], str(100 + n)) for n, g in enumerate(genes) if n % 2]
    )


def _write_links(world: Path, pairs: list[Pair], links: list[Pair]) -> None:
    """eQTLs, loops, links of another program, perturbations; one row of the eQTLs is wrong."""
    gtex = ["variant_id", "gene_id", "tss_distance", "ma_samples", "ma_count", "maf", "pval_nominal", "slope"]
    gtex += ["slope_se", "pval_nominal_threshold", "min_pval_nominal", "pval_beta"]
    rows = [
        (
            f"{p.chrom}_{p.middle}_G_A_b38", f"{p.gene}.6", p.middle - p.tss, 60, 64, 0.05, 1e-9 * (1 + n % 5),
            0.5 - n % 2, 0.05, 4e-5, 1e-9, 1e-6,
        )
        for n, p in enumerate(links[1::3])
    ]  # fmt: skip
    wrong = ("chr1_none_G_A_b38", *rows[0][1:])
    _write(world / "eqtl.gtex.tsv", [tuple(gtex), *rows, wrong])
    _write(
        world / "loops.bedpe",
        [
            (p.chrom, p.start, p.end, p.chrom, p.tss - 400, p.tss + 400, ".", 3 + n % 4)
            for n, p in enumerate(links[::5])
        ],
    )
    re2g = ["chr", "start", "end", "name", "class", "TargetGene", "TargetGeneTSS", "TargetGeneEnsembl_ID"]
    re2g += ["isSelfPromoter", "CellType", "ABC.Score", "ENCODE-rE2G.Score"]
    _write(
        world / "re2g.tsv",
        [
            tuple(re2g),
            *(
                (p.chrom, p.start, p.end, f"e{n}", "genic", p.symbol, p.tss, p.gene, False, "K562", 0.02, 0.1 + n / 100)
                for n, p in enumerate(pairs[::4])
            ),
        ],
    )
    crispri = ["chrom", "chromStart", "chromEnd", "name", "EffectSize", "measuredGeneSymbol", "measuredGeneEnsemblId"]
    crispri += ["Significant", "pValueAdjusted", "PowerAtEffectSize20", "ValidConnection", "CellType", "Reference"]
    crispri += ["Regulated", "Dataset"]
    verdict = {True: "TRUE", False: "FALSE"}
    tested = [
        (
            p.chrom, p.start, p.end, f"c{n}", -0.4 if p.is_link else 0.01, p.symbol, p.gene, verdict[p.is_link],
            0.001 if p.is_link else 0.8, 0.9, "TRUE", "K562", "Made 2026", verdict[p.is_link], "Made2026",
        )
        for n, p in enumerate(pairs[::2])
    ]  # fmt: skip
    _write(world / "crispri.tsv", [tuple(crispri), *tested])


def _write_contacts(path: Path, pairs: list[Pair]) -> None:
    """CHiCAGO's ibed; scores differ by gene, so that the same pair has the same score in both files."""
    names = ["bait_chr", "bait_start", "bait_end", "bait_name", "otherEnd_chr", "otherEnd_start", "otherEnd_end"]
    names += ["otherEnd_name", "N_reads", "score"]
    rows = [
        (
            p.chrom.removeprefix("chr"), p.tss - 499, p.tss + 500, p.symbol, p.chrom.removeprefix("chr"),
            p.start - 99, p.end + 100, ".", 12, 5.5 + int(p.gene[-2:]) % 9,
        )
        for p in pairs
    ]  # fmt: skip
    _write(path, [tuple(names), *rows])


def _write(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def first_link(world: Path) -> tuple[str, str, str]:
    """Peak and gene of the first true pair, which contacts join in the first manifest alone, and a factor."""
    pair = next(pair for pair in _pairs(world) if pair.is_link)
    factor = (world / "factors.txt").read_text().split()[0]
    return f"GRCh38:{pair.chrom}:{pair.start}-{pair.end}", pair.gene, factor
