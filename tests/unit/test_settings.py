from __future__ import annotations

import pytest

from airflow_lean_provider import settings


@pytest.fixture(autouse=True)
def _nothing_cached():
    settings.forget()


def test_environment_sets_an_option(monkeypatch):
    monkeypatch.setenv("AIRFLOW__LEAN__CLOCK_SKEW", "0.5")
    assert settings.clock_skew() == 0.5


def test_option_is_read_once(monkeypatch):
    assert settings.settle_timeout() == 30
    monkeypatch.setenv("AIRFLOW__LEAN__SETTLE_TIMEOUT", "1")
    assert settings.settle_timeout() == 30
    settings.forget()
    assert settings.settle_timeout() == 1


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "0"])
def test_unusable_value_is_reported_and_the_default_taken(monkeypatch, caplog, value):
    monkeypatch.setenv("AIRFLOW__LEAN__PUT_BACK_TIME", value)
    assert settings.put_back_time() == 15
    assert "put_back_time" in caplog.text


def test_zero_is_usable_where_it_means_something(monkeypatch):
    monkeypatch.setenv("AIRFLOW__LEAN__CLOCK_SKEW", "0")
    assert settings.clock_skew() == 0
    assert settings.survival_time() == 0
