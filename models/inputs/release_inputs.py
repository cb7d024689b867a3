"""Inputs of a model: one release and one set of cells, each part read when first accessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kg.cells import assay_of
from kg.cells import cells as registered_cells
from kg.errors import InputError, TrainingError
from kg.evidence.nodes import read_nodes
from kg.guidance import GuidanceGraph, chrom_of, read_guidance
from kg.progress import SILENT, Progress
from kg.runs import run as recorded_run
from kg.runs.cell_files import read_cell_files
from kg.runs.predictions import run_folder
from kg.schema import EDGE_TYPES, GENE, PEAK
from models.inputs.read_anndata import Reading, read_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from kg.cells import CellsFile
    from kg.runs.cell_files import EmbeddedCells
    from kg.schema import EdgeType, NodeType
    from kg.store import Store
    from models.contract import Needs
    from models.inputs.cells import Cells


@dataclass
class ReleaseInputs:
    """`models.contract.Inputs` of a release in the graph and of registered files.

    A copy sent to another process has no connection, so `materialise` must read everything that the model needs first.

    Attributes:
        store: the graph; None in another process.
        home: REGKG_HOME, where runs are kept.
        release: its number.
        needs: what the model needs.
        cells_name: name of the registered set of cells; "" for a model that reads none.
        reading: how cell files are read.
        edge_types: which of the model's edge types are read.
        held_out: chromosomes whose CONTACTS and EQTL rows do not guide, and whose rows do not supervise.
        without: datasets that are left out.
        candidates_bp: distance from a gene's start site within which pairs beyond the evidence are scored, or None.
        folder: of the run, once it is registered.
        progress: where to report what is read.
    """

    store: Store | None
    home: Path
    release: int
    needs: Needs
    cells_name: str
    reading: Reading = field(default_factory=Reading)
    edge_types: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    candidates_bp: int | None = None
    folder: Path = Path()
    progress: Progress = SILENT
    _nodes: dict[str, pa.Table] = field(default_factory=dict)
    _supervision: dict[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def guidance(self) -> GuidanceGraph:
        """The evidence that guides, with weights; without held-out rows and excluded datasets."""
        guiding = [t.name for t in self.needs.evidence.guides if t.name in self.edge_types]
        return read_guidance(self._graph, self.release, guiding, held_out=self.held_out, without=self.without)

    @cached_property
    def files(self) -> list[CellsFile]:
        """The registered cell files, checked to be unchanged.

        Raises:
            NotFound: there is no such set of cells.
            ChecksumMismatch, MissingInput: a file has changed or moved since.
            InputError: the model needs an assay that the set lacks.
        """
        files = registered_cells(self._graph, self.cells_name)
        for file in files:
            file.check_unchanged()
        held = [assay_of(file.modality) for file in files]
        missing = [a.modality for a in self.needs.assays if a.modality != "any" and a.modality not in held]
        if missing:
            raise InputError(
                f"cells {self.cells_name!r} hold {', '.join(held)}; the model also needs {', '.join(missing)}",
                f"regkg load cells FILES --name {self.cells_name}",
            )
        return files

    @cached_property
    def cells(self) -> Cells:
        """The cells, with features matched to the nodes of the release; errors as in `files` and `read_cells`."""
        return read_cells(self.files, self.nodes(GENE), self.nodes(PEAK), self.reading, self.progress)

    def nodes(self, type_: NodeType) -> pa.Table:
        """Return the records of a node type at the release, sorted by id."""
        if type_.name not in self._nodes:
            self._nodes[type_.name] = read_nodes(self._graph, type_, self.release)
        return self._nodes[type_.name]

    def supervision(self, type_: EdgeType) -> pd.DataFrame:
        """Return rows of a supervising edge type, sorted by source and target.

        Rows on a held-out chromosome, by the target gene or the peak, are left out, as are excluded datasets.

        Returns:
            source, target, dataset and the declared columns of the type.
        """
        if type_.name not in self._supervision:
            columns = ["source", "target", "dataset", *type_.schema.names[2:]]
            rows = self._graph.stream(
                f"MATCH (a:{type_.start})-[r:{type_.name}]->(b:{type_.end}) WHERE r.since <= $n AND $n < r.until "
                f"AND NOT r.dataset IN $without RETURN a.id, b.id, r.dataset"
                f"{''.join(f', r.{name}' for name in type_.schema.names[2:])} ORDER BY a.id, b.id, r.edge_id",
                n=self.release,
                without=list(self.without),
            )
            frame = pd.DataFrame(list(rows), columns=columns)
            kept = ~self._chroms(type_, frame).isin(self.held_out)
            self._supervision[type_.name] = frame[kept].reset_index(drop=True)
        return self._supervision[type_.name]

    def joint_space(self, run: str) -> Sequence[EmbeddedCells]:
        """Return the cells of another run's joint space, by modality, RNA first.

        Raises:
            UnknownRun: there is no such run.
            InputError: its folder holds no cells.
        """
        cells = read_cell_files(run_folder(self.home, run), recorded_run(self._graph, run).model)
        if not cells:
            raise InputError(f"run {run} has no joint space in {run_folder(self.home, run)}", "name a GLUE run")
        return cells

    def materialise(self) -> None:
        """Read everything that the model declares to need, so that a copy in another process has it."""
        evidence = self.needs.evidence
        for type_ in evidence.nodes:
            self.nodes(type_)
        for edge_type in evidence.supervises:
            self.supervision(edge_type)
        if evidence.guides:
            _ = self.guidance
        if self.needs.assays:
            _ = self.cells

    @property
    def _graph(self) -> Store:
        if self.store is None:
            raise TrainingError("a training process needs more from the graph than its model declares")
        return self.store

    def _chroms(self, type_: EdgeType, rows: pd.DataFrame) -> pd.Series[str]:
        """Return the chromosome of each row."""
        for column, label in (("source", type_.start), ("target", type_.end)):
            if label == PEAK.label:
                return rows[column].map(chrom_of)
        genes = self.nodes(GENE).select(["id", "chrom"]).to_pandas().set_index("id")["chrom"]
        side = "target" if type_.end == GENE.label else "source"
        return rows[side].map(genes).fillna("")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "store": None, "progress": SILENT}


def nodes_read(needs: Needs, edge_types: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the node types that a model reads: those at the ends of its edges, and those it declares."""
    ends = (label for name in edge_types for label in (EDGE_TYPES[name].start, EDGE_TYPES[name].end))
    return tuple(sorted({*ends, *(type_.name for type_ in needs.evidence.nodes)}))
