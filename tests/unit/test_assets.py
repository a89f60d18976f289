"""What Dag authors say of their assets: a mistake fails where the Dag is parsed, with the field's name."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import Asset, StartOfDayMapper
from hypothesis import given
from hypothesis import strategies as st

from airflow_lean_provider.assets import POLICY, Policy, andon, inlet, policy_in, problem_in

VALID = {
    "release_on": ["manual", "publication", "check"],
    "severity": ["stop", "warn"],
    "on_running": ["stop", "finish"],
    "repair": ["auto", "ask"],
    "quarantine": ["none", "quarantine", "purge"],
    "notify": [["ann"], ("ann", "#data")],
}


@given(st.fixed_dictionaries({}, optional={f: st.sampled_from(v) for f, v in VALID.items()}))
def test_what_is_said_is_read_back(said: dict[str, Any]) -> None:
    extra = Asset("orders", extra={**andon(**said), "mine": 1}).extra
    assert extra["mine"] == 1
    assert problem_in(extra) is None
    policy = policy_in(extra)
    for field in VALID:
        expected = said.get(field)
        assert getattr(policy, field) == (tuple(expected or ()) if field == "notify" else expected)


def test_nothing_is_said() -> None:
    assert policy_in(None) == policy_in({}) == policy_in({"mine": 1}) == policy_in(andon()) == Policy()


@pytest.mark.parametrize("field", sorted(VALID.keys() - {"notify"}))
@pytest.mark.parametrize("value", ["always", "", 1, True, ["stop"], {"a": 1}])
def test_a_bad_value_is_named_with_its_field_and_what_is_allowed(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: must be one of ") as error:
        andon(**{field: value})
    assert repr(value) in str(error.value)
    assert all(allowed in str(error.value) for allowed in VALID[field])


@pytest.mark.parametrize("value", ["ann", [""], [1], [" "], 5, {"ann": 1}, [None], ""])
def test_notify_takes_a_list_of_names(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^notify: must be a list of names, not ") as error:
        andon(notify=value)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("severty", "severity"),
        ("release_0n", "release_on"),
        ("onrunning", "on_running"),
        ("notifiy", "notify"),
    ],
)
def test_a_typo_fails_with_the_name_that_was_meant(typo: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"^{typo}: .* no such field; did you mean {meant}"):
        andon(**{typo: "stop"})


def test_a_name_like_no_other_fails_with_all_names() -> None:
    with pytest.raises(TypeError, match=r"^xyz: ") as error:
        andon(xyz=1)
    assert all(field in str(error.value) for field in VALID)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
    | st.dictionaries(
        st.sampled_from([*VALID, "other"]), st.none() | st.integers() | st.text() | st.lists(st.text())
    )
)
def test_what_somebody_wrote_by_hand_never_fails(written: Any) -> None:
    """It is read by schedulers: what is not valid is left out, and said."""
    extra = {POLICY: written}
    policy = policy_in(extra)
    kept = {f: getattr(policy, f) for f in VALID if getattr(policy, f)}
    assert problem_in({POLICY: {f: list(v) if f == "notify" else v for f, v in kept.items()}}) is None
    if problem_in(extra) is None:
        assert {f: list(v) if f == "notify" else v for f, v in kept.items()} == {
            f: v for f, v in written.items() if v
        }


def test_one_bad_field_does_not_take_the_others_with_it() -> None:
    assert policy_in({POLICY: {"severity": "warn", "repair": "never"}}) == Policy(severity="warn")
    assert problem_in({POLICY: {"severity": "warn", "repair": "never"}}) == (
        "repair: must be one of auto, ask, not 'never'"
    )
    assert problem_in({POLICY: "warn"}) == "andon: must be what andon(...) returns, not 'warn'"


def test_an_inlet_says_which_partitions_by_a_mapper_only() -> None:
    orders = Asset("orders")
    assert inlet(orders, reads=StartOfDayMapper())[0] is orders
    with pytest.raises(TypeError, match=r"^reads: must be a partition mapper, not 'yesterday'"):
        inlet(orders, reads="yesterday")
