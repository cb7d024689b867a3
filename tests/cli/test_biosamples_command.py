"""`regkg load biosamples` and `regkg biosamples`, by their output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.main import call

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

OBO = """format-version: 1.2

[Term]
id: CL:0000576
name: monocyte

[Term]
id: CL:0000860
name: classical monocyte
is_a: CL:0000576 ! monocyte
"""


@pytest.fixture
def said(
    monkeypatch: pytest.MonkeyPatch,
    neo4j_endpoint: Endpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    store: Store,
) -> Any:
    assert store
    monkeypatch.setenv("REGKG_HOME", str(tmp_path))
    monkeypatch.setenv("REGKG_NEO4J_URI", neo4j_endpoint.uri)
    monkeypatch.setenv("REGKG_NEO4J_PASSWORD", neo4j_endpoint.password)

    def run(*args: str) -> Any:
        code = call([*args, "--json"])
        out = capsys.readouterr()
        return json.loads(out.out if code == 0 else out.err)

    return run


def test_monocyte_finds_classical_monocyte_and_the_texts_of_files(said: Any, tmp_path: Path) -> None:
    (tmp_path / "cl.obo").write_text(OBO)
    (tmp_path / "mapping.tsv").write_text("text\tid\nCD14+ mono\tCL:0000860\n")
    (tmp_path / "genes.tsv").write_text(
        "ensgene\tsymbol\tchr\tstart\tend\tstrand\tbiotype\nENSG00000000001\tSPI1\t1\t900\t990\t1\tx\n"
    )
    (tmp_path / "peaks.bed").write_text("chr1\t100\t200\n")
    (tmp_path / "chip.bed").write_text("chr1\t150\t250\n")
    assert said("load", "biosamples", str(tmp_path / "cl.obo"))["added"] == 3
    assert said("biosamples") == []
    for source in ("genes.tsv", "peaks.bed"):
        said("load", source.partition(".")[0], str(tmp_path / source), "--assembly", "hg38")
    chip = ("load", "chipseq", str(tmp_path / "chip.bed"), "--assembly", "hg38", "--tf", "SPI1")
    assert said(*chip, "--biosample", "CD14+ mono")["added"] == 3  # BINDS, TF, biosample
    assert said("biosamples") == [{"id": "CD14+ mono", "edges": 1}]
    mapped = said("load", "biosamples", str(tmp_path / "mapping.tsv"), "--dataset", "biosamples:mapping")
    assert mapped["added"] == 3
    assert said("biosamples") == []
    assert said("biosamples", "Monocyte") == [
        {"id": "CD14+ mono", "name": "CD14+ mono"},
        {"id": "CL:0000576", "name": "monocyte"},
        {"id": "CL:0000860", "name": "classical monocyte"},
    ]
    assert said("biosamples", "monocyte", "--release", "9")  # nothing is closed, so later numbers have it all
    assert said("biosamples", "monocytes")["error"]["hint"].startswith("did you mean monocyte")
