"""What a model declares and what it gives back.

A model is a module or package of `models.zoo` with a function `fit` under the decorator `model`. What it declares is
all that the rest of the program knows of it: which evidence, cells and files it reads, which kinds of output it writes,
what a gate may compare, how it starts from another run's weights, what it takes, and what its report shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from kg.runs.outputs import (
    KINDS,
    CellAnnotation,
    CellEmbedding,
    CellMatrix,
    Contacts,
    FeatureEmbedding,
    GraphNames,
    Output,
    ScoredPairs,
)
from kg.schema import GENE, PEAK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from kg.guidance import GuidanceGraph
    from kg.schema import EdgeType, NodeType

__all__ = [
    "KINDS",
    "Assay",
    "Benchmark",
    "CellAnnotation",
    "CellEmbedding",
    "CellMatrix",
    "Contacts",
    "Estimate",
    "Evidence",
    "FeatureEmbedding",
    "FileKind",
    "Fit",
    "GraphNames",
    "Inputs",
    "Metric",
    "Model",
    "Needs",
    "Output",
    "Reads",
    "ScoredPairs",
    "TinyWorld",
    "model",
]

REGISTERED = "regkg_model"


class FileKind(Enum):
    """Files beside cells and evidence."""

    FASTA = "fasta"
    COOLER = "cooler"
    FRAGMENTS = "fragments"
    PAIRS = "pairs"


class Reads(Enum):
    """What of the files of cells a model can be told to read, each an option of its command."""

    LABELS = "labels"
    BATCH = "batch"
    PAIRED = "paired"
    LIKELIHOODS = "likelihoods"
    STREAM = "stream"


@dataclass(frozen=True)
class Evidence:
    """What a model reads of a release; changes of it are what makes a run stale.

    Attributes:
        guides: edge types of the guidance graph.
        supervises: edge types whose rows are labels to learn from, held-out chromosomes left out.
        nodes: node types whose records are read, beside those at the ends of these edges.
    """

    guides: tuple[EdgeType, ...] = ()
    supervises: tuple[EdgeType, ...] = ()
    nodes: tuple[NodeType, ...] = (GENE, PEAK)


@dataclass(frozen=True)
class Assay:
    """One assay that a set of cells must hold.

    Attributes:
        modality: such as "rna" or "atac"; "any" for one more of whatever kind.
        species: NCBITaxon CURIE, or "any".
        rep: how cells are reduced for the encoder: "pca", "lsi", or None where the model does without.
    """

    modality: str
    species: str = "any"
    rep: str | None = None


@dataclass(frozen=True)
class Needs:
    """What a model must be handed.

    Attributes:
        evidence: of the release.
        assays: of the set of cells; empty for a model that reads no cells.
        files: beside these.
        reads: options of how files of cells are read.
        candidates: the model can score pairs beyond the evidence (`--candidates`).
        devices: the model can train in several processes (`--devices`).
    """

    evidence: Evidence = field(default_factory=Evidence)
    assays: tuple[Assay, ...] = ()
    files: tuple[FileKind, ...] = ()
    reads: tuple[Reads, ...] = ()
    candidates: bool = False
    devices: bool = False


@dataclass(frozen=True)
class Metric:
    """A figure of a run's metrics that a gate may compare with that of the published run.

    Attributes:
        name: of the metric, or the beginning of the names of several.
        higher_is_better: or lower.
        tolerance: by how much the new run may be worse.
        same_cells: comparable only where both runs read the same files of cells.
        pooled: several names are compared by the mean over those that both runs have, rather than each for itself.
    """

    name: str
    higher_is_better: bool = True
    tolerance: float = 0.02
    same_cells: bool = False
    pooled: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Unseen edges that rank the pairs of a predicted type: an AUROC that a gate may compare.

    Attributes:
        of: the predicted type.
        against: types of evidence or truth between the same ends.
        tolerance: by how much the AUROC of the new run may be smaller.
    """

    of: EdgeType
    against: tuple[EdgeType, ...]
    tolerance: float = 0.02


@dataclass(frozen=True)
class Estimate:
    """What a training will take, roughly.

    Attributes:
        memory_gib: at its peak, the program itself included.
        disk_gib: under REGKG_HOME.
        minutes: on two cores.
    """

    memory_gib: float
    disk_gib: float
    minutes: float

    def __str__(self) -> str:
        return (
            f"about {self.memory_gib:.1f} GiB of memory, {self.disk_gib:.2f} GiB of disk and, on two cores, "
            f"{self.minutes:.0f} minutes"
        )


