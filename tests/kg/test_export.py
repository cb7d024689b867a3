"""Exports of a published world, read back with other libraries and held against the world as dictionaries."""

from __future__ import annotations

import gzip
import io
import json
import os
import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING, Any

import anndata
import networkx as nx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyranges
import pytest

from kg.errors import Conflict, ParameterError, SettingsError, UnknownRelease
from kg.export import answers, reading, writing
from kg.export.formats import kgx
from kg.export.registry import format_for, formats
from kg.guidance import read_guidance
from kg.query.plan import run_plan
from kg.query.registry import question_named
from kg.schema import CELLS, EDGE_TYPES, NODE_TYPES
from tests.kg.published import Published, gene_id, peak_id, publish_world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.export.content import Content
    from kg.export.writing import Exported
    from kg.store import Store

Link = tuple[str, str, str]


@pytest.fixture(scope="module")
def world(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, tmp_path_factory.mktemp("home"))


def expected(world: Published, release: int = 2) -> Counter[Link]:
    """Type, peak, gene of everything that readers of a release see."""
    found = Counter(("NEAR", peak, gene) for peak, gene in world.near[release])
    for run in world.served:
        for link in world.links[run]:
            if link["start_id"] in world.peaks[release] and link["end_id"] in world.genes[release]:
                found["PREDICTED_LINK", link["start_id"], link["end_id"]] += 1
    return found


def all_edges(store: Store, **more: Any) -> Content:
    return reading.edges(store, ["NEAR", "PREDICTED_LINK"], **more)


def written(content: Content, path: Path, **more: Any) -> Exported:
    return writing.write(content, path, **more)


def frame_of(path: Path, names: list[str]) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", comment="#", header=None, names=names, keep_default_na=False)


def tss(world: Published, gene: str, release: int = 2) -> int:
    return int(world.genes[release][gene]["tss"])


def symbols(world: Published) -> dict[str, str]:
    return {id_: gene["symbol"] for id_, gene in world.genes[2].items()}


def test_parquet_holds_every_column_of_every_edge(session_store: Store, world: Published, tmp_path: Path) -> None:
    done = written(all_edges(session_store), tmp_path / "edges.parquet")
    table = pq.read_table(tmp_path / "edges.parquet")
    rows = table.to_pylist()
    assert Counter((r["type"], r["start_id"], r["end_id"]) for r in rows) == expected(world)
    assert done.rows == len(rows)
    near = {(r["start_id"], r["end_id"]): (r["distance_bp"], r["tss_distance_bp"]) for r in rows if r["type"] == "NEAR"}
    assert near == world.near[2]
    links = {(link["edge_id"], run): link for run in world.served for link in world.links[run]}
    for row in (r for r in rows if r["type"] == "PREDICTED_LINK"):
        link = links[row["edge_id"], row["run"]]
        for name in ("score", "q_value", "p_value", "sign", "stability", "called", "score_kind"):
            assert row[name] == link[name], name
        assert row["dataset"] is row["since"] is row["distance_bp"] is None
    about = json.loads(table.schema.metadata[b"regkg"])
    assert (about["release"], sorted(about["runs"])) == (2, sorted(world.served))
    order = [(r["type"] == "PREDICTED_LINK", r["edge_id"], r["run"] or "") for r in rows]
    assert order == sorted(order)


def test_what_is_beside_a_file_says_where_it_comes_from(session_store: Store, world: Published, tmp_path: Path) -> None:
    done = written(all_edges(session_store), tmp_path / "edges.tsv.gz")
    beside = json.loads((tmp_path / "edges.tsv.gz.json").read_text())
    (release,) = session_store.read("MATCH (r:Release {number: 2}) RETURN r.hash AS hash")
    assert (beside["release"], beside["hash"], beside["format"]) == (2, release["hash"], "tsv")
    assert sorted(beside["runs"]) == sorted(world.served)
    assert beside["files"] == done.files
    assert sorted(p.name for p in tmp_path.iterdir()) == ["edges.tsv.gz", "edges.tsv.gz.json"]
    again = written(all_edges(session_store), tmp_path / "edges.tsv.gz")
    assert again.files == done.files


