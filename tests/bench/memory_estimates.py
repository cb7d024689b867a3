"""What a model says it needs of memory beside what it took at its peak; must hold: within 30 %.

    python tests/bench/memory_estimates.py [--sizes small,medium,large] [--models correlation,glue] [--json]

Simulated paired cells over made-up places; GLUE takes few steps, since its memory does not grow with them. Each fit
runs in a process of its own and is measured by its resident set.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

from scale import guidance, modality, rows

from kg.schema import GENE, PEAK, TF
from models import registry
from models.inputs.cells import Cells
from models.training.loop import Trainer

GIB = 2**30
SIZES = {  # cells, genes, peaks, counts of a cell
    "small": (500, 1_000, 3_000, 200, 300),
    "medium": (5_000, 10_000, 50_000, 1_000, 2_000),
    "large": (20_000, 20_000, 150_000, 1_500, 4_000),
}
GENOME, CHROMS, EVERY_FACTOR = 3_000_000_000, 20, 15  # one gene in fifteen is a transcription factor
OPTIONS = {"glue": {"first_steps": 20, "second_steps": 20}, "correlation": {}}


class MadeUp:
    """`models.contract.Inputs` of simulated cells."""

    release, candidates_bp = 1, None

    def __init__(self, size: str, folder: Path) -> None:
        n, genes, peaks, of_genes, of_peaks = SIZES[size]
        rng = np.random.default_rng(0)
        counts = rows(n, genes, of_genes, rng), rows(n, peaks, of_peaks, rng)
        each = [modality(name, c) for name, c in zip(("rna", "atac"), counts, strict=True)]
        self.cells = Cells({m.name: m for m in each}, paired=True)
        self.guidance = guidance(genes, peaks, peaks)
        self.folder = folder
        self._nodes = {GENE: placed("rna", genes, rng, 1), PEAK: placed("atac", peaks, rng, 500)}
        self._nodes[TF] = pa.table({"id": self._nodes[GENE]["id"][::EVERY_FACTOR]})

    def nodes(self, type_: Any) -> pa.Table:
        return self._nodes[type_]


def placed(name: str, n: int, rng: np.random.Generator, width: int) -> pa.Table:
    at = np.sort(rng.integers(GENOME, size=n))
    length = GENOME // CHROMS
    start = at % length
    columns = {"start": start, "end": start + width, "tss": start}
    chrom = [f"chr{c + 1}" for c in at // length]
    frame = pd.DataFrame({"id": [f"{name}{i}" for i in range(n)], "assembly": "GRCh38", "chrom": chrom, **columns})
    return pa.Table.from_pandas(frame, preserve_index=False)


def alone(name: str, size: str) -> dict[str, Any]:
    """Fit one model on one size in this process."""
    model = registry.get(name)
    with tempfile.TemporaryDirectory() as folder:
        inputs: Any = MadeUp(size, Path(folder))
        config = model.config(**OPTIONS[name])
        estimated = model.estimate(inputs, config).memory_gib if model.estimate else float("nan")
        model.fit(inputs, config, Trainer("cpu", 1), None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return {"model": name, "size": size, "estimated_gib": estimated, "peak_gib": peak, "ratio": estimated / peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--models", default=",".join(OPTIONS))
    parser.add_argument("--alone", nargs=2, metavar=("MODEL", "SIZE"), help="one fit in this process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(*options.alone)))
        return
    found = []
    for name in options.models.split(","):
        for size in options.sizes.split(","):
            command = [sys.executable, __file__, "--alone", name, size]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            one = found[-1]
            print(
                f"{name} {size}: {one['estimated_gib']:.2f} GiB estimated, {one['peak_gib']:.2f} at the peak, "
                f"ratio {one['ratio']:.2f}",
                file=sys.stderr,
            )
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
