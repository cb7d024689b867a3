"""Weights of an earlier run as the start of a new one, even if features came and went between their releases.

What a model learned about a feature follows its id. A new feature starts as the mean of its neighbours in the guidance
graph, weighted and signed as edges are, with the likelihood parameters of the average feature of its modality.
Everything that reads cells is taken over unchanged where the cells are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kg.errors import MissingInput
from kg.runs.predictions import run_folder
from models.training import checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from kg.runs import Run
    from models.contract import Inputs
    from models.zoo.glue.minibatch import TrainingData

    Places = NDArray[np.intp]

VERTICES = "graph.vertices"  # (V, m); the features of a modality follow each other
DECODERS = "decoders."  # .k.*: (batches, features of modality k)


@dataclass(frozen=True)
class Start:
    """The weights of an earlier run.

    Attributes:
        run: its id.
        features: modality -> ids of its features, both in the order of the weights.
        members: weights of each member, by name.
        same_cells: whether the new run reads the same cells, so that encoders can be taken over.
    """

    run: str
    features: Mapping[str, NDArray[np.str_]]
    members: Sequence[Mapping[str, Tensor]]
    same_cells: bool

    @torch.no_grad()
    def carry(self, module: nn.Module, data: TrainingData, member: int) -> bool:
        """Copy a member's weights into a fresh module; return whether only new features are left without weights."""
        member_weights = self.members[member]
        new = module.state_dict()
        is_complete = self.same_cells
        for name, tensor in new.items():
            if name == VERTICES:
                _carry_vertices(tensor, member_weights[name], self._places(data), data)
            elif name.startswith(DECODERS):
                is_complete &= self._carry_decoder(name, tensor, member_weights, data)
            elif name in member_weights and member_weights[name].shape == tensor.shape:
                if self.same_cells or name.startswith("graph."):
                    tensor.copy_(member_weights[name])
            else:
                is_complete = False
        module.load_state_dict(new)
        return is_complete

    def _places(self, data: TrainingData) -> Places:
        """Return (V,) row of each vertex in the weights; -1 where it is new."""
        return _places(np.concatenate(list(self.features.values())), data.vertices)

    def _carry_decoder(self, name: str, new: Tensor, theirs: Mapping[str, Tensor], data: TrainingData) -> bool:
        _, k, parameter = name.split(".", 2)
        modality = data.names[int(k)]
        if modality not in self.features:
            return False
        old = theirs.get(f"{DECODERS}{list(self.features).index(modality)}.{parameter}")
        if old is None or old.shape[0] != new.shape[0]:  # another likelihood has other parameters
            return False
        at = torch.from_numpy(_places(self.features[modality], data.cells[modality].features)).to(new.device)
        old = old.to(new.device)
        new.copy_(torch.where(at >= 0, old[:, at.clamp_min(0)], old.mean(1, keepdim=True)))
        return True


def start_of(home: Path, run: Run, inputs: Inputs, *, same_cells: bool) -> Start:
    """Read the weights of a complete run for a training on these inputs; errors as in `read_start`."""
    return read_start(home, run.id, run.members, list(inputs.cells.modalities), same_cells=same_cells)


def read_start(home: Path, run_id: str, members: int, modalities: Sequence[str], *, same_cells: bool) -> Start:
    """Read the weights that a complete run left in its folder.

    Args:
        home: REGKG_HOME.
        run_id: of the earlier run.
        members: number of its ensemble members.
        modalities: in the order of its weights.
        same_cells: see `Start`.

    Raises:
        MissingInput: the folder is missing or incomplete.
        CheckpointRefused: the weights are damaged.
    """
    folder = run_folder(home, run_id)
    paths = [folder / "checkpoints" / f"member-{member}-second" for member in range(members)]
    files = {name: folder / f"{name}.h5ad" for name in modalities}
    missing = [p for p in files.values() if not p.exists()] + [p for p in paths if not checkpoint.exists(p)]
    if missing:
        raise MissingInput(
            f"{missing[0]} does not exist, so the weights of {run_id} are incomplete", "train without them"
        )
    features = {name: anndata.read_h5ad(path).var_names.to_numpy(dtype=np.str_) for name, path in files.items()}
    weights = [_module(checkpoint.load(path, {})[0]) for path in paths]
    expected = sum(map(len, features.values()))
    if any(VERTICES not in w or len(w[VERTICES]) != expected for w in weights):
        raise MissingInput(f"the weights in {folder} do not match its {expected:,} features", "train without them")
    return Start(run_id, features, weights, same_cells)


def _module(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("module/"): t for name, t in tensors.items() if name.startswith("module/")}


def _places(old: NDArray[np.str_], new: NDArray[np.str_]) -> Places:
    found: Places = pd.Index(old).get_indexer(pd.Index(new))
    return found


def _carry_vertices(new: Tensor, old: Tensor, at: Places, data: TrainingData) -> None:
    known = torch.from_numpy(at >= 0).to(new.device)
    new.zero_()
    new[known] = old.to(new.device)[torch.from_numpy(at[at >= 0]).to(new.device)]
    edges = data.edges
    used = (at[edges.target] < 0) & (at[edges.source] >= 0)  # loops of new vertices drop out by themselves
    if not used.any():
        return
    source, target = (torch.from_numpy(ends[used]).to(new.device) for ends in (edges.source, edges.target))
    weight = torch.from_numpy(edges.weight[used]).to(new)
    signed = torch.from_numpy(edges.weight[used] * edges.sign[used]).to(new)
    total = torch.zeros(len(new), dtype=new.dtype, device=new.device).index_add_(0, target, weight)
    summed = torch.zeros_like(new).index_add_(0, target, signed[:, None] * new[source])
    reached = ~known & (total > 0)
    new[reached] = summed[reached] / total[reached, None]