def test_tsv_is_the_parquet_in_text(session_store: Store, world: Published, tmp_path: Path) -> None:
    assert world.served
    written(all_edges(session_store), tmp_path / "edges.tsv")
    written(all_edges(session_store), tmp_path / "edges.parquet")
    text = pd.read_csv(tmp_path / "edges.tsv", sep="\t")
    table = pd.read_parquet(tmp_path / "edges.parquet")
    assert list(text.columns) == list(table.columns)
    numbers = text.select_dtypes("number").columns
    for name in numbers:
        np.testing.assert_array_equal(text[name].astype(np.float32), table[name].astype(np.float32))
    for name in ("type", "start_id", "end_id", "edge_id", "dataset", "run", "score_kind"):
        assert text[name].fillna("").tolist() == table[name].fillna("").tolist()
    # whole numbers that may be missing stay whole
    assert (
        "." not in (tmp_path / "edges.tsv").read_text().splitlines()[1].split("\t")[list(text.columns).index("since")]
    )


def test_an_older_release_and_another_run(session_store: Store, world: Published) -> None:
    old = [row for table in all_edges(session_store, release=1).rows for row in table.to_pylist()]
    assert Counter((r["type"], r["start_id"], r["end_id"]) for r in old) == expected(world, 1)
    other = [row for table in all_edges(session_store, run=world.unserved).rows for row in table.to_pylist()]
    assert {r["run"] for r in other if r["type"] == "PREDICTED_LINK"} == {world.unserved}
    called = reading.edges(session_store, ["PREDICTED_LINK"], called_only=True)
    assert {row["called"] for table in called.rows for row in table.to_pylist()} == {True}
    with pytest.raises(UnknownRelease):
        all_edges(session_store, release=7)


def test_all_types_fit_into_one_table(session_store: Store, world: Published, tmp_path: Path) -> None:
    done = written(reading.edges(session_store), tmp_path / "all.parquet")
    assert done.rows == expected(world).total()
    names = {name for type_ in EDGE_TYPES.values() for name in type_.schema.names}
    assert names <= set(pq.read_schema(tmp_path / "all.parquet").names)


def test_bed_of_edges_is_their_peaks_named_by_their_genes(
    session_store: Store, world: Published, tmp_path: Path
) -> None:
    written(all_edges(session_store), tmp_path / "edges.bed")
    found = pyranges.read_bed(str(tmp_path / "edges.bed")).df
    rows = zip(found.Chromosome, found.Start, found.End, found.Name, strict=True)
    assert Counter(f"GRCh38:{c}:{s}-{e} {n}" for c, s, e, n in rows) == Counter(
        f"{peak} {symbols(world)[gene]}" for _, peak, gene in expected(world).elements()
    )
    assert found.Score.between(0, 1000).all()
    links = [x for run in world.served for x in world.links[run]]
    shades = [round(1000 * min(max(x["score"], 0), 1)) for x in links if in_release(world, x)]
    assert Counter(found.Score.astype(int)) == Counter(shades) + Counter({1000: len(world.near[2])})


def in_release(world: Published, link: dict[str, Any]) -> bool:
    return link["start_id"] in world.peaks[2] and link["end_id"] in world.genes[2]


def test_bed_of_peaks(session_store: Store, world: Published, tmp_path: Path) -> None:
    written(reading.nodes(session_store, "Peak"), tmp_path / "peaks.bed.gz")
    found = pyranges.read_bed(str(tmp_path / "peaks.bed.gz")).df
    rows = zip(found.Chromosome, found.Start, found.End, strict=True)
    assert {f"GRCh38:{c}:{s}-{e}" for c, s, e in rows} == set(world.peaks[2]) == set(found.Name)


