"""What evidence weighs as guidance: each rule by hand, files that change rules, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from kg.errors import Conflict, SettingsError
from kg.guidance import read_guidance
from kg.guidance.policy import POLICY, Policy, check, read_policy, weigh
from kg.releases import publish
from tests.kg import toy
from tests.kg.test_staleness import PCHIC, contacts

if TYPE_CHECKING:
    from pathlib import Path

    from kg.store import Store


def rows(**columns: list[Any]) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def file_of(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_weights_and_signs_of_each_rule() -> None:
    weight, sign = weigh("NEAR", rows(distance_bp=[0, 1000, 10_000]))
    assert weight == pytest.approx([1, 0.59460, 0.16556], abs=5e-6)
    assert (str(weight.dtype), str(sign.dtype), sign.tolist()) == ("float32", "int8", [1, 1, 1])
    weight, sign = weigh("CONTACTS", rows(score=[7.0, 0.5]))
    assert (weight.tolist(), sign.tolist()) == ([1.0, 1.0], [1, 1])
    said = {"TARGETS": Policy("one", "column"), "EQTL": Policy("score", "-1")}
    weight, sign = weigh("TARGETS", rows(sign=[-1, 1]), said)
    assert (weight.tolist(), sign.tolist()) == ([1.0, 1.0], [-1, 1])
    weight, sign = weigh("EQTL", rows(score=[0.25, 1.0]), said)
    assert (weight.tolist(), sign.tolist()) == ([0.25, 1.0], [-1, -1])


@pytest.mark.parametrize("score", [0.0, -0.5, 1.5, float("nan"), None])
def test_a_weight_outside_0_1_is_refused_with_its_row(score: float | None) -> None:
    table = rows(start_id=["a", "b"], score=[0.5, score])
    with pytest.raises(Conflict, match=r"EXTERNAL_LINK: weight 'score' .* in \(0, 1\], .* 1 of 2 rows.*'b'"):
        weigh("EXTERNAL_LINK", table, {"EXTERNAL_LINK": Policy("score", "+1")})


@pytest.mark.parametrize("sign", [0, 2, None])
def test_a_sign_that_is_none_is_refused(sign: int | None) -> None:
    with pytest.raises(Conflict, match=r"TARGETS: sign 'column' must give numbers -1 or \+1.* 1 of 2 rows"):
        weigh("TARGETS", rows(sign=[1, sign]), {"TARGETS": Policy("one", "column")})


def test_a_file_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    path = file_of(tmp_path, '[CONTACTS]\nsign = "-1"\n[EXTERNAL_LINK]\nweight = "score"\nsign = "column"\n')
    said = {"CONTACTS": Policy("one", "-1"), "EXTERNAL_LINK": Policy("score", "column")}
    assert read_policy(path) == {**POLICY, **said}
    assert read_policy(file_of(tmp_path, "")) == POLICY


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ('[NEER]\nweight = "one"\nsign = "+1"', "no edge type is called 'NEER'", "NEAR, CONTACTS"),
        ('[NEAR]\nweight = "two"', "'two' is not a rule for the weight", "'power_decay', 'one', 'score'"),
        ("[NEAR]\nsign = 1", "1 is not a rule for the sign", "'-1'"),
        ('[NEAR]\nweigth = "one"', "[NEAR] is {'weigth': 'one'}", "weight"),
        ('[BINDS]\nweight = "one"', "[BINDS] is", "sign"),
        ('NEAR = "one"', "[NEAR] is 'one'", "weight"),
        ('[NEAR]\nweight = "score"', "NEAR has no column score", "distance_bp"),
        ('[BINDS]\nweight = "one"\nsign = "column"', "BINDS has no column sign", "score"),
        ("[NEAR", "cannot be read as TOML", "table"),
    ],
)
def test_what_a_file_must_not_say(tmp_path: Path, text: str, told: str, hint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_policy(file_of(tmp_path, text))
    assert told in raised.value.message
    assert hint in raised.value.hint


def test_truth_and_predictions_have_no_policy(tmp_path: Path) -> None:
    for name in ("PERTURBS", "PREDICTED_LINK"):
        with pytest.raises(Conflict, match=f"{name} must not guide"):
            read_policy(file_of(tmp_path, f'[{name}]\nweight = "one"\nsign = "+1"'))
    check(POLICY)


def test_the_usual_graph_is_what_it_was_and_another_policy_makes_another(store: Store) -> None:
    toy.load_world(store)
    toy.load(store, PCHIC, contacts([(2000, "G2"), (5000, "G3"), (0, "G3")]))
    toy.load(store, toy.OTHER, toy.near([(0, "G1"), (5000, "G3")], distance_bp=10_000))
    publish(store)
    types = ["NEAR", "CONTACTS"]
    usual = read_guidance(store, 1, types)
    # recorded when weights were functions instead of rules
    assert usual.hash == "037ede32a013b6f942470132d9cc86d6f2df6ee9ad1a40b666924723860bbee9"
    assert dict(usual.policy) == {name: POLICY[name] for name in types}
    (release,) = store.read("MATCH (r:Release {number: 1}) RETURN r.hash AS hash")
    assert usual.release_hash == release["hash"]
    other = read_guidance(store, 1, types, policy={**POLICY, "CONTACTS": Policy("one", "-1")})
    assert sorted(zip(other.weight.round(3).tolist(), other.sign.tolist(), strict=True)) == [
        *[(pytest.approx(0.166, abs=1e-3), 1)],
        *[(1.0, -1)] * 3,
        *[(1.0, 1)] * 2,
    ]
    with pytest.raises(Conflict, match=r"CONTACTS: weight 'score' must give numbers in \(0, 1\]"):
        read_guidance(store, 1, types, policy={**POLICY, "CONTACTS": Policy("score", "+1")})
    with pytest.raises(Conflict, match="CONTACTS has no weight as guidance"):
        read_guidance(store, 1, types, policy={"NEAR": POLICY["NEAR"]})
