"""What happened to the motifs between two versions of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from loaders.motifs.formats import Motif

FEWEST = 4  # positions that two matrices are compared over
_SAME = 1e-6


@dataclass(frozen=True)
class MotifChange:
    """One motif that is not the same in both.

    Attributes:
        change: appeared, vanished, new version (of the same base id), new matrix (under the same id) or renamed.
        base_id: id without version.
        before, after: ids; empty where it is not there.
        name: the new one, or the old one of what vanished.
        length_before, length_after: positions; 0 where it is not there.
        similarity: see `similarity`; None where one is not there.
    """

    change: str
    base_id: str
    before: str
    after: str
    name: str
    length_before: int
    length_after: int
    similarity: float | None


def drift(before: Iterable[Motif], after: Iterable[Motif]) -> list[MotifChange]:
    """Return motifs that changed between two versions of a collection, by base id; equal id and matrix are left out.

    Of several versions of a motif in one collection the latest counts; damaged matrices are left out.
    """
    old, new = _latest(before), _latest(after)
    changes = (_change(old.get(base), new.get(base)) for base in sorted(old.keys() | new.keys()))
    return [change for change in changes if change is not None]


def similarity(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the largest mean correlation of aligned positions, over all offsets and both strands; from -1 to 1.

    Args:
        first, second: (positions, ACGT) counts or probabilities. At least FEWEST positions, or all of the shorter
            matrix, must overlap; positions of the shorter one that do not count as 0.
    """
    a, b = sorted((_standardised(first), _standardised(second)), key=len)
    fewest = min(FEWEST, len(a))
    best = -1.0
    for turned in (a, a[::-1, ::-1]):
        for shift in range(fewest - len(a), len(b) - fewest + 1):
            low, high = max(shift, 0), min(shift + len(a), len(b))
            best = max(best, float((turned[low - shift : high - shift] * b[low:high]).sum() / len(a)))
    return best


def _standardised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of mean 0 and length 1, so that products of rows are correlations; rows of equal values become 0."""
    centred = matrix - matrix.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    rows: NDArray[np.float64] = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    return rows


def _latest(motifs: Iterable[Motif]) -> Mapping[str, Motif]:
    good = [motif for motif in motifs if not motif.fault]
    return {motif.base_id: motif for motif in sorted(good, key=_version)}


def _version(motif: Motif) -> tuple[int, str]:
    version = motif.id.removeprefix(f"{motif.base_id}.")
    return int(version) if version.isdigit() else 0, motif.id


def _change(old: Motif | None, new: Motif | None) -> MotifChange | None:
    kind = _kind(old, new)
    shown = new or old
    if not kind or shown is None:
        return None
    return MotifChange(
        kind,
        shown.base_id,
        old.id if old else "",
        new.id if new else "",
        shown.name,
        len(old.matrix) if old else 0,
        len(new.matrix) if new else 0,
        round(similarity(old.matrix, new.matrix), 4) if old and new else None,
    )


def _kind(old: Motif | None, new: Motif | None) -> str:
    if old is None or new is None:
        return "appeared" if old is None else "vanished"
    if old.id != new.id:
        return "new version"
    if old.matrix.shape != new.matrix.shape or not np.allclose(old.matrix, new.matrix, rtol=0, atol=_SAME):
        return "new matrix"
    return "" if old.name == new.name else "renamed"
