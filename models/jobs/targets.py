"""From a complete run to a derived run that predicts which genes each transcription factor regulates."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from kg import runs
from kg.errors import Conflict, NotFound
from kg.evidence.datasets import dataset_versions
from kg.files import replaced
from kg.progress import SILENT, Progress
from kg.runs import predictions
from kg.runs.predictions import Predictions
from kg.runs.regulation import SITES, curated_targets, factor_sites, run_links
from kg.schema import PREDICTED_TARGET
from kg.schema.batches import EdgeBatch
from models.evaluation.tf_targets import agreement, rank_targets
from models.jobs.environment import code_version
from models.jobs.report import ending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kg.runs import Run
    from kg.store import Store

PEAKS_KEPT = 100  # supporting peaks of a target
EVERY = "targets.parquet"  # in the run's folder: all pairs, including those not written


@dataclass(frozen=True)
class TargetOptions:
    """What targets are derived from.

    Attributes:
        sites: "motifs" (hits of a factor's motifs) or "chip" (its ChIP-seq peaks).
        best: genes of each factor that are written even if they are not called.
    """

    sites: str = "motifs"
    best: int = 100


def targets(store: Store, home: Path, run_id: str, options: TargetOptions, progress: Progress = SILENT) -> Run:
    """Rank the genes of each factor by the called links of a run; return a complete, unpublished, derived run.

    Peaks, genes and release are those of the run. Nothing is registered before everything is computed.

    Raises:
        UnknownRun: there is no such run.
        Conflict: it is not complete, or is itself derived.
        NotFound: it called no links, or its release has no sites.
    """
    parent = runs.run(store, run_id)
    if parent.outcome != "complete" or parent.derived:
        state = "derived itself" if parent.derived else parent.outcome
        raise Conflict(f"run {run_id} is {state}; targets need a complete run with links", "regkg runs list")
    links = run_links(store, run_id)
    if not links["called"].any():
        raise NotFound(f"run {run_id} called no links, so no factor has targets", f"regkg runs show {run_id}")
    sites = factor_sites(store, parent.release, options.sites, progress)
    progress.begin("ranking targets")
    table = targets_of(links, sites)
    progress.end(f"{len(table):,} pairs, {int(table['called'].sum()):,} called")
    metrics = _metrics(table, links, sites, curated_targets(store, parent.release))
    child = runs.register(store, _registration(store, parent, options))
    folder = predictions.run_folder(home, child)
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / EVERY) as path:
        table.to_parquet(path, index=False)
    predictions.keep(home, child, Predictions([_batch(table, options)]), metrics)
    run = runs.write_back(store, home, child, progress)
    ending.end_with_report(store, home, child, progress)
    return run


def targets_of(links: pd.DataFrame, sites: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Rank targets (`models.evaluation.tf_targets.rank_targets`) by the names of peaks, genes and factors.

    Args:
        links: peak, gene, score, sign, called of all scored pairs; random peaks are drawn from their peaks.
        sites: factor -> peaks with a site of it; peaks that were not scored are left out.

    Returns:
        tf, gene, observed, expected, score, p, q, rank, called, sign (of the summed scores of the supporting links),
        peaks (ids of the supporting ones, strongest link first, PEAKS_KEPT at most); by tf and rank.
    """
    peaks, genes = (pd.Index(np.unique(links[side].to_numpy(dtype=str))) for side in ("peak", "gene"))
    tfs = sorted(sites)
    bound = _site_matrix(peaks, [sites[tf] for tf in tfs])
    lengths = np.array([_length(peak) for peak in peaks])
    called = links[links["called"].to_numpy(dtype=bool)].drop_duplicates(["peak", "gene"])
    called = called.assign(at=peaks.get_indexer(called["peak"]), of=genes.get_indexer(called["gene"]))
    table = rank_targets(called["of"].to_numpy(), called["at"].to_numpy(), bound, lengths, len(genes))
    support = _support(table, called, bound.tocsc(), peaks)
    named = table.assign(tf=np.array(tfs)[table["tf"]], gene=genes.to_numpy()[table["gene"]], **support)
    return named.sort_values(["tf", "rank", "gene"], ignore_index=True)


def _site_matrix(peaks: pd.Index[str], bound: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """Return (peaks, factors) 1 where a peak holds a site."""
    with_gaps = [np.unique(peaks.get_indexer(pd.Index(ids, dtype=object))) for ids in bound]
    by_factor = [indices[indices >= 0] for indices in with_gaps]
    factor = np.repeat(np.arange(len(by_factor)), [len(indices) for indices in by_factor])
    rows = np.concatenate([*by_factor, np.array([], np.int64)])
    return sp.csr_matrix((np.ones(len(rows)), (rows, factor)), shape=(len(peaks), len(bound)))


def _support(table: pd.DataFrame, called: pd.DataFrame, bound: sp.csc_matrix, peaks: pd.Index[str]) -> dict[str, Any]:
    """Return the supporting peaks and the sign of their summed scores, for each row of `table`."""
    ordered = called.sort_values(["score", "peak"], ascending=[False, True])
    own = {gene: (part["at"].to_numpy(), part["score"].to_numpy()) for gene, part in ordered.groupby("of")}
    holds = np.zeros(bound.shape[0], bool)
    ids = np.empty(len(table), object)
    sign = np.ones(len(table), np.int64)
    for tf, rows in table.groupby("tf", sort=False).indices.items():
        held = bound.indices[bound.indptr[int(tf)] : bound.indptr[int(tf) + 1]]  # type: ignore[call-overload]
        holds[held] = True
        for row, gene in zip(rows, table["gene"].to_numpy()[rows].tolist(), strict=True):
            at, score = own[gene]
            ids[row] = peaks[at[holds[at]][:PEAKS_KEPT]].tolist()
            sign[row] = -1 if score[holds[at]].sum() < 0 else 1
        holds[held] = False
    return {"peaks": ids, "sign": sign}


def _batch(table: pd.DataFrame, options: TargetOptions) -> EdgeBatch:
    """Build the batch of targets that are called or among the best of their factor."""
    written = table[table["called"] | (table["rank"] <= options.best)]
    columns = {c: written[c].to_numpy() for c in ("score", "rank", "sign", "called", "observed", "expected")}
    return EdgeBatch.build(
        PREDICTED_TARGET,
        start_id=written["tf"].to_numpy(dtype=object),
        end_id=written["gene"].to_numpy(dtype=object),
        score_kind=options.sites,
        p_value=written["p"].to_numpy(),
        q_value=written["q"].to_numpy(),
        peaks=written["peaks"].tolist(),
        **columns,
    )


def _metrics(
    table: pd.DataFrame, links: pd.DataFrame, sites: Mapping[str, Sequence[str]], curated: pd.DataFrame
) -> dict[str, float | None]:
    genes = np.unique(links["gene"].to_numpy(dtype=str))
    called = table.loc[table["called"], ["tf", "gene"]]
    agrees = agreement(called, curated[curated["tf"].isin(list(sites))], genes)
    counts = {"factors": len(sites), "genes": len(genes), "links_called": int(links["called"].sum())}
    values = {**counts, "targets_called": len(called), **agrees}
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def _registration(store: Store, parent: Run, options: TargetOptions) -> runs.Registration:
    read = {t.name for t in SITES[options.sites]}
    used = {v.dataset: v.hash for v in dataset_versions(store, parent.release) if read & set(v.hashes)}
    settings = asdict(options)
    return runs.Registration(
        model=f"targets-{options.sites}",
        cells=parent.cells,
        release=parent.release,
        seed=parent.seed,
        members=parent.members,
        config=settings,
        config_hash=hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        code=code_version(),
        datasets={**parent.datasets, **used},
        edge_types=(*parent.edge_types, *sorted(read)),
        parent=parent.id,
        experiment=parent.experiment,
        derived=True,
    )


def _length(peak: str) -> int:
    """Return the width of a peak from its id, assembly:chrom:start-end."""
    start, _, end = peak.rpartition(":")[2].partition("-")
    return int(end) - int(start)