def test_bedpe(session_store: Store, world: Published, tmp_path: Path) -> None:
    written(all_edges(session_store), tmp_path / "edges.bedpe")
    names = ["c1", "s1", "e1", "c2", "s2", "e2", "name", "score", "st1", "st2", "type", "said_by"]
    found = frame_of(tmp_path / "edges.bedpe", names)
    rows = [(r.type, f"GRCh38:{r.c1}:{r.s1}-{r.e1}", r.c2, r.s2, r.e2, r.st1, r.st2) for r in found.itertuples()]
    assert Counter(rows) == Counter(
        (type_, peak, "chr1", tss(world, gene), tss(world, gene) + 1, ".", world.genes[2][gene]["strand"])
        for type_, peak, gene in expected(world).elements()
    )
    assert set(found.loc[found.type == "NEAR", "score"]) == {"."}
    assert set(found.loc[found.type == "NEAR", "said_by"]) == {"near:a"}


INTERACT = [
    *("chrom", "chromStart", "chromEnd", "name", "score", "value", "exp", "color"),
    *(f"{side}{what}" for side in ("source", "target") for what in ("Chrom", "Start", "End", "Name", "Strand")),
]


def test_interact_keeps_the_rules_of_its_autosql(session_store: Store, world: Published, tmp_path: Path) -> None:
    done = written(all_edges(session_store), tmp_path / "edges.interact")
    lines = (tmp_path / "edges.interact").read_text().splitlines()
    assert sum(line.startswith("track type=interact ") for line in lines) == 1
    body = "\n".join(line for line in lines if not line.startswith(("track", "#")))
    found = pd.read_csv(io.StringIO(body), sep="\t", header=None, names=INTERACT, keep_default_na=False)
    apart = found.sourceChrom != found.targetChrom
    assert apart.any()
    near = found[~apart]
    assert (near.chromStart == near[["sourceStart", "targetStart"]].min(axis=1)).all()
    assert (near.chromEnd == near[["sourceEnd", "targetEnd"]].max(axis=1)).all()
    # between chromosomes: two records, each on its own end
    twice = found[apart].groupby(INTERACT[3:]).agg(list)
    for row, chroms, starts in zip(twice.index, twice.chrom, twice.chromStart, strict=True):
        ends = dict(zip(INTERACT[3:], row, strict=True))
        halves = [(ends["sourceChrom"], ends["sourceStart"]), (ends["targetChrom"], ends["targetStart"])]
        assert Counter(zip(chroms, starts, strict=True)) == Counter(halves * (len(chroms) // 2))
    total = expected(world)
    across = sum(n for (_, peak, _), n in total.items() if peak.split(":")[1] != "chr1")
    assert (len(found), done.rows, done.skipped) == (total.total() + across, total.total() + across, 0)
    assert found.score.between(0, 1000).all()
    assert set(found.color) <= {"0", "178,24,43", "33,102,172"}
    scores = Counter(
        x["score"]
        for run in world.served
        for x in world.links[run]
        if in_release(world, x) and "chr1:" in x["start_id"]
    )
    assert Counter(near.value[near.exp.isin(world.served)]) == scores


def test_longrange_says_each_link_from_both_ends(session_store: Store, world: Published, tmp_path: Path) -> None:
    done = written(all_edges(session_store), tmp_path / "edges.longrange")
    found = frame_of(tmp_path / "edges.longrange", ["chrom", "start", "end", "partner"])
    other = found.partner.str.extract(r"^(?P<chrom>chr\w+):(?P<start>\d+)-(?P<end>\d+),(?P<score>-?[\d.e-]+)$")
    assert other.notna().all().all()
    here = Counter(zip(found.chrom, found.start, found.end, strict=True))
    there = Counter(zip(other.chrom, other.start.astype(int), other.end.astype(int), strict=True))
    assert here == there
    assert (len(found), done.skipped) == (2 * expected(world).total(), 0)


def test_sif(session_store: Store, world: Published, tmp_path: Path) -> None:
    written(all_edges(session_store), tmp_path / "edges.sif")
    rows = (line.split("\t") for line in (tmp_path / "edges.sif").read_text().splitlines())
    assert Counter((type_, a, b) for a, type_, b in rows) == expected(world)


def test_graphml_reads_in_networkx(session_store: Store, world: Published, tmp_path: Path) -> None:
    written(all_edges(session_store), tmp_path / "edges.graphml")
    found = nx.read_graphml(tmp_path / "edges.graphml", force_multigraph=True)
    assert Counter((d["type"], a, b) for a, b, d in found.edges(data=True)) == expected(world)
    joined = {id_ for _, peak, gene in expected(world) for id_ in (peak, gene)}
    assert set(found.nodes) == joined
    gene = world.genes[2][gene_id(2)]
    assert found.nodes[gene_id(2)] == {
        "label": "Gene",
        "name": gene["symbol"],
        **{name: gene[name] for name in ("species", "assembly", "chrom", "start", "end", "strand", "tss")},
    }
    scores = Counter(d["score"] for _, _, d in found.edges(data=True) if "score" in d)
    assert scores == Counter(x["score"] for run in world.served for x in world.links[run] if in_release(world, x))
    root = ET.parse(tmp_path / "edges.graphml").getroot()
    space = "{http://graphml.graphdrawing.org/xmlns}"
    graph = root.find(f"{space}graph")
    assert graph is not None
    kinds = [child.tag.removeprefix(space) for child in graph]
    assert kinds == sorted(kinds, key=["desc", "node", "edge"].index)


def test_the_guidance_graph_in_graphml_and_parquet(session_store: Store, world: Published, tmp_path: Path) -> None:
    graph = read_guidance(session_store, 2, ["NEAR"])
    done = written(reading.guidance(session_store, ["NEAR"]), tmp_path / "guidance.graphml")
    found = nx.read_graphml(tmp_path / "guidance.graphml")
    assert set(found.nodes) == set(graph.vertices.tolist()) == set(world.genes[2]) | set(world.peaks[2])
    weights = {(a, b): np.float32(d["weight"]) for a, b, d in found.edges(data=True)}
    names = graph.vertices.tolist()
    assert weights == {
        (names[s], names[t]): w for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)
    }
    assert done.rows == len(graph.source)
    written(reading.guidance(session_store, ["NEAR"]), tmp_path / "guidance.parquet")
    about = json.loads((tmp_path / "guidance.parquet.json").read_text())
    assert about["guidance_hash"] == graph.hash
    table = pd.read_parquet(tmp_path / "guidance.parquet")
    assert table["sign"].tolist() == graph.sign.tolist()
    with pytest.raises(Conflict, match="must not guide"):
        reading.guidance(session_store, ["PREDICTED_LINK"])


CURIE = r"^[A-Za-z][A-Za-z0-9]*:\S+$"
LEVELS = {"knowledge_assertion", "logical_entailment", "prediction", "statistical_association", "observation"}
AGENTS = {"manual_agent", "data_analysis_pipeline", "computational_model"}


def test_kgx_has_what_its_specification_asks_for(session_store: Store, world: Published, tmp_path: Path) -> None:
    done = written(all_edges(session_store), tmp_path / "world.kgx")
    assert sorted(done.files) == ["world_edges.tsv", "world_nodes.tsv"]
    nodes, edges = (pd.read_csv(tmp_path / name, sep="\t") for name in ("world_nodes.tsv", "world_edges.tsv"))
    assert nodes["id"].is_unique
    assert edges["id"].is_unique
    needed = ["id", "subject", "predicate", "object", "category", "knowledge_level", "agent_type"]
    assert edges[[*needed, "primary_knowledge_source"]].notna().all().all()
    assert nodes[["id", "category"]].notna().all().all()
    for column in (nodes["id"], edges["id"], edges["subject"], edges["object"]):
        assert column.str.match(CURIE).all()
    assert nodes["category"].str.match(r"^biolink:[A-Z][A-Za-z]*$").all()
    assert edges["predicate"].str.match(r"^biolink:[a-z][a-z_]*$").all()
    assert set(edges["knowledge_level"]) <= LEVELS
    assert set(edges["agent_type"]) <= AGENTS
    assert edges["primary_knowledge_source"].str.startswith("infores:").all()
    assert {*edges["subject"], *edges["object"]} == set(nodes["id"])
    bare = zip(edges["type"], edges["subject"], edges["object"], strict=True)
    assert Counter((t, s.removeprefix("regkg:"), o.removeprefix("ENSEMBL:")) for t, s, o in bare) == expected(world)
    about = nodes.set_index("id").loc[f"ENSEMBL:{gene_id(2)}"]
    assert (about["category"], about["in_taxon"]) == ("biolink:Gene", "NCBITaxon:9606")


def test_every_type_has_a_meaning_in_kgx() -> None:
    assert set(kgx._CATEGORIES) == {*NODE_TYPES, CELLS}
    assert set(kgx._MEANINGS) | {"ACCESSIBLE_IN", "NOT_LIFTED"} == set(EDGE_TYPES)


@pytest.mark.parametrize(
    ("id_", "label", "curie"),
    [
        ("ENSG00000116701", "Gene", "ENSEMBL:ENSG00000116701"),
        ("MA0080.6", "Motif", "JASPAR:MA0080.6"),
        ("SPI1_HUMAN.H11MO.0.A", "Motif", "regkg:SPI1_HUMAN.H11MO.0.A"),
        ("CL:0000576", "Biosample", "CL:0000576"),
        ("B cell", "Biosample", "regkg:B%20cell"),
        ("GRCh38:chr1:5-9", "Peak", "regkg:GRCh38:chr1:5-9"),
    ],
)
def test_ids_become_curies(id_: str, label: str, curie: str) -> None:
    assert kgx._curie(id_, label) == curie


def test_embeddings_as_anndata(session_store: Store, world: Published, tmp_path: Path) -> None:
    run = world.served[0]
    written(reading.embeddings(session_store, run=run), tmp_path / "vectors.h5ad")
    found = anndata.read_h5ad(tmp_path / "vectors.h5ad")
    assert set(found.obs_names) == set(world.vectors[run])
    for id_, vector in zip(found.obs_names, found.X, strict=True):
        np.testing.assert_array_equal(vector, world.vectors[run][id_])
    genes = found.obs[found.obs["label"] == "Gene"]
    known = {id_: name for id_, name in symbols(world).items() if id_ in genes.index}
    # one was trained on and is gone since
    assert genes["name"].to_dict() == {**known, gene_id(13): gene_id(13)}
    assert json.loads(found.uns["regkg"])["run"] == run
    written(reading.embeddings(session_store, run=run), tmp_path / "vectors.parquet")
    table = pq.read_table(tmp_path / "vectors.parquet").to_pylist()
    assert {r["id"]: r["vector"] for r in table} == {k: v.tolist() for k, v in world.vectors[run].items()}
    with pytest.raises(ParameterError, match="one run only"):
        reading.embeddings(session_store)


GIVEN: dict[str, dict[str, Any]] = {
    "gene-regulators": {"gene": "AGENE2"},
    "peak-targets": {"peak": peak_id(4)},
    "region-edges": {"region": "chr1:0-9000"},
    "similar-genes": {"gene": "AGENE0", "run": "glue-cortex-1"},
}


def answered(store: Store, name: str) -> tuple[Any, Content]:
    question = question_named(name)
    answer = run_plan(question.plan(question.parameters(**GIVEN[name])), store)
    return answer, answers.of_answer(store, answer, question.row)


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("format_", sorted(set(formats()) - {"h5ad"}))
def test_an_answer_goes_into_every_format(
    session_store: Store, world: Published, tmp_path: Path, name: str, format_: str
) -> None:
    assert world.served
    answer, content = answered(session_store, name)
    done = written(content, tmp_path / "answer", named=format_)
    assert answer.rows
    assert done.skipped == 0
    assert done.rows >= len(answer.rows)
    if format_ == "parquet":
        assert pq.read_table(tmp_path / "answer").num_rows == len(answer.rows)


def test_the_pairs_of_answers(session_store: Store, world: Published) -> None:
    assert world.served
    pairs = {}
    for name in GIVEN:
        answer, content = answered(session_store, name)
        (links,) = content.links()
        pairs[name] = list(zip(links["start_id"], links["end_id"], strict=True))
        assert links["type"].tolist() == [getattr(row, "type", name) for row in answer.rows]
        if name == "similar-genes":
            assert pairs[name] == [(gene_id(0), row.gene) for row in answer.rows]
            assert links["score"].tolist() == [row.cosine for row in answer.rows]
        if name == "gene-regulators":
            assert pairs[name] == [(row.peak, gene_id(2)) for row in answer.rows]
        if name == "peak-targets":
            assert pairs[name] == [(peak_id(4), row.gene) for row in answer.rows]
        if name == "region-edges":
            assert pairs[name] == [(row.peak, row.gene) for row in answer.rows]


def test_a_format_that_cannot_hold_it_is_refused_with_those_that_can(
    session_store: Store, world: Published, tmp_path: Path
) -> None:
    assert world.served
    with pytest.raises(ParameterError, match="h5ad cannot hold edges") as caught:
        written(all_edges(session_store), tmp_path / "edges.h5ad")
    assert "these can: " in caught.value.hint
    assert "parquet" in caught.value.hint
    with pytest.raises(ParameterError, match="bedpe cannot hold nodes"):
        written(reading.nodes(session_store, "Gene"), tmp_path / "genes.bedpe")
    with pytest.raises(SettingsError, match="has no ending of a known format"):
        written(all_edges(session_store), tmp_path / "edges.docx")
    with pytest.raises(SettingsError, match="no format is called 'docx'"):
        written(all_edges(session_store), tmp_path / "edges", named="docx")
    with pytest.raises(SettingsError, match="no such folder"):
        written(all_edges(session_store), tmp_path / "nowhere" / "edges.tsv")
    with pytest.raises(SettingsError, match="not one file of text"):
        writing.write_to(io.BytesIO(), all_edges(session_store), "kgx")
    assert not list(tmp_path.iterdir())


def test_what_fails_half_way_leaves_what_was_there(
    session_store: Store, world: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.served
    (tmp_path / "edges.tsv").write_text("as it was")
    content = all_edges(session_store)
    tables = iter(content.rows)

    def broken() -> Any:
        yield next(tables)
        raise OSError(28, os.strerror(28))

    object.__setattr__(content, "rows", broken())
    with pytest.raises(OSError, match="No space left"):
        written(content, tmp_path / "edges.tsv")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("edges.tsv", "as it was")]


def test_text_goes_to_a_stream(session_store: Store, world: Published, tmp_path: Path) -> None:
    assert world.served
    stream = io.BytesIO()
    writing.write_to(stream, all_edges(session_store), "tsv")
    written(all_edges(session_store), tmp_path / "edges.tsv.gz")
    assert gzip.decompress((tmp_path / "edges.tsv.gz").read_bytes()) == stream.getvalue()


def test_every_format_says_what_it_is() -> None:
    assert set(formats()) == {
        *("bed", "bedpe", "graphml", "h5ad", "interact", "kgx", "longrange", "parquet", "sif", "tsv"),
    }
    for name, one in formats().items():
        assert one.doc
        assert format_for(f"x{one.suffixes[0]}")[0] == name
