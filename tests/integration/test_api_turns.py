"""Many people who act at once wait without the threads and connections that Airflow's own requests need."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import httpx
from airflow.configuration import conf

from airflow_lean_provider.api.turns import ACTS_AT_ONCE
from airflow_lean_provider.brake import pull
from airflow_lean_provider.brake.errors import BadRequest
from tests.integration.api import Client, application

if TYPE_CHECKING:
    import pytest

    from tests.integration.world import World

PEOPLE = 3 * ACTS_AT_ONCE


class Counted:
    """An act that takes a moment and is refused; it counts how many are under way."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, *_: object, **__: object) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.1)
        with self._lock:
            self.now -= 1
        raise BadRequest("reason", "it is only counted")


def test_so_many_acts_at_a_time_and_no_more(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    act = Counted()
    monkeypatch.setattr(pull, "pull", act)
    application_of_airflow = application(conf.get("core", "auth_manager"))
    headers = {"Authorization": f"Bearer {Client('op').token}"}
    body = {"asset": "orders", "partition_keys": ["p1"], "reason": "wrong"}

    async def pull_at_once() -> list[int]:
        transport = httpx.ASGITransport(application_of_airflow)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as people:
            pulls = [people.post("/andon/v1/cords", json=body) for _ in range(PEOPLE)]
            return [answer.status_code for answer in await asyncio.gather(*pulls)]

    assert asyncio.run(pull_at_once()) == [400] * PEOPLE
    assert act.most == ACTS_AT_ONCE
