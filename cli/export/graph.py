"""`regkg export graph`: the guidance graph, or the part around some genes, as a file that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import emit, json_option
from cli.session import graph
from kg.errors import SettingsError
from kg.export import reading, writing
from kg.files import sha256
from kg.guidance import read_guidance
from kg.guidance.policy import POLICY, SIGNS, WEIGHTS, evidence, read_policy
from kg.guidance.snapshot import write_snapshot
from kg.guidance.subgraph import around, gene_ids
from kg.query.plan import run_plan
from kg.query.scope import scope_of

if TYPE_CHECKING:
    from cli.session import Graph
    from kg.guidance import GuidanceGraph
    from kg.query.scope import Scope

_ENDINGS = {".h5": "h5", ".safetensors": "pyg", ".graphml": "graphml"}
_RULES = [" or ".join(f'"{rule}"' for rule in rules) for rules in (WEIGHTS, SIGNS)]
_LISTED = ", ".join(f"{format_name} ({ending})" for ending, format_name in _ENDINGS.items())


@click.command("graph")
@click.option("--release", type=click.IntRange(min=1), help="A published release; by default the one that is served.")
@click.option("--gene", "genes", multiple=True, help="Ensembl id or symbol; may be repeated.  [default: all]")
@click.option(
    "--hops", type=click.IntRange(min=0), help="How many edges away from the genes.  [default: 1, their peaks]"
)
@click.option(
    "--edge-types",
    type=click.Choice(evidence()),
    multiple=True,
    default=("NEAR",),
    show_default=True,
    help="Evidence that guides; may be repeated.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"TOML file: a table for each edge type, with its weight ({_RULES[0]}) and its sign ({_RULES[1]}).",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Whole or not at all.")
@click.option(
    "--format", "format_name", type=click.Choice(list(_ENDINGS.values())), help="By default the ending of FILE decides."
)
@json_option
def export_graph(
    *,
    release: int | None,
    genes: tuple[str, ...],
    hops: int | None,
    edge_types: tuple[str, ...],
    policy: Path | None,
    out: Path,
    format_name: str | None,
    as_json: bool,
) -> None:
    """The guidance graph of a release, or the part around some genes, for PyTorch Geometric, HDF5 or GraphML.

    Its manifest says release, hashes, datasets, and by which policy edges were weighed; what reads the file
    (kg.guidance.snapshot.read_snapshot, models.inputs.pyg_export.load_pyg) refuses one that does not match.
    """
    name = format_name or _ENDINGS.get(out.suffix)
    if name is None:
        raise SettingsError(f"{out} has no ending of a known format", f"choose one with --format: {_LISTED}")
    if not out.parent.is_dir():
        raise SettingsError(f"{out.parent}: no such folder", "create it first")
    if hops is not None and not genes:
        raise SettingsError("--hops counts from genes, and no gene was given", "add --gene, or omit --hops")
    if name == "pyg":
        import models.inputs.pyg_export  # noqa: F401, PLC0415 - without the extra, nobody should wait for the graph
    rules = read_policy(policy) if policy else POLICY
    with graph(as_json=as_json) as opened:
        scope = run_plan(scope_of(release), opened.store)
        ids = gene_ids(opened.store, scope, genes)
        opened.report.begin("reading the guidance graph")
        guidance = read_guidance(opened.store, scope.release, edge_types, policy=rules)
        opened.report.end(f"{len(guidance.vertices):,} vertices, {len(guidance.source):,} edges")
        if ids:
            guidance = around(guidance, ids, 1 if hops is None else hops)
        emit(_write(opened, scope, guidance, out, name), as_json=as_json)


def _write(opened: Graph, scope: Scope, guidance: GuidanceGraph, out: Path, name: str) -> writing.Exported:
    if name == "graphml":
        return writing.write(reading.guidance_graph(opened.store, scope, guidance), out, name)
    if name == "h5":
        write_snapshot(guidance, out)
    else:
        from models.inputs.pyg_export import hetero_data, save_pyg  # noqa: PLC0415 - torch is for this format alone

        save_pyg(hetero_data(guidance), out)
    return writing.Exported(name, {out.name: sha256(out)}, len(guidance.source), 0)
