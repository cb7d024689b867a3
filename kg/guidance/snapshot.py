"""Guidance graphs as files that say what they are, and that are refused when they are something else.

An HDF5 file holds `vertices/id`, `vertices/kind` (UTF-8), `edges/source`, `edges/target`, `edges/weight`, `edges/sign`
as `GuidanceGraph` has them, and the text `header`: JSON with the format and the manifest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import h5py
import numpy as np

from kg.errors import ChecksumMismatch, InputError, MissingInput, SchemaError, SettingsError
from kg.files import replaced
from kg.guidance.graph import GuidanceGraph
from kg.guidance.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "regkg guidance 1"
_VERTICES, _EDGES = ("id", "kind"), ("source", "target", "weight", "sign")
_MEASURED = ("vertices", "edges", "ids", "guidance_hash")
AGAIN = "export it again: `regkg export graph`"


@dataclass(frozen=True)
class GuidanceManifest:
    """What a guidance graph is, where it comes from and by which policy.

    Attributes:
        release, release_hash: that it was read from.
        datasets: dataset id -> hash of its rows at that release.
        policy: edge type -> rules of weight and sign, for the types that were read.
        genes, hops: ids that it was cut around and how far; none and None for the whole graph.
        guidance_hash: `GuidanceGraph.hash`, over ids, edges, weights and signs.
        ids: kind of vertex -> sha256 over the sorted ids, one a line.
        vertices, edges: how many.
        regkg: version of the program that wrote it.
    """

    release: int
    release_hash: str
    datasets: Mapping[str, str]
    policy: Mapping[str, Policy]
    genes: tuple[str, ...]
    hops: int | None
    guidance_hash: str
    ids: Mapping[str, str]
    vertices: int
    edges: int
    regkg: str

    def stamp(self, graph: GuidanceGraph) -> GuidanceGraph:
        """Return the graph with all that this says of where it comes from."""
        names = ("release", "release_hash", "datasets", "policy", "genes", "hops")
        return replace(graph, **{name: getattr(self, name) for name in names})


def manifest_of(graph: GuidanceGraph) -> GuidanceManifest:
    """Describe a graph in a manifest."""
    ids = {str(kind): graph.vertices[graph.kinds == kind] for kind in np.unique(graph.kinds)}
    return GuidanceManifest(
        release=graph.release,
        release_hash=graph.release_hash,
        datasets=dict(graph.datasets),
        policy=dict(graph.policy),
        genes=graph.genes,
        hops=graph.hops,
        guidance_hash=graph.hash,
        ids={kind: hashlib.sha256("\n".join(names.tolist()).encode()).hexdigest() for kind, names in ids.items()},
        vertices=len(graph.vertices),
        edges=len(graph.source),
        regkg=version("regkg"),
    )


def write_snapshot(graph: GuidanceGraph, path: Path) -> GuidanceManifest:
    """Write an HDF5 file, whole or not at all; equal graphs give equal bytes."""
    manifest = manifest_of(graph)
    columns = {
        "vertices/id": np.char.encode(graph.vertices, "utf-8"),
        "vertices/kind": np.char.encode(graph.kinds, "utf-8"),
        **{f"edges/{name}": getattr(graph, name) for name in _EDGES},
    }
    with replaced(path) as temporary, h5py.File(temporary, "w") as file:
        file["header"] = header_of(manifest)
        for name, column in columns.items():
            file.create_dataset(name, data=column, compression="gzip" if len(column) else None)
    return manifest


def read_snapshot(path: Path, policy: Mapping[str, Policy] | None = None) -> tuple[GuidanceGraph, GuidanceManifest]:
    """Read the graph of an HDF5 file, and its manifest.

    Args:
        path: of the file.
        policy: by which it must have been weighed, type by type; None takes any.

    Raises:
        MissingInput: there is no such file.
        ChecksumMismatch: its arrays do not match its manifest.
        InputError: it is not such a file, is of another version, or was weighed by another policy.
    """
    if not path.exists():
        raise MissingInput(f"{path}: no such file", AGAIN)
    try:
        with h5py.File(path) as file:
            header = file["header"].asstr()[()]
            vertices, kinds = (np.char.decode(file[f"vertices/{name}"][()], "utf-8") for name in _VERTICES)
            edges = [file[f"edges/{name}"][()] for name in _EDGES]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a snapshot of a guidance graph: {error}", AGAIN) from error
    manifest = read_header(path, header)
    try:
        graph = manifest.stamp(GuidanceGraph(vertices, kinds, *edges))
    except SchemaError as error:
        raise ChecksumMismatch(f"{path}: {error.message}", AGAIN) from error
    check_fit(path, graph, manifest, policy)
    return graph, manifest


def header_of(manifest: GuidanceManifest) -> str:
    """Return format and manifest as JSON."""
    return json.dumps({"format": FORMAT, "manifest": asdict(manifest)}, sort_keys=True)


def read_header(path: Path, text: str) -> GuidanceManifest:
    """Read the manifest in a header.

    Raises:
        InputError: it is not one, or is of another version.
    """
    try:
        header = json.loads(text)
        if header["format"] != FORMAT:
            raise InputError(f"{path}: its format is {header['format']!r}, expected {FORMAT!r}", AGAIN)
        about = header["manifest"]
        policy = {name: Policy(**rules) for name, rules in about["policy"].items()}
        return GuidanceManifest(**{**about, "policy": policy, "genes": tuple(about["genes"])})
    except (ValueError, KeyError, TypeError, AttributeError, SettingsError) as error:
        raise InputError(f"{path}: its header has no manifest of a guidance graph: {error!r}", AGAIN) from error


def check_fit(
    path: Path, graph: GuidanceGraph, manifest: GuidanceManifest, policy: Mapping[str, Policy] | None = None
) -> None:
    """Refuse a graph that its manifest does not describe, or that was weighed by another policy than `policy`.

    Raises:
        ChecksumMismatch: ids, edges, weights or signs are not those of the manifest.
        InputError: a type was weighted by another policy.
    """
    actual = asdict(manifest_of(graph))
    expected = asdict(manifest)
    wrong = [
        f"{name} {actual[name]}, expected {expected[name]}" for name in _MEASURED if actual[name] != expected[name]
    ]
    if wrong:
        raise ChecksumMismatch(f"{path}: its arrays do not match its manifest: {'; '.join(wrong)}", AGAIN)
    if policy is None:
        return
    other = [f"{n} by {rule}, expected {policy.get(n)}" for n, rule in manifest.policy.items() if rule != policy.get(n)]
    if other:
        raise InputError(f"{path} was weighted by another policy: {'; '.join(other)}", f"{AGAIN} --policy FILE.toml")