@dataclass(frozen=True)
class TinyWorld:
    """A world on which the whole life of a model takes at most 25 CPU seconds; shared tests make it and live it.

    Attributes:
        simulation: options of the simulated world (`loaders.simulation.config`), where they are not the usual ones.
        options: of the model's configuration, such as few steps.
        request: of the training job beside these, such as {"candidates_bp": 20000}.
    """

    simulation: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """What training gives.

    Attributes:
        outputs: to be kept and written.
        history: one row for each epoch, member and stage; empty for a model without a loss.
        metrics: name -> value; what the gate compares is among them.
    """

    outputs: tuple[Output, ...]
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    metrics: Mapping[str, float] = field(default_factory=dict)


class Inputs(Protocol):
    """What a model is handed: one release and one set of cells, each part read when it is first asked for."""

    @property
    def release(self) -> int:
        """Number of the release that is read."""

    @property
    def folder(self) -> Path:
        """Of the run, for files that are outputs themselves."""

    @property
    def candidates_bp(self) -> int | None:
        """How far from a gene's start site pairs beyond the evidence are scored; None for none."""

    @property
    def guidance(self) -> GuidanceGraph:
        """The evidence that guides, weighed."""

    @property
    def cells(self) -> Any:
        """The set of cells (`models.inputs.cells.Cells`)."""

    def nodes(self, type_: NodeType) -> pa.Table:
        """Records of a node type."""

    def supervision(self, type_: EdgeType) -> pd.DataFrame:
        """Rows of an edge type that supervises: source, target and the declared columns; held-out ones left out."""

    def joint_space(self, run: str) -> Sequence[Any]:
        """Cells of another run's joint space, by modality (`kg.runs.cell_files.Embedded`)."""


@dataclass(frozen=True)
class Model:
    """A model that can be trained by name; attributes are those of the decorator `model`.

    Attributes:
        name: of its module or package in `models.zoo`.
        fit: (inputs, config, trainer, start) -> Fit.
    """

    name: str
    fit: Callable[..., Fit]
    config: type
    needs: Needs
    writes: tuple[type[Output] | EdgeType, ...]
    gate: tuple[Metric | Benchmark, ...]
    cites: str
    tiny: TinyWorld
    warm: Callable[..., Any] | None = None
    estimate: Callable[..., Estimate] | None = None
    report: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the edge types that guide or supervise it."""
        evidence = self.needs.evidence
        return tuple(type_.name for type_ in (*evidence.guides, *evidence.supervises))

    @property
    def predicts(self) -> tuple[EdgeType, ...]:
        """Edge types of its rows in the graph."""
        return tuple(one for one in self.writes if not isinstance(one, type))


def model(  # noqa: PLR0913 - a declaration
    *,
    config: type,
    needs: Needs,
    writes: Sequence[type[Output] | EdgeType],
    gate: Sequence[Metric | Benchmark],
    cites: str,
    tiny: TinyWorld,
    warm: Callable[..., Any] | None = None,
    estimate: Callable[..., Estimate] | None = None,
    report: Sequence[str] = (),
) -> Callable[[Callable[..., Fit]], Callable[..., Fit]]:
    """Declare the function `fit` of a zoo module to be a model.

    Args:
        config: frozen dataclass of its options, fields made by `kg.parameters.param`.
        needs: what it must be handed.
        writes: kinds of its outputs, and the edge types of its rows in the graph.
        gate: what may be compared with the published run before a new one is published.
        cites: the paper, or where the method comes from.
        tiny: a world on which its whole life is quick.
        warm: (home, run, inputs, same_cells) -> what `fit` takes as `start`; None where it always starts cold.
        estimate: (inputs, config) -> what training takes.
        report: names of the sections of its report beside those that every run has (`models.jobs.report`).
    """

    def register(fit: Callable[..., Fit]) -> Callable[..., Fit]:
        name = fit.__module__.removeprefix("models.zoo.").partition(".")[0]
        entry = Model(name, fit, config, needs, tuple(writes), tuple(gate), cites, tiny, warm, estimate, tuple(report))
        setattr(fit, REGISTERED, entry)
        return fit

    return register
