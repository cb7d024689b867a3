"""The kinds of output that a model may return, a closed set; each validates itself when it is made, as batches do.

An output knows which files of the run's folder hold it and which rows it adds to the graph. Everything that keeps,
writes, counts, removes, backs up, compares or shows runs goes by these kinds, never by a model's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import pandas as pd

from kg.errors import SchemaError
from kg.schema import ANNOTATED_AS, IMPUTED_GENE, IMPUTED_PEAK, NODE_TYPES, PREDICTED_CONTACT, Kind
from kg.schema.batches import EdgeBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class GraphNames:
    """How outputs map to nodes of the graph.

    Attributes:
        cells: name of the set of cells that the run read.
        biosamples: id or name of a biosample of the release -> its id.
    """

    cells: str = ""
    biosamples: Mapping[str, str] = field(default_factory=dict)


class Output(Protocol):
    """One output of a run."""

    kind: ClassVar[str]

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield the rows that the run writes into the graph; there may be none."""


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of nodes with a score: links, targets of transcription factors, any declared type of predicted edges.

    Attributes:
        batch: the rows; identity is type and ends, so that a pair keeps its edge_id from run to run.
        every: a Parquet file in the run's folder with every scored pair, if only the best become rows.

    Raises:
        SchemaError: these are not predicted edges, or a pair repeats.
    """

    kind: ClassVar[str] = "scored pairs"
    batch: EdgeBatch
    every: str | None = None

    def __post_init__(self) -> None:
        name = self.batch.type.name
        _refuse(
            "scored pairs",
            {
                f"{name} is not a type of predicted edges": self.batch.type.kind is not Kind.PREDICTED,
                f"rows of {name} repeat": repeats(self.batch),
            },
        )

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield the rows themselves."""
        del names
        yield self.batch


@dataclass(frozen=True)
class FeatureEmbedding:
    """Vectors of genes, peaks or other nodes; in the graph as an (:Embedding) of each node.

    Attributes:
        ids: (n,) ids of nodes of the release.
        kinds: (n,) their labels.
        vectors: (n, dims) float32.
    """

    kind: ClassVar[str] = "feature embedding"
    ids: Sequence[str]
    kinds: Sequence[str]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(NODE_TYPES))
        _refuse(
            "a feature embedding",
            {
                f"no nodes are labelled {', '.join(unknown)}": bool(unknown),
                f"vectors of shape {np.shape(self.vectors)}": np.ndim(self.vectors) != 2,
                f"{len(self.ids)} ids, {len(self.kinds)} kinds and {len(self.vectors)} vectors": not (
                    len(self.ids) == len(self.kinds) == len(self.vectors)
                ),
                "ids repeat": len(set(self.ids)) < len(self.ids),
                "values that are not finite": not np.isfinite(self.vectors).all(),
            },
        )

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield nothing: vectors are nodes of their own (`kg.runs.predictions`)."""
        del names
        yield from ()


@dataclass(frozen=True)
class CellEmbedding:
    """Cells of one modality in a joint space; kept in MODALITY.h5ad, never in the graph.

    Attributes:
        modality: of the set of cells.
        cells: (n,) names, in the order of the file that was read.
        vectors: (n, dims) float32.
        features, feature_vectors: (f,) features of the modality with a vector in the same space, and (f, dims) vectors.
    """

    kind: ClassVar[str] = "cell embedding"
    modality: str
    cells: NDArray[np.str_]
    vectors: NDArray[np.float32]
    features: NDArray[np.str_] | None = None
    feature_vectors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        named = () if self.features is None else self.features
        vectors = self.vectors[:0] if self.feature_vectors is None else self.feature_vectors
        shapes = np.shape(self.vectors), np.shape(vectors)
        _refuse(
            f"the embedding of {self.modality}",
            {
                f"vectors of shapes {shapes}": len(shapes[0]) != 2 or shapes[0][1:] != shapes[1][1:],
                f"{len(self.cells)} cells and {len(self.vectors)} vectors": len(self.cells) != len(self.vectors),
                f"{len(named)} features and {len(vectors)} vectors of them": len(named) != len(vectors),
                "features repeat": len(set(named)) < len(named),
                "values that are not finite": not (np.isfinite(self.vectors).all() and np.isfinite(vectors).all()),
            },
        )

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield nothing."""
        del names
        yield from ()


