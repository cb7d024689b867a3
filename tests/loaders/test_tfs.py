"""Lists of transcription factors: which names count, what is told of the others, and the real lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kg.errors import InputError
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, graph_of, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "ensgene\tsymbol\tchr\tstart\tend\tstrand\tbiotype\n"


def families(reading: Any) -> dict[str, str | None]:
    return {row["id"]: row["family"] for b in reading.batches for row in b.table.to_pylist()}


def test_a_list_of_names() -> None:
    reading = run_source("tfs", [SAMPLES / "tfs" / "list.txt"])
    assert families(reading) == dict.fromkeys(("ENSG00000000101", "ENSG00000000104", "ENSG00000000106"))
    assert (reading.read, reading.folded, reading.filtered) == (5, 1, 1)
    assert reading.warnings == ("list.txt: 1 genes are not in the graph: GONE1",)


def test_the_table_of_lambert_2018() -> None:
    reading = run_source("tfs", [SAMPLES / "tfs" / "lambert.csv"])
    assert families(reading) == {
        "ENSG00000000101": "C2H2 ZF; Homeodomain",
        "ENSG00000000102": None,  # found by its id although its symbol is another now
        "ENSG00000000106": "SMAD",  # by its symbol, for the graph lacks the id
    }
    assert (reading.read, reading.filtered) == (4, 1)
    assert reading.warnings == ("lambert.csv: 1 genes have another symbol in the graph: OLD2 (NA)",)


def test_the_table_of_animaltfdb(tmp_path: Path) -> None:
    text = "Species\tSymbol\tEnsembl\tFamily\tProtein\tEntrez_ID\nHomo_sapiens\tBBB2\tENSG00000000104\tbHLH\tx\t1\n"
    assert families(run_source("tfs", [write(tmp_path / "Homo_sapiens_TF", text)])) == {"ENSG00000000104": "bHLH"}


def test_an_ambiguous_symbol_is_rejected_and_a_row_without_a_name_too(tmp_path: Path) -> None:
    rows = [f"ENSG{i:011d}\t{s}\t1\t{i}\t{i + 9}\t1\tx\n" for i, s in ((1, "TWIN"), (2, "TWIN"), (3, "ONE"))]
    graph = graph_of([write(tmp_path / "g.tsv", HEAD + "".join(rows))], [SAMPLES / "peaks" / "peaks.bed"])
    listed = write(tmp_path / "tfs.tsv", "gene_id\tsymbol\tdbd\n\tTWIN\t\n\tONE\t\nENSG00000000002\tTWIN\t\n\t\tbHLH\n")
    reading = run_source("tfs", [listed], graph=graph)
    assert set(families(reading)) == {"ENSG00000000003", "ENSG00000000002"}
    assert sorted(messages(reading.rejected)) == [
        "tfs.tsv:2 column 'name': 'TWIN' names several genes of the graph",
        "tfs.tsv:5 column 'name': the row has no id",
    ]


def test_a_table_that_names_no_gene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column names genes; there are motif, score"):
        run_source("tfs", [write(tmp_path / "x.tsv", "motif\tscore\nMA1\t1\n")])


def test_real_lists(data: Path) -> None:
    """16 names of Lambert's list are retired symbols or clone names, 29 of MGI's; two of each are of several genes."""
    peaks = [SAMPLES / "peaks" / "peaks.bed"]
    human = graph_of([data / "genes" / "grch38.tsv.gz"], peaks)
    reading = run_source("tfs", [data / "motifs" / "tf_list_human_lambert2018.txt"], graph=human)
    assert (reading.read, reading.rows, reading.filtered, len(reading.rejected)) == (1_639, 1_621, 16, 2)
    assert "ARNTL" in reading.warnings[0]
    mouse = graph_of([data / "genes" / "grcm38.tsv.gz"], peaks, "GRCm39")
    reading = run_source("tfs", [data / "motifs" / "tf_list_mouse_mgi.txt"], "GRCm39", graph=mouse)
    assert (reading.read, reading.rows, reading.filtered, len(reading.rejected)) == (1_721, 1_690, 29, 2)
