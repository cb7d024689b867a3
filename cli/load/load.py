"""`regkg load`: one command for each source, made from what the source declares; and `regkg load cells`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.main import interrupt_message
from cli.options import options_for
from cli.output import emit, json_option, progress
from loaders import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loaders.cells.registration import Registered
    from loaders.load import LoadReport
    from loaders.registry import Loader

FILE = click.Path(path_type=Path)
COUNTS = ("added", "changed", "removed", "unchanged", "quarantined", "folded", "filtered")
SHOWN = 20
WARNINGS = 3  # of a dataset of a manifest


class Sources(click.Group):
    """A group whose commands are the sources, found by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every source, then cells."""
        return [*registry.names(), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a source, made from its declaration."""
        if cmd_name in registry.names():
            return command_for(registry.find(cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(cls=Sources, invoke_without_command=True)
@click.option(
    "--manifest", type=FILE, help="Load every dataset of this TOML file, in the order in which they need each other."
)
@click.option("--plan", is_flag=True, help="With --manifest: write nothing; only count what would change.")
@click.option(
    "--bulk", is_flag=True, help="With --manifest: a first build of an empty managed graph, by Neo4j's importer."
)
@json_option
@click.pass_context
def group(ctx: click.Context, manifest: Path | None, *, plan: bool, bulk: bool, as_json: bool) -> None:
    """Load evidence from files into the draft; the files of one command are the whole dataset.

    A manifest is a TOML file with one [[load]] for each dataset: source, files, and whatever else its command takes
    (dataset, assembly, biosample, licence, citation, part, replace, accept_rejects), and a table of options.
    Keys before the first [[load]] apply to all. Files that were loaded before are not read again, so the same
    command goes on where an earlier one stopped.
    """
    if ctx.invoked_subcommand is not None:
        if manifest or plan or bulk or as_json:
            raise click.UsageError("options of one source come after its name")
        return
    if manifest is None:
        click.echo(ctx.get_help())
        return
    if bulk and plan:
        raise click.UsageError("--bulk takes no --plan: everything would be added")
    load_manifest(manifest, plan=plan, bulk=bulk, as_json=as_json)


def load_manifest(manifest: Path, *, plan: bool, bulk: bool, as_json: bool) -> None:
    """Load all datasets of a manifest; report each as it ends, then show a table."""
    from cli.session import graph  # noqa: PLC0415 - `--help` need not import the driver
    from kg.settings import Settings  # noqa: PLC0415
    from loaders.manifest import build_all, load_all, prepare_all, read_manifest  # noqa: PLC0415

    prepared = prepare_all(read_manifest(manifest), plan=plan)
    if bulk:
        interrupt_message(
            "the graph is empty, as it was, unless it says that it was imported: run the same command again"
        )
        settings = Settings.from_environment()
        with progress(as_json=as_json) as report:
            reports = build_all(settings, prepared, report)
    else:
        interrupt_message("datasets up to here are loaded: run the same command again to go on")
        with graph(as_json=as_json) as (store, settings, report):
            reports = load_all(store, settings.home, prepared, report)
    emit(reports if as_json else [_line(loaded) for loaded in reports], as_json=as_json)
    if not as_json:
        for loaded in reports:
            for warning in loaded.warnings[:WARNINGS]:
                click.echo(f"warning: {loaded.dataset}: {warning}")
            if len(loaded.warnings) > WARNINGS:
                click.echo(f"warning: {loaded.dataset}: {len(loaded.warnings) - WARNINGS} more, see --json")


def _line(report: LoadReport) -> dict[str, Any]:
    """Return a row of the table of a manifest."""
    return {
        "dataset": report.dataset,
        "read": report.rows_read,
        **{name: getattr(report, name) for name in COUNTS},
        "why quarantined": ", ".join(f"{count:,} {rule.lower()}" for rule, count in report.reasons.items()),
        "seconds": round(report.seconds, 1),
        "rows/s": round(report.rows_read / report.seconds) if report.seconds and report.rows_read else "",
    }


def command_for(loader: Loader) -> click.Command:
    """Make the command of a source."""

    def run(*, as_json: bool, files: Sequence[Path] = (), **common: Any) -> None:
        from cli.session import graph  # noqa: PLC0415 - `--help` need not import the driver
        from loaders.load import load  # noqa: PLC0415
        from loaders.requests import LoadRequest, prepare  # noqa: PLC0415

        own = {p.name: common.pop(p.name) for p in loader.parameters}
        prepared = prepare(LoadRequest(loader.name, files, options=own, **common))
        interrupt_message("a load that was writing is unfinished: run the same command again to finish it")
        with graph(as_json=as_json) as (store, settings, report):
            show(load(store, settings.home, prepared, report), as_json=as_json)

    summary, _, rest = loader.doc.partition("\n")
    return click.Command(
        loader.name,
        callback=run,
        params=[*_arguments(loader), *_common(loader), *options_for(loader.parameters), *_as_json()],
        help=f"{summary}\n{rest}\n\n\b\nCites: {loader.cites}",
        short_help=summary,
    )


@group.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--name", required=True, help="Name of the set of cells, such as cortex; the same name replaces its files."
)
@click.option(
    "--assembly",
    "assemblies",
    multiple=True,
    help="Assembly of the features, where files do not state it in uns['assembly']: once for all files, or once for "
    "each in their order.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="Share of features that must be known.",
)
@json_option
def cells(files: Sequence[Path], name: str, *, assemblies: Sequence[str], coverage: float, as_json: bool) -> None:
    """Register AnnData files (.h5ad or .zarr) of RNA and ATAC as one set of cells; their matrices stay where they are.

    There is one file for each modality. Files of one modality are taken together if their assemblies are of different
    species: the first is rna, the second is named after its assembly too, such as rna-GRCm38.

    Instead of a file, a folder of Parquet shards is taken too: obs.parquet, var.parquet, and files with the columns
    cell, feature, value. An h5ad is made of it under REGKG_HOME/cells, once for equal content.
    """
    from cli.session import graph  # noqa: PLC0415 - `--help` need not import the driver
    from loaders.cells.parquet_cells import ensure_h5ad  # noqa: PLC0415
    from loaders.cells.registration import register_cells  # noqa: PLC0415

    interrupt_message("each file is registered or is not: run the same command again")
    with graph(as_json=as_json) as (store, settings, report):
        paths = [ensure_h5ad(file, settings.home / "cells", report) for file in files]
        registered = register_cells(store, name, paths, coverage, assemblies)
    if as_json:
        emit({"cells": name, **_counts(registered), "files": registered}, as_json=True)
    else:
        show_cells(registered)


def show(report: LoadReport, *, as_json: bool) -> None:
    """Show the outcome of a load: counts, oddities, the first rejected rows."""
    if as_json:
        emit(report, as_json=True)
        return
    if report.nothing_to_do:
        click.echo(f"{report.dataset}: nothing to do, {report.unchanged:,} rows are as these files have them")
        return
    would = "would be " if report.plan else ""
    rate = f", {report.rows_read / report.seconds:,.0f} rows/s" if report.seconds else ""
    click.echo(
        f"{report.dataset}: {report.rows_read:,} rows read in {report.seconds:.1f} s{rate}, draft {report.draft}"
    )
    emit([{f"{would}{name}": getattr(report, name) for name in COUNTS}], as_json=False)
    odd = {"renamed chromosomes": report.renamed, **report.notes}
    for what, count in odd.items():
        if count:
            click.echo(f"accepted: {count:,} {what}")
    for warning in report.warnings:
        click.echo(f"warning: {warning}")
    for example in report.examples:
        click.echo(f"rejected: {example}")
    if report.quarantine:
        click.echo(f"all rejected rows: {report.quarantine}")


def show_cells(registered: Sequence[Registered]) -> None:
    """Show each registered file, and the features that the graph does not know."""
    emit(
        [
            {
                "modality": outcome.file.modality,
                "file": Path(outcome.file.path).name,
                "cells": outcome.file.shape[0],
                "features": outcome.file.shape[1],
                "known": f"{outcome.file.coverage:.1%}",
                "": outcome.happened,
            }
            for outcome in registered
        ],
        as_json=False,
    )
    for outcome in registered:
        for what, names in (("not known", outcome.unmapped), ("ambiguous", outcome.ambiguous)):
            if names:
                more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
                click.echo(f"{outcome.file.modality} features {what}: {', '.join(names[:SHOWN])}{more}")


def _counts(registered: Sequence[Registered]) -> dict[str, int]:
    """Return the counts of every load; a file that only moved has unchanged content."""
    happened = ["unchanged" if outcome.happened == "moved" else outcome.happened for outcome in registered]
    return {name: happened.count(name) for name in COUNTS}


def _arguments(loader: Loader) -> list[click.Parameter]:
    return [] if loader.is_derived else [click.Argument(["files"], nargs=-1, required=True, type=FILE)]


def _common(loader: Loader) -> list[click.Parameter]:
    of_files = [
        click.Option(["--part"], help="The files are this part of the dataset; other parts stay."),
        click.Option(
            ["--accept-rejects"], is_flag=True, help="Reload although more than 1 % of the rows are rejected."
        ),
    ]
    where = [click.Option(["--assembly"], help="GRCh38 (hg38), GRCm38 (mm10), ...; default: what the files state.")]
    lift = [
        click.Option(["--lift-with"], type=FILE, help="Chain file from the files' --assembly to that of the graph."),
    ]
    of_biosample = [
        click.Option(["--biosample"], help="Cell type or tissue of all rows: a CL, UBERON or EFO id, or a name.")
    ]
    return [
        click.Option(["--dataset"], help="Id of the dataset; default: the source and the name of the first file."),
        *(where if loader.assembly else []),
        *(lift if loader.lifts else []),
        *(of_biosample if loader.biosample else []),
        click.Option(["--licence"], help="Licence of the data, such as CC-BY-4.0."),
        click.Option(["--citation"], help="What to cite; default: what the source cites."),
        *([] if loader.is_derived else of_files),
        click.Option(["--replace"], is_flag=True, help="Allow removing more than half of the dataset."),
        click.Option(["--plan"], is_flag=True, help="Write nothing; only count what would change."),
    ]


def _as_json() -> list[click.Parameter]:
    return [click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object.")]
