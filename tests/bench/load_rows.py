"""Writing edges: our draft beside a plain loop of UNWIND over dicts, and the first build beside bare neo4j-admin.

The same rows with the same properties into the same managed server, with the same constraints and indexes. The plain
loop checks, hashes and compares nothing. The bare import gets CSV files that are there already, imports, starts and
makes the same indexes; ours starts from rows, and counts hashing and writing of the files too.

    python load_rows.py [--edges 200000] [--turns 3] [--bulk] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import neo4j
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from kg.evidence import bulk
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.schema import GENE, NEAR, OPEN, PEAK
from kg.schema.batches import EdgeBatch, NodeBatch
from kg.server import Endpoint, Server
from kg.settings import Settings
from kg.store import Store, ensure_schema, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

GENES, PEAKS = 20_000, 100_000
ROWS = 10_000  # a transaction, in both
PLAIN = (
    "UNWIND $rows AS row MATCH (p:Peak {id: row.start_id}) MATCH (g:Gene {id: row.end_id}) "
    "CREATE (p)-[:NEAR {edge_id: row.edge_id, row_hash: row.row_hash, dataset: row.dataset, since: row.since, "
    "until: row.until, eco: row.eco, distance_bp: row.distance_bp, tss_distance_bp: row.tss_distance_bp}]->(g)"
)
PEOPLE = {"genes": Source("genes:b", "genes"), "peaks": Source("peaks:b", "peaks")}


def nodes() -> tuple[NodeBatch, NodeBatch]:
    start = np.arange(PEAKS) * 1000
    tss = np.arange(GENES) * 5000
    genes = NodeBatch.build(
        GENE, id=[f"ENSG{i:011d}" for i in range(GENES)], symbol=[f"S{i}" for i in range(GENES)],
        species="NCBITaxon:9606", assembly="GRCh38", chrom="chr1", start=tss, end=tss + 900, strand="+", tss=tss,
    )  # fmt: skip
    peaks = NodeBatch.build(
        PEAK, id=[f"GRCh38:chr1:{s}-{s + 500}" for s in start.tolist()], assembly="GRCh38", chrom="chr1", start=start,
        end=start + 500,
    )  # fmt: skip
    return genes, peaks


def edges(n: int, genes: NodeBatch, peaks: NodeBatch) -> EdgeBatch:
    """n different pairs."""
    rng = np.random.default_rng(0)
    pair = rng.choice(GENES * PEAKS, n, replace=False) if n < 5_000_000 else np.arange(n) * (GENES * PEAKS // n)
    return EdgeBatch.build(
        NEAR, start_id=peaks.table["id"].take(pair % PEAKS), end_id=genes.table["id"].take(pair // PEAKS),
        distance_bp=rng.integers(0, 150_000, n), tss_distance_bp=rng.integers(-150_000, 150_000, n),
    )  # fmt: skip


def fresh(store: Store, genes: NodeBatch, peaks: NodeBatch) -> None:
    """A graph that holds the nodes and no edge."""
    store.implicit("MATCH ()-[r:NEAR]->() CALL (r) { DELETE r } IN TRANSACTIONS OF 20000 ROWS")
    store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    with open_draft(store, "bench") as draft:
        for source, batch in zip(PEOPLE.values(), (genes, peaks), strict=True):
            draft.load(source, Snapshot(("x",), "bench@1"), [batch])


def ours(store: Store, batch: EdgeBatch) -> None:
    with open_draft(store, "bench") as draft:
        draft.load(Source("near:b", "proximity"), Snapshot(("x",), "bench@1"), [batch])


def plain(where: Endpoint, batch: EdgeBatch) -> None:
    """What people write: a list of dicts, batch by batch."""
    rows = batch.table.to_pylist()
    ids = batch.edge_ids  # an identity is needed for the constraint; making it is not counted against either
    for row, edge_id in zip(rows, ids, strict=True):
        row |= {
            "edge_id": edge_id,
            "row_hash": edge_id,
            "dataset": "near:b",
            "since": 1,
            "until": OPEN,
            "eco": NEAR.eco,
        }
    with (
        neo4j.GraphDatabase.driver(where.uri, auth=(where.user, where.password)) as driver,
        driver.session() as session,
    ):
        start = time.perf_counter()
        for at in range(0, len(rows), ROWS):
            session.execute_write(lambda tx, some: tx.run(PLAIN, rows=some).consume(), rows[at : at + ROWS])
        plain.seconds = time.perf_counter() - start  # type: ignore[attr-defined]


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def online(home: Path, jars: Path | None, n: int, turns: int) -> dict[str, Any]:
    server = Server(home, jars=jars)
    where = server.start()
    genes, peaks = nodes()
    batch = edges(n, genes, peaks)
    times: dict[str, list[float]] = {"regkg": [], "plain": []}
    with open_store(where) as store:
        ensure_schema(store)
        for _ in range(turns):
            fresh(store, genes, peaks)
            times["regkg"].append(timed(lambda: ours(store, batch)))
            fresh(store, genes, peaks)
            plain(where, batch)
            times["plain"].append(plain.seconds)  # type: ignore[attr-defined]
    server.stop()
    middle = {name: statistics.median(values) for name, values in times.items()}
    rates = {f"{name}_rows_per_s": round(n / seconds) for name, seconds in middle.items()}
    return {"edges": n, "seconds": times, **rates, "ratio": middle["plain"] / middle["regkg"]}


def first_build(home: Path, jars: Path | None, n: int) -> dict[str, Any]:
    settings = Settings(home=home / "ours", jars=jars)
    genes, peaks = nodes()
    kept = home / "csv"
    parts = max(1, n // 1_000_000)
    everything = edges(n, genes, peaks).table

    def build() -> None:
        with bulk.build(settings, 1) as draft:
            arguments = draft.import_arguments

            def keeping() -> list[str]:
                made = arguments()
                shutil.copytree(settings.home / "neo4j" / "bulk" / "rows", kept, copy_function=os.link)
                return made

            draft.import_arguments = keeping  # type: ignore[method-assign]
            for source, batch in zip(PEOPLE.values(), (genes, peaks), strict=True):
                draft.load(source, Snapshot(("x",), "bench@1"), [batch])
            for part in range(parts):
                some = EdgeBatch(NEAR, everything.slice(part * (n // parts), n // parts).combine_chunks())
                draft.load(Source(f"near:{part}", "proximity"), Snapshot(("x",), "bench@1"), [some])

    seconds = timed(build)
    Server(settings.home, jars=jars).stop()
    bare = Server(home / "bare", jars=jars)
    bare.start()
    folder = bare.root / "bulk"
    folder.mkdir()
    files = [f"--{file.name.partition('-')[0]}={file}" for file in sorted(kept.glob("*.csv"))]

    def admin() -> None:
        bare.import_store(folder, files)
        with open_store(bare.start()) as store:
            ensure_schema(store)

    theirs = timed(admin)
    bare.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"edges": n, "regkg_s": seconds, "neo4j_admin_s": theirs, "ratio": seconds / theirs, "python_peak_gb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=200_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        jars = settings.jars or settings.home / "neo4j" / "jars"
        home = Path(folder)
        result = (
            first_build(home, jars, options.edges) if options.bulk else online(home, jars, options.edges, options.turns)
        )
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
