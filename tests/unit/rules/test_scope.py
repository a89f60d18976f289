"""Which keys a scope means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_lean_provider.rules.scope import Kind, NoOrder, OpenEnded, keys_between, starting_at

if TYPE_CHECKING:
    from datetime import date


@pytest.mark.parametrize(
    ("first", "last", "keys", "meant"),
    [
        ("2", "10", ["1", "10", "2", "11", "9"], ["2", "9", "10"]),
        ("-3", "1", ["-10", "-3", "0", "1", "2"], ["-3", "0", "1"]),
        ("2025", "2026", ["2024", "2025", "2026", "2027"], ["2025", "2026"]),
        ("2025-Q3", "2026-Q1", ["2025-Q2", "2025-Q4", "2026-Q1"], ["2025-Q4", "2026-Q1"]),
        ("2026-W52", "2027-W01", ["2026-W51", "2026-W53", "2027-W01"], ["2026-W53", "2027-W01"]),
        ("2026-01", "2026-03", ["2025-12", "2026-03", "2026-02"], ["2026-02", "2026-03"]),
        ("2028-02-28", "2028-03-01", ["2028-02-29", "2028-03-02"], ["2028-02-29"]),
        (
            "2026-06-14T09",
            "2026-06-14T11",
            ["2026-06-14T08", "2026-06-14T10", "2026-06-14T11", "2026-06-14T12"],
            ["2026-06-14T10", "2026-06-14T11"],
        ),
        (
            "2026-06-14T09:30:00",
            "2026-06-14T10:00:00",
            ["2026-06-14T09:29:59", "2026-06-14T09:45:00", "2026-06-14T10:00:01"],
            ["2026-06-14T09:45:00"],
        ),
    ],
)
def test_a_range_follows_the_order_of_the_format(
    first: str, last: str, keys: list[str], meant: list[str]
) -> None:
    """A range (in the key format's own order)."""
    assert keys_between(first, last, keys) == meant


def test_both_ends_are_meant() -> None:
    """A range; only of keys that exist."""
    assert keys_between("2026-06-14", "2026-06-15", ["2026-06-14", "2026-06-15"]) == [
        "2026-06-14",
        "2026-06-15",
    ]


def test_keys_of_another_format_are_not_meant() -> None:
    """Compared exactly: an hour is no day."""
    assert keys_between("2026-06-14", "2026-06-15", ["2026-06-14T09", "eu", "2026-06-14 "]) == []


@pytest.mark.parametrize(
    ("first", "last"), [("eu", "us"), ("2026-06-14", "us"), ("2026-06", "2026-06-14"), ("", ""), ("1", "²")]
)
def test_keys_without_an_order_have_no_range(first: str, last: str) -> None:
    """Refused where there is none."""
    with pytest.raises(NoOrder):
        keys_between(first, last, ["eu", "us", "2026-06-14"])


def test_a_range_that_runs_backwards_is_refused() -> None:
    """A range (in the key format's own order)."""
    with pytest.raises(NoOrder, match="comes after"):
        keys_between("2026-06-15", "2026-06-14", [])


# What is published later, too


@pytest.mark.parametrize(
    ("pattern", "covered", "left_out"),
    [
        ("eu|*", ["eu|2026-06-14", "eu|"], ["EU|1", "us|eu|1"]),
        ("2026-06-1[45]*", ["2026-06-14T05", "2026-06-15"], ["2026-06-13"]),
        ("*", ["", "a b/c%_'\"", "ú"], []),
        ("us", ["us"], ["US", "us ", "ús"]),
        ("*\n*", ["a\nb"], ["ab"]),
    ],
)
def test_a_pattern_is_compared_byte_for_byte(pattern: str, covered: list[str], left_out: list[str]) -> None:
    """A shell-style pattern; never what has no key."""
    scope = OpenEnded(Kind.PATTERN, pattern)
    assert [k for k in [*covered, *left_out, None] if scope.covers(k)] == covered


@pytest.mark.parametrize(
    ("first", "covered", "left_out"),
    [
        (
            "2026-06-14T05",
            ["2026-06-14T05", "2026-06-14T06:30", "2027-01-01T00"],
            ["2026-06-14T04", "2026-06-15"],
        ),
        ("2026-W53", ["2026-W53", "2027-W01"], ["2026-W52", "2026-12"]),
        ("9", ["9", "10", "2026"], ["8", "-10", "nine"]),
    ],
)
def test_from_a_key_on(first: str, covered: list[str], left_out: list[str]) -> None:
    """From a key on, in the key format's own order."""
    scope = starting_at(first)
    assert [k for k in [*covered, *left_out, None] if scope.covers(k)] == covered


@pytest.mark.parametrize("first", ["us", "", "2026-06-14T", "1²"])
def test_from_a_key_without_an_order(first: str) -> None:
    """Refused where there is none."""
    with pytest.raises(NoOrder, match="have no order"):
        starting_at(first)


@given(st.none() | st.text())
def test_the_whole_asset_leaves_nothing_out(key: str | None) -> None:
    """The whole asset, events without a key included."""
    assert OpenEnded(Kind.ALL).covers(key)


@given(st.dates(), st.lists(st.dates(), max_size=20))
def test_from_a_key_on_is_a_range_without_an_end(first: date, others: list[date]) -> None:
    """Both follow one order."""
    keys = [d.isoformat() for d in others]
    last = max([first, *others]).isoformat()
    assert {k for k in keys if starting_at(first.isoformat()).covers(k)} == set(
        keys_between(first.isoformat(), last, keys)
    )
