"""
What Dag authors say of their assets: how cords on them behave, and which partitions an inlet means.

.. code-block:: python

    from airflow.sdk import Asset, StartOfDayMapper
    from airflow_lean_provider.assets import andon, inlet

    orders = Asset("orders", extra=andon(severity="warn", release_on="publication"))


    @task(inlets=inlet(orders, reads=StartOfDayMapper()))
    def report(): ...
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Asset

POLICY = "andon"
"""The key of an asset's ``extra`` that holds its policy."""

READS = "andon:reads"
"""The key of what :func:`inlet` puts beside an inlet."""

_CHOICES = {
    "release_on": ("manual", "publication", "check"),
    "severity": ("stop", "warn"),
    "on_running": ("stop", "finish"),
    "repair": ("auto", "ask"),
    "quarantine": ("none", "quarantine", "purge"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What the author of an asset has decided.

    :param release_on: how a cord on it ends unless somebody says otherwise: by a person (``manual``), once it
        was published again (``publication``), or once the check that pulled it passes (``check``; no check
        pulls cords yet, and a person decides)
    :param severity: the severity of cords on it that name none
    :param on_running: what becomes of a running task that publishes it and reads bad data: it is killed
        (``stop``), or ends by itself and taints what it publishes (``finish``)
    :param repair: whether a task that publishes it is run again by itself (``auto``) or waits for a person
        (``ask``), since it sends mails or moves money
    :param quarantine: what becomes of the bad data itself (nothing yet)
    :param notify: whom to tell besides those whom lineage names (nobody yet)
    """

    release_on: str | None = None
    severity: str | None = None
    on_running: str | None = None
    repair: str | None = None
    quarantine: str | None = None
    notify: tuple[str, ...] = ()


def andon(
    *,
    release_on: str | None = None,
    severity: str | None = None,
    on_running: str | None = None,
    repair: str | None = None,
    quarantine: str | None = None,
    notify: Sequence[str] = (),
    **unknown: Any,
) -> dict[str, Any]:
    """
    Return an ``extra`` for an asset that says how the andon cord treats it; see :class:`Policy`.

    Other entries may stand beside it: ``extra={**andon(severity="warn"), "owner": "sales"}``.

    :raises TypeError: if an argument has a name that does not exist, or ``notify`` is no list of strings
    :raises ValueError: if a value is none of those that its field takes
    """
    if unknown:
        raise TypeError(_no_such_field(next(iter(unknown))))
    said = {
        "release_on": release_on,
        "severity": severity,
        "on_running": on_running,
        "repair": repair,
        "quarantine": quarantine,
        "notify": None if notify == () else notify,
    }
    policy = {field: value for field, value in said.items() if value is not None}
    _validate(policy)
    if "notify" in policy:
        policy["notify"] = list(notify)
    return {POLICY: policy}


def inlet(asset: Asset, *, reads: Any) -> list[Any]:
    """
    Return inlets that say which partitions of ``asset`` the task reads: ``inlets=inlet(orders, reads=...)``.

    Without it, a task with an inlet counts as reading the partition with its run's own key if there is one,
    else every partition.

    :param reads: a partition mapper, given the run's partition key or, in a run without one, the start of its
        data interval in the Dag's time zone as ``2026-06-14T00:00:00``; a ``RollupMapper`` is asked for the
        keys that roll up into it
    :raises TypeError: if ``reads`` is no partition mapper
    """
    from airflow.sdk import PartitionMapper
    from airflow.serialization.encoders import encode_partition_mapper

    if not isinstance(reads, PartitionMapper):
        raise TypeError(f"reads: must be a partition mapper, not {reads!r}")
    mapper = json.dumps(encode_partition_mapper(reads))
    return [asset, {READS: {"name": asset.name, "uri": asset.uri, "mapper": mapper}}]


def policy_in(extra: Mapping[str, Any] | None) -> Policy:
    """
    Read the policy of an asset; what is not valid in one that was written by hand is left out.

    ``doctor`` reports it: :func:`problem_in`.
    """
    said = (extra or {}).get(POLICY)
    if not isinstance(said, dict):
        return Policy()
    valid: dict[str, Any] = {}
    for field, value in said.items():
        try:
            _validate({field: value})
        except (TypeError, ValueError):
            continue
        valid[field] = tuple(value) if field == "notify" else value
    return Policy(**valid)


def problem_in(extra: Mapping[str, Any] | None) -> str | None:
    """Say what is wrong with the policy of an asset, None if nothing is."""
    said = (extra or {}).get(POLICY, {})
    try:
        _validate(said)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _validate(policy: Any) -> None:
    if not isinstance(policy, dict):
        raise TypeError(f"{POLICY}: must be what andon(...) returns, not {policy!r}")
    for field, value in policy.items():
        if field == "notify":
            if not _is_list_of_names(value):
                raise TypeError(f"notify: must be a list of names, not {value!r}")
        elif field not in _CHOICES:
            raise TypeError(_no_such_field(field))
        elif value not in _CHOICES[field]:
            raise ValueError(f"{field}: must be one of {', '.join(_CHOICES[field])}, not {value!r}")


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str) and v.strip() for v in value)


def _no_such_field(name: str) -> str:
    known = [field.name for field in fields(Policy)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
    return f"{name}: andon(...) has no such field{hint}"
