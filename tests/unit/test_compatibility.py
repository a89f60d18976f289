"""In an Airflow minor that was never tested, the provider says so loudly."""

from __future__ import annotations

import logging

import airflow
import pytest

from airflow_lean_provider import compatibility
from airflow_lean_provider.plugin import LeanPlugin


def test_the_airflow_that_runs_the_suite_counts_as_tested():
    """Add it to ``TESTED_MINORS`` when every test has passed on it, not before."""
    assert compatibility.untested_minor(airflow.__version__) is None


@pytest.mark.parametrize("version", ["3.3.0", "3.3.99", "3.3.2rc1"])
def test_a_tested_minor_is_silent(version, caplog):
    compatibility.warn_if_untested(version)
    assert not caplog.records


@pytest.mark.parametrize(("version", "minor"), [("3.4.0", "3.4"), ("4.0.0.dev0", "4.0"), ("3.30.1", "3.30")])
def test_any_other_is_warned_about(version, minor, caplog):
    compatibility.warn_if_untested(version)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"never tested with Airflow {minor} (tested: 3.3)" in record.getMessage()


def test_airflow_asks_when_it_has_loaded_the_plugin(monkeypatch):
    """``plugins_manager`` calls ``on_load`` of an instance."""
    asked = []
    monkeypatch.setattr("airflow_lean_provider.plugin.warn_if_untested", lambda: asked.append(True))
    LeanPlugin().on_load()
    assert asked == [True]
