"""
The options of section ``[lean]``: one cached function for each, with the option's name and unit.

Descriptions and defaults are in :mod:`airflow_lean_provider.provider`, where Airflow reads them too. A value
that cannot be used is reported once and its default taken: these functions are called where starts are
judged, and a typing mistake must neither stop a scheduler nor let a start through.
"""

from __future__ import annotations

import logging
import math
from functools import cache

from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException

from airflow_lean_provider.provider import get_provider_info

log = logging.getLogger(__name__)

_SECTION = "lean"


@cache
def clock_skew() -> float:
    """[lean] clock_skew: seconds within which a doubtful order of two moments counts as "saw it"."""
    return _seconds("clock_skew")


@cache
def settle_timeout() -> float:
    """[lean] settle_timeout: seconds for which a pull waits until every reader is held or stopped."""
    return _seconds("settle_timeout")


@cache
def survival_time() -> float:
    """[lean] survival_time: seconds a stopped process survives at most; 0: derive from worker settings."""
    return _seconds("survival_time")


@cache
def sweep_interval() -> float:
    """[lean] sweep_interval: seconds between two rounds of the sweeper; more than 0."""
    return _seconds("sweep_interval", zero_allowed=False)


@cache
def put_back_time() -> float:
    """[lean] put_back_time: seconds for which a start is put back after an error of ours; more than 0."""
    return _seconds("put_back_time", zero_allowed=False)


def forget() -> None:
    """Read every option anew when it is next asked for (tests)."""
    for option in (clock_skew, settle_timeout, survival_time, sweep_interval, put_back_time):
        option.cache_clear()


def _seconds(option: str, *, zero_allowed: bool = True) -> float:
    default = float(get_provider_info()["config"][_SECTION]["options"][option]["default"])
    try:
        value = conf.getfloat(_SECTION, option, fallback=default)
    except (AirflowConfigException, ValueError) as error:
        log.error("[%s] %s cannot be read, using %s seconds: %s", _SECTION, option, default, error)
        return default
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero_allowed):
        log.error("[%s] %s = %s is not usable, using %s seconds", _SECTION, option, value, default)
        return default
    return value
