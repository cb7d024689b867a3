"""The contract of a model: what it declares and what it returns.

A model is a module or package of `models.zoo` with a function `fit` under the decorator `model`. Its
declaration is all that the rest of the program knows about it: which evidence, cells and files it reads, which kinds of
output it writes, what a gate may compare, how it starts from another run's weights, which resources it takes, and what
its report shows.
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
    """Files besides cells and evidence."""

    FASTA = "fasta"
    COOLER = "cooler"
    FRAGMENTS = "fragments"
    PAIRS = "pairs"


class Reads(Enum):
    """What a model can be told to read from cell files; each is an option of its command."""

    LABELS = "labels"
    BATCH = "batch"
    PAIRED = "paired"
    LIKELIHOODS = "likelihoods"
    STREAM = "stream"


@dataclass(frozen=True)
class Evidence:
    """What a model reads from a release; a change in it makes a run stale.

    Attributes:
        guides: edge types of the guidance graph.
        supervises: edge types whose rows are labels to learn from, held-out chromosomes left out.
        nodes: node types whose records are read, besides those at the ends of these edges.
    """

    guides: tuple[EdgeType, ...] = ()
    supervises: tuple[EdgeType, ...] = ()
    nodes: tuple[NodeType, ...] = (GENE, PEAK)


@dataclass(frozen=True)
class Assay:
    """One assay that a set of cells must hold.

    Attributes:
        modality: such as "rna" or "atac"; "any" for one more of any kind.
        species: NCBITaxon CURIE, or "any".
        rep: how cells are reduced for the encoder: "pca", "lsi", or None if the model needs neither.
    """

    modality: str
    species: str = "any"
    rep: str | None = None


@dataclass(frozen=True)
class Needs:
    """What a model must be given.

    Attributes:
        evidence: from the release.
        assays: in the set of cells; empty for a model that reads no cells.
        files: further files.
        reads: options for reading cell files.
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
        name: of the metric, or the prefix of the names of several.
        higher_is_better: False if lower is better.
        tolerance: by how much the new run may be worse.
        same_cells: comparable only if both runs read the same cell files.
        pooled: metrics with this prefix are compared by the mean over those that both runs have, rather than one by
            one.
    """

    name: str
    higher_is_better: bool = True
    tolerance: float = 0.02
    same_cells: bool = False
    pooled: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Unseen edges against which the pairs of a predicted type are ranked: an AUROC that a gate may compare.

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
    """The resources that training will take, roughly.

    Attributes:
        memory_gib: at its peak, including the program itself.
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
    """A world on which a model's whole life cycle takes at most 25 CPU seconds; shared tests build it and run it.

    Attributes:
        simulation: options of the simulated world (`loaders.simulation.config`) that differ from the defaults.
        options: of the model's configuration, such as few steps.
        request: further options of the training job, such as {"candidates_bp": 20000}.
    """

    simulation: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """The result of training.

    Attributes:
        outputs: what is kept and written.
        history: one row per epoch, member and stage; empty for a model without a loss.
        metrics: name -> value, including those that the gate compares.
    """

    outputs: tuple[Output, ...]
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    metrics: Mapping[str, float] = field(default_factory=dict)


class Inputs(Protocol):
    """The inputs of a model: one release and one set of cells, each part read when first accessed."""

    @property
    def release(self) -> int:
        """Number of the release."""

    @property
    def folder(self) -> Path:
        """Folder of the run, for files that are outputs themselves."""

    @property
    def candidates_bp(self) -> int | None:
        """Distance from a gene's start site within which pairs beyond the evidence are scored; None for none."""

    @property
    def guidance(self) -> GuidanceGraph:
        """The evidence that guides, with weights."""

    @property
    def cells(self) -> Any:
        """The set of cells (`models.inputs.cells.Cells`)."""

    def nodes(self, type_: NodeType) -> pa.Table:
        """Return the records of a node type."""

    def supervision(self, type_: EdgeType) -> pd.DataFrame:
        """Return rows of a supervising edge type, without held-out ones: source, target and the declared columns."""

    def joint_space(self, run: str) -> Sequence[Any]:
        """Return the cells of another run's joint space, by modality (`kg.runs.cell_files.EmbeddedCells`)."""


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
        """Names of the edge types that guide or supervise the model."""
        evidence = self.needs.evidence
        return tuple(type_.name for type_ in (*evidence.guides, *evidence.supervises))

    @property
    def predicts(self) -> tuple[EdgeType, ...]:
        """Edge types of the rows that it writes to the graph."""
        return tuple(entry for entry in self.writes if not isinstance(entry, type))


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
    """Declare the function `fit` of a zoo module as a model.

    Args:
        config: frozen dataclass of its options, fields made by `kg.parameters.param`.
        needs: what it must be given.
        writes: kinds of its outputs, and the edge types of its rows in the graph.
        gate: what may be compared with the published run before a new one is published.
        cites: the paper, or where the method comes from.
        tiny: a world on which its whole life cycle is quick.
        warm: (home, run, inputs, same_cells) -> what `fit` takes as `start`; None if it always starts cold.
        estimate: (inputs, config) -> the resources that training takes.
        report: names of the sections of its report besides those that every run has (`models.jobs.report`).
    """

    def register(fit: Callable[..., Fit]) -> Callable[..., Fit]:
        name = fit.__module__.removeprefix("models.zoo.").partition(".")[0]
        entry = Model(name, fit, config, needs, tuple(writes), tuple(gate), cites, tiny, warm, estimate, tuple(report))
        setattr(fit, REGISTERED, entry)
        return fit

    return register
