"""Answers of ``airflow andon`` in Airflow's output formats."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import yaml

from airflow_lean_provider.cli.output import say

if TYPE_CHECKING:
    import pytest

ANSWER = {
    "cord_id": 7,
    "acknowledged_by": None,
    "pulled_at": datetime(2026, 6, 14, 5, tzinfo=timezone.utc),
    "why": [
        {"labels": ["held", "stopped"], "cord": 7},
        {"labels": [], "asset": "ördërs", "awaits": "a person"},
    ],
    "used_up": [],
}


def test_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    say(ANSWER, "json")
    told = json.loads(capsys.readouterr().out)
    say(ANSWER, "yaml")
    assert told == yaml.safe_load(capsys.readouterr().out)
    assert told["pulled_at"] == "2026-06-14T05:00:00+00:00"
    assert told["why"] == ANSWER["why"]


def test_tables_whose_rows_tell_of_different_things(capsys: pytest.CaptureFixture[str]) -> None:
    """Airflow's tables take the columns of the first row, and the values of every row as they come."""
    say(ANSWER, "plain")
    single, why = capsys.readouterr().out.split("\nWhy: 2\n")
    assert single.split() == ["cord_id", "acknowledged_by", "pulled_at", "7", "2026-06-14", "05:00:00", "UTC"]
    head, first, second = why.splitlines()[:3]
    assert head.split() == ["labels", "cord", "asset", "awaits"]
    assert first.split() == ["held,", "stopped", "7"]
    assert second.split() == ["ördërs", "a", "person"]
    assert second.index("ördërs") == head.index("asset")
    assert why.endswith("\nUsed up: none\n")
