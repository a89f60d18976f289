"""Each change over REST leaves a line of who did what, in the same transaction as the change itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_lean_provider.airflow_internals import audit
from airflow_lean_provider.assets import andon
from airflow_lean_provider.brake.pull import pull
from airflow_lean_provider.brake.targets import Scope
from airflow_lean_provider.rules.facts import Severity
from tests.integration.api import Client, nothing_changes
from tests.integration.dags import ORDERS, consumer
from tests.integration.test_api_access import CHANGES, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_lean_provider.airflow_internals.audit import Entry
    from tests.integration.world import World

Requests = dict[tuple[str, str], tuple[str, dict[str, Any]]]


@pytest.fixture
def requests(chain: World) -> Requests:
    """Return a path and a body for each route that changes something, one after the other."""
    chain.add(consumer("mailing", ORDERS, Asset("mails", extra=andon(repair="ask"))))
    asks, stuck, key = "p1", "p2", "p3"
    chain.publish("ingest", asks, stuck)
    chain.play()
    gone = chain.dag_run("cleaning", stuck).id
    cords = [chain.pull("orders", k) for k in (asks, stuck)]
    with create_session(scoped=False) as session:
        session.delete(session.get_one(DagRun, gone))
    for cord in cords:
        chain.release(cord, "fixed")
    chain.play()
    chain.publish("ingest", key)
    chain.create_runs()
    stop, warn = (
        pull(Scope("orders", keys=(key,)), reason="wrong", by="tester", severity=severity).cord
        for severity in (Severity.STOP, Severity.WARN)
    )
    held, mailing = (
        {"dag_id": d, "run_id": chain.dag_run(d, k).run_id} for d, k in (("cleaning", key), ("mailing", asks))
    )
    of_stuck = {"asset": "clean", "partition_key": stuck, "outcome": "fixed", "reason": "counted"}
    return {
        ("POST", "/v1/cords/{cord_id}/raise"): (f"/cords/{warn}/raise", {}),
        ("POST", "/v1/cords/{cord_id}/acknowledge"): (f"/cords/{stop}/acknowledge", {"note": "mine"}),
        ("PATCH", "/v1/cords/{cord_id}"): (f"/cords/{stop}", {"reason": "very wrong"}),
        ("POST", "/v1/runs/let-through"): ("/runs/let-through", {**held, "reason": "needed"}),
        ("POST", "/v1/runs/approve-repair"): ("/runs/approve-repair", mailing),
        ("POST", "/v1/partitions/declare"): ("/partitions/declare", of_stuck),
        ("POST", "/v1/cords"): ("/cords", {"asset": "orders", "partition_keys": [key], "reason": "odd"}),
        ("POST", "/v1/cords/{cord_id}/repair"): (f"/cords/{stop}/repair", {}),
        ("POST", "/v1/cords/{cord_id}/release"): (f"/cords/{stop}/release", {"outcome": "false_alarm"}),
    }


def test_a_change_is_the_line_of_who_made_it(requests: Requests) -> None:
    assert CHANGES.keys() == EVENTS.keys() == requests.keys()
    for route, (path, body) in requests.items():
        with create_session(scoped=False) as session:
            before = set(session.scalars(select(Log.id)))
        answer = Client("admin", "ann").ask(route[0], path, json=body)
        assert answer.status_code < 300, (route, answer.text)
        with create_session(scoped=False) as session:
            new = [line for line in session.scalars(select(Log)) if line.id not in before]
        anns = [line for line in new if line.owner == "ann"]
        assert {line.event for line in anns} == {EVENTS[route]}, route
        assert any("ann" in (line.extra or "") for line in anns), route
        assert {line.owner for line in new} <= {"ann", audit.THE_BRAKE}, route
        assert all(line.owner_display_name == line.owner for line in new), route


def test_what_cannot_be_put_on_the_record_does_not_happen(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = audit.write_entries
    said: list[Entry] = []

    def write_and_fail(entries: Iterable[Entry], on: Any) -> None:
        said.extend(entries)
        write(said, on)
        raise RuntimeError("the disk is full")

    for name, module in list(sys.modules.items()):
        if name.startswith("airflow_lean_provider.") and getattr(module, "write_entries", None) is write:
            monkeypatch.setattr(module, "write_entries", write_and_fail)
    for route, (path, body) in requests.items():
        said.clear()
        with nothing_changes():
            answer = Client("admin", "ann").ask(route[0], path, json=body)
        assert answer.status_code == 500, (route, answer.text)
        assert {(entry.event, entry.by) for entry in said} == {(EVENTS[route], "ann")}, route
