"""What becomes of a partition's key: the mappers of Airflow, written again from what they promise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set

    from tests.simulation.graph import Mapping

HOUR = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d)(:00:00)?")
DAY = re.compile(r"\d{4}-\d\d-\d\d")


class NotMapped(Exception):
    """The mapper raises for this key: Airflow does not deliver it."""


def map_key(mapping: Mapping, key: str) -> frozenset[str]:
    """
    All keys that this key becomes.

    :raises NotMapped: if the mapper does not accept the key
    """
    if mapping.kind == "identity":
        return frozenset({key})
    if mapping.kind == "fixed":
        return frozenset({mapping.value})
    if mapping.kind == "allowed":
        if key not in mapping.allowed:
            raise NotMapped(key)
        return frozenset({key})
    if mapping.kind == "day":
        return frozenset({_match(HOUR, key)[1]})
    if mapping.kind == "fan_out":
        return frozenset(f"{_match(DAY, key)[0]}T{hour:02}" for hour in range(mapping.size))
    if mapping.kind == "chain":
        keys = frozenset({key})
        for part in mapping.parts:
            keys = frozenset(mapped for each in keys for mapped in map_key(part, each))
        return keys
    if mapping.kind == "product":
        return frozenset({_product(mapping, key)})
    raise ValueError(f"no such mapping: {mapping.kind}")


def maps_to(mapping: Mapping, key: str | None, run_key: str) -> bool:
    """Whether a run with this key is made for that key; not if there is none or the mapper raises."""
    try:
        return key is not None and run_key in map_key(mapping, key)
    except NotMapped:
        return False


def is_enough(mapping: Mapping, run_key: str, arrived: Set[str]) -> bool:
    """Whether a pending run is complete as far as this asset goes."""
    if mapping.kind != "day":
        return bool(arrived)
    window = {f"{run_key}T{hour:02}" for hour in range(mapping.size)}
    here = len(window & {f"{match[1]}T{match[2]}" for key in arrived if (match := HOUR.fullmatch(key))})
    if mapping.at_least is None:
        return here == len(window)
    return here >= (mapping.at_least if mapping.at_least > 0 else max(0, len(window) + mapping.at_least))


def _match(pattern: re.Pattern[str], key: str) -> re.Match[str]:
    match = pattern.fullmatch(key)
    if match is None:
        raise NotMapped(key)
    return match


def _product(mapping: Mapping, key: str) -> str:
    segments = key.split("|")
    if len(segments) != len(mapping.parts):
        raise NotMapped(key)
    mapped = [map_key(part, segment) for part, segment in zip(mapping.parts, segments, strict=True)]
    if any(len(keys) != 1 for keys in mapped):
        raise NotMapped(key)
    return "|".join(key for keys in mapped for key in keys)
