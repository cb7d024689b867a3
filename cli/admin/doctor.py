"""`regkg doctor`: look at everything the product needs, and say how to fix what is wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import emit, json_option, progress
from kg.errors import RegkgError, SettingsError
from kg.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.operations.health import Check
    from kg.progress import Progress

OURS = ("kg", "loaders", "models", "api", "cli")
MAIN = ("regkg", "neo4j", "numpy", "pyarrow", "anndata", "torch", "torch-geometric", "fastapi")
GPU = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
GPU_TIMEOUT_S = 120


@click.command()
@json_option
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Check what the product needs: Java, server, writing and refusing, disk, memory, GPU, versions.

    Ends with 1 if a check fails; each says how to fix it.
    """
    settings = Settings.from_environment()
    with progress(as_json=as_json) as report:
        checks = list(examine(settings, report))
    ok = all(check.ok for check in checks)
    if as_json:
        emit({"ok": ok, "checks": checks}, as_json=True)
    else:
        for check in checks:
            click.echo(line(check))
    context.exit(0 if ok else 1)


def examine(settings: Settings, report: Progress) -> Iterator[Check]:
    """Yield every check, the quick ones first."""
    from kg.operations.health import check, check_graph  # noqa: PLC0415 - `doctor --help` needs no driver

    yield check("python", _python)
    yield check("packages", _one_place)
    yield check("versions", _versions)
    yield check("training", _training)
    yield from check_graph(settings, report)


def line(check: Check) -> str:
    """Return the check as people read it."""
    text = f"{check.found}\nfix: {check.mend}" if check.mend else check.found
    return f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<10} " + text.replace("\n", "\n" + " " * 17)


def _python() -> str:
    return f"{sys.version.split()[0]} in {sys.prefix}"


def _one_place() -> str:
    """Check that the packages come from one place: others use these names too, and the first on the path wins."""
    places = {name: place_of(name) for name in OURS}
    if len(set(places.values())) > 1 or None in places.values():
        listed = ", ".join(f"{name} from {place}" for name, place in places.items())
        raise SettingsError(
            f"the five packages do not come from one place: {listed}", "install regkg in an environment of its own"
        )
    return f"{', '.join(OURS)} come from {places['cli']}"


def place_of(name: str) -> Path | None:
    """Return the directory that a package would be imported from; nothing is imported."""
    spec = find_spec(name)
    return Path(spec.origin).resolve().parent.parent if spec and spec.origin else None


def _versions() -> str:
    return ", ".join(f"{name} {installed}" for name in MAIN if (installed := _installed(name)))


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _training() -> str:
    """Ask torch in a process of its own: it is slow to import, and may fail in ways that end a process."""
    if _installed("torch") is None:
        return "torch is not installed; it is needed only for training: pip install 'regkg[train]'"
    try:
        done = subprocess.run(
            [sys.executable, "-c", GPU], capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        raise RegkgError(f"torch does not work: {reason}", "pip install --force-reinstall 'regkg[train]'") from error
    return f"torch works; {f'GPU: {name}' if (name := done.stdout.strip()) else 'no GPU: models train on the CPU'}"
