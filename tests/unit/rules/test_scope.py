"""Which keys a range means."""

from __future__ import annotations

import pytest

from airflow_lean_provider.rules.scope import NoOrder, keys_between


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
