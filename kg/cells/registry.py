"""Cells: AnnData files known to the graph by checksum, path and features; their matrices are never copied into it.

A file is an h5ad, or a zarr store, whose checksum is that of all files in its folder (`kg.files.folder_sha256`).

A set of cells has a name and one file for each modality. Registering equal content elsewhere only moves the path; other
content under the same name replaces it, and the set keeps its slot. Files are read without loading a matrix.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kg.cells.anndata_files import check_whole, opened, values_in
from kg.errors import ChecksumMismatch, CoverageTooLow, InputError, MissingInput, NotFound
from kg.files import folder_sha256, sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from kg.store import Store

COVERAGE = 0.8
SHOWN = 20
_POSITION = r"^(?P<chrom>\S+?)[:_-](?P<start>\d+)[_-](?P<end>\d+)$"
_LAYER = r"^(?P<layer>mC[A-Z]{0,2}):(?P<gene>.+)$"  # methylation of a gene's body: mC, mCG, mCH, of any gene name
_MAIN_CHROM = re.compile(r"^chr(\d+|[XYM])$")


@dataclass(frozen=True)
class Header:
    """What an h5ad or zarr store says of itself, read without its matrix.

    Attributes:
        cells: number of rows of X.
        features: names of the variables, in order.
        layers: names beside X.
        assembly: `uns["assembly"]` as it stands there, such as mm10.
    """

    cells: int
    features: list[str]
    layers: tuple[str, ...] = ()
    assembly: str | None = None

    @property
    def modality(self) -> str:
        """What most names say: `atac` by positions such as chr1:100-600, `mCH` by such as mCH:SOX2, else `rna`."""
        return modality_of(self.features)


@dataclass(frozen=True)
class FeatureMatch:
    """Features of a file against the ids of the graph.

    Attributes:
        ids: graph id of each feature, None where there is none.
        unmapped: names that nothing in the graph has.
        ambiguous: names that several genes have, or whose gene an earlier feature already is.
    """

    ids: tuple[str | None, ...]
    unmapped: tuple[str, ...]
    ambiguous: tuple[str, ...]

    @property
    def coverage(self) -> float:
        """Share of the features that have an id."""
        return sum(i is not None for i in self.ids) / max(len(self.ids), 1)

    def check(self, name: str, needed: float = COVERAGE) -> None:
        """Refuse when too few features are known.

        Raises:
            CoverageTooLow: with the first names that are not.
        """
        if self.coverage >= needed:
            return
        lost = self.unmapped + self.ambiguous
        raise CoverageTooLow(
            f"{name}: the graph knows {len(self.ids) - len(lost):,} of {len(self.ids):,} features "
            f"({self.coverage:.1%}), {needed:.0%} are needed; not known: {', '.join(lost[:SHOWN])}"
            + (f" and {len(lost) - SHOWN:,} more" if len(lost) > SHOWN else ""),
            "load the genes and peaks of this assembly first; names are Ensembl ids, symbols or chr1:100-600",
        )


@dataclass(frozen=True)
class CellsFile:
    """One modality of a named set of cells, as the graph keeps it.

    Attributes:
        name: of the set.
        modality: `rna`, `atac`, or a layer of genes such as `mCH`; that of a further species has its assembly behind
            it, such as `rna-GRCm38`.
        path: absolute; where the file was last seen.
        shape: cells, features.
        features_sha256: of the feature names in order.
        coverage: share of the features that had a graph id when it was registered.
    """

    name: str
    modality: str
    sha256: str
    path: str
    shape: tuple[int, int]
    layers: tuple[str, ...]
    assembly: str | None
    features_sha256: str
    coverage: float

    def check_unchanged(self) -> None:
        """Check that the file is still there with the same content.

        Raises:
            MissingInput: it is not at its path.
            ChecksumMismatch: it is another file now.
        """
        hint = f"regkg load cells FILE --name {self.name} registers it again"
        if not Path(self.path).exists():
            raise MissingInput(f"{self.path}: the {self.modality} file of cells {self.name!r} is not there", hint)
        if checksum(Path(self.path)) != self.sha256:
            raise ChecksumMismatch(f"{self.path}: changed since it was registered as cells {self.name!r}", hint)


def read_header(path: Path) -> Header:
    """Read shape, names, layers and assembly of an h5ad or zarr store.

    Raises:
        MissingInput: no such file.
        InputError: not an AnnData file, one written by an anndata older than 0.7, without values, or half-written.
    """
    from anndata.io import read_elem  # noqa: PLC0415 - most of this module does without

    if not path.exists():
        raise MissingInput(f"{path}: no such file", "check the path")
    try:
        with opened(path) as file:
            var, obs = (file[k] for k in ("var", "obs"))
            assembly = read_elem(file["uns/assembly"]) if "uns/assembly" in file else None
            header = Header(
                cells=_length(obs[obs.attrs["_index"]]),
                features=list(map(str, read_elem(var[var.attrs["_index"]]))),
                layers=tuple(sorted(file["layers"])) if "layers" in file else (),
                assembly=str(assembly) if isinstance(assembly, str) else None,
            )
            check_whole(path, file)
            if values_in(file):
                return header
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        hint = "give a .h5ad or .zarr written by anndata 0.7 or newer, or a folder of Parquet shards"
        raise InputError(f"{path}: not an AnnData file: {error}", hint) from error
    raise InputError(f"{path}: holds no values, neither X nor a layer", "put raw counts into X")


def checksum(path: Path) -> str:
    """Return sha256 of an h5ad, or of all files of a zarr store."""
    return folder_sha256(path) if path.is_dir() else sha256(path)


def modality_of(names: Sequence[str]) -> str:
    """Return the modality that most of these feature names belong to, `rna` where they say nothing."""
    text = pd.Series(list(names), dtype=object)
    if len(text) and text.str.match(_POSITION).mean() > 0.5:
        return "atac"
    layers = text.str.extract(_LAYER)["layer"]
    return str(layers.mode()[0]) if len(text) and layers.notna().mean() > 0.5 else "rna"


def is_gene_layer(modality: str) -> bool:
    """Return whether the features of a modality are genes under names of their own, such as mCH:ENSG00000181449."""
    return re.match(_LAYER, f"{assay_of(modality)}:x") is not None


def assay_of(modality: str) -> str:
    """Return what a modality measures: `rna` of `rna-GRCm38`, which is the RNA of another species in the same set."""
    return modality.partition("-")[0]


def split_positions(names: pd.Series[str]) -> pd.DataFrame:
    """Return chrom, start and end as text from chrom:start-end, chrom-start-end or chrom_start_end, else missing."""
    return names.str.extract(_POSITION)


def match_features(names: Sequence[str], genes: pa.Table, peaks: pa.Table, assembly: str | None = None) -> FeatureMatch:
    """Find the graph id of each feature.

    A gene is found by Ensembl id, with or without version, else by a symbol that one gene has; where several have
    it, by the only one on a main chromosome (not an alternate locus, not the Y copy of a pseudoautosomal gene).
    A peak is found by its position, whether its chromosome is called chr1 or 1. A layer of a gene (mCH:SOX2) has the
    gene's id after its own name (mCH:ENSG00000181449), which no node has.

    Args:
        names: of the features.
        genes, peaks: nodes of a release or draft, as `kg.evidence.nodes.read_nodes` gives them.
        assembly: look only among the genes and peaks of this one.
    """
    held, many = _gene_names(_of(genes, assembly))
    held |= _peak_names(_of(peaks, assembly))
    layers = pd.Series(list(names), dtype=object).str.extract(_LAYER)
    prefixes = (layers["layer"] + ":").fillna("")
    keys = _keys(layers["gene"].fillna(pd.Series(list(names), dtype=object)))
    ids: list[str | None] = []
    unmapped: list[str] = []
    ambiguous: list[str] = []
    seen: set[str | None] = set()
    for name, key, prefix in zip(names, keys, prefixes, strict=True):
        graph_id = f"{prefix}{held[key]}" if key in held else None
        if graph_id is None:
            (ambiguous if key in many else unmapped).append(name)
        elif graph_id in seen:
            ambiguous.append(name)
        ids.append(None if graph_id in seen else graph_id)
        seen |= {graph_id} - {None}
    return FeatureMatch(tuple(ids), tuple(unmapped), tuple(ambiguous))


def match_names(names: Sequence[str], genes: pa.Table) -> FeatureMatch:
    """Find the gene that each name means, as `match_features` does; several names may mean one gene."""
    held, many = _gene_names(_of(genes, None))
    keys = _keys(names)
    ids = tuple(held.get(key) for key in keys)
    lost = [(name, key) for name, key, graph_id in zip(names, keys, ids, strict=True) if graph_id is None]
    return FeatureMatch(ids, tuple(n for n, key in lost if key not in many), tuple(n for n, key in lost if key in many))


def register(
    store: Store, name: str, path: Path, match: FeatureMatch, *, modality: str, assembly: str | None = None
) -> tuple[CellsFile, str]:
    """Make a file the modality of a named set; gives it and what happened: added, moved, changed or unchanged."""
    header = read_header(path)
    now = CellsFile(
        name=name,
        modality=modality,
        sha256=checksum(path),
        path=str(path.resolve()),
        shape=(header.cells, len(header.features)),
        layers=header.layers,
        assembly=assembly,
        features_sha256=hashlib.sha256("\n".join(header.features).encode()).hexdigest(),
        coverage=match.coverage,
    )
    before = next((c for c in registered(store, name) if c.modality == modality), None)
    store.write(
        "MERGE (c:Cells {id: $id}) SET c += $properties, c.registered_at = datetime()",
        id=f"{name}/{modality}",
        properties={k: list(v) if isinstance(v, tuple) else v for k, v in asdict(now).items()},
    )
    return now, _what_happened(before, now)


def cells(store: Store, name: str) -> list[CellsFile]:
    """Return the files of a named set, by modality.

    Raises:
        NotFound: no such set.
    """
    files = registered(store, name)
    if not files:
        known = [row["name"] for row in store.read("MATCH (c:Cells) RETURN DISTINCT c.name AS name ORDER BY name")]
        listed = f"registered are {', '.join(known)}" if known else "none are registered"
        raise NotFound(f"no cells are called {name!r}", f"{listed}; regkg load cells FILES --name {name}")
    return files


def registered(store: Store, name: str) -> list[CellsFile]:
    """Return the files of a named set, by modality; none where no such set is registered."""
    rows = store.read("MATCH (c:Cells {name: $name}) RETURN c {.*} AS cells ORDER BY c.modality", name=name)
    return [_from_properties(row["cells"]) for row in rows]


def _from_properties(held: dict[str, Any]) -> CellsFile:
    values: dict[str, Any] = {f.name: held.get(f.name) for f in fields(CellsFile)}
    values |= {"shape": tuple(held["shape"]), "layers": tuple(held["layers"])}
    return CellsFile(**values)


def _what_happened(before: CellsFile | None, now: CellsFile) -> str:
    if before is None:
        return "added"
    if before.sha256 != now.sha256:
        return "changed"
    return "unchanged" if before.path == now.path else "moved"


def _length(index: Any) -> int:
    """Return the length of an index, which is an array or, where values may be missing, a group with one."""
    return int((index["values"] if hasattr(index, "keys") else index).shape[0])


def _of(table: pa.Table, assembly: str | None) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame if assembly is None else frame[frame["assembly"] == assembly]


def _keys(names: Iterable[str]) -> list[str]:
    """Return names as they are looked up: positions in one form, Ensembl ids without version, others unchanged."""
    text = pd.Series(list(names), dtype=object)
    parts = split_positions(text)
    positions = _position_keys(parts["chrom"], parts["start"], parts["end"])
    bare = text.str.replace(r"^(ENS[A-Z]*G\d+)\.\d+", r"\1", regex=True)
    return list(positions.where(parts["chrom"].notna(), bare))


def _position_keys(chrom: pd.Series[str], start: pd.Series[Any], end: pd.Series[Any]) -> pd.Series[str]:
    bare = chrom.str.replace(r"^chr", "", case=False, regex=True).replace("MT", "M")
    return bare + ":" + start.astype(str) + "-" + end.astype(str)


def _gene_names(genes: pd.DataFrame) -> tuple[dict[str, str], set[str]]:
    """Return name -> id for all that mean one gene, and the symbols that mean several."""
    main = genes["chrom"].str.match(_MAIN_CHROM) & ~genes["id"].str.endswith("_PAR_Y")
    counts, main_counts = Counter(genes["symbol"]), Counter(genes["symbol"][main])
    only = genes["symbol"].map(counts) == 1
    only |= main & (genes["symbol"].map(main_counts) == 1)
    held = dict(zip(genes["symbol"][only], genes["id"][only], strict=True))
    return held | dict(zip(genes["id"], genes["id"], strict=True)), set(genes["symbol"]) - set(held)


def _peak_names(peaks: pd.DataFrame) -> dict[str, str]:
    return dict(zip(_position_keys(peaks["chrom"], peaks["start"], peaks["end"]), peaks["id"], strict=True))
