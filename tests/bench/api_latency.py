"""A gene's 50 best edges: through the API over HTTP, and by the bare async driver, in turns on one machine.

    python tests/bench/api_latency.py [--genes N] [--peaks N] [--rounds N] [--json]

Needs REGKG_NEO4J_URI with an empty graph, or an empty REGKG_HOME; it fills the graph through the product's own writers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import neo4j
import numpy as np

from api.app import create_app
from kg import runs
from kg.evidence.draft import Snapshot, Source, open_draft
from kg.releases import publish, releases
from kg.runs import predictions
from kg.runs.predictions import Predictions
from kg.schema import GENE, NEAR, PEAK, PREDICTED_LINK
from kg.schema.batches import EdgeBatch, NodeBatch
from kg.server import endpoint
from kg.settings import Settings
from kg.store import connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI

    from kg.store import Store

PORT = 8765
WARM_UP = 200
BARE = (
    "MATCH (p:Peak)-[e:PREDICTED_LINK]->(:Gene {id: $gene}) WITH p, e, e.run AS run WHERE run = $run "
    "RETURN p.id, p.chrom, p.start, p.end, e.score, e.q_value, e.sign, e.called ORDER BY e.score DESC LIMIT 50"
)


def build(store: Store, genes: int, peaks: int, per_gene: int) -> str:
    """Genes with `per_gene` links each, published; gives the run."""
    rng = np.random.default_rng(0)
    starts = np.arange(peaks) * 1000
    peak_ids = [f"GRCh38:chr1:{s}-{s + 500}" for s in starts]
    gene_ids = [f"ENSG{i:011d}" for i in range(genes)]
    where = {"assembly": "GRCh38", "chrom": "chr1"}
    batches: list[tuple[Source, Any]] = [
        (
            Source("genes:bench", "genes"),
            NodeBatch.build(
                GENE,
                id=gene_ids,
                symbol=[f"G{i}" for i in range(genes)],
                species="NCBITaxon:9606",
                **where,
                start=[1000 * i for i in range(genes)],
                end=[1000 * i + 900 for i in range(genes)],
                strand="+",
                tss=[1000 * i for i in range(genes)],
            ),
        ),
        (Source("peaks:bench", "peaks"), NodeBatch.build(PEAK, id=peak_ids, **where, start=starts, end=starts + 500)),
    ]
    pairs = [(p, g) for g in range(genes) for p in rng.choice(peaks, per_gene, replace=False)]
    ends = {"start_id": [peak_ids[p] for p, _ in pairs], "end_id": [gene_ids[g] for _, g in pairs]}
    distance = rng.integers(0, 150_000, len(pairs))
    batches.append(
        (
            Source("near:bench", "proximity"),
            EdgeBatch.build(NEAR, **ends, distance_bp=distance, tss_distance_bp=distance),
        )
    )
    for source, batch in batches:
        with open_draft(store, "bench") as draft:
            draft.load(source, Snapshot((source.dataset,), "bench@1"), [batch])
    publish(store)
    score = rng.random(len(pairs))
    links = EdgeBatch.build(
        PREDICTED_LINK,
        **ends,
        score=score,
        score_kind="cosine",
        p_value=score,
        q_value=score,
        sign=np.ones(len(pairs), dtype=int),
        called=score > 0.5,
    )
    run = runs.register(
        store, runs.Registration("glue", "bench", 1, 0, 1, {}, "", "", dict(releases(store)[0].datasets))
    )
    with tempfile.TemporaryDirectory() as home:
        predictions.keep(Path(home), run, Predictions([links]), {})
        runs.write_back(store, Path(home), run)
    runs.publish_run(store, run)
    return run


async def timed(one: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    begun = time.perf_counter()
    await one()
    return 1000 * (time.perf_counter() - begun)


async def compare(settings: Settings, url: str, run: str, genes: int, rounds: int) -> dict[str, list[float]]:
    """Both ways in turns, each after its own warm-up."""
    where = endpoint(settings)
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {"driver": [], "api": [], "api_304": [], "healthz": []}
    async with (
        neo4j.AsyncGraphDatabase.driver(where.uri, auth=(where.user, where.password)) as driver,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):

        async def bare(gene: str) -> None:
            async with driver.session(default_access_mode=neo4j.READ_ACCESS) as session:
                rows = [record.data() async for record in await session.run(BARE, run=run, gene=gene)]
                assert len(rows) == 50

        async def rest(gene: str, headers: dict[str, str]) -> None:
            response = await client.get(f"/v1/genes/{gene}/regulators", headers=headers)
            assert response.status_code == (304 if headers else 200)
            assert headers or len(response.json()["rows"]) == 50

        for at in range(-WARM_UP, rounds):
            gene = f"ENSG{rng.integers(genes):011d}"
            tag = (await client.get(f"/v1/genes/{gene}/regulators")).headers["etag"]
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "driver": partial(bare, gene),
                "api": partial(rest, gene, {}),
                "api_304": partial(rest, gene, {"If-None-Match": tag}),
                "healthz": partial(client.get, "/healthz"),
            }
            took = {name: await timed(call) for name, call in calls.items()}
            if at >= 0:
                for name, ms in took.items():
                    found[name].append(ms)
    return found


def served() -> FastAPI:
    """What uvicorn serves."""
    return create_app(Settings.from_environment())


def await_answer(url: str) -> None:
    """Return once the server is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(url)


def main() -> None:
    """Build, serve, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=500)
    parser.add_argument("--peaks", type=int, default=5000)
    parser.add_argument("--links", type=int, default=80, help="links of each gene")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    settings = Settings.from_environment()
    with connect(settings) as store:
        run = build(store, given.genes, given.peaks, given.links)
    command = [sys.executable, "-m", "uvicorn", "--factory", "--port", str(PORT), "--log-level", "warning"]
    with subprocess.Popen([*command, "--app-dir", str(Path(__file__).parent), "api_latency:served"]) as server:
        try:
            await_answer(f"http://127.0.0.1:{PORT}/readyz")
            found = asyncio.run(compare(settings, f"http://127.0.0.1:{PORT}", run, given.genes, given.rounds))
        finally:
            server.terminate()
    p50 = {name: round(statistics.median(ms), 2) for name, ms in found.items()}
    p10 = {name: round(statistics.quantiles(ms, n=10)[0], 2) for name, ms in found.items()}
    p99 = {name: round(statistics.quantiles(ms, n=100)[98], 2) for name, ms in found.items()}
    result = {
        "p10_ms": p10,
        "p50_ms": p50,
        "p99_ms": p99,
        "api_minus_driver_p50_ms": round(p50["api"] - p50["driver"], 2),
    }
    print(json.dumps(result) if given.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
