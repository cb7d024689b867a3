"""Loading a large set of links again: the same file, its rows shuffled, and one row in a hundred changed.

    python tests/bench/reload.py [--edges 1000000] [--json]

The links are external predictions in a TSV, loaded by `regkg load links` in processes of their own into a managed
server under a temporary home: first into an empty dataset, then the same file, then shuffled, then with 1 % of the
scores changed. `wrote` counts rows that the load reports as added, changed or removed, `relationships` what the
database counts before and after. Then two releases are compared: time to the first row and to all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from kg.evidence.draft import Snapshot, Source, open_draft
from kg.releases import publish
from kg.releases.diff import rows, summary
from kg.schema import GENE, PEAK
from kg.schema.batches import NodeBatch
from kg.settings import Settings
from kg.store import Store, connect

GENES, PEAKS = 20_000, 100_000


def write_links(path: Path, n: int) -> pd.DataFrame:
    """n different pairs with scores, in the columns of ENCODE-rE2G."""
    rng = np.random.default_rng(0)
    pair = rng.choice(GENES * PEAKS, n, replace=False)
    peak, gene = pair % PEAKS, pair // PEAKS
    frame = pd.DataFrame(
        {
            "#chr": "chr1", "start": peak * 1000, "end": peak * 1000 + 500, "name": "e",
            "TargetGene": [f"S{g}" for g in gene.tolist()],
            "TargetGeneEnsemblID": [f"ENSG{g:011d}" for g in gene.tolist()],
            "CellType": "K562", "ENCODE-rE2G.Score": rng.random(n).round(4),
        }
    )  # fmt: skip
    frame.to_csv(path, sep="\t", index=False)
    return frame


def nodes(store: Store) -> None:
    start, tss = np.arange(PEAKS) * 1000, np.arange(GENES) * 5000
    genes = NodeBatch.build(
        GENE, id=[f"ENSG{i:011d}" for i in range(GENES)], symbol=[f"S{i}" for i in range(GENES)],
        species="NCBITaxon:9606", assembly="GRCh38", chrom="chr1", start=tss, end=tss + 900, strand="+", tss=tss,
    )  # fmt: skip
    peaks = NodeBatch.build(
        PEAK, id=[f"GRCh38:chr1:{s}-{s + 500}" for s in start.tolist()], assembly="GRCh38", chrom="chr1", start=start,
        end=start + 500,
    )  # fmt: skip
    with open_draft(store, "bench") as draft:
        for source, batch in ((Source("genes:b", "genes"), genes), (Source("peaks:b", "peaks"), peaks)):
            draft.load(source, Snapshot(("x",), "bench@1"), [batch])


def load(path: Path) -> dict[str, Any]:
    """One `regkg load links`, its time and the largest memory of any child so far."""
    program = "import sys; from cli.main import call; sys.exit(call(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "load", "links", str(path), "--assembly", "GRCh38", "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--dataset", "links:b"], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    if done.returncode:
        sys.exit(done.stderr)
    told = json.loads(done.stdout.splitlines()[-1])
    counts = told.get("counts", told)
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 2),
        "wrote": {k: counts[k] for k in ("added", "changed", "removed", "unchanged")},
        "peak_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
    }


def compare(store: Store) -> dict[str, float]:
    started = time.perf_counter()
    changed = sum(d.changed for d in summary(store, 1, 2))
    counted = time.perf_counter() - started
    started = time.perf_counter()
    stream = rows(store, 1, 2)
    next(stream)
    first = time.perf_counter() - started
    total = 1 + sum(1 for _ in stream)
    everything = time.perf_counter() - started
    return {
        "changed": changed, "rows": total, "summary_s": round(counted, 2), "first_row_s": round(first, 2),
        "all_rows_s": round(everything, 2),
    }  # fmt: skip


def main() -> None:
    """Run all loads in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"edges": options.edges}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["REGKG_HOME"] = str(folder / "home")
        with connect(Settings.from_environment()) as store:
            nodes(store)
            file = folder / "links.tsv"
            frame = write_links(file, options.edges)
            result["first"] = load(file)
            publish(store)
            result["again"] = load(file)
            frame.sample(frac=1, random_state=1).to_csv(file, sep="\t", index=False)
            result["shuffled"] = load(file)
            changed = np.random.default_rng(2).choice(options.edges, options.edges // 100, replace=False)
            frame.loc[changed, "ENCODE-rE2G.Score"] += 1
            frame.to_csv(file, sep="\t", index=False)
            result["one_percent"] = load(file)
            publish(store)
            result["diff"] = compare(store)
        subprocess.run(
            [sys.executable, "-c", "from cli.main import call; call(['db', 'stop'])"],
            cwd=Path(__file__).parents[2], check=False, capture_output=True,
        )  # fmt: skip
    print(json.dumps(result) if options.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
