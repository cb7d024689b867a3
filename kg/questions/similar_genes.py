"""Which genes are regulated alike?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kg.errors import UnknownGene
from kg.parameters import param
from kg.query.lookup import GENE_FIELDS, GENES_NAMED, gene_parameters, only_gene
from kg.query.plan import Plan, Query, Row
from kg.query.registry import Parameters, Result, question
from kg.query.scope import Scope, one_run, record
from kg.schema import GENE

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class SimilarGenes(Parameters):
    """Which gene, and how many neighbours."""

    gene: str = param("Ensembl id, with or without version, or symbol", example="NCF2")
    limit: int = param("nearest genes at most", 20, low=1, high=1000)


@dataclass(frozen=True)
class SimilarGene:
    """A gene whose embedding points the same way.

    Attributes:
        gene: Ensembl id without version.
        symbol: for display.
        chrom, start, end: of the gene, 0-based half-open.
        cosine: between the two embeddings of the run, -1 to 1.
        run: whose embeddings they are; vectors of different runs cannot be compared.
    """

    gene: str
    symbol: str
    chrom: str
    start: int
    end: int
    cosine: float
    run: str


@dataclass(frozen=True)
class _Vectors:
    """Embeddings of a run's genes.

    Attributes:
        genes: (V,) ids; `row` is the way back.
        directions: (V, dims) float32 of length 1.
    """

    genes: list[str]
    row: dict[str, int]
    directions: NDArray[np.float32]

    def nearest(self, gene: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows of all other genes by falling cosine (ties by id), and the cosine of every row; an exact scan."""
        here = self.row[gene]
        cosine = self.directions @ self.directions[here]
        order = np.lexsort((self.genes, -cosine))
        return order[order != here], cosine


_VECTORS = f"MATCH (e:Embedding {{run: $run}}) WHERE e.kind = '{GENE.label}' RETURN e.node AS gene, e.vector AS vector"
_GENE = f"{GENES_NAMED} RETURN {GENE_FIELDS}"
_GENES = f"""
UNWIND $genes AS id MATCH (g:{GENE.label} {{id: id}})
WITH g, {record("g", GENE)} AS found WHERE found IS NOT NULL
RETURN g.id AS gene, found {{.symbol, .chrom, .start, .end}} AS about
"""


@question(parameters=SimilarGenes, row=SimilarGene)
def similar_genes(parameters: SimilarGenes, scope: Scope) -> Plan[Result]:
    """Which genes are regulated like this one?

    Genes whose embeddings in one run lie nearest by cosine: the model saw them move with the same peaks
    and cells. Vectors of different runs cannot be compared; where several are served, say which.
    """
    run = one_run(scope, "similar-genes")
    rows = yield Query(_GENE, {**gene_parameters(parameters.gene), "release": scope.release})
    gene = (yield from only_gene(rows, parameters.gene, scope))["gene"]
    vectors: _Vectors = yield Query(_VECTORS, {"run": run}, shape=_directions, lasting=f"gene vectors of {run}")
    if gene["id"] not in vectors.row:
        raise UnknownGene(
            f"{gene['symbol']} ({gene['id']}) has no embedding in run {run}", "it was not among its features"
        )
    order, cosine = vectors.nearest(gene["id"])
    similar: list[SimilarGene] = []
    for at in range(0, len(order), 2 * parameters.limit):  # genes that the release lacks leave gaps to fill
        chunk = order[at : at + 2 * parameters.limit]
        rows = yield Query(_GENES, {"genes": [vectors.genes[i] for i in chunk], "release": scope.release})
        about = {row["gene"]: row["about"] for row in rows}
        near = [(vectors.genes[i], float(cosine[i])) for i in chunk if vectors.genes[i] in about]
        similar += [SimilarGene(gene=id_, **about[id_], cosine=score, run=run) for id_, score in near]
        if len(similar) > parameters.limit:
            break
    return Result(similar[: parameters.limit], gene, truncated=len(similar) > parameters.limit)


def _directions(rows: list[Row]) -> _Vectors:
    genes = [row["gene"] for row in rows]
    matrix = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), -1)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix /= np.where(lengths > 0, lengths, np.float32(1))
    return _Vectors(genes, {gene: i for i, gene in enumerate(genes)}, matrix)
