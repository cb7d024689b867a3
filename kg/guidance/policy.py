"""What evidence weighs as guidance: weight and sign for training, declared per edge type here and nowhere else.

The graph keeps measurements; a GuidanceGraph keeps the weights and signs that a policy makes of them. Another policy
is a TOML file with a table for each edge type that it changes or adds:

    [EXTERNAL_LINK]
    weight = "score"
    sign = "+1"
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from kg.errors import Conflict, SettingsError
from kg.schema import CONTACTS, EDGE_TYPES, EQTL, NEAR, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

WEIGHTS = {"power_decay": "distance_bp", "one": None, "score": "score"}
"""Rule of weights -> column that it reads."""
SIGNS = {"+1": None, "-1": None, "column": "sign"}
"""Rule of signs -> column that it reads."""


@dataclass(frozen=True)
class Policy:
    """How the rows of one edge type guide.

    Attributes:
        weight: "power_decay" of distance_bp; "one", whatever the score; or "score", which must lie in (0, 1].
        sign: "+1", "-1", or "column", the row's own sign, which must be -1 or +1. It is that of the link between open
            chromatin and expression, not of an allele's effect.
    """

    weight: str
    sign: str

    def __post_init__(self) -> None:
        for part, rule, rules in (("weight", self.weight, [*WEIGHTS]), ("sign", self.sign, [*SIGNS])):
            if rule not in rules:
                raise SettingsError(f"{rule!r} is not a rule for the {part}", f"rules: {', '.join(map(repr, rules))}")


# As GLUE has it (Cao & Gao 2022): a measured link is one, whatever its score.
POLICY: Mapping[str, Policy] = {
    NEAR.name: Policy("power_decay", "+1"),
    CONTACTS.name: Policy("one", "+1"),
    EQTL.name: Policy("one", "+1"),
}


def power_decay(distance_bp: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the weight of a NEAR edge: ((d + 1000) / 1000) ** -0.75, 1 for overlap (GLUE, Cao & Gao 2022).

    Args:
        distance_bp: (E,) non-negative distances in base pairs.
    """
    return (((distance_bp + 1000.0) / 1000.0) ** -0.75).astype(np.float32)


def weigh(
    name: str, edges: pa.Table, policy: Mapping[str, Policy] = POLICY
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return the weight and sign, each (E,), of rows of the edge type `name`.

    Raises:
        Conflict: a weight is not in (0, 1], or a sign not -1 or +1.
    """
    rule = policy[name]
    weight = np.ones(edges.num_rows, np.float32)
    if column := WEIGHTS[rule.weight]:
        values = edges[column].to_numpy()
        weight = power_decay(values) if rule.weight == "power_decay" else values.astype(np.float32)
    _refuse(name, edges, f"weight {rule.weight!r}", "in (0, 1]", ~((weight > 0) & (weight <= 1)))
    if rule.sign != "column":
        return weight, np.full(edges.num_rows, int(rule.sign), np.int8)
    sign = edges["sign"].to_numpy().astype(float)  # a missing one is NaN
    _refuse(name, edges, "sign 'column'", "-1 or +1", np.abs(sign) != 1)
    return weight, sign.astype(np.int8)


def read_policy(path: Path) -> dict[str, Policy]:
    """Read a TOML file that changes the policy above; a table may leave out what stays as it is.

    Raises:
        SettingsError: it is not TOML, or names an unknown edge type, key or rule.
        Conflict: it names truth or predictions, which must never guide.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}", "write one table for each edge type") from error
    policy = {**POLICY}
    for name, table in tables.items():
        stays = asdict(POLICY[name]) if name in POLICY else {}
        whole = {**stays, **table} if isinstance(table, dict) else {}
        if whole.keys() != {"weight", "sign"}:
            raise SettingsError(f"{path}: [{name}] is {table!r}", "expected `weight` and `sign`, and nothing else")
        policy[name] = Policy(**whole)
    check(policy)
    return policy


def check(policy: Mapping[str, Policy]) -> None:
    """Refuse a policy that some edge type cannot follow.

    Raises:
        SettingsError: a type is unknown, or has no column that its rule reads.
        Conflict: a type is truth or a prediction.
    """
    for name, rule in policy.items():
        if name not in EDGE_TYPES:
            raise SettingsError(f"no edge type is called {name!r}", f"these may guide: {', '.join(evidence())}")
        check_kind([name])
        columns = EDGE_TYPES[name].schema.names
        lacking = [c for c in (WEIGHTS[rule.weight], SIGNS[rule.sign]) if c and c not in columns]
        if lacking:
            raise SettingsError(
                f"{name} has no column {lacking[0]}, which {rule} reads", f"it has {', '.join(columns)}"
            )


def check_kind(edge_types: Sequence[str]) -> None:
    """Refuse truth and predictions.

    Raises:
        Conflict: some of these types are not evidence.
    """
    barred = [name for name in edge_types if EDGE_TYPES[name].kind is not Kind.EVIDENCE]
    if barred:
        raise Conflict(
            f"{', '.join(barred)} must not guide a model", "truth is kept for testing, predictions are results"
        )


def evidence() -> list[str]:
    """Return the names of the edge types that may guide under some policy."""
    return [type_.name for type_ in EDGE_TYPES.values() if type_.kind is Kind.EVIDENCE]


def _refuse(name: str, edges: pa.Table, rule: str, expected: str, wrong: NDArray[np.bool_]) -> None:
    if wrong.any():
        first = edges.slice(int(wrong.argmax()), 1).to_pylist()[0]
        raise Conflict(
            f"{name}: {rule} must give numbers {expected}, and does not for {wrong.sum():,} of {len(wrong):,} rows, "
            f"such as {first}",
            f"choose another rule for [{name}], or leave that edge type out",
        )
