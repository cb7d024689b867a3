"""What a run says of cells, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kg import every_output

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store
    from tests.api.conftest import Api


def test_edges_that_start_at_cells_are_edges_like_others(api: Api, store: Store, tmp_path: Path) -> None:
    run = every_output.publish_world(store, tmp_path)
    answer = api.get("/v1/edges", params={"type": "ANNOTATED_AS"}).json()
    assert answer["runs"][0]["run"] == run
    rows = sorted((r["start_id"], r["end_id"], r["columns"]["label"], r["columns"]["n"]) for r in answer["rows"])
    assert rows == [("cortex/atac", "CL:0000236", "B cell", 2), ("cortex/atac", "CL:0000540", "neuron", 1)]
    of_gene = api.get("/v1/edges", params={"gene": "NCF2", "run": run}).json()["rows"]
    assert [(r["type"], r["columns"].get("correlation")) for r in of_gene] == [("NEAR", None), ("IMPUTED_GENE", 0.75)]
