"""What questions about links share: their parameters, the columns of a link, and the Cypher that fills them."""

from __future__ import annotations

from dataclasses import dataclass

from kg.parameters import param
from kg.query.registry import Parameters


@dataclass(frozen=True, kw_only=True)
class LinkParameters(Parameters):
    """How many links, and which."""

    limit: int = param("best links at most", 50, low=1, high=1000)
    called_only: bool = param("only links that the run called", default=False)


@dataclass(frozen=True)
class LinkRow:
    """A predicted link, without its ends.

    Attributes:
        score: mean over the run's members.
        score_kind: what the score is, such as cosine.
        q_value: Benjamini-Hochberg over all pairs that the run looked at.
        sign: +1 activates, -1 represses.
        called: q_value is under the run's threshold.
        stability: standard deviation of the score over members.
        in_prior: evidence that guided the run joins the pair; false where it was only near enough to be tried.
        without_prior: the score without that evidence, all else equal; null where the run did not say.
        from_cells: correlation of peak and gene over the cells, where the run put them; null where it did not say.
        distance_bp: from the gene by the rule of the NEAR dataset; 0 when they overlap; null where there is none.
        tss_distance_bp: from the TSS, signed along the strand; 0 inside the peak.
        run: that says so.
        edge_id: of the link, the same in every run.
        release: the release that the run was trained on.
    """

    score: float
    score_kind: str
    q_value: float
    sign: int
    called: bool
    stability: float | None
    in_prior: bool
    without_prior: float | None
    from_cells: float | None
    distance_bp: int | None
    tss_distance_bp: int | None
    run: str
    edge_id: str
    release: int


LINK_COLUMNS = {
    **{name: f"e.{name}" for name in ("score", "score_kind", "q_value", "sign", "called", "stability")},
    "in_prior": "coalesce(e.in_prior, true)",
    **{name: f"e.{name}" for name in ("without_prior", "from_cells")},
    **{name: f"near.{name}" for name in ("distance_bp", "tss_distance_bp")},
    **{name: f"e.{name}" for name in ("run", "edge_id")},
}
"""Column of `LinkRow` -> Cypher, where `e` is the link and `near` the NEAR edge of its pair, or null."""