@dataclass(frozen=True)
class CellAnnotation:
    """A label of each cell of one modality; kept in MODALITY.h5ad, in the graph as counts by label.

    Attributes:
        modality: of the set of cells.
        cells: (n,) names, in the order of the file that was read.
        column: of obs, such as transferred_label.
        labels: (n,) "" for none.
        confidence: (n,) in [0, 1]; None if the labels were given rather than predicted.
    """

    kind: ClassVar[str] = "cell annotation"
    modality: str
    cells: NDArray[np.str_]
    column: str
    labels: NDArray[np.str_]
    confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        confidence = np.zeros(len(self.labels)) if self.confidence is None else self.confidence
        _refuse(
            f"{self.column} of {self.modality}",
            {
                f"{len(self.cells)} cells and {len(self.labels)} labels": len(self.cells) != len(self.labels),
                f"{len(self.labels)} labels and {len(confidence)} confidences": len(confidence) != len(self.labels),
                "confidences outside 0 to 1": not ((confidence >= 0) & (confidence <= 1)).all(),
            },
        )

    @property
    def confidence_column(self) -> str:
        """Column of obs with the confidence: transferred_confidence for transferred_label."""
        return f"{self.column.removesuffix('_label')}_confidence"

    @property
    def by_label(self) -> pd.DataFrame:
        """One row per label, sorted by label: n cells, their share of all cells, mean confidence."""
        frame = pd.DataFrame({"label": self.labels, "confidence": self.confidence})
        counts = (
            frame[frame["label"] != ""]
            .groupby("label", as_index=False)
            .agg(n=("label", "size"), confidence=("confidence", "mean"))
        )
        return counts.assign(share=counts["n"] / max(len(frame), 1))

    def unknown(self, names: GraphNames) -> list[str]:
        """Return labels that are no biosample's id or name in the release, so that the graph cannot hold them."""
        return [] if self.confidence is None else sorted(set(self.by_label["label"]) - set(names.biosamples))

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield one row for each predicted label that is a biosample of the release."""
        if self.confidence is None:
            return
        rows = self.by_label[self.by_label["label"].isin(list(names.biosamples))]
        yield EdgeBatch.build(
            ANNOTATED_AS,
            start_id=[f"{names.cells}/{self.modality}"] * len(rows),
            end_id=[names.biosamples[label] for label in rows["label"]],
            annotation=[self.column] * len(rows),
            **{name: rows[name].to_numpy() for name in ("label", "n", "share", "confidence")},
        )


@dataclass(frozen=True)
class CellMatrix:
    """A matrix of cells by features that the model imputed: a file of the run; the graph holds only its quality.

    Attributes:
        modality: of the set of cells whose cells these are.
        layer: what the values are, such as imputed_rna.
        path: h5ad or zarr in the run's folder.
        quality: columns feature (id), kind (Gene or Peak), correlation (Pearson, held-out cells), n (of them).
    """

    kind: ClassVar[str] = "cell matrix"
    modality: str
    layer: str
    path: Path
    quality: pd.DataFrame

    def __post_init__(self) -> None:
        missing = sorted({"feature", "kind", "correlation", "n"} - set(self.quality.columns))
        what = f"layer {self.layer} of {self.modality}"
        _refuse(
            what,
            {
                f"no file at {self.path}": not self.path.exists(),
                f"its quality has no column {', '.join(missing)}": bool(missing),
            },
        )
        kinds = sorted(set(self.quality["kind"].astype(str)) - {IMPUTED_GENE.end, IMPUTED_PEAK.end})
        _refuse(
            what,
            {
                f"its quality is about {', '.join(kinds)}, not genes or peaks": bool(kinds),
                "features repeat in its quality": bool(self.quality["feature"].duplicated().any()),
                "correlations outside -1 to 1": bool((self.quality["correlation"].abs() > 1).any()),
                "numbers of cells below 0": bool((self.quality["n"] < 0).any()),
            },
        )

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield quality by feature, genes and peaks as separate types; features without a correlation are left out."""
        known = self.quality[np.isfinite(self.quality["correlation"])]
        for type_ in (IMPUTED_GENE, IMPUTED_PEAK):
            rows = known[known["kind"] == type_.end]
            if len(rows):
                yield EdgeBatch.build(
                    type_,
                    start_id=[f"{names.cells}/{self.modality}"] * len(rows),
                    end_id=rows["feature"].to_numpy(dtype=object),
                    layer=[self.layer] * len(rows),
                    correlation=rows["correlation"].to_numpy(),
                    n=rows["n"].to_numpy(),
                )


@dataclass(frozen=True)
class Contacts:
    """Contacts between peaks that a model predicts.

    Attributes:
        batch: rows of PREDICTED_CONTACT.
        resolution_bp: of the contact map, base pairs.
        cool: the map itself as a cooler file in the run's folder, if the model makes one.
    """

    kind: ClassVar[str] = "contacts"
    batch: EdgeBatch
    resolution_bp: int
    cool: Path | None = None

    def __post_init__(self) -> None:
        is_contact = self.batch.type == PREDICTED_CONTACT
        widths = set(self.batch.table["resolution_bp"].unique().to_pylist()) if is_contact else set()
        _refuse(
            "contacts",
            {
                f"rows of {self.batch.type.name}": not is_contact,
                f"rows of a resolution of {sorted(widths)} bp, not {self.resolution_bp}": not widths
                <= {self.resolution_bp},
                "pairs of peaks repeat": repeats(self.batch),
                f"a resolution of {self.resolution_bp} bp": self.resolution_bp < 1,
                f"no file at {self.cool}": self.cool is not None and not self.cool.exists(),
            },
        )

    def batches(self, names: GraphNames) -> Iterator[EdgeBatch]:
        """Yield the rows themselves."""
        del names
        yield self.batch


KINDS = (ScoredPairs, FeatureEmbedding, CellEmbedding, CellAnnotation, CellMatrix, Contacts)
"""All kinds of output."""


def repeats(batch: EdgeBatch) -> bool:
    """Return whether two rows have the same identity, so that the graph would refuse the second."""
    keys = ["start_id", "end_id", *batch.type.keys]
    return bool(batch.table.group_by(keys).aggregate([]).num_rows < len(batch))


def _refuse(what: str, problems: Mapping[str, bool]) -> None:
    present = [problem for problem, is_present in problems.items() if is_present]
    if present:
        raise SchemaError(f"{what} is not valid", present)
