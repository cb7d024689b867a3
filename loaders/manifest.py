"""A whole set of evidence in one TOML file, loaded in the order in which its sources need each other.

    assembly = "GRCh38"                  # keys before the first [[load]] apply to all of them

    [[load]]
    source = "genes"
    files = ["Homo_sapiens.GRCh38.gtf.gz"]
    licence = "CC0-1.0"

    [[load]]
    source = "pchic"
    dataset = "pchic:javierre"
    files = ["peakmatrix.txt.gz"]
    options = { min_score = 5.0 }

Paths are relative to the manifest; $NAME in them is a variable of the environment, and the last part of a file may be
a pattern (*.narrowPeak.gz). Keys are those of `regkg load SOURCE`; `options` holds the source's own.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import fields, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.errors import InputError, MissingInput, ParameterError, SettingsError
from kg.evidence.bulk import build
from kg.progress import SILENT, Progress
from loaders.load import LoadReport, load, load_into
from loaders.registry import find
from loaders.requests import LoadRequest, PreparedLoad, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kg.settings import Settings
    from kg.store import Store
    from loaders.registry import Loader

LOAD = "load"
_KEYS = {field.name for field in fields(LoadRequest)} - {"plan"}
_SHARED = _KEYS - {"source", "files", "dataset", "part", "options"}
_PATHS = _KEYS & {"lift_with"}


def read_manifest(path: Path) -> list[LoadRequest]:
    """Return the loads of a manifest, those that others look up first; otherwise in the order of the file.

    Raises:
        MissingInput: there is no such file.
        InputError: not TOML.
        SettingsError: a key, a source or a dataset does not make sense.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInput(f"{path}: {error.strerror}", "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}", "see `regkg load --help`") from error
    entries = document.pop(LOAD, [])
    if not entries or not isinstance(entries, list):
        raise SettingsError(f"{path}: no [[load]] is in it", "each dataset is one [[load]] with source and files")
    _check_keys(path, "the head", document, _SHARED)
    requests = [_request(path, number, document, entry) for number, entry in enumerate(entries, 1)]
    _check_datasets(path, requests)
    return list(in_order(requests))


def in_order(requests: Sequence[LoadRequest]) -> Iterator[LoadRequest]:
    """Order loads: one that looks nodes up comes after those that write them, unless those look up what it writes."""
    loaders = [find(request.source) for request in requests]
    before: dict[int, list[int]] = {
        i: [j for j, other in enumerate(loaders) if _needs(loader, other) and not _needs(other, loader)]
        for i, loader in enumerate(loaders)
    }
    yield from (requests[i] for i in TopologicalSorter(before).static_order())


def load_all(
    store: Store,
    home: Path,
    prepared: Sequence[PreparedLoad],
    progress: Progress = SILENT,
) -> list[LoadReport]:
    """Load one after another; what an earlier attempt has loaded is found by checksum and costs nothing.

    A plan counts only what rests on nodes that are there; a load that waits for others of the manifest says so.
    """
    reports: list[LoadReport] = []
    for number, current in enumerate(prepared, 1):
        progress.say(f"{number} of {len(prepared)}: {current.request.dataset}")
        waits = [b.request.dataset for b, r in zip(prepared, reports, strict=False) if _waits(current, b, r)]
        reports.append(_not_counted(current, waits) if waits else load(store, home, current, progress))
    return reports


def build_all(settings: Settings, prepared: Sequence[PreparedLoad], progress: Progress = SILENT) -> list[LoadReport]:
    """Load everything into an empty managed graph through Neo4j's importer; see `kg.evidence.bulk`.

    Raises:
        Conflict: the graph is not empty or not managed, or the disk is too small.
    """
    size = sum(file.path.stat().st_size for load_ in prepared for file in load_.files)
    with build(settings, size, progress) as draft:
        return [load_into(draft, settings.home, load_, progress) for load_ in prepared]


def _waits(current: PreparedLoad, before: PreparedLoad, report: LoadReport) -> bool:
    """Return whether a planned load looks up nodes that the plan of an earlier one would change."""
    changes = report.added + report.changed + report.removed
    return report.plan and (changes > 0 or not report.draft) and _needs(current.loader, before.loader)


