"""`regkg motifs`: JASPAR as a file, and what changed between two versions of a collection."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loaders.motifs.formats import Motif

TAXA = click.option(
    "--tax-group",
    "tax_groups",
    multiple=True,
    help="Taxonomic group of JASPAR, such as vertebrates; may be given several times.",
)


@click.group()
def group() -> None:
    """Write JASPAR to a file, or compare two versions of a motif collection."""


@group.command()
@click.argument("release")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@TAXA
@click.option("--collection", default="CORE", show_default=True, help="CORE or UNVALIDATED.")
@json_option
def jaspar(release: str, out: Path, *, tax_groups: Sequence[str], collection: str, as_json: bool) -> None:
    """Write RELEASE of JASPAR, such as JASPAR2024, to OUT, and its factors and families to OUT.factors.tsv.

    Load both with `regkg load motifs OUT --factors OUT.factors.tsv --collection RELEASE`. The data are under CC BY 4.0.
    """
    import pandas as pd  # noqa: PLC0415 - `--help` need not import it

    from kg.files import replaced  # noqa: PLC0415
    from loaders.motifs.jaspar import read_release, to_jaspar  # noqa: PLC0415

    motifs, factors = read_release(release, tax_groups, collection)
    table = out.with_name(f"{out.name}.factors.tsv")
    for path, text in ((out, to_jaspar(motifs)), (table, pd.DataFrame(factors).to_csv(sep="\t", index=False))):
        with replaced(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    emit({"release": release, "motifs": len(motifs), "file": str(out), "factors": str(table)}, as_json=as_json)


@group.command()
@click.argument("before")
@click.argument("after")
@TAXA
@json_option
def drift(before: str, after: str, *, tax_groups: Sequence[str], as_json: bool) -> None:
    """List the motifs that appeared, vanished or changed from BEFORE to AFTER: files, or releases of JASPAR."""
    from loaders.motifs.drift import drift as changes_between  # noqa: PLC0415 - `--help` need not import NumPy

    changes = changes_between(_collection(before, tax_groups), _collection(after, tax_groups))
    if as_json:
        emit({"before": before, "after": after, "changes": changes}, as_json=True)
        return
    if changes:
        emit(changes, as_json=False)
    kinds = [change.change for change in changes]
    counts = (f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    click.echo(", ".join(counts) or "no motif changed")


def _collection(named: str, tax_groups: Sequence[str]) -> Sequence[Motif]:
    from loaders.motifs.formats import read_motifs  # noqa: PLC0415
    from loaders.motifs.jaspar import read_release  # noqa: PLC0415
    from loaders.tables.files import check_file  # noqa: PLC0415

    if Path(named).is_file():
        return read_motifs(check_file(Path(named)), Counter())
    return read_release(named, tax_groups)[0]
