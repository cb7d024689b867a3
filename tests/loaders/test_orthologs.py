"""Orthologs: the same pairs out of every format, classes from the whole groups, identities on the right side."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from kg.errors import InputError, ParameterError
from kg.schema import GENE
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, run_source, samples, write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.reading import ParsedSource

H, M = "ENSG000000001{:02d}", "ENSMUSG000000002{:02d}"


def pairs_of(reading: ParsedSource) -> dict[tuple[str, str], tuple[Any, ...]]:
    (batch,) = reading.batches
    columns = ("class", "identity", "group")
    return {(r["start_id"], r["end_id"]): tuple(r[c] for c in columns) for r in batch.table.to_pylist()}


def sample(name: str) -> Path:
    return SAMPLES / "orthologs" / name


@pytest.mark.parametrize("name", ["homologene.tsv", "homologene.data"])
def test_homologene_groups(name: str) -> None:
    """NCBITaxon:10090 sorts before NCBITaxon:9606, so mouse genes come first."""
    reading = run_source("orthologs", [sample(name)])
    assert pairs_of(reading) == {
        (M.format(1), H.format(1)): ("one2one", None, "1"),
        (M.format(2), H.format(4)): ("one2many", None, "2"),
        (M.format(3), H.format(4)): ("one2many", None, "2"),
        **{(M.format(m), H.format(h)): ("many2many", None, "3") for m in (4, 5) for h in (2, 6)},
    }
    assert (reading.read, reading.filtered, reading.folded, len(reading.rejected)) == (13, 1 + 1 + 2, 0, 0)
    assert reading.warnings == (
        f"{name}: 1 rows are of a species without genes in the graph, the first in line {3 + (name[-3:] == 'tsv')}",
        f"{name}: 1 genes are not in the graph: NCBITaxon:10090 mt-Aa",
        f"{name}: 2 rows have no ortholog among the genes of the graph, the first in line {11 + (name[-3:] == 'tsv')}",
    )


def test_the_class_is_that_of_the_whole_group(tmp_path: Path) -> None:
    """The graph has no Bbb2c: the pair that is left is still one of one to many."""
    text = "HID\tGene.Symbol\tTaxonomy\tGene.ID\n2\tBBB2\t9606\t1\n2\tBbb2a\t10090\t2\n2\tBbb2c\t10090\t3\n"
    pairs = pairs_of(run_source("orthologs", [write(tmp_path / "h.tsv", text)]))
    assert pairs == {(M.format(2), H.format(4)): ("one2many", None, "2")}


def test_a_symbol_means_a_gene_of_its_species(tmp_path: Path) -> None:
    """A mouse gene that is called AAA1 as well changes nothing."""
    from tests.loaders.world import sample_graph

    graph = dict(sample_graph())
    rows = graph[GENE.label].to_pylist()
    twin = next(r for r in rows if r["symbol"] == "Eee5") | {"symbol": "AAA1"}
    graph[GENE.label] = pa.Table.from_pylist([*rows, twin], GENE.schema)
    pairs = pairs_of(run_source("orthologs", [sample("homologene.tsv")], graph=graph))
    assert (M.format(1), H.format(1)) in pairs
    assert len(pairs) == 7


def test_a_dump_of_compara() -> None:
    reading = run_source("orthologs", [sample("Compara.made.homologies.tsv")])
    assert pairs_of(reading) == {
        (M.format(1), H.format(1)): ("one2one", 46.25, None),  # low confidence and identity do not matter here
        (M.format(2), H.format(4)): ("one2many", 60.25, None),
        (M.format(4), H.format(6)): ("many2many", 91.0, None),
    }
    assert (reading.read, reading.folded, reading.filtered) == (8, 1, 4)
    warnings = " ".join(reading.warnings)
    for why in (
        "1 rows are not orthologs",
        "are not in the graph: ENSRNOG00000000301",
        "of low confidence",
        "than 50 %",
    ):
        assert why in warnings


def test_thresholds() -> None:
    file = sample("Compara.made.homologies.tsv")
    assert (M.format(3), H.format(4)) in pairs_of(run_source("orthologs", [file], min_identity=49.5))
    assert (M.format(3), H.format(4)) not in pairs_of(run_source("orthologs", [file], min_identity=49.6))
    assert (M.format(5), H.format(6)) in pairs_of(run_source("orthologs", [file], low_confidence=True))
    with pytest.raises(ParameterError, match="min_identity is 101: at most 100"):
        run_source("orthologs", [file], min_identity=101)


def test_an_export_of_biomart() -> None:
    reading = run_source("orthologs", [sample("biomart.tsv")])
    assert pairs_of(reading) == {
        (M.format(1), H.format(1)): ("one2one", 46.25, None),
        (M.format(2), H.format(4)): ("one2many", 60.25, None),
        (M.format(4), H.format(6)): ("many2many", 91.0, None),
    }


def test_two_sources_at_once() -> None:
    pairs = pairs_of(run_source("orthologs", [sample("biomart.tsv"), sample("Compara.made.homologies.tsv")]))
    assert len(pairs) == 3
    assert len(samples("orthologs")) == 4


def test_what_is_wrong(tmp_path: Path) -> None:
    strange = write(tmp_path / "x.tsv", "a\tb\n1\t2\n")
    with pytest.raises(InputError, match=r"x\.tsv: the header is neither homologene's nor Compara's: a, b"):
        run_source("orthologs", [strange])
    bare = write(tmp_path / "y.tsv", "Gene stable ID\tMouse gene stable ID\nE\tF\n")
    with pytest.raises(InputError, match="no column Mouse homology type"):
        run_source("orthologs", [bare])
    text = sample("Compara.made.homologies.tsv").read_text()
    odd = text.replace("ortholog_many2many", "ortholog_some", 1).replace("44.5", "144.5").replace("60.25", "x", 1)
    reading = run_source("orthologs", [write(tmp_path / "odd.tsv", odd)])
    assert sorted(messages(reading.rejected)) == [
        "odd.tsv:2 column 'gene_identity': 144.5 is not between 0 and 100",
        "odd.tsv:4 column 'other_identity': 'x' is not a number",
        "odd.tsv:6 column 'type': 'ortholog_some' is not one2one, one2many or many2many",
    ]


def test_real_homologene_against_a_loop(data: Path) -> None:
    files = {"grch38": "hg38", "grcm38": "mm39", "mmul801": "rheMac10"}  # what their coordinates are of
    tables = [
        run_source("genes", [data / "genes" / f"{name}.tsv.gz"], of).batches[0].table for name, of in files.items()
    ]
    file = data / "orthologs" / "homologene2_human_mouse_macaque_rat.tsv"
    reading = run_source("orthologs", [file], graph={GENE.label: pa.concat_tables(tables)})
    pairs = pairs_of(reading)

    symbols: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in (row for table in tables for row in table.to_pylist()):
        symbols[row["species"], row["symbol"]].append((row["id"], row["chrom"]))
    groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    with file.open() as text:
        for row in csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE):
            groups[row["HID"]][f"NCBITaxon:{row['Taxonomy']}"].add(row["Gene.Symbol"])

    def gene(species: str, symbol: str) -> str | None:
        held = symbols[species, symbol]
        main = [i for i, chrom in held if chrom.removeprefix("chr") in MAIN and not i.endswith("_PAR_Y")]
        return held[0][0] if len(held) == 1 else main[0] if len(main) == 1 else None

    expected = Counter[tuple[str, str, str, str]]()
    for group, held in groups.items():
        for a in held:
            for b in (b for b in held if a < b):
                several = (len(held[a]) > 1) + (len(held[b]) > 1)
                for x in filter(None, (gene(a, s) for s in held[a])):
                    for y in filter(None, (gene(b, s) for s in held[b])):
                        expected[x, y, ("one2one", "one2many", "many2many")[several], group] += 1
    # a pair of two groups has no one group, and is set apart
    times = Counter((x, y) for x, y, *_ in expected)
    once = {pair for pair in expected if times[pair[:2]] == 1}
    assert {(*pair, said[0], said[2]) for pair, said in pairs.items()} == once
    assert Counter(reading.rejected["rule"]) == {"MANY_GENES": 58, "CONFLICT": 12}
    assert (reading.read, reading.filtered, reading.folded, len(pairs)) == (76_209, 28_274, 0, 43_314)
    kinds = Counter((pair[0][:6], pair[1][:6]) for pair, said in pairs.items() if said[0] == "one2one")
    assert kinds == {("ENSMUS", "ENSG00"): 16_236, ("ENSMMU", "ENSG00"): 13_370, ("ENSMUS", "ENSMMU"): 12_631}


MAIN = {*map(str, range(1, 100)), "X", "Y", "M"}
