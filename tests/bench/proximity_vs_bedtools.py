"""Which peaks are near which genes: ours, pyranges and pybedtools, from BED files to a table of pairs.

    python tests/bench/proximity_vs_bedtools.py --peer-python PYTHON [--peaks 250000] [--genes 60000] [--json]

PYTHON is that of an environment with pybedtools, on a machine with bedtools. Every program is a process that reads both
files and makes a table of gene, peak and distance; interpreter and imports are not counted. Pairs and distances must be
equal. pybedtools gives them by `window` and a column of distances, which is how its users get them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

WINDOW_BP = 150_000
NEEDED = 5.0
GENOME_BP = {f"chr{i}": int(248e6 / (1 + 0.13 * (i - 1))) for i in range(1, 23)}


def write_world(folder: Path, n_peaks: int, n_genes: int) -> None:
    """Seeded peaks of 200 to 800 bp and genes of 1 to 200 kb on 22 chromosomes of human size."""
    rng = np.random.default_rng(0)
    names, sizes = np.array(list(GENOME_BP)), np.array(list(GENOME_BP.values()))
    for kind, n, low, high in (("peaks", n_peaks, 200, 800), ("genes", n_genes, 1000, 200_000)):
        chrom = rng.choice(len(names), n, p=sizes / sizes.sum())
        width = rng.integers(low, high, n)
        start = (rng.random(n) * (sizes[chrom] - width)).astype(np.int64)
        frame = pd.DataFrame({"chrom": names[chrom], "start": start, "end": start + width})
        frame["name"] = [f"{kind[0]}{i}" for i in range(n)]
        frame.to_csv(folder / f"{kind}.bed", sep="\t", header=False, index=False)


def ours(folder: Path) -> tuple[float, pd.DataFrame]:
    """Through the reader and checks of every loader."""
    from collections import Counter

    import pyarrow as pa

    from loaders.genome.intervals import Intervals, distance, within
    from loaders.tables.checks import parse_integers
    from loaders.tables.files import check_file
    from loaders.tables.rows import read_delimited

    start = time.perf_counter()
    tables = []
    for kind in ("genes", "peaks"):
        rows = read_delimited(check_file(folder / f"{kind}.bed"), Counter(), ["chrom", "start", "end", "name"])
        parse_integers(rows, "start", "end")
        tables.append(rows.frame)
    genes, peaks = tables
    region, peak = (Intervals(t["chrom"].to_numpy(), t["start"].to_numpy(), t["end"].to_numpy()) for t in tables)
    g, p = within(region, peak, WINDOW_BP)
    apart = distance(region.start[g], region.end[g], peak.start[p], peak.end[p])
    gene, peak_name = (pa.array(t["name"], pa.string()).take(at) for t, at in ((genes, g), (peaks, p)))
    pairs = pa.table({"gene": gene, "peak": peak_name, "distance_bp": apart})  # what an EdgeBatch is made of
    return time.perf_counter() - start, pairs.to_pandas()


def pyranges(folder: Path) -> tuple[float, pd.DataFrame]:
    import pyranges as pr

    start = time.perf_counter()
    genes, peaks = (pr.read_bed(str(folder / f"{kind}.bed")) for kind in ("genes", "peaks"))
    found = genes.join(peaks, slack=WINDOW_BP).df
    pairs = _told(found[["Name", "Name_b", "Start", "End", "Start_b", "End_b"]].to_numpy().T)
    return time.perf_counter() - start, pairs


def pybedtools(folder: Path) -> tuple[float, pd.DataFrame]:
    import pybedtools as pb

    start = time.perf_counter()
    genes, peaks = (pb.BedTool(str(folder / f"{kind}.bed")) for kind in ("genes", "peaks"))
    # window takes peaks that end WINDOW_BP before, or start WINDOW_BP after; ours counts touching as 1 bp apart
    names = ["c", "s", "e", "n", "c2", "s2", "e2", "n2"]
    found = genes.window(peaks, w=WINDOW_BP).to_dataframe(names=names)
    pairs = _told(found[["n", "n2", "s", "e", "s2", "e2"]].to_numpy().T)
    return time.perf_counter() - start, pairs


def _told(columns: Any) -> pd.DataFrame:
    """Pairs with the distance of `loaders.genome.intervals.distance`: 0 for overlap, 1 for touching."""
    gene, peak, *places = columns
    start, end, start2, end2 = (column.astype(np.int64) for column in places)
    apart = np.maximum(np.maximum(start2 - end + 1, start - end2 + 1), 0)
    return pd.DataFrame({"gene": gene, "peak": peak, "distance_bp": apart})


PROGRAMS = {"regkg": ours, "pyranges": pyranges, "pybedtools": pybedtools}


def child(program: str, folder: Path) -> None:
    """One program in a process of its own: its time, its number of pairs, and a digest that no order changes."""
    seconds, pairs = PROGRAMS[program](folder)
    digest = int(pd.util.hash_pandas_object(pairs[["gene", "peak", "distance_bp"]].astype(str), index=False).sum())
    print(json.dumps({"seconds": seconds, "pairs": len(pairs), "digest": str(digest)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python")
    parser.add_argument("--peaks", type=int, default=250_000)
    parser.add_argument("--genes", type=int, default=60_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    if not options.peer_python:
        parser.error("--peer-python: the Python of an environment with pybedtools")
    found: dict[str, list[dict[str, Any]]] = {program: [] for program in PROGRAMS}
    with TemporaryDirectory() as folder:
        write_world(Path(folder), options.peaks, options.genes)
        for _ in range(options.turns):
            for program in PROGRAMS:
                python = options.peer_python if program == "pybedtools" else sys.executable
                said = subprocess.run(
                    [python, __file__, "--child", program, folder], capture_output=True, text=True, check=True
                )
                found[program].append(json.loads(said.stdout.splitlines()[-1]))
    seconds = {program: statistics.median(run["seconds"] for run in runs) for program, runs in found.items()}
    same = {program: runs[0]["digest"] == found["regkg"][0]["digest"] for program, runs in found.items()}
    ratios = {program: seconds[program] / seconds["regkg"] for program in PROGRAMS}
    result = {"pairs": found["regkg"][0]["pairs"], "seconds": seconds, "equal": same, "ratio": ratios}
    print(json.dumps(result) if options.json else "\n".join(f"{k}: {v}" for k, v in result.items()))
    if not all(same.values()) or ratios["pybedtools"] < NEEDED:
        sys.exit("pairs differ" if not all(same.values()) else f"less than {NEEDED} times as fast as pybedtools")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
