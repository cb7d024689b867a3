"""Guidance graphs in the form of PyTorch Geometric."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kg.errors import ChecksumMismatch, InputError, MissingInput, SchemaError
from kg.files import replaced
from kg.guidance import GuidanceGraph
from kg.guidance.snapshot import AGAIN, GuidanceManifest, check_fit, header_of, manifest_of, read_header

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it scripts functions on import, which new torch deprecates
    from torch_geometric.data import HeteroData

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kg.guidance.policy import Policy

_HEADER = "regkg"
_EDGE = ("edge_index", "edge_weight", "edge_sign")


def hetero_data(graph: GuidanceGraph) -> HeteroData:
    """Return the guidance graph with one node type per kind and one edge type per pair of kinds.

    Nodes carry `name` (ids) and edges `edge_index`, `edge_weight`, `edge_sign`; direction as in the graph,
    without reversed copies or loops (`torch_geometric.transforms.ToUndirected` adds the former). `manifest`
    (`kg.guidance.snapshot.GuidanceManifest`) identifies the graph.
    """
    data = HeteroData(manifest=manifest_of(graph))
    within = np.zeros(len(graph.vertices), np.int64)
    for kind in np.unique(graph.kinds):
        members = np.flatnonzero(graph.kinds == kind)
        within[members] = np.arange(len(members))
        data[str(kind)].name = graph.vertices[members].tolist()
        data[str(kind)].num_nodes = len(members)
    ends = np.stack([graph.kinds[graph.source], graph.kinds[graph.target]], axis=1)
    for head, tail in np.unique(ends, axis=0):
        chosen = np.flatnonzero((ends == (head, tail)).all(1))
        store = data[str(head), "guides", str(tail)]
        store.edge_index = torch.from_numpy(np.stack([within[graph.source[chosen]], within[graph.target[chosen]]]))
        store.edge_weight = torch.from_numpy(graph.weight[chosen])
        store.edge_sign = torch.from_numpy(graph.sign[chosen])
    return data


def guidance_of(data: HeteroData) -> GuidanceGraph:
    """Return the guidance graph from which `hetero_data` made this; edges in the order of the edge types.

    Raises:
        SchemaError: this is not a guidance graph.
    """
    names = [np.array(data[kind].name, np.str_) for kind in data.node_types]
    ids, sizes = np.concatenate(names or [np.array([], np.str_)]), [len(ids_of_kind) for ids_of_kind in names]
    first = dict(zip(data.node_types, np.cumsum([0, *sizes]).tolist(), strict=False))
    order = np.argsort(ids)
    row = np.empty(len(ids), np.int64)
    row[order] = np.arange(len(ids))
    parts: list[list[NDArray[Any]]] = [[np.zeros(0, kind) for kind in (np.int64, np.int64, np.float32, np.int8)]]
    for (head, _, tail), store in zip(data.edge_types, data.edge_stores, strict=True):
        source, target = store.edge_index.cpu().numpy()
        ends = [row[first[head] + source], row[first[tail] + target]]
        parts.append([*ends, store.edge_weight.cpu().numpy(), store.edge_sign.cpu().numpy()])
    kinds = np.repeat(np.array(data.node_types, np.str_), sizes)
    source, target, weight, sign = (np.concatenate(column) for column in zip(*parts, strict=True))
    manifest: GuidanceManifest = data.manifest
    return manifest.stamp(GuidanceGraph(ids[order], kinds[order], source, target, weight, sign))


def save_pyg(data: HeteroData, path: Path) -> None:
    """Write what `hetero_data` made as one safetensors file, whole or not at all; nothing in it can run code.

    Tensors are `Gene/name` (ids as UTF-8, one per line) and `Peak/guides/Gene/edge_index`, .../edge_weight and
    .../edge_sign; the manifest is JSON in the file's metadata. Anything else in `data` is not written.

    Raises:
        ChecksumMismatch: the data no longer matches its manifest, for example after `ToUndirected`.
    """
    _check(path, data)
    tensors = {f"{kind}/name": _text(data[kind].name) for kind in data.node_types}
    for edge_type, store in zip(data.edge_types, data.edge_stores, strict=True):
        tensors |= {"/".join([*edge_type, name]): store[name].cpu().contiguous() for name in _EDGE}
    with replaced(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER: header_of(data.manifest)})


def load_pyg(path: Path, policy: Mapping[str, Policy] | None = None) -> HeteroData:
    """Read what `save_pyg` wrote.

    Args:
        path: of the file.
        policy: the policy that the graph's weights must come from, type by type; None accepts any.

    Raises:
        MissingInput: there is no such file.
        ChecksumMismatch: its tensors do not match its manifest.
        InputError: it is not such a file, has another version, or was weighted by another policy.
    """
    if not path.exists():
        raise MissingInput(f"{path}: no such file", AGAIN)
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER, "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a safetensors file: {error}", AGAIN) from error
    data = HeteroData(manifest=read_header(path, header))
    with _refusing(path):
        for name in sorted(tensors):
            *owner, column = name.split("/")
            if column == "name":
                data[owner[0]].name = bytes(tensors[name].numpy()).decode().split("\n")
                data[owner[0]].num_nodes = len(data[owner[0]].name)
            else:
                data[tuple(owner)][column] = tensors[name]
    _check(path, data, policy)
    return data


def _check(path: Path, data: HeteroData, policy: Mapping[str, Policy] | None = None) -> None:
    with _refusing(path):
        graph = guidance_of(data)
    check_fit(path, graph, data.manifest, policy)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except (SchemaError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ChecksumMismatch(f"{path}: its tensors are not a guidance graph: {error}", AGAIN) from error


def _text(ids: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.frombuffer("\n".join(ids).encode(), np.uint8).copy())
