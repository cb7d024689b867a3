"""Chain files: what is read, and what is refused with its line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from kg.errors import InputError
from loaders.genome.assemblies import assembly
from loaders.tables.chain import Chains, fits, join, read_chains
from loaders.tables.files import check_file
from tests.loaders.world import write

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """##matrix=axtChain 16 91 -114 -31 -123
chain 4900 chrY 58368225 + 25985403 25985638 chr5 151006098 - 43257292 43257528 1
9\t1\t0
10\t0\t5
48\t6\t3
161

chain 4800 1 1000 + 0 30 X 900 + 5 35
10 10 10
10

"""


def read(folder: Path, text: str, name: str = "made.chain") -> Chains:
    return read_chains(check_file(write(folder / name, text)), Counter())


def test_blocks(tmp_path: Path) -> None:
    for name in ("made.chain", "made.chain.gz"):
        chains = read(tmp_path, TEXT, name)
        assert chains.chrom.tolist() == ["chrY", "1"]
        assert chains.to_chrom.tolist() == ["chr5", "X"]
        assert chains.inverted.tolist() == [True, False]
        assert (chains.sizes, chains.to_sizes) == ({"chrY": 58_368_225, "1": 1000}, {"chr5": 151_006_098, "X": 900})
        assert chains.chain.tolist() == [0, 0, 0, 0, 1, 1]
        assert (chains.block_start - 25_985_403).tolist()[:4] == [0, 10, 20, 74]
        assert (chains.block_end - chains.block_start).tolist() == [9, 10, 48, 161, 10, 10]
        assert (chains.block_to - 43_257_292).tolist()[:4] == [0, 9, 24, 75]
        assert chains.block_to.tolist()[4:] == [5, 25]


def test_an_empty_block_aligns_nothing(tmp_path: Path) -> None:
    chains = read(tmp_path, TEXT.replace("10 10 10", "10 4 6\n0 6 4"))
    assert chains.block_start.tolist()[4:] == [0, 20]


def test_several_files_are_one(tmp_path: Path) -> None:
    head, tail = TEXT.split("\n\n", 1)
    files = [check_file(write(tmp_path / f"{i}.chain", part + "\n")) for i, part in enumerate((head, tail))]
    both, whole = join([read_chains(file, Counter()) for file in files]), read(tmp_path, TEXT)
    for name in Chains.__dataclass_fields__:
        assert getattr(both, name).tolist() == getattr(whole, name).tolist()


def test_names_of_the_assembly(tmp_path: Path) -> None:
    text = (
        "chain 1 1 249250621 + 0 9 HSCHR1_CTG1 900 + 0 9 1\n9\n\n"
        "chain 1 GL000191.1 106433 + 0 9 MT 16569 + 0 9 2\n9\n\n"
    )
    chains = read(tmp_path, text)
    assert fits(chains.sizes, assembly("hg19"))
    assert not fits(chains.sizes, assembly("hg38"))
    assert not fits(chains.to_sizes, assembly("hg38"))  # nothing but a mitochondrial one
    named = chains.named(assembly("hg19"), assembly("hg38"))
    assert named.chrom.tolist() == ["chr1", "GL000191.1"]
    assert named.to_chrom.tolist() == ["HSCHR1_CTG1", "chrM"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("161\n", "161\t2\t2\n", ":6 the chain is cut off here"),
        ("10\t0\t5", "10\t0", ":4 '10\\t0' is neither a chain's header nor a block"),
        ("10\t0\t5", "10\t0\t-5", ":4 '10\\t0\\t-5' is neither"),
        ("10\t0\t5", "10\t0\t5\t1", ":4 "),
        ("48\t6", "4x\t6", ":5 '4x\\t6\\t3' is neither"),
        ("10\t0\t5\n", "", ":2 the header says that the chain ends at 25985638, its blocks end at 25985628"),
        ("48\t6\t3", "48\t6\t4", ":2 the header says that the chain ends at 43257528, its blocks end at 43257529"),
        ("48\t6\t3\n", "48\t6\t3\n7\n", ":6 a block alone ends a chain, but more blocks follow"),
        ("10 10 10\n10\n", "", ":8 the chain has no blocks"),
        ("chain 4800 1 1000 + 0 30 X 900 + 5 35", "", ":6 a block alone ends a chain, but more"),
        ("10 10 10\n10\n", "10 20 20\n0\n", ":8 the chain begins or ends without an aligned base"),
        ("chrY 58368225 +", "chrY 58368225 -", ":2 'chain 4900 chrY 58368225 - 25985403"),
        ("+ 0 30 X", "+ 0 30", ":8 'chain 4800 1 1000 + 0 30 900 + 5 35' is not a header of 12 or 13 fields"),
        ("1 1000 +", "1 20 +", ":8 0-30 is not an interval within 20 bp"),
        ("X 900", "chr5 900", ":8 chr5 has 900 bp here, and another length above"),
        ("##matrix", "chr1\t5\t9\n##matrix", ":1 'chr1\\t5\\t9' is neither"),
        ("##matrix", "5\n##matrix", ":1 a block comes before the first header"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert caught.value.message.startswith(f"made.chain{message}")


def test_what_is_no_chain_file_or_cut_off(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bed\.chain:1 "):
        read(tmp_path, "chr1\t5\t9\n", "bed.chain")
    with pytest.raises(InputError, match="the file holds no chain"):
        read(tmp_path, "# nothing\n")
    packed = write(tmp_path / "cut.chain.gz", TEXT * 500)
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(InputError, match="cut off before its end"):
        read_chains(check_file(packed), Counter())
