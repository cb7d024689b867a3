"""Motifs: nodes, the factors they belong to, JASPAR's releases, and what changed between two of them."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cli.main import call
from kg.errors import NotFound, SettingsError
from loaders.motifs.drift import drift, similarity
from loaders.motifs.formats import Motif, read_motifs
from loaders.motifs.jaspar import read_release, to_jaspar
from loaders.tables.files import check_file
from loaders.tables.rows import messages
from tests.loaders.world import SAMPLES, graph_of, run_source, write

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.reading import ParsedSource

MADE = SAMPLES / "motifs" / "made.jaspar"
AAA1, BBB2, CCC3 = (f"ENSG0000000010{i}" for i in (1, 4, 6))
HUMAN = {"species": "NCBITaxon:9606"}


def rows(reading: ParsedSource, type_: str) -> list[dict[str, Any]]:
    return [row for b in reading.batches if b.type.name == type_ for row in b.table.to_pylist()]


def edges(reading: ParsedSource) -> list[tuple[str, str, str | None]]:
    return sorted((row["start_id"], row["end_id"], row["evidence"]) for row in rows(reading, "MOTIF_OF"))


def table(path: Path, *lines: str, head: str = "Motif\tFactor\tEvidence\tCurated") -> Path:
    return write(path, "".join(f"{line}\n" for line in (head, *lines)))


def test_a_motif_and_its_digest() -> None:
    motifs = {row["id"]: row for row in rows(run_source("motifs", [MADE], **HUMAN), "Motif")}
    one = motifs["MA9002.2"]
    assert (one["name"], one["base_id"], one["collection"]) == ("AAA1::BBB2", "MA9002", "JASPAR")
    assert (one["length"], one["consensus"]) == (12, "CCATGTTAACGT")
    assert json.loads(one["matrix"])[0] == [0, 59, 1, 0]
    assert one["digest"] == sha256(one["matrix"].encode()).hexdigest()
    assert "." not in one["matrix"]


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pcm", ">a\n" + "10.05\t0.0\t1000000\t0.1234567\n" * 5)
    (motifs,) = rows(run_source("motifs", [path]), "Motif")
    assert json.loads(motifs["matrix"])[0] == [10.05, 0, 1_000_000, 0.123457]
    assert (motifs["collection"], motifs["base_id"]) == ("unknown", "a")
    assert rows(run_source("motifs", [path], collection="MINE"), "Motif")[0]["collection"] == "MINE"


def test_a_dimer_belongs_to_both_genes_and_all_become_factors() -> None:
    reading = run_source("motifs", [MADE], **HUMAN)
    assert edges(reading) == [
        ("MA9001.1", AAA1, "name"),
        ("MA9002.2", AAA1, "name"),
        ("MA9002.2", BBB2, "name"),
        ("MA9003.1", BBB2, "name, symbol in other case"),
    ]
    assert sorted((row["id"], row["family"]) for row in rows(reading, "TF")) == [(AAA1, None), (BBB2, None)]


def test_names_that_are_no_gene_count_as_filtered() -> None:
    reading = run_source("motifs", [SAMPLES / "motifs" / "made.pcm"], **HUMAN)
    assert edges(reading) == [("AAA1.H12CORE.0.P.B", AAA1, "name")]
    assert (reading.filtered, reading.read) == (1, 2)
    assert "1 genes are not in the graph: NOBODY" in reading.warnings[0]


def test_a_table_says_factors_evidence_and_family(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.tsv",
        "MA9001.1_MA9001.1.AAA1\tMA9001.1.CCC3\tSELEX\tY",
        "MA9002.2\tAAA1\tChIP-seq\tY",
        "MA9002.2\taaa1\tSELEX\tN",
        f"MA9002.2\t{BBB2}.7\tChIP-seq\tY",
        "MA7777.1\tAAA1\tSELEX\tY",
    )
    reading = run_source("motifs", [MADE], factors=path, **HUMAN)
    assert edges(reading) == [
        ("MA9001.1", CCC3, "SELEX"),
        ("MA9002.2", AAA1, "ChIP-seq; SELEX, symbol in other case"),
        ("MA9002.2", BBB2, "ChIP-seq"),
    ]
    assert (reading.filtered, reading.folded) == (1, 1)
    assert "no factor for 1 motifs, the first MA9003.1" in reading.warnings[0]
    named = table(tmp_path / "u.tsv", "MA9001.1\tAAA1\tbHLH", "MA9003.1\tCCC3\t", head="motif_id\tTF\tfamily")
    reading = run_source("motifs", [MADE], factors=named, **HUMAN)
    assert edges(reading) == [("MA9001.1", AAA1, None), ("MA9003.1", CCC3, None)]
    assert {row["id"]: row["family"] for row in rows(reading, "TF")} == {AAA1: "bHLH", CCC3: None}


def test_a_species_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="no gene of NCBITaxon:7227"):
        run_source("motifs", [MADE], species="NCBITaxon:7227")


def test_a_damaged_matrix_is_set_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jaspar", MADE.read_text().replace("[   0   1  59", "[   0   x  59"))
    reading = run_source("motifs", [path], **HUMAN)
    assert list(messages(reading.rejected)) == [
        "m.jaspar:7 column 'matrix': the matrix of 'MA9002.2': 'x' is not a number"
    ]
    assert sorted(row["id"] for row in rows(reading, "Motif")) == ["MA9001.1", "MA9003.1"]
    assert {motif for motif, _, _ in edges(reading)} == {"MA9001.1", "MA9003.1"}


def test_one_id_with_two_matrices_is_set_apart(tmp_path: Path) -> None:
    other = write(tmp_path / "m.jaspar", ">MA9001.1 AAA1\n1 2\n3 4\n5 6\n7 8\n")
    reading = run_source("motifs", [MADE, other], **HUMAN)
    assert [row["line"] for row in reading.rejected.to_dict("records")] == [1, 1]
    assert sorted(row["id"] for row in rows(reading, "Motif")) == ["MA9002.2", "MA9003.1"]


def test_real_factors(data: Path) -> None:
    """Counts of a loop over the table and the genes."""
    genes = data / "genes" / "grch38.tsv.gz"
    graph = graph_of([genes], [SAMPLES / "peaks" / "peaks.bed"])
    path = data / "motifs" / "HOCOMOCOv11_HUMAN.motif2factors.txt"
    reading = run_source("motifs", [data / "motifs" / "HOCOMOCOv11_HUMAN.pfm"], graph=graph, factors=path)
    symbols = {row["symbol"] for row in graph["Gene"].select(["symbol"]).to_pylist()}
    expected = [line.split("\t")[:2] for line in path.read_text().splitlines()[1:]]
    known = {(motif, factor) for motif, factor in expected if factor in symbols}
    assert len(edges(reading)) == len(known) == 399
    assert len(rows(reading, "Motif")) == 401


@pytest.mark.parametrize(("release", "count"), [("JASPAR2022", 841), ("JASPAR2024", 879)])
def test_releases_of_jaspar(tmp_path: Path, release: str, count: int) -> None:
    motifs, factors = read_release(release, ["vertebrates"])
    assert len(motifs) == count  # as JASPAR itself tells of the release
    back = read_motifs(check_file(write(tmp_path / "j.jaspar", to_jaspar(motifs))), Counter())
    assert [(one.id, one.name, one.matrix.tolist()) for one in back] == [
        (one.id, one.name, one.matrix.tolist()) for one in motifs
    ]
    assert {row["motif"] for row in factors} == {one.id for one in motifs}
    assert {row["factor"]: row["family"] for row in factors if row["motif"].startswith("MA0099.")} == {
        "FOS": "Fos-related",
        "JUN": "Jun-related",
    }


def test_no_such_release() -> None:
    with pytest.raises(NotFound, match="no release 'JASPAR1999'") as caught:
        read_release("JASPAR1999")
    assert "JASPAR2024" in caught.value.hint
    with pytest.raises(NotFound, match="has no motif of CORE for mammals"):
        read_release("JASPAR2024", ["mammals"])
    with pytest.raises(NotFound, match="has no motif of C'ORE"):
        read_release("JASPAR2024", collection="C'ORE")


def motif(id_: str, rows: list[list[float]], name: str = "X") -> Motif:
    return Motif(1, id_, name, np.array(rows, dtype=float))


A, C, G, T = np.eye(4).tolist()


def test_what_changed_between_two_versions() -> None:
    before = [
        motif("MA0001.1", [A, C, G, T]), motif("MA0002.1", [A, A, C]), motif("MA0003.1", [A, C, G, T, T]),
        motif("MA0004.2", [A]), motif("MA0005.1", [A, C]), motif("MA0006.1", [A, C], "old"), motif("MA0007.1", [A, C]),
    ]  # fmt: skip
    after = [
        motif("MA0001.1", [A, C, G, T]), motif("MA0002.1", [A, A, G]), motif("MA0003.2", [A, A, C, G, T]),
        motif("MA0003.1", [A, C, G, T, T]), motif("MA0005.1", [A, C, G]), motif("MA0006.1", [A, C], "new"),
        motif("MA0008.1", [A, C]), Motif(1, "MA0007.1", "X", np.empty((0, 4)), "damaged"),
    ]  # fmt: skip
    changes = [
        (c.change, c.before, c.after, c.length_before, c.length_after, c.similarity) for c in drift(before, after)
    ]
    assert changes == [
        ("new matrix", "MA0002.1", "MA0002.1", 3, 3, pytest.approx((2 - 1 / 3) / 3, abs=1e-4)),
        ("new version", "MA0003.1", "MA0003.2", 5, 5, 1.0),  # the reverse complement of AACGT is ACGTT
        ("vanished", "MA0004.2", "", 1, 0, None),
        ("new matrix", "MA0005.1", "MA0005.1", 2, 3, 1.0),
        ("renamed", "MA0006.1", "MA0006.1", 2, 2, 1.0),
        ("vanished", "MA0007.1", "", 2, 0, None),
        ("appeared", "", "MA0008.1", 0, 2, None),
    ]
    assert drift(before, before) == []


def test_similarity_is_that_of_a_slow_loop() -> None:
    rng = np.random.default_rng(2)
    for width, other in ((4, 9), (7, 7), (12, 5), (3, 8)):
        one, two = rng.dirichlet([0.5] * 4, width), rng.dirichlet([0.5] * 4, other)
        short, long = sorted((one, two), key=len)
        best = -1.0
        for turned in (short, short[::-1, ::-1]):
            for shift in range(-len(short), len(long)):
                pairs = [(i, i + shift) for i in range(len(short)) if 0 <= i + shift < len(long)]
                if len(pairs) >= min(4, len(short)):
                    total = sum(np.corrcoef(turned[i], long[j])[0, 1] for i, j in pairs)
                    best = max(best, total / len(short))
        assert similarity(one, two) == pytest.approx(best)
        assert similarity(one, one[::-1, ::-1]) == pytest.approx(1)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "v.jaspar"
    assert call(["motifs", "jaspar", "JASPAR2022", str(out), "--tax-group", "vertebrates", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["motifs"] == 841
    assert (tmp_path / "v.jaspar.factors.tsv").read_text().startswith("motif\tfactor\tevidence\tfamily\n")
    assert call(["motifs", "drift", str(out), "JASPAR2022", "--tax-group", "vertebrates"]) == 0
    assert capsys.readouterr().out == "no motif changed\n"
    assert call(["motifs", "drift", str(out), "JASPAR2024", "--tax-group", "vertebrates", "--json"]) == 0
    changes = Counter(one["change"] for one in json.loads(capsys.readouterr().out)["changes"])
    assert changes == {"appeared": 39, "vanished": 1, "new version": 669}
    assert call(["motifs", "drift", str(MADE), str(SAMPLES / "motifs" / "made.pcm")]) == 0
    output = capsys.readouterr().out
    assert "MA9002.2" in output
    assert output.endswith("2 appeared, 3 vanished\n")
