"""Checkpoints: safetensors for arrays, JSON for the rest; nothing in them can run code.

`NAME.json` is the commit point: it names a tensor file and that file's sha256, and is renamed into place
last, so a kill at any moment leaves the old checkpoint or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensor_bytes

from kg.errors import CheckpointRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

FORMAT = 1


def save(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write `path`.json and its tensor file, then drop the tensor file it replaces.

    Args:
        path: without suffix; its folder is created if missing.
        tensors: contiguous, no two sharing memory.
        meta: JSON values.
        identity: what must be the same when the checkpoint is loaded: model, configuration, data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    blob = tensor_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(blob).hexdigest()
    name = f"{path.name}-{digest[:16]}.safetensors"
    _write(path.with_name(name), blob)
    document = {"format": FORMAT, "tensors": name, "sha256": digest, "identity": dict(identity), "meta": dict(meta)}
    _write(path.with_name(f"{path.name}.json"), json.dumps(document).encode())
    for old in path.parent.glob(f"{path.name}-{'?' * 16}.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and meta of a checkpoint.

    Raises:
        CheckpointRefused: missing, damaged, pickled, of another format, or of another identity.
    """
    document = _document(path)
    differences = [
        f"{key} is {document['identity'].get(key)!r}, expected {value!r}"
        for key, value in identity.items()
        if document["identity"].get(key) != value
    ]
    if differences:
        raise CheckpointRefused(
            f"{path}: written by another run: {'; '.join(differences)}",
            "choose an empty folder, or the settings it was written with",
        )
    file = path.with_name(document["tensors"])
    try:
        blob = file.read_bytes()
        if hashlib.sha256(blob).hexdigest() != document["sha256"]:
            raise CheckpointRefused(
                f"{file}: the bytes differ from those that were written", "remove the folder; train again"
            )
        return load_tensors(blob), document["meta"]
    except (OSError, SafetensorError) as error:
        raise CheckpointRefused(
            f"{file}: not readable as safetensors: {error}", "remove the folder; train again"
        ) from error


def exists(path: Path) -> bool:
    """Return whether a checkpoint was committed at `path` (without suffix)."""
    return path.with_name(f"{path.name}.json").exists()


def _document(path: Path) -> dict[str, Any]:
    file = path.with_name(f"{path.name}.json")
    try:
        document: dict[str, Any] = json.loads(file.read_bytes())
        if document["format"] != FORMAT or not {"tensors", "sha256", "identity", "meta"} <= document.keys():
            raise CheckpointRefused(f"{file}: format {document['format']!r}, expected {FORMAT}", "train again")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointRefused(
            f"{file}: not a checkpoint of this program: {error!r}", "remove it; train again"
        ) from error
    if "/" in document["tensors"]:
        raise CheckpointRefused(f"{file}: names a tensor file outside its folder", "remove it; train again")
    return document


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
