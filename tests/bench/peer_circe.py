"""Co-accessibility of peaks with promoters by CIRCE, as a TSV of peak, gene, score; runs in CIRCE's own environment.

    python peer_circe.py ATAC.h5ad PAIRS.tsv OUT.tsv

PAIRS.tsv has columns peak, gene, chrom, start, end (of the peak, 0-based half-open) and tss. A pair's score is the
highest co-accessibility of its peak with a peak within 1 kb of the gene's start site; 1 where the peak is such a one
itself; pairs without such a peak are left out. A peak is open in a cell or not, as in Cicero, whose method CIRCE's is:
on counts of high variance its solver takes a second for a window of 27 peaks, a hundred times for each window. All of
CIRCE is at its defaults: metacells of 50 neighbouring cells, windows of 500 kb. `regkg runs evaluate --beside OUT.tsv`
takes the result. CIRCE is licensed GPL-3.0: it is a program beside ours, and nothing of ours needs it.
"""

from __future__ import annotations

import sys
from typing import Any

import anndata
import circe
import numpy as np
import pandas as pd
from circe.metacells import compute_metacells

PROMOTER_BP = 1000
PLACE = ["chromosome", "start", "end"]


def accessible(path: str) -> Any:
    """The cells with their peaks where CIRCE looks for them, without peaks that no cell has open."""
    atac = anndata.read_h5ad(path)
    if {"chrom", "start", "end"} <= set(atac.var.columns):
        atac.var = atac.var.rename(columns={"chrom": "chromosome"})
    else:
        named = atac.var_names.str.extract(r"(chr[^:_-]+)[:_-](\d+)[_-](\d+)$")
        atac.var[PLACE] = named.set_axis(atac.var_names)
    atac.var[["start", "end"]] = atac.var[["start", "end"]].astype(int)
    atac = atac[:, np.asarray(atac.X.sum(axis=0)).ravel() > 0].copy()
    atac.X.data[:] = 1
    return circe.utils.sort_regions(atac)


def main() -> None:
    atac, (_, pairs_path, out) = accessible(sys.argv[1]), sys.argv[1:]
    pairs = pd.read_csv(pairs_path, sep="\t", dtype={"peak": str, "gene": str})
    metacells = compute_metacells(atac)
    metacells.var[PLACE] = atac.var[PLACE]
    circe.compute_atac_network(metacells)
    upper = metacells.varp["atac_network"].tocsr()
    network = upper.maximum(upper.T)
    where = pd.MultiIndex.from_frame(atac.var[PLACE].astype({"chromosome": str}))
    place = pd.Series(np.arange(atac.n_vars), index=where)
    pairs["at"] = place.reindex(pd.MultiIndex.from_frame(pairs[["chrom", "start", "end"]])).to_numpy()
    pairs["promoter"] = (pairs["start"] <= pairs["tss"] + PROMOTER_BP) & (pairs["end"] > pairs["tss"] - PROMOTER_BP)
    promoters = pairs[pairs["promoter"] & pairs["at"].notna()][["gene", "at"]]
    both = pairs[pairs["at"].notna()].merge(promoters, on="gene", suffixes=("", "_promoter"))
    i, j = (both[name].to_numpy(int) for name in ("at", "at_promoter"))
    both["score"] = np.where(i == j, 1.0, np.asarray(network[i, j]).ravel())
    best = both.groupby(["peak", "gene"])["score"].max().reset_index()
    best.to_csv(out, sep="\t", index=False)
    print(f"{len(best)} of {len(pairs)} pairs, {network.nnz // 2} co-accessible peaks")


if __name__ == "__main__":
    main()
