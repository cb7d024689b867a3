"""A million intervals of hg19 on hg38: our kernel, a load with `--lift-with`, and CrossMap; from files to files.

    python tests/bench/liftover_vs_crossmap.py --peer-python PYTHON [--chain FILE] [--intervals N] [--rounds N] [--json]

PYTHON is that of an environment with CrossMap (GPL; never part of the product): `uv venv E && uv pip install -p E
CrossMap`. The chain is hg19ToHg38.over.chain.gz of REGKG_DATA unless another is named. Each runs in a process of its
own, in turns: reads the chain and a BED, lifts, writes where every interval went. Interpreter and imports are not
counted, on either side. "load" is the loader's whole path up to the database: rows checked one by one, bad ones
apart with their line. CrossMap runs `region -r 0.95`, its command that asks for a share of aligned bases as we do, and
`bed`, which writes every piece.

Fails unless the kernel is 5 times as fast as either and every interval wholly inside one block is equal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from loaders.genome.intervals import Intervals, overlapping
from loaders.tables.checks import parse_integers, place
from loaders.tables.files import check_file
from loaders.tables.lift import lift
from loaders.tables.lift_rows import MIN_MATCH, read_lift
from loaders.tables.rows import read_delimited
from loaders.tables.source_context import SourceContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from loaders.tables.chain import Chains

NEEDED = 5.0
SEED = 0
INSIDE = "inside one block"
BED = ["chrom", "start", "end", "name"]
ANSWER = ["name", "chrom", "start", "end"]


def write_intervals(chains: Chains, count: int, path: Path) -> None:
    """Half anywhere on the chromosomes, half around ends of blocks; 100 to 2,000 bp wide."""
    rng = np.random.default_rng(SEED)
    sizes = {c: n for c, n in chains.sizes.items() if c.startswith("chr") and "_" not in c}
    names, bp = np.array(list(sizes), dtype=object), np.array(list(sizes.values()))
    width = rng.integers(100, 2001, count)
    at = rng.choice(len(names), count, p=bp / bp.sum())
    start = (rng.random(count) * (bp[at] - width)).astype(np.int64)
    chrom = names[at]
    block = rng.integers(0, len(chains.chain), count)
    near = (np.arange(count) % 2 == 1) & np.isin(chains.chrom[chains.chain[block]], names)
    chrom = np.where(near, chains.chrom[chains.chain[block]], chrom)
    start = np.where(near, np.maximum(chains.block_end[block] - rng.integers(0, width), 0), start)
    end = np.minimum(start + width, pd.Series(chrom).map(sizes).to_numpy())
    frame = pd.DataFrame({"chrom": chrom, "start": start, "end": end, "name": np.arange(count)})
    frame.to_csv(path, sep="\t", header=False, index=False)


def kernel(chain: Path, bed: Path, out: Path) -> None:
    """Chain, intervals, answers."""
    chains = read_lift(chain, None).chains
    table = pa.csv.read_csv(
        bed, pa.csv.ReadOptions(column_names=BED, use_threads=False), pa.csv.ParseOptions(delimiter="\t")
    )
    start, end = (table.column(name).to_numpy() for name in ("start", "end"))
    found = lift(chains, Intervals(table.column("chrom").to_numpy(), start, end), MIN_MATCH)
    good = found.good
    lifted = [pa.array(column[good]) for column in (table.column("name").to_numpy(), *found.at)]
    write_answer(pa.table(lifted, ANSWER), out)


def whole_load(chain: Path, bed: Path, out: Path) -> None:
    """What a load does with `--lift-with`, and the answers."""
    by = read_lift(chain, None)
    given = SourceContext((check_file(bed),), by.to, lift=by)
    rows = read_delimited(given.files[0], given.notes, BED)
    parse_integers(rows, "start", "end")
    place(rows, given)
    write_answer(pa.Table.from_pandas(rows.frame[ANSWER], preserve_index=False), out)


def write_answer(table: pa.Table, out: Path) -> None:
    """As tab-separated text."""
    pa.csv.write_csv(table, out, pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))


OURS = {"kernel": kernel, "load": whole_load}
PEER = """
import sys, time
from cmmodule.mapbed import crossmap_bed_file
from cmmodule.mapregion import crossmap_region_file
from cmmodule.utils import read_chain_file
command, chain, bed, out, share = sys.argv[1:]
wall, cpu = time.perf_counter(), time.process_time()
mapping, _, _ = read_chain_file(chain)
if command == "region":
    crossmap_region_file(mapping, bed, out, min_ratio=float(share))
