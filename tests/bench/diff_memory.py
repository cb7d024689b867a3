"""Time and memory of the rows that differ between two releases, at N edges and at ten times as many.

    python tests/bench/diff_memory.py [--edges 20000 200000] [--changed 0.01] [--json]

For each N a managed server under a temporary home: release 1 is built through Neo4j's importer, in datasets of at most
a million edges; release 2 through the draft, with this share of the distances changed. Then a process of its own asks
for every row that differs, and throws it away; another writes them as Parquet, as `regkg release diff --rows` does.
Their peak (VmHWM) is set beside what they held before the first row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from load_rows import PEOPLE, edges, nodes

from cli.releases.diff import write_rows
from kg.evidence import bulk
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.releases import publish
from kg.releases.diff import rows
from kg.schema import NEAR
from kg.schema.batches import EdgeBatch
from kg.server import Server
from kg.settings import Settings
from kg.store import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

DATASET = 1_000_000  # edges at most


def build(settings: Settings, n: int) -> None:
    """Release 1."""
    with bulk.build(settings, 1) as draft:
        for source, of_nodes in zip(PEOPLE.values(), nodes(), strict=True):
            draft.load(source, Snapshot(("x",), "bench@1"), [of_nodes])
        for source, batch in datasets(n):
            draft.load(source, Snapshot(("x",), "bench@1"), [batch])
    with connect(settings) as store:
        publish(store)


def change(settings: Settings, n: int, share: float) -> None:
    """Release 2."""
    rng = np.random.default_rng(1)
    for source, batch in datasets(n):
        more = (rng.random(len(batch)) < share).astype(np.int64)
        at = batch.table.schema.get_field_index("distance_bp")
        moved = pa.array(batch.table.column(at).to_numpy() + more)
        changed = EdgeBatch(NEAR, batch.table.set_column(at, batch.table.schema.field(at), moved))
        with connect(settings) as store, open_draft(store, "bench") as draft:
            draft.load(source, Snapshot(("y",), "bench@1"), [changed])
    with connect(settings) as store:
        publish(store)


def datasets(n: int) -> Iterator[tuple[Source, EdgeBatch]]:
    """All edges, some at a time."""
    table = edges(n, *nodes()).table
    for part, start in enumerate(range(0, n, DATASET)):
        yield Source(f"near:{part}", "proximity"), EdgeBatch(NEAR, table.slice(start, DATASET).combine_chunks())


def measure(way: str, folder: Path) -> dict[str, Any]:
    """In this process, whose memory is told."""
    with connect(Settings.from_environment()) as store:
        store.read("RETURN 1 AS one")
        before, started = memory("VmRSS"), time.perf_counter()
        stream = rows(store, 1, 2)
        next(stream)
        first = time.perf_counter() - started
        count = 1 + (write_rows(stream, folder / "rows.parquet") if way == "parquet" else sum(1 for _ in stream))
        seconds = time.perf_counter() - started
    peak = memory("VmHWM")
    return {
        "rows": count, "first_row_s": round(first, 3), "seconds": round(seconds, 1),
        "rows_per_s": round(count / seconds), "mb_before": before, "mb_peak": peak, "mb_grown": peak - before,
    }  # fmt: skip


def memory(name: str) -> int:
    """MB that this process holds (VmRSS) or at most held (VmHWM); ru_maxrss would count its starter's as well."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) >> 10


def told(n: int, share: float, folder: Path) -> dict[str, Any]:
    """Both releases, and each way of reading what differs."""
    os.environ["REGKG_HOME"] = str(folder / "home")
    settings = Settings.from_environment()
    found: dict[str, Any] = {"edges": n, "changed": share}
    try:
        for name, work in (("build_s", partial(build, settings, n)), ("change_s", partial(change, settings, n, share))):
            started = time.perf_counter()
            work()
            found[name] = round(time.perf_counter() - started)
        for way in ("rows", "parquet"):
            command = [sys.executable, __file__, "--measure", way, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[way] = json.loads(done.stdout)
    finally:
        Server(settings.home, settings.neo4j_version, settings.jars).stop()
    return found


def main() -> None:
    """Build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--changed", type=float, default=0.01)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.measure:
        print(json.dumps(measure(said.measure[0], Path(said.measure[1]))))
        return
    for n in said.edges:
        with tempfile.TemporaryDirectory() as folder:
            found = told(n, said.changed, Path(folder))
            print(json.dumps(found) if said.json else "\n".join(f"{k}: {v}" for k, v in found.items()), flush=True)


if __name__ == "__main__":
    main()
