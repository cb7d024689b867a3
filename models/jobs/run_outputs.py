"""Keeping the outputs of a training in the run's folder, before any of them is written to the graph."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from kg.evidence.nodes import read_nodes
from kg.runs import predictions
from kg.runs.cell_files import write_cell_files
from kg.runs.outputs import CellAnnotation, GraphNames
from kg.runs.predictions import Predictions
from kg.schema import BIOSAMPLE
from models.jobs.run_artifacts import keep_history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kg.progress import Progress
    from kg.store import Store
    from models.contract import Fit, Output
    from models.inputs.release_inputs import ReleaseInputs


def keep_outputs(
    store: Store, home: Path, run_id: str, model: str, inputs: ReleaseInputs, config: Any, fit: Fit
) -> None:
    """Keep all outputs in the run's folder; metrics.json comes last and marks the rest as complete."""
    folder = inputs.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_cell_files(folder, fit.outputs, model, provenance(run_id, model, inputs, config))
    keep_history(folder, fit.history)
    names = graph_names(store, inputs.cells_name, inputs.release)
    _warn_unknown(fit.outputs, names, inputs.progress)
    metrics = {name: _finite(value) for name, value in fit.metrics.items()}
    predictions.keep(home, run_id, Predictions.of(fit.outputs, names), metrics)


def graph_names(store: Store, cells: str, release: int) -> GraphNames:
    """Return how outputs map to nodes of a release; a name shared by several biosamples maps to none of them."""
    known = read_nodes(store, BIOSAMPLE, release).select(["id", "name"]).to_pandas()
    by_name = known.drop_duplicates("name", keep=False).set_index("name")["id"].to_dict()
    return GraphNames(cells, {**by_name, **{node: node for node in known["id"]}})


def provenance(run_id: str, model: str, inputs: ReleaseInputs, config: Any) -> dict[str, str]:
    """Return the provenance that a run's files carry with them."""
    guided = bool(inputs.needs.evidence.guides)
    return {
        "run": run_id,
        "release": str(inputs.release),
        "model": model,
        **({"guidance": inputs.guidance.hash} if guided else {}),
        "config_hash": config_hash(config),
        "version": metadata.version("regkg"),
    }


def config_hash(config: Any) -> str:
    """Return the sha256 of a configuration, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()


def _warn_unknown(outputs: Sequence[Output], names: GraphNames, progress: Progress) -> None:
    for output in outputs:
        if isinstance(output, CellAnnotation) and (unknown := output.unknown(names)):
            progress.say(
                f"{len(unknown):,} labels of {output.column} ({output.modality}) are not biosamples of the release, "
                f"such as {unknown[0]!r}; they are only in the run's files"
            )


def _finite(value: float) -> float | None:
    return float(value) if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - JSON has no NaN