else:
    crossmap_bed_file(mapping, bed, out)
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def kinds_of(chains: Chains, at: Intervals) -> NDArray[np.object_]:
    """What each interval is to the chains: inside one block and met by no other, or what became of it."""
    blocks = Intervals(chains.chrom[chains.chain], chains.block_start, chains.block_end)
    row, block = overlapping(at, blocks)
    held = (at.start[row] >= blocks.start[block]) & (at.end[row] <= blocks.end[block])
    inside = (np.bincount(row, minlength=len(at.start)) == 1) & (np.bincount(row[held], minlength=len(at.start)) == 1)
    return np.where(inside, INSIDE, lift(chains, at, MIN_MATCH).fate.astype(str)).astype(object)


def answers(path: Path, columns: Sequence[int], count: int) -> NDArray[np.object_]:
    """Where each interval went, as text; empty where nowhere."""
    frame = pd.read_csv(path, sep="\t", header=None, usecols=list(columns))[list(columns)]
    frame.columns = pd.Index(ANSWER)
    text = frame["chrom"] + ":" + frame["start"].astype(str) + "-" + frame["end"].astype(str)
    found = np.full(count, "", dtype=object)
    found[frame["name"].to_numpy()] = text
    return found


def timed(command: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds by the clock and of the processor, as the process prints them."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def compare(chain: Path, peer: Path, count: int, rounds: int, folder: Path) -> dict[str, object]:
    """All in turns on the same files, then the answers side by side."""
    chains = read_lift(chain, None).chains
    bed = folder / "intervals.bed"
    write_intervals(chains, count, bed)
    commands: dict[str, list[str | Path]] = {}
    for name in OURS:
        commands[name] = [sys.executable, Path(__file__), "--ours", name, chain, bed, folder / name]
    for name in ("region", "bed"):
        out = folder / f"crossmap_{name}"
        commands[f"CrossMap {name}"] = [peer, "-c", PEER, name, chain, bed, out, str(MIN_MATCH)]
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            took[name].append(timed(command))
    wall, cpu = ({n: round(statistics.median(t[i] for t in times), 2) for n, times in took.items()} for i in (0, 1))
    frame = pd.read_csv(bed, sep="\t", header=None, names=BED)
    at = Intervals(frame["chrom"].to_numpy(dtype=object), frame["start"].to_numpy(), frame["end"].to_numpy())
    own = answers(folder / "kernel", (0, 1, 2, 3), count)
    equal = own == answers(folder / "crossmap_region", (3, 0, 1, 2), count)
    kind = kinds_of(chains, at)
    total, same = Counter(kind.tolist()), Counter(kind[equal].tolist())
    faster = {f"{a} / {b}": round(wall[a] / wall[b], 2) for a in wall for b in OURS if a not in OURS}
    return {
        "intervals": count,
        "seconds": wall,
        "processor_seconds": cpu,
        "times_faster": faster,
        "equal": {name: f"{same[name]:,} of {n:,} ({same[name] / n:.4%})" for name, n in sorted(total.items())},
        "load_equals_kernel": bool((own == answers(folder / "load", (0, 1, 2, 3), count)).all()),
        "passed": min(x for name, x in faster.items() if name.endswith("kernel")) >= NEEDED
        and same[INSIDE] == total[INSIDE],
    }


def main() -> None:
    """Compare and print; exit 1 when a figure is not reached."""
    if sys.argv[1:2] == ["--ours"]:
        wall, cpu = time.perf_counter(), time.process_time()
        OURS[sys.argv[2]](*map(Path, sys.argv[3:]))
        print(time.perf_counter() - wall, time.process_time() - cpu)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--chain", type=Path)
    parser.add_argument("--intervals", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    chain = given.chain or Path(os.environ["REGKG_DATA"]) / "chains" / "hg19ToHg38.over.chain.gz"
    with tempfile.TemporaryDirectory() as folder:
        found = compare(chain, given.peer_python, given.intervals, given.rounds, Path(folder))
    print(json.dumps(found) if given.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    sys.exit(0 if found["passed"] else 1)


if __name__ == "__main__":
    main()
