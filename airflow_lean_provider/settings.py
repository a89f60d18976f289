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
from typing import Literal, NamedTuple, get_args

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


Resource = Literal["asset", "dag"]
Method = Literal["GET", "POST", "PUT", "DELETE"]


class Right(NamedTuple):
    """A right as Airflow's auth manager knows it: a method on assets, or on the runs of Dags."""

    resource: Resource
    method: Method


SEEING = Right("asset", "GET")
"""What it takes to see an asset, its partitions and the cords on it."""


@cache
def pull_requires() -> Right:
    """[lean] pull_requires: the right, a method on assets or Dags, to pull, to raise and to edit a cord."""
    return _right("pull_requires")


@cache
def release_requires() -> Right:
    """[lean] release_requires: the right, a method on assets or Dags, to release, repair and declare."""
    return _right("release_requires")


@cache
def acknowledge_requires() -> Right:
    """[lean] acknowledge_requires: the right, a method on assets or Dags, to say that one is on it."""
    return _right("acknowledge_requires")


@cache
def let_through_requires() -> Right:
    """[lean] let_through_requires: the right, a method on assets or Dags, to let a run read bad data."""
    return _right("let_through_requires")


def forget() -> None:
    """Read every option anew when it is next asked for (tests)."""
    for option in (
        clock_skew,
        settle_timeout,
        survival_time,
        sweep_interval,
        put_back_time,
        pull_requires,
        release_requires,
        acknowledge_requires,
        let_through_requires,
    ):
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


def _right(option: str) -> Right:
    default = str(get_provider_info()["config"][_SECTION]["options"][option]["default"])
    for text in (conf.get(_SECTION, option, fallback=default), default):
        resource, _, method = text.partition(":")
        if resource in get_args(Resource) and method in get_args(Method):
            return Right(resource, method)  # type: ignore[arg-type]
        log.error("[%s] %s = %s is no right, using %s", _SECTION, option, text, default)
    raise AssertionError("unreachable")
