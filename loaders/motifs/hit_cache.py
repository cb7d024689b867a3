"""Scans that need not be done again: hits of one motif in one set of sequences, kept as files."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from kg.files import replaced
from loaders.motifs.scan import MotifHits

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.motifs.scan import Text

SCAN = 1  # raise it when equal sequences and motifs would give other hits
_COLUMNS = ("position", "minus", "score")


@dataclass(frozen=True)
class HitCache:
    """Hits by digest of the matrix, in a folder for sequences, threshold, background and pseudocount.

    Attributes:
        folder: of these; None keeps nothing.
    """

    folder: Path | None

    @classmethod
    def of(cls, root: Path | None, text: Text, p_value: float, gc: float, pseudocount: float) -> HitCache:
        """Return the folder below `root` for a scan of this text."""
        digest = sha256(text.codes.tobytes())
        digest.update(repr((SCAN, p_value, gc, pseudocount)).encode())
        return cls(root / "hits" / digest.hexdigest() if root else None)

    def get(self, matrix: str) -> MotifHits | None:
        """Return the hits of a motif, by the digest of its matrix; None where they are not known."""
        path = self.folder / f"{matrix}.npz" if self.folder else None
        if path is None or not path.is_file():
            return None
        with np.load(path) as kept:
            return MotifHits(*(kept[name] for name in _COLUMNS))

    def put(self, matrix: str, hits: MotifHits) -> None:
        """Keep the hits of a motif."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with replaced(self.folder / f"{matrix}.npz") as path, path.open("wb") as file:
            np.savez(file, **hits._asdict())
