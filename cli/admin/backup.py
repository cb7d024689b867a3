"""`regkg backup`: the graph and its runs into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from cli.main import interrupt_message
from cli.output import emit, json_option, note, progress
from kg.settings import Settings


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--logical", is_flag=True, help="Read releases and complete runs as Parquet, while the graph is in use.")
@json_option
def command(folder: Path, *, logical: bool, as_json: bool) -> None:
    """Back up the graph and the files of its runs into FOLDER, which is empty or not there.

    The managed server is stopped while its store is dumped, and started again if it ran; it is refused while somebody
    loads or trains. With --logical nothing stops, also where REGKG_NEO4J_URI names the graph; the draft and runs under
    way are left out. Files of cells stay where they are: the graph knows their paths and checksums.
    """
    from kg.operations.backup import back_up, back_up_rows  # noqa: PLC0415 - `--help` needs no driver

    interrupt_message(f"{folder} is not a backup: run `regkg backup` into it again to start over")
    with progress(as_json=as_json) as report:
        manifest = (back_up_rows if logical else back_up)(Settings.from_environment(), folder, report)
    shown = {
        "backup": str(folder),
        "kind": manifest.kind,
        "releases": len(manifest.releases),
        "runs": len(manifest.runs),
        "files": len(manifest.files),
        "bytes": manifest.bytes,
        "left_out": list(manifest.left_out),
    }
    emit(shown if as_json else {k: v for k, v in shown.items() if k != "left_out"}, as_json=as_json)
    if not as_json:
        for left in manifest.left_out:
            note(f"left out: {left}")
