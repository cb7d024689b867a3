"""KGX nodes and edges as TSV: Biolink categories, predicates and where knowledge comes from.

(biolink.github.io/kgx/kgx_format.html; Biolink 4). Ids are CURIEs: Ensembl genes ENSEMBL:, JASPAR motifs JASPAR:,
CL, UBERON, EFO as they are, everything else under the prefix regkg.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import quote

import pandas as pd

from kg.export.registry import Format, Tally
from kg.export.text import write_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kg.export.content import Content, Frame

OWN = "infores:regkg"
_CURIE = re.compile(r"(?:CL|UBERON|EFO|CLO|NCBITaxon):\w+")
_JASPAR = re.compile(r"[MU][AN]\d{4}\.\d+")


class _Meaning(NamedTuple):
    """What an edge type says in Biolink's words."""

    predicate: str
    level: str
    agent: str


_CATEGORIES = {
    "Gene": "biolink:Gene",
    "TF": "biolink:Gene",
    "Peak": "biolink:AccessibleDnaRegion",
    "Motif": "biolink:NucleicAcidSequenceMotif",
    "Variant": "biolink:SequenceVariant",
    "Biosample": "biolink:BiologicalEntity",
    "Assembly": "biolink:Genome",
    "Cells": "biolink:Dataset",
}
_PIPELINE, _MODEL = "data_analysis_pipeline", "computational_model"
_OTHER = _Meaning("biolink:related_to", "observation", _PIPELINE)
_MEANINGS = {
    "NEAR": _Meaning("biolink:related_to", "logical_entailment", _PIPELINE),
    "SUBCLASS_OF": _Meaning("biolink:subclass_of", "knowledge_assertion", "manual_agent"),
    "MOTIF_OF": _Meaning("biolink:related_to", "knowledge_assertion", "manual_agent"),
    "HAS_HIT": _Meaning("biolink:located_in", "prediction", _PIPELINE),
    "IN_PEAK": _Meaning("biolink:located_in", "logical_entailment", _PIPELINE),
    "LIFTED_TO": _Meaning("biolink:homologous_to", "prediction", _PIPELINE),
    "ORTHOLOG_OF": _Meaning("biolink:orthologous_to", "knowledge_assertion", _PIPELINE),
    "CONTACTS": _Meaning("biolink:physically_interacts_with", "observation", _PIPELINE),
    "PEAK_CONTACTS": _Meaning("biolink:physically_interacts_with", "observation", _PIPELINE),
    "EQTL": _Meaning("biolink:associated_with", "statistical_association", _PIPELINE),
    "BINDS": _Meaning("biolink:physically_interacts_with", "observation", _PIPELINE),
    "TARGETS": _Meaning("biolink:regulates", "knowledge_assertion", "manual_agent"),
    "EXTERNAL_LINK": _Meaning("biolink:regulates", "prediction", _MODEL),
    "PERTURBS": _Meaning("biolink:related_to", "observation", _PIPELINE),
    "PREDICTED_LINK": _Meaning("biolink:regulates", "prediction", _MODEL),
    "PREDICTED_TARGET": _Meaning("biolink:regulates", "prediction", _MODEL),
    "PREDICTED_CONTACT": _Meaning("biolink:physically_interacts_with", "prediction", _MODEL),
    "ANNOTATED_AS": _Meaning("biolink:related_to", "prediction", _MODEL),
    "IMPUTED_GENE": _Meaning("biolink:related_to", "statistical_association", _MODEL),
    "IMPUTED_PEAK": _Meaning("biolink:related_to", "statistical_association", _MODEL),
}


def write(content: Content, streams: Sequence[BinaryIO]) -> Tally:
    """Write two files. Every edge is a biolink:Association; type, score and dataset or run are columns of our own."""
    nodes, edges = streams
    curies: dict[str, str] = {}

    def shaped() -> Iterator[Frame]:
        for links in content.links():
            for side in ("start", "end"):
                pairs = links[[f"{side}_id", f"{side}_label"]].drop_duplicates().itertuples(index=False)
                curies.update((id_, _curie(id_, label)) for id_, label in pairs)
            yield _edges(links, curies)

    written = write_frames(edges, shaped(), header=True)
    if content.isolated:
        curies |= {str(id_): _curie(str(id_), label) for id_, label in content.nodes["label"].items()}
    write_frames(nodes, [_nodes(content.nodes.reindex(sorted(curies)), curies)], header=True)
    return Tally(written)


def _curie(id_: str, label: str) -> str:
    if label in ("Gene", "TF") and id_.startswith("ENS"):
        return f"ENSEMBL:{id_}"
    if label == "Motif" and _JASPAR.fullmatch(id_):
        return f"JASPAR:{id_}"
    return id_ if label == "Biosample" and _CURIE.fullmatch(id_) else f"regkg:{quote(id_, safe=':-._*')}"


def _nodes(nodes: Frame, curies: dict[str, str]) -> Frame:
    index = pd.Series(nodes.index, nodes.index)
    return pd.DataFrame(
        {
            "id": index.map(curies),
            "category": nodes["label"].map(_CATEGORIES).fillna("biolink:NamedThing"),
            "name": nodes["name"],
            "in_taxon": nodes["species"],
            "genome_build": nodes["assembly"],
            "chromosome": nodes["chrom"],
            "start_interbase_coordinate": nodes["start"],
            "end_interbase_coordinate": nodes["end"],
            "strand": nodes["strand"],
            "provided_by": OWN,
        }
    )


def _edges(links: Frame, curies: dict[str, str]) -> Frame:
    meanings = links["type"].map(lambda name: _MEANINGS.get(name, _OTHER))
    return pd.DataFrame(
        {
            "id": "regkg:" + links["edge_id"].fillna("") + "-" + links["said_by"].fillna("").map(quote),
            "subject": links["start_id"].map(curies),
            "predicate": [meaning.predicate for meaning in meanings],
            "object": links["end_id"].map(curies),
            "category": "biolink:Association",
            "knowledge_level": [meaning.level for meaning in meanings],
            "agent_type": [meaning.agent for meaning in meanings],
            "primary_knowledge_source": OWN,
            "supporting_data_set": links["said_by"],
            "type": links["type"],
            "score": links["score"],
            "weight": links["weight"],
            "sign": links["sign"],
        }
    )


FORMAT = Format(
    "KGX: FILE_nodes.tsv and FILE_edges.tsv in Biolink's words",
    "ends",
    (".kgx",),
    write,
    parts=("_nodes.tsv", "_edges.tsv"),
)
