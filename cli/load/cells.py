"""`regkg cells`: preparing files of cells before they are registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.output import emit, json_option, progress

FILE = click.Path(path_type=Path)


@click.group()
def group() -> None:
    """Prepare files of cells; `regkg load cells` registers them."""


@group.command("count-fragments")
@click.argument("fragments", type=FILE)
@click.option("--peaks", required=True, type=FILE, help="BED of the peaks, plain or gzipped.")
@click.option("--out", required=True, type=FILE, help="The .h5ad to write; it appears complete or not at all.")
@click.option("--assembly", "of", required=True, help="Assembly of both files: GRCh38 (hg38), GRCm38 (mm10), ...")
@click.option(
    "--count",
    "how",
    type=click.Choice(["fragments", "cut-sites"]),
    default="fragments",
    show_default=True,
    help="Fragments count once in each peak that they overlap; cut sites count each end in the peak that it lies in.",
)
@click.option("--barcodes", type=FILE, help="Cells to keep, one barcode on each line; default: all.")
@click.option(
    "--min-fragments",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Leave out cells with fewer fragments in the file.",
)
@json_option
def count_fragments(*, as_json: bool, **options: Any) -> None:
    """Count ATAC FRAGMENTS (10x fragments.tsv.gz) in peaks: an AnnData of cells x peaks."""
    from loaders.cells import fragments  # noqa: PLC0415 - `--help` need not import anndata

    with progress(as_json=as_json) as reporter:
        emit(fragments.count_fragments(options.pop("fragments"), **options, progress=reporter), as_json=as_json)