def _not_counted(current: PreparedLoad, waits: Sequence[str | None]) -> LoadReport:
    warning = f"not counted: it looks up nodes of {', '.join(map(str, waits))}, which this plan does not load"
    return LoadReport(str(current.request.dataset), 0, plan=True, warnings=(warning,))


def prepare_all(requests: Sequence[LoadRequest], *, plan: bool = False) -> list[PreparedLoad]:
    """Check every file and option before the first row is written; report all faults at once.

    Raises:
        InputError: files are refused.
    """
    prepared, wrong = [], []
    for request in requests:
        try:
            prepared.append(prepare(replace(request, plan=plan)))
        except (InputError, ParameterError, SettingsError) as error:
            wrong.append((request.dataset, error))
    if len(wrong) == 1:
        raise wrong[0][1]
    if wrong:
        reasons = "; ".join(f"{dataset}: {error}" for dataset, error in wrong)
        raise InputError(f"{len(wrong)} of {len(requests)} loads are refused: {reasons}", wrong[0][1].hint)
    return prepared


def _request(path: Path, number: int, shared: Mapping[str, Any], entry: Mapping[str, Any]) -> LoadRequest:
    where = f"[[load]] number {number}"
    _check_keys(path, where, entry, _KEYS)
    if "source" not in entry:
        raise SettingsError(f"{path}: {where} has no source", 'for example: source = "genes"')
    loader = find(entry["source"])
    stated = {key: value for key, value in shared.items() if key in _taken(loader)} | dict(entry)
    files = tuple(file for name in stated.pop("files", ()) for file in _files(path, name))
    options = {key: _value(path, loader, key, value) for key, value in stated.pop("options", {}).items()}
    paths = {key: _path(path, stated[key]) for key in _PATHS & stated.keys()}
    default = f"{loader.name}:{_stem(files[0])}" if files else loader.name
    return LoadRequest(**{"dataset": default, **stated, **paths}, files=files, options=options)


def _taken(loader: Loader) -> set[str]:
    """Return the shared keys that mean something to a source."""
    return _SHARED - (set() if loader.assembly else {"assembly"}) - (set() if loader.biosample else {"biosample"})


def _value(path: Path, loader: Loader, key: str, value: Any) -> Any:
    """Return the value of an option; paths are relative to the manifest, like all paths in it."""
    is_path = any(p.name == key and p.type is Path for p in loader.parameters)
    return _path(path, value) if is_path else value


def _files(manifest: Path, name: str) -> list[Path]:
    """Return the file of that name, or all that match a pattern such as chip/*.narrowPeak.gz, sorted."""
    path = _path(manifest, name)
    if not set("*?[") & set(path.name):
        return [path]
    matches = sorted(path.parent.glob(path.name))
    if not matches:
        raise MissingInput(f"{manifest}: no file fits {path}", "check the pattern")
    return matches


def _path(manifest: Path, name: str) -> Path:
    if left := re.findall(r"\$\{?(\w+)", expanded := os.path.expandvars(name)):
        raise SettingsError(f"{manifest}: {name} needs {', '.join(left)}, which is not set", f"export {left[0]}=...")
    return manifest.parent / Path(expanded).expanduser()


def _stem(file: Path) -> str:
    return file.name.partition(".")[0] or file.name


def _needs(loader: Loader, other: Loader) -> bool:
    return bool(set(loader.lookup) & set(other.writes))


def _check_keys(path: Path, where: str, entry: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise SettingsError(f"{path}: {where} has {', '.join(unknown)}", f"known are {', '.join(sorted(known))}")


def _check_datasets(path: Path, requests: Sequence[LoadRequest]) -> None:
    seen = [(request.dataset, request.part) for request in requests]
    again = sorted({str(dataset) for dataset, part in seen if seen.count((dataset, part)) > 1})
    if again:
        raise SettingsError(
            f"{path}: {', '.join(again)} is loaded twice, and the second would replace the first",
            'set dataset = "..." or part = "...", or give all files in one [[load]]',
        )
