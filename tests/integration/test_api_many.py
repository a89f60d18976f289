"""Thousands of partitions, cords and holds, page by page."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import insert

from airflow_lean_provider.brake import absent
from airflow_lean_provider.store.models import AffectedRun, Cord, CordPartition
from tests.integration.api import Client
from tests.integration.counting import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from airflow_lean_provider.brake.scene import Scene
    from airflow_lean_provider.rules.facts import Partition
    from tests.integration.world import World

MANY = 5_000
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


def publish_many(number: int) -> list[str]:
    keys = [f"{LONG_AGO + timedelta(hours=n):%Y-%m-%dT%H}" for n in range(number)]
    with create_session(scoped=False) as session:
        event = {"asset_id": 1, "timestamp": LONG_AGO, "extra": {}, "source_map_index": -1}
        session.execute(insert(AssetEvent), [{**event, "partition_key": key} for key in keys])
    return keys


def test_a_page_of_thousands_of_partitions_can_be_sorted_and_searched(chain: World) -> None:
    keys = publish_many(MANY)
    op = Client("op")
    cord = op.post("/cords", asset="orders", range={"first": keys[10], "last": keys[29]}, reason="wrong")
    assert cord["partitions"] == 20
    page = op.get("/assets/1/partitions", limit=20, offset=MANY - 30, order_by="-partition_key")
    assert page["total_entries"] == MANY
    assert [p["partition_key"] for p in page["partitions"]] == keys[29:9:-1]
    assert {p["state"] for p in page["partitions"]} == {"halted"}
    urgent = op.get("/assets/1/partitions", limit=1, order_by=["state", "-partition_key"])["partitions"]
    assert [p["partition_key"] for p in urgent] == [keys[29]]
    assert op.get("/assets/1/partitions", state="halted")["total_entries"] == 20
    assert op.get("/assets/1/partitions", prefix="2026-02-01T")["total_entries"] == 24
    assert op.get("/assets/1/partitions", text="t05", limit=0)["total_entries"] == len(
        [k for k in keys if k.endswith("T05")]
    )


def test_a_page_of_partitions_takes_as_many_statements_however_many_there_are(chain: World) -> None:
    op = Client("op")

    def statements(number: int) -> int:
        publish_many(number)
        with counted() as found:
            page = op.get("/assets/1/partitions", limit=20, offset=number // 2, order_by="-partition_key")
        assert (page["total_entries"], len(page["partitions"])) == (number, 20)
        return found.total()

    few = statements(50)
    assert statements(MANY) == few


@pytest.mark.parametrize("order_by", ["dag_id", "-since", "partition_key"])
def test_pages_of_holds_follow_each_other(chain: World, order_by: str) -> None:
    with create_session(scoped=False) as session:
        session.add(Cord(reason="x", severity="stop", pulled_by="ann", pulled_at=LONG_AGO))
        session.execute(
            insert(AffectedRun),
            [
                {
                    "dag_id": ("cleaning", "reporting", "gone")[n % 3],
                    "run_id": f"run-{n:04}",
                    "partition_key": f"p{n}",
                    "labels": ["held"],
                    "causes": [[1, 1, f"p{n}"]],
                    "saw": [],
                    "consumed": [],
                    "absorbs": False,
                    "held": True,
                    "since": LONG_AGO + timedelta(seconds=n),
                }
                for n in range(300)
            ],
        )
    op, seen = Client("op"), []
    for offset in range(0, 300, 70):
        page = op.get("/holds", limit=70, offset=offset, order_by=order_by)
        assert (page["total_entries"], page["hidden"]) == (200, 100)
        seen += [h["run_id"] for h in page["holds"]]
    assert len(seen) == len(set(seen)) == 200


def test_cords_come_with_the_most_urgent_first_and_can_be_searched(chain: World) -> None:
    def cord(number: int, **more: object) -> None:
        with create_session(scoped=False) as session:
            moment = LONG_AGO + timedelta(hours=number)
            facts = {"reason": f"reason {number}", "severity": "stop", "pulled_by": "ann", **more}
            session.add(Cord(id=number, pulled_at=moment, **facts))
            session.add(
                CordPartition(
                    cord_id=number,
                    asset_id=1,
                    asset_name="orders",
                    partition_key=f"k{number}",
                    opened_at=moment,
                    named=[],
                )
            )

    cord(1, severity="warn")
    cord(2, closed_at=LONG_AGO, reason="100% wrong")
    cord(3, acknowledged_by="bob", acknowledged_at=LONG_AGO)
    cord(4)
    cord(5, pulled_by="Carl")
    cord(6, closed_at=LONG_AGO + timedelta(days=1))
    op = Client("viewer")

    def numbers(**filters: object) -> list[int]:
        page = op.get("/cords", **filters)
        assert page["total_entries"] >= len(page["cords"])
        return [c["cord_id"] for c in page["cords"]]

    assert numbers() == [4, 5, 3, 1, 6, 2]
    assert numbers(closed=True) == [6, 2]
    assert numbers(closed=False, severity="stop", acknowledged=False) == [4, 5]
    assert numbers(text="100%") == [2]
    assert numbers(text="k4") == [4]
    assert numbers(text="carl") == [5]
    assert numbers(text="ORDERS", limit=2, offset=1) == [5, 3]
    assert numbers(order_by=["-severity", "-cord_id"]) == [1, 6, 5, 4, 3, 2]
    assert numbers(asset_id=2) == []
    assert op.refused("GET", "/cords", params={"order_by": "reason; drop"})[0] == 400
    assert op.refused("GET", "/cords", params={"limit": -1})[0] == 422
    assert op.get("/cords", limit=0) == {"cords": [], "total_entries": 6}


def test_what_was_withdrawn_long_ago_costs_nothing(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody publishes again what should not exist: it would be looked at for ever."""
    with create_session(scoped=False) as session:
        session.add(
            Cord(id=1, reason="x", severity="stop", pulled_by="ann", pulled_at=LONG_AGO, closed_at=LONG_AGO)
        )
        session.execute(
            insert(CordPartition),
            [
                {
                    "cord_id": 1,
                    "asset_id": 1,
                    "asset_name": "orders",
                    "partition_key": f"k{n:04}",
                    "opened_at": LONG_AGO,
                    "named": [],
                    "outcome": "withdrawn",
                    "ended_at": LONG_AGO + timedelta(seconds=n),
                }
                for n in range(MANY)
            ],
        )
    looked_at: list[set[str | None]] = []
    look = absent.look

    def note(session: Session, *, also: Collection[Partition]) -> Scene:
        looked_at.append({partition.key for partition in also})
        return look(session, also=also)

    monkeypatch.setattr(absent, "look", note)
    told = Client("op").get("/assets/1/partitions", limit=1, state="withdrawn")
    assert told["total_entries"] == MANY
    assert looked_at == [{f"k{n:04}" for n in range(MANY - absent.LOOKED_AT, MANY)}]
