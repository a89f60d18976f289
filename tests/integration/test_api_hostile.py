"""Names, keys and reasons that somebody hostile, or merely foreign, chooses: told as they were given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from airflow.models.dagrun import DagRunNote
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import select

from tests.conftest import BACKEND
from tests.integration.api import Client, nothing_changes
from tests.integration.dags import CLEAN, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

KEYS = {
    "markup": "<script>alert(1)</script>",
    "quotes": 'it\'s "quoted" `so`',
    "slashes": "../../eu/2026//06\\14",
    "question": "a?b=c&d#e%2F%00;--",
    "template": "{{ 7*7 }} ${x} %s %(y)s",
    "wildcards": "100%_[a-z]*",
    "right to left": "\u202eشحنة 🙂"[:-1] if BACKEND == "mariadb" else "\u202eشحنة 🙂",
    "spaces": "  us ",
    "long": "k" * 250,
}
REASONS = {
    **KEYS,
    "ten thousand": "<b>" + "é" * 9_994 + "</b"[:3],
    "newlines": "first\r\nsecond\tthird",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_told_as_it_was_published(chain: World, key: str) -> None:
    chain.publish_from_outside("orders", key)
    chain.publish_from_outside("orders", "harmless")
    op = Client("op", "ann")
    cord = op.post("/cords", asset="orders", partition_keys=[key], reason="wrong")["cord_id"]
    chain.create_runs()
    chain.start_runs()
    (named,) = op.get(f"/cords/{cord}/partitions", text=key)["partitions"]
    assert named["partition_key"] == key
    (told,) = op.get("/assets/1/partitions", text=key)["partitions"]
    assert (told["partition_key"], told["state"]) == (key, "halted")
    assert op.get("/assets/1/partitions", prefix=key)["total_entries"] == 1
    assert [c["cord_id"] for c in op.get("/cords", text=key)["cords"]] == [cord]
    (hold,) = op.get("/holds")["holds"]
    assert hold["partition_key"] == key
    why = op.get("/why", dag_id=hold["dag_id"], run_id=hold["run_id"])
    assert [r["partition_key"] for r in why["reasons"]] == [key]
    op.post(f"/cords/{cord}/release", outcome="false_alarm", partition_keys=[key])
    assert op.get(f"/cords/{cord}")["partitions_open"] == 0


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_a_reason_is_told_as_it_was_given(chain: World, reason: str) -> None:
    chain.publish("ingest", "p1")
    op = Client("op", "ann")
    cord = op.post("/cords", asset="orders", partition_keys=["p1"], reason="wrong")["cord_id"]
    chain.create_runs()
    chain.start_runs()
    edited = op.ask("PATCH", f"/cords/{cord}", json={"reason": reason})
    assert edited.json()["reason"] == reason.strip(), edited.text
    op.post(f"/cords/{cord}/acknowledge", note=reason)
    (hold,) = op.get("/holds")["holds"]
    why = op.get("/why", dag_id=hold["dag_id"], run_id=hold["run_id"])
    assert why["reasons"][0]["reason"] == reason.strip()
    with create_session(scoped=False) as session:
        (note,) = session.scalars(select(DagRunNote.content))
    assert note.startswith(f"Andon cord {cord}: {reason.strip()[:900]}")
    op.post("/runs/let-through", dag_id=hold["dag_id"], run_id=hold["run_id"], reason=reason)
    op.post(f"/cords/{cord}/release", outcome="fixed", note=reason)
    (told,) = op.get(f"/cords/{cord}/partitions")["partitions"]
    assert told["note"] == reason


NAMES = {"markup": "<img src=x onerror=alert(1)>", "slashes": "s3://a/b?c=d#e", "quotes": 'o\'brien "x"'}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_an_asset_is_told_by_its_name(world: World, name: str) -> None:
    asset = Asset(name, uri=f"x://{name.encode().hex()}")
    world.add(producer("ingest", asset), consumer("cleaning", asset, CLEAN))
    world.publish("ingest", "p1")
    op = Client("op")
    (told,) = op.get("/assets", text=name)["assets"]
    assert told["name"] == name
    cord = op.post("/cords", asset=name, partition_keys=["p1"], reason="wrong")
    assert [a["name"] for a in cord["assets"]] == [name]
    assert name in {n["label"] for n in op.get(f"/cords/{cord['cord_id']}/graph")["nodes"]}


NOT_STORABLE = {
    "a NUL": "a\x00b",
    "half a character": "\ud83d",
}
FIELDS = {
    "reason": {"asset": "orders", "partition_keys": ["p1"]},
    "request_key": {"asset": "orders", "partition_keys": ["p1"], "reason": "x"},
    "asset": {"partition_keys": ["p1"], "reason": "x"},
    "pattern": {"asset": "orders", "reason": "x"},
    "from_key": {"asset": "orders", "reason": "x"},
}


@pytest.mark.parametrize("text", NOT_STORABLE.values(), ids=NOT_STORABLE)
@pytest.mark.parametrize("field", FIELDS)
def test_what_no_database_can_keep_is_refused_by_name(chain: World, field: str, text: str) -> None:
    chain.publish("ingest", "p1")
    with nothing_changes():
        code, detail = Client("op").refused(
            "POST",
            "/cords",
            content=json.dumps({**FIELDS[field], field: text}),
            headers={"Content-Type": "application/json"},
        )
    assert code == 422
    assert [d["loc"] for d in detail] == [["body", field]]


@pytest.mark.parametrize("body", ['{"\\ud83d": 1}', '{"reason": NaN}', '{"asset_id": 1e999}', "[", '"x"', ""])
def test_what_cannot_be_said_again_is_refused(chain: World, body: str) -> None:
    with nothing_changes():
        code, detail = Client("op").refused(
            "POST", "/cords", content=body, headers={"Content-Type": "application/json"}
        )
    assert code == 422
    assert detail


TOO_MUCH = {
    "a reason": ({"reason": "x" * 10_001}, "reason"),
    "an empty reason": ({"reason": " \n "}, "reason"),
    "a request key": ({"reason": "x", "request_key": "x" * 251}, "request_key"),
    "a key": ({"reason": "x", "partition_keys": ["x" * 251]}, "partition_keys"),
    "a moment": ({"reason": "x", "since": "0001-01-01T00:00:00+14:00"}, "since"),
    "a moment without a zone": ({"reason": "x", "since": "2026-01-01T00:00:00"}, "since"),
    "an id": ({"reason": "x", "asset_id": 2**31}, "asset_id"),
    "a field that nobody knows": ({"reason": "x", "resaon": "x"}, "resaon"),
}


@pytest.mark.parametrize(("body", "field"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_much_is_refused_by_name(chain: World, body: dict[str, object], field: str) -> None:
    chain.publish("ingest", "p1")
    request = {"asset": "orders", "partition_keys": ["p1"], **body}
    with nothing_changes():
        code, detail = Client("op").refused("POST", "/cords", json=request)
    assert code == 422
    assert field in {d["loc"][1] for d in detail}


@pytest.mark.parametrize("path", ["/cords/0", "/cords/-1", f"/cords/{2**31}", "/cords/1e3", "/cords/%00"])
def test_a_number_that_is_none_is_refused(chain: World, path: str) -> None:
    assert Client("op").refused("GET", path)[0] == 422
