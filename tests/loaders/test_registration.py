"""Names of modalities where a set of cells holds more than one species; no database."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.cells import CellsFile, FeatureMatch
from kg.errors import InputError, SettingsError
from loaders.cells.registration import _CheckedFile, _name_modalities, _one_for_each

HUMAN, MOUSE, MACAQUE = "GRCh38", "GRCm38", "Mmul_10"


def checked(name: str, assembly: str | None, assay: str = "rna") -> _CheckedFile:
    return _CheckedFile(Path(name), assay, assembly, FeatureMatch((), (), ()))


def held(modality: str, assembly: str | None) -> CellsFile:
    return CellsFile("set", modality, "", "", (1, 1), (), assembly, "", 1.0)


BOTH = [held("rna", HUMAN), held("rna-GRCm38", MOUSE)]


@pytest.mark.parametrize(
    ("files", "before", "modalities"),
    [
        ([checked("h", HUMAN), checked("m", MOUSE), checked("a", None, "atac")], [], ["rna", "rna-GRCm38", "atac"]),
        ([checked("m", MOUSE), checked("h", HUMAN)], BOTH, ["rna-GRCm38", "rna"]),
        ([checked("m", MOUSE)], BOTH, ["rna-GRCm38"]),
        ([checked("q", MACAQUE)], BOTH, ["rna-Mmul_10"]),
        ([checked("m", MOUSE)], [held("rna", HUMAN)], ["rna"]),
        ([checked("h", HUMAN), checked("m", MOUSE)], [held("rna", None)], ["rna", "rna-GRCm38"]),
        ([checked("x", None)], [held("rna", None)], ["rna"]),
    ],
)
def test_a_species_keeps_its_modality(
    files: list[_CheckedFile], before: list[CellsFile], modalities: list[str]
) -> None:
    assert _name_modalities("set", files, before) == modalities


@pytest.mark.parametrize(
    ("files", "before", "words"),
    [
        ([checked("a", None), checked("b", MOUSE)], [], "two of the files .* are rna, of which a states no assembly"),
        ([checked("a", "GRCh37"), checked("b", HUMAN)], [], r"are rna of one species: a \(GRCh37\) and b \(GRCh38\)"),
        ([checked("a", None)], BOTH, r"hold rna \(GRCh38\), rna-GRCm38 \(GRCm38\), and the assembly of a is not known"),
    ],
)
def test_files_that_are_not_of_two_species_are_refused(
    files: list[_CheckedFile], before: list[CellsFile], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        _name_modalities("set", files, before)


def test_an_assembly_is_given_for_all_files_or_for_each() -> None:
    assert list(_one_for_each((), 2)) == [None, None]
    assert list(_one_for_each((HUMAN,), 2)) == [HUMAN, HUMAN]
    assert list(_one_for_each((HUMAN, MOUSE), 2)) == [HUMAN, MOUSE]
    with pytest.raises(SettingsError, match="--assembly is given 3 times for 2 files"):
        _one_for_each((HUMAN, MOUSE, MACAQUE), 2)
