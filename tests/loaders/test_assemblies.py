"""Assemblies: names, aliases, chromosomes, lengths against real chain files."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from kg.errors import InputError
from loaders.genome.assemblies import assemblies, assembly, stated_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("alias", "name", "species"),
    [
        ("hg38", "GRCh38", "NCBITaxon:9606"),
        ("GRCH38", "GRCh38", "NCBITaxon:9606"),
        ("GRCh38.p14", "GRCh38", "NCBITaxon:9606"),
        ("hg19", "GRCh37", "NCBITaxon:9606"),
        ("mm10", "GRCm38", "NCBITaxon:10090"),
        ("mm39", "GRCm39", "NCBITaxon:10090"),
        ("rheMac8", "Mmul_8", "NCBITaxon:9544"),
        ("Mmul_10", "Mmul_10", "NCBITaxon:9544"),
    ],
)
def test_aliases(alias: str, name: str, species: str) -> None:
    assert (assembly(alias).name, assembly(alias).species) == (name, species)


def test_an_unknown_assembly_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="'hg77' is not known") as caught:
        assembly("hg77")
    assert "GRCh38 (hg38)" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("1", "chr1"),
        ("chr1", "chr1"),
        ("Chr1", "chr1"),
        ("x", "chrX"),
        ("MT", "chrM"),
        ("chrM", "chrM"),
        ("chrMT", "chrM"),
        ("GL000220.1", "GL000220.1"),
        ("KI270733.1", "KI270733.1"),
        ("CHR_HSCHR6_MHC_COX_CTG1", "CHR_HSCHR6_MHC_COX_CTG1"),
        ("HLA-A*01:01", None),  # a colon would break the id of a peak
        ("23", None),
        ("chr99", None),
        ("", None),
        ("a b", None),
    ],
)
def test_chromosome_names(given: str, canonical: str | None) -> None:
    assert assembly("GRCh38").canonical(given) == canonical


def test_a_mouse_has_no_chromosome_20() -> None:
    renamed = assembly("mm10").rename(pd.Series(["19", "20", "JH584304.1"]))
    assert renamed.tolist() == ["chr19", None, "JH584304.1"]


def test_every_assembly_has_its_chromosomes() -> None:
    autosomes = {"GRCh37": 22, "GRCh38": 22, "GRCm38": 19, "GRCm39": 19, "Mmul_8": 20, "Mmul_10": 20}
    assert set(assemblies()) == set(autosomes)
    for name, count in autosomes.items():
        expected = {f"chr{i}" for i in range(1, count + 1)} | {"chrX", "chrY", "chrM"}
        assert set(assembly(name).lengths) == expected


def test_an_end_is_beyond_only_past_the_last_base_of_a_known_chromosome() -> None:
    chroms, ends = pd.Series(["chr21", "chr21", "GL000220.1"]), pd.Series([46_709_983, 46_709_984, 10**9])
    assert assembly("GRCh38").beyond(chroms, ends).tolist() == [False, True, False]


def test_what_a_header_says() -> None:
    assert stated_in("#!genome-build Genome Reference Consortium GRCm39") == {"GRCm39"}
    assert stated_in("##description: evidence-based annotation of the human genome (GRCh38), version 29") == {"GRCh38"}
    assert stated_in("#!genome-build GRCh38.p13\n#!genome-version GRCh38") == {"GRCh38"}
    assert stated_in("track name=hg19ToHg38") == set()


@pytest.mark.parametrize(
    ("chain", "target", "query"),
    [("hg19ToHg38.over.chain.gz", "hg19", "hg38"), ("hg38ToHg19.over.chain.gz", "hg38", "hg19")],
)
def test_lengths_are_those_of_the_chain_files(data: Path, chain: str, target: str, query: str) -> None:
    compared = 0
    with gzip.open(data / "chains" / chain, "rt") as lines:
        for words in (line.split() for line in lines if line.startswith("chain")):
            for name, length, one in ((words[2], words[3], target), (words[7], words[8], query)):
                if name in assembly(one).lengths:
                    assert assembly(one).lengths[name] == int(length), name
                    compared += 1
    assert compared > 1_000


@pytest.mark.parametrize(("table", "fits"), [("grch38", "GRCh38"), ("grcm38", "GRCm39"), ("mmul801", "Mmul_10")])
def test_real_gene_tables_fit_an_assembly(data: Path, table: str, fits: str) -> None:
    """Two of the tables are of a later assembly than their name says; the lengths tell."""
    genes = pd.read_csv(data / "genes" / f"{table}.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
    misfits = {name: one.misfits(genes["chr"], genes["end"].astype(int)) for name, one in assemblies().items()}
    assert misfits.pop(fits) == 0
    assert min(misfits.values()) > 10
