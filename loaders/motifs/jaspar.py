"""JASPAR without the internet: the releases that PyPI's `pyjaspar` brings (extra `motifs`; data under CC BY 4.0)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from kg.errors import NotFound
from loaders.motifs.formats import BASES, Motif

if TYPE_CHECKING:
    from collections.abc import Sequence


def releases() -> list[str]:
    """Return names of the releases that are there, the latest first."""
    from pyjaspar import jaspar_releases  # noqa: PLC0415 - an extra, and it imports Biopython

    return list(jaspar_releases)


def read_release(
    release: str, tax_groups: Sequence[str] = (), collection: str = "CORE"
) -> tuple[list[Motif], list[dict[str, str]]]:
    """Return the latest version of every motif of a release, by id, and rows of a table of their factors.

    Args:
        release: such as JASPAR2024.
        tax_groups: such as vertebrates; all of them when there are none.
        collection: of JASPAR.

    Returns:
        Motifs with counts, and one row a motif and factor: motif, factor, evidence (the kind of experiment), family.

    Raises:
        NotFound: no such release, or it has no such motif.
    """
    from pyjaspar import jaspardb  # noqa: PLC0415 - as above

    if release not in releases():
        raise NotFound(f"no release {release!r} of JASPAR is here", f"there are {', '.join(releases())}")
    database = jaspardb(release=release)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of finding nothing, which is an error here
            # a word that is not plain is in no release, and would end up inside a query
            plain = all(word.isidentifier() for word in (*tax_groups, collection))
            records = database.fetch_motifs(collection=collection, tax_group=list(tax_groups) or None) if plain else []
    finally:
        database.conn.close()
    if not records:
        raise NotFound(
            f"{release} has no motif of {collection} for {', '.join(tax_groups) or 'any taxa'}",
            "taxa are vertebrates, plants, insects, nematodes, fungi, urochordates; collections CORE, UNVALIDATED",
        )
    records = sorted(records, key=lambda record: str(record.matrix_id))
    motifs = [
        Motif(
            0, str(record.matrix_id), str(record.name), np.array([record.counts[base] for base in BASES], dtype=float).T
        )
        for record in records
    ]
    return motifs, [row for record in records for row in _factors(record)]


def to_jaspar(motifs: Sequence[Motif]) -> str:
    """Return text of a .jaspar file."""
    return "".join(
        f">{motif.id}\t{motif.name}\n"
        + "".join(
            f"{base} [ {' '.join(repr(float(x)).removesuffix('.0') for x in row)} ]\n"
            for base, row in zip(BASES, motif.matrix.T, strict=True)
        )
        for motif in motifs
    )


def _factors(record: object) -> list[dict[str, str]]:
    """Return a row for each factor; JASPAR writes a family for each part of a dimer, or one for all."""
    names = str(getattr(record, "name", "")).split("(")[0].split("::")
    families = [str(family) for family in getattr(record, "tf_family", None) or [""]]
    evidence = str(getattr(record, "data_type", None) or "")
    return [
        {
            "motif": str(getattr(record, "matrix_id", "")),
            "factor": name.strip(),
            "evidence": evidence,
            "family": families[i] if len(families) == len(names) else families[0],
        }
        for i, name in enumerate(names)
    ]
