"""What an earlier commit made and answered is made and answered still: files, hashes, scores, weights.

`record.py` says how the recording came about, and which commit it is of. Nothing in it depends on where it was made:
folders stand as `{world}`, `{backup}` and `{home}`, and the cells, whose paths a graph keeps, are registered again first.
"""

from __future__ import annotations

import json
import tarfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from tests.recorded.replay import Regkg, differences, kernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kg.server import Endpoint
    from kg.store import Store

ARCHIVE = Path(__file__).with_name("recorded.tar.xz")
FILES = ("PREDICTED_LINK", "PREDICTED_TARGET", "candidates", "embeddings", "targets")  # of runs, as Parquet
ELSEWHERE = 1e-5  # of floats, where other kernels add in another order; see `tolerance`


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording, unpacked."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def recorded(there: Path) -> dict[str, Any]:
    """Steps and answers."""
    found: dict[str, Any] = json.loads((there / "recorded.json").read_text())
    return found


@pytest.fixture(scope="module")
def tolerance(recorded: dict[str, Any]) -> float:
    """None at all where this machine's kernels made the recording; others add in another order, so the last bits move."""
    return 0.0 if recorded["kernels"] == kernels() else ELSEWHERE


def home(there: Path, endpoint: Endpoint, folder: Path) -> Regkg:
    """`regkg` with an empty home on the session's server."""
    return Regkg(
        {"world": there / "world", "backup": there / "backup", "home": folder},
        {
            "REGKG_HOME": str(folder),
            "REGKG_NEO4J_URI": endpoint.uri,
            "REGKG_NEO4J_USER": endpoint.user,
            "REGKG_NEO4J_PASSWORD": endpoint.password,
        },
    )


def replayed(regkg: Regkg, answers: list[dict[str, Any]], **how: Any) -> list[str]:
    """Where the answers to steps, carried out in their order, are not those recorded."""
    return [
        f"{' '.join(one['step'])}: {wrong}" for one in answers for wrong in differences(one, regkg(*one["step"]), **how)
    ]


def test_evidence_runs_and_targets_come_out_as_they_did(
    store: Store, there: Path, recorded: dict[str, Any], tolerance: float, neo4j_endpoint: Endpoint, tmp_path: Path
) -> None:
    """From the same files and seeds: load, publish, train, load more, publish, retrain through the gate, targets."""
    del store  # empties the graph
    regkg = home(there, neo4j_endpoint, tmp_path)
    assert replayed(regkg, recorded["story"], tolerance=tolerance, passing=False) == []
    then = sorted(path for name in FILES for path in (there / "backup" / "runs").glob(f"*/{name}.parquet"))
    assert len(then) == 9
    for path in then:
        one, other = (flat(pd.read_parquet(at)) for at in (path, tmp_path / path.relative_to(there / "backup")))
        pd.testing.assert_frame_equal(one, other, check_exact=tolerance == 0, rtol=tolerance, atol=tolerance)


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """With a column for each number of a vector."""
    if "vector" not in table or table.empty:
        return table
    return table.drop(columns="vector").join(pd.DataFrame(np.stack(table["vector"])))


def test_a_backup_is_restored_and_answers_as_it_did(
    store: Store, there: Path, recorded: dict[str, Any], tolerance: float, neo4j_endpoint: Endpoint, tmp_path: Path
) -> None:
    """Restored are releases with equal hashes; what is read of them, diffs of runs and all, is what was read then."""
    del store
    regkg = home(there, neo4j_endpoint, tmp_path)
    assert replayed(regkg, recorded["questions"], tolerance=1e-9) == []
    then = recorded["reproduced"]
    found = regkg(*then["step"])
    if tolerance:
        assert found["said"]["shift"] <= tolerance, found
    else:
        assert found["said"]["verdict"] == "bit-equal", found
        assert found["said"]["weights"] == then["said"]["weights"]


@pytest.fixture
def version_1(store: Store, there: Path) -> Iterator[None]:
    """The graph that a program of schema version 1 left; the schema is this program's again afterwards."""
    (now,) = store.read("MATCH (s:Schema) RETURN properties(s) AS properties")
    store.write("MATCH (s:Schema) DELETE s")
    graph = json.loads((there / "version-1.json").read_text(), object_hook=timed)
    ids: dict[int, str] = {}
    for labels, nodes in by(graph["nodes"], "labels").items():
        query = (
            f"UNWIND $rows AS row CREATE (n:{labels}) SET n = row.properties RETURN row.id AS id, elementId(n) AS at"
        )
        ids |= {row["id"]: row["at"] for row in store.write(query, rows=nodes)}
    for kind, edges in by(graph["edges"], "type").items():
        rows = [{**edge, "start": ids[edge["start"]], "end": ids[edge["end"]]} for edge in edges]
        store.write(
            "UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row.start MATCH (b) WHERE elementId(b) = row.end "
            f"CREATE (a)-[r:{kind}]->(b) SET r = row.properties",
            rows=rows,
        )
    yield
    store.write("MATCH (s:Schema) SET s = $properties", **now)


def by(rows: list[dict[str, Any]], name: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by what they have under a name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def timed(value: dict[str, Any]) -> Any:
    """A time where `record.py` wrote one."""
    return datetime.fromisoformat(value["$time"]) if set(value) == {"$time"} else value


@pytest.mark.usefixtures("version_1")
def test_schema_version_1_is_migrated_as_it_was(
    there: Path, recorded: dict[str, Any], neo4j_endpoint: Endpoint, tmp_path: Path
) -> None:
    """The graph comes of a program of that version, with two releases, a run and a draft."""
    regkg = home(there, neo4j_endpoint, tmp_path)
    assert replayed(regkg, recorded["migrated"], passing=False) == []
