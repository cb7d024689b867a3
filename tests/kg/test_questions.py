"""Every question against a brute-force oracle over the same world as plain dictionaries."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.errors import ParameterError, UnknownGene, UnknownPeak, UnknownQuestion, UnknownRelease, UnknownRun
from kg.parameters import parameters_of
from kg.query.lookup import region
from kg.query.plan import NoRows, Query, Reader, run_plan
from kg.query.registry import Answer, Parameters, Question, question_named, questions
from kg.query.scope import guard_of, scope_of
from kg.releases import publish
from kg.settings import Settings
from kg.store import connect_async
from tests.kg import toy
from tests.kg.published import GONE_GENE, PEAKS, TWINS, Published, gene_id, peak_id, publish_world

if TYPE_CHECKING:
    from pathlib import Path

    from kg.server import Endpoint
    from kg.store import Store

Row = dict[str, Any]


@pytest.fixture(scope="module")
def world(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Published:
    session_store.implicit("MATCH (n) WHERE NOT n:Schema CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 20000 ROWS")
    return publish_world(session_store, tmp_path_factory.mktemp("home"))


def ask(store: Store, name: str, **given_: Any) -> Answer:
    question = question_named(name)
    return run_plan(question.plan(question.parameters(**given_)), store)


def rows(answer: Answer) -> list[Row]:
    return [dataclasses.asdict(row) for row in answer.rows]


# --- oracles: loops over every link ---


def expected_links(
    world: Published, release: int, runs: list[str], *, called_only: bool, peak: str = "", gene: str = ""
) -> list[Row]:
    found = []
    for run in runs:
        for link in world.links[run]:
            if peak not in {"", link["start_id"]} or gene not in {"", link["end_id"]}:
                continue
            if link["start_id"] not in world.peaks[release] or link["end_id"] not in world.genes[release]:
                continue
            if link["called"] or not called_only:
                near = world.near[release].get((link["start_id"], link["end_id"]), (None, None))
                found.append({**link, "distance_bp": near[0], "tss_distance_bp": near[1]})
    return found


def link_columns(link: Row) -> Row:
    names = ("score", "score_kind", "q_value", "sign", "called", "stability", "distance_bp", "tss_distance_bp")
    same = {"in_prior": link["in_prior"] is not False, **{n: link[n] for n in ("without_prior", "from_cells")}}
    return {name: link[name] for name in (*names, "run", "edge_id")} | same


def expected_regulators(world: Published, gene: str, release: int, runs: list[str], *, called_only: bool) -> list[Row]:
    links = expected_links(world, release, runs, called_only=called_only, gene=gene)
    links.sort(key=lambda link: (-link["score"], link["start_id"], link["run"]))
    peaks = world.peaks[release]
    return [
        {"peak": link["start_id"]}
        | {name: peaks[link["start_id"]][name] for name in ("chrom", "start", "end")}
        | link_columns(link)
        | {"release": 1}
        for link in links
    ]


def expected_targets(world: Published, peak: str, release: int, runs: list[str], *, called_only: bool) -> list[Row]:
    links = expected_links(world, release, runs, called_only=called_only, peak=peak)
    links.sort(key=lambda link: (-link["score"], link["end_id"], link["run"]))
    genes = world.genes[release]
    return [
        {"gene": link["end_id"], "symbol": genes[link["end_id"]]["symbol"]} | link_columns(link) | {"release": 1}
        for link in links
    ]


def expected_region(
    world: Published, chrom: str, start: int, end: int, release: int, *, called_only: bool
) -> list[Row]:
    inside = {
        id_: peak
        for id_, peak in world.peaks[release].items()
        if peak["chrom"] == chrom and any(start <= base < end for base in range(peak["start"], peak["end"]))
    }
    edges: list[Row] = [
        {"type": "NEAR", "peak": peak, "gene": gene, "dataset": "near:a", "distance_bp": distance}
        for (peak, gene), (distance, _) in world.near[release].items()
    ]
    for link in expected_links(world, release, world.served, called_only=called_only):
        shown = {name: link[name] for name in ("run", "score", "q_value", "sign", "called")}
        shown["in_prior"] = link["in_prior"] is not False
        edges.append({"type": "PREDICTED_LINK", "peak": link["start_id"], "gene": link["end_id"], **shown})
    made = [
        {name: inside[e["peak"]][name] for name in ("chrom", "start", "end")}
        | {"symbol": world.genes[release][e["gene"]]["symbol"]}
        | e
        for e in edges
        if e["peak"] in inside
    ]
    return sorted(made, key=lambda e: (e["start"], e["end"], e["peak"], e["gene"], e["type"], e.get("run", "")))


def expected_similar(world: Published, gene: str, release: int, run: str) -> list[tuple[str, float]]:
    vectors = {n: v.astype(float) for n, v in world.vectors[run].items() if n in world.genes[release]}
    here = vectors.pop(gene)
    cosine = {n: float(v @ here / np.sqrt((v @ v) * (here @ here))) for n, v in vectors.items()}
    return sorted(cosine.items(), key=lambda pair: -pair[1])


# --- answers ---


@pytest.mark.parametrize("release", [1, 2])
@pytest.mark.parametrize("called_only", [False, True])
def test_gene_regulators_equal_a_slow_loop(
    session_store: Store, world: Published, release: int, *, called_only: bool
) -> None:
    assert any(
        len(expected_regulators(world, g, release, world.served, called_only=called_only)) > 3 for g in world.genes[1]
    )
    for gene in world.genes[release]:
        answer = ask(session_store, "gene-regulators", gene=gene, release=release, called_only=called_only, limit=1000)
        assert rows(answer) == expected_regulators(world, gene, release, world.served, called_only=called_only)
        assert not answer.truncated


def test_a_limit_gives_the_first_rows_and_says_that_there_are_more(session_store: Store, world: Published) -> None:
    expected = expected_regulators(world, gene_id(2), 2, world.served, called_only=False)
    for limit in (1, len(expected) - 1, len(expected)):
        answer = ask(session_store, "gene-regulators", gene=gene_id(2), limit=limit)
        assert rows(answer) == expected[:limit]
        assert answer.truncated == (limit < len(expected))


@pytest.mark.parametrize("release", [1, 2])
@pytest.mark.parametrize("called_only", [False, True])
def test_peak_targets_equal_a_slow_loop(
    session_store: Store, world: Published, release: int, *, called_only: bool
) -> None:
    for peak in world.peaks[release]:
        answer = ask(session_store, "peak-targets", peak=peak, release=release, called_only=called_only)
        assert rows(answer) == expected_targets(world, peak, release, world.served, called_only=called_only)
        assert answer.subject is not None
        assert answer.subject["id"] == peak


@pytest.mark.parametrize("release", [1, 2])
@pytest.mark.parametrize(
    "where", ["chr1:0-1", "chr1:300-1000", "chr1:299-1001", "1:1,000-8,000", "chr2:0-1000000", "GRCh38:chr2:700-800"]
)
@pytest.mark.parametrize("called_only", [False, True])
def test_region_edges_equal_a_slow_loop(
    session_store: Store, world: Published, where: str, release: int, *, called_only: bool
) -> None:
    asked = region(where)
    answer = ask(session_store, "region-edges", region=where, release=release, called_only=called_only, limit=1000)
    expected = expected_region(world, asked.chrom, asked.start, asked.end, release, called_only=called_only)
    assert [{k: v for k, v in row.items() if v is not None and k != "edge_id"} for row in rows(answer)] == expected
    assert len({(r["edge_id"], r["run"]) for r in rows(answer)}) == len(answer.rows)


def test_a_region_of_another_assembly_holds_nothing(session_store: Store, world: Published) -> None:
    assert world.peaks
    assert ask(session_store, "region-edges", region="GRCh37:chr1:0-1000000").rows == []


@pytest.mark.parametrize("release", [1, 2])
def test_similar_genes_equal_a_slow_cosine(session_store: Store, world: Published, release: int) -> None:
    for run in (*world.served, world.unserved):
        expected = expected_similar(world, gene_id(0), release, run)
        answer = ask(session_store, "similar-genes", gene=gene_id(0), run=run, release=release, limit=1000)
        assert [row.gene for row in answer.rows] == [gene for gene, _ in expected]
        assert [row.cosine for row in answer.rows] == pytest.approx([cosine for _, cosine in expected], abs=1e-6)
        assert {row.gene: row.symbol for row in answer.rows} == {
            g: world.genes[release][g]["symbol"] for g, _ in expected
        }
        few = ask(session_store, "similar-genes", gene=gene_id(0), run=run, release=release, limit=3)
        assert (few.rows, few.truncated) == (answer.rows[:3], True)


# --- what is named ---


@pytest.mark.parametrize("name", [gene_id(2), f"{gene_id(2)}.17", "AGENE2"])
def test_a_gene_is_found_by_id_with_or_without_version_and_by_symbol(
    session_store: Store, world: Published, name: str
) -> None:
    answer = ask(session_store, "gene-regulators", gene=name)
    assert answer.subject is not None
    assert {k: answer.subject[k] for k in ("id", "symbol", "start")} == {
        k: world.genes[2][gene_id(2)][k] for k in ("id", "symbol", "start")
    }


def test_a_symbol_may_end_like_a_version(session_store: Store, world: Published) -> None:
    assert world.genes[2][gene_id(5)]["symbol"] == "AGENE5.1"
    assert ask(session_store, "gene-regulators", gene="AGENE5.1").subject["id"] == gene_id(5)  # type: ignore[index]


def test_the_dataset_that_sorts_first_names_a_gene(session_store: Store, world: Published) -> None:
    assert ask(session_store, "gene-regulators", gene="AGENE0").subject["id"] == gene_id(0)  # type: ignore[index]
    with pytest.raises(UnknownGene):
        ask(session_store, "gene-regulators", gene="BGENE0")
    assert world.genes


def test_an_ambiguous_symbol_is_refused_with_its_genes(session_store: Store, world: Published) -> None:
    with pytest.raises(ParameterError) as error:
        ask(session_store, "gene-regulators", gene="TWIN")
    assert error.value.hint == f"ask by id: {', '.join(gene_id(i) for i in TWINS)}"
    assert world.genes


def test_an_unknown_gene_is_met_with_near_ones(session_store: Store, world: Published) -> None:
    with pytest.raises(UnknownGene, match="'agene7' at release 2") as error:
        ask(session_store, "gene-regulators", gene="agene7")
    assert error.value.hint.startswith("did you mean AGENE7")
    with pytest.raises(UnknownGene) as error:
        ask(session_store, "similar-genes", gene="???", run=world.served[0])
    assert error.value.hint == "genes are named by Ensembl id or by symbol"


def test_what_a_release_lacks_is_unknown_there_and_known_before(session_store: Store, world: Published) -> None:
    assert ask(session_store, "gene-regulators", gene=gene_id(GONE_GENE), release=1).rows
    with pytest.raises(UnknownGene, match="release 2"):
        ask(session_store, "gene-regulators", gene=gene_id(GONE_GENE))
    assert ask(session_store, "peak-targets", peak=peak_id(PEAKS - 1), release=1).rows
    with pytest.raises(UnknownPeak, match="release 2") as error:
        ask(session_store, "peak-targets", peak=peak_id(PEAKS - 1))
    assert error.value.hint.startswith(f"near it: {peak_id(PEAKS - 3)}")
    assert world.genes


def test_a_gene_without_an_embedding_is_said_to_have_none(session_store: Store, world: Published) -> None:
    with pytest.raises(UnknownGene, match="has no embedding in run"):
        ask(session_store, "similar-genes", gene=gene_id(12), run=world.served[0])


# --- which version ---


def test_an_answer_carries_release_runs_and_staleness(session_store: Store, world: Published) -> None:
    now, before = (ask(session_store, "gene-regulators", gene=gene_id(2), release=r) for r in (None, 1))
    assert (now.release, before.release) == (2, 1)
    assert now.publication > before.publication
    assert now.hash != before.hash
    assert sorted(run.run for run in now.runs) == sorted(world.served)
    assert {run.run for run in now.runs if run.stale} == world.stale
    assert {run.slot for run in now.runs} == {"glue:cortex", "glue:blood"}
    assert (now.stale, before.stale) == (True, False)


def test_a_run_that_is_named_answers_alone_also_when_nobody_serves_it(session_store: Store, world: Published) -> None:
    for run in (world.served[1], world.unserved):
        answer = ask(session_store, "gene-regulators", gene=gene_id(2), run=run, limit=1000)
        assert rows(answer) == expected_regulators(world, gene_id(2), 2, [run], called_only=False)
        assert [read.run for read in answer.runs] == [run]


@pytest.mark.parametrize("named", ["writing", "nothing"])
def test_a_run_that_is_not_complete_does_not_exist(session_store: Store, world: Published, named: str) -> None:
    run = world.writing if named == "writing" else "glue-nobody-9"
    with pytest.raises(UnknownRun, match=run):
        ask(session_store, "gene-regulators", gene=gene_id(2), run=run)


def test_a_release_that_was_never_published_is_unknown(session_store: Store, world: Published) -> None:
    assert world.genes
    with pytest.raises(UnknownRelease, match="release 3"):
        ask(session_store, "gene-regulators", gene=gene_id(2), release=3)


def test_similarity_across_runs_is_refused(session_store: Store, world: Published) -> None:
    with pytest.raises(ParameterError, match="one run only") as error:
        ask(session_store, "similar-genes", gene=gene_id(0))
    assert all(run in error.value.hint for run in world.served)


def test_jobs_and_the_api_get_the_same_answers(
    session_store: Store, world: Published, neo4j_endpoint: Endpoint, tmp_path: Path
) -> None:
    asked: list[tuple[str, Row]] = [
        ("compare-links", {"gene": "AGENE2"}),
        ("gene-regulators", {"gene": "AGENE2"}),
        ("peak-targets", {"peak": peak_id(3)}),
        ("region-edges", {"region": "chr1:0-9000"}),
        ("similar-genes", {"gene": gene_id(0), "run": world.served[0]}),
        ("similar-genes", {"gene": gene_id(1), "run": world.served[0]}),
        ("similar-genes", {"gene": gene_id(1), "run": world.served[1]}),
        ("tf-targets", {"tf": "AGENE0"}),
        ("why-not", {"tf": "AGENE0", "gene": "AGENE2"}),
    ]
    assert {name for name, _ in asked} == set(questions())
    settings = Settings(home=tmp_path, neo4j_uri=neo4j_endpoint.uri, neo4j_password=neo4j_endpoint.password)
    scope = run_plan(scope_of(), session_store)

    async def ask_all(guard: Query | None) -> list[Answer]:
        async with connect_async(settings) as store:
            reader = Reader(store, keep=1)
            plans = [question_named(n).plan(question_named(n).parameters(**g)) for n, g in asked]
            return [await reader.run(plan, guard) for plan in plans]

    expected = [ask(session_store, name, **given_) for name, given_ in asked]
    assert asyncio.run(ask_all(None)) == asyncio.run(ask_all(guard_of(scope))) == expected


@pytest.mark.parametrize("moved", [{"publication": 1}, {"published_at": "2020-01-01T00:00:00Z"}])
def test_a_guarded_question_reads_nothing_once_another_publication_is_served(
    session_store: Store, world: Published, neo4j_endpoint: Endpoint, tmp_path: Path, moved: Row
) -> None:
    settings = Settings(home=tmp_path, neo4j_uri=neo4j_endpoint.uri, neo4j_password=neo4j_endpoint.password)
    scope = run_plan(scope_of(run=world.served[0]), session_store)

    async def ask_one(question: Question, given_: Row) -> None:
        async with connect_async(settings) as store:
            guard = guard_of(dataclasses.replace(scope, **moved))
            with pytest.raises(NoRows):
                await Reader(store).run(question.answer(question.parameters(**given_), scope), guard)

    given_ = {"gene": "AGENE2", "tf": "AGENE0", "peak": peak_id(3), "region": "chr1:0-9000"}
    for question in questions().values():
        named = {p.name for p in parameters_of(question.parameters)}
        asyncio.run(ask_one(question, {name: value for name, value in given_.items() if name in named}))


def test_nothing_published_is_said_with_what_to_do(store: Store) -> None:
    with pytest.raises(UnknownRelease, match="nothing is published yet") as error:
        ask(store, "region-edges", region="chr1:0-10")
    assert "regkg release publish" in error.value.hint


def test_similar_genes_need_a_run(store: Store) -> None:
    toy.load_world(store)
    publish(store)
    with pytest.raises(UnknownRun, match="none is served"):
        ask(store, "similar-genes", gene="ALPHA")


# --- the machinery ---


@pytest.mark.parametrize("question", questions().values(), ids=lambda q: q.name)
def test_a_question_is_documented_in_every_part(question: Question) -> None:
    assert question.doc.partition("\n")[0].endswith("?")
    assert issubclass(question.parameters, Parameters)
    assert all(p.doc for p in parameters_of(question.parameters))
    assert question.row.__doc__
    assert not question.row.__doc__.startswith(question.row.__name__)
    assert {p.type for p in parameters_of(question.parameters)} <= {str, int, float, bool}


def test_limits_are_checked_all_at_once() -> None:
    question = question_named("gene-regulators")
    wrong: Row = {"gene": "X", "limit": 1001, "release": 0}
    with pytest.raises(ParameterError) as error:
        next(question.plan(question.parameters(**wrong)))
    assert set(error.value.discrepancies) == {"limit is 1001: at most 1000", "release is 0: at least 1"}


def test_an_unknown_question_is_met_with_those_that_exist() -> None:
    with pytest.raises(UnknownQuestion) as error:
        question_named("gene-regulator")
    assert "gene-regulators" in error.value.hint


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.booleans(), st.sampled_from(["chr7", "7"]))
def test_a_region_is_read_as_it_was_written(start: int, width: int, commas: bool, chrom: str) -> None:
    style = "{:,}" if commas else "{}"
    text = f"{chrom}:{style.format(start)}-{style.format(start + width)}"
    for prefix, assembly in (("", None), ("GRCm38:", "GRCm38")):
        found = region(prefix + text)
        assert (found.assembly, found.chrom, found.start, found.end) == (assembly, "chr7", start, start + width)


@pytest.mark.parametrize("text", ["chr1", "chr1:5", "chr1:5-5", "chr1:9-3", "chr1:-5-3", "chr1:a-b", "", "a:b:c:1-2"])
def test_a_region_that_is_empty_reversed_or_no_region_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        region(text)
