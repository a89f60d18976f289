"""The few calls of Airflow's REST API that a story or a test needs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

PATIENCE_SECONDS = 300.0
"""How long an answer may take on a machine that is busy with other things."""


class AirflowRest:
    """
    A client of an Airflow in which everybody is an administrator, unless somebody logs in.

    :param url: the api-server's address
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)
        self._asset_ids: dict[str, int] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def log_in(self, user: str, password: str) -> str:
        """
        Do everything as one user from now on, and return their token.

        :param user: the user's name
        :param password: as the simple auth manager knows it
        """
        answer = self._client.post("/auth/token", json={"username": user, "password": password})
        token: str = answer.raise_for_status().json()["access_token"]
        self._client.headers["authorization"] = f"Bearer {token}"
        return token

    def call(self, method: str, path: str, **options: Any) -> Any:
        """
        Make one call and return the decoded answer; an error's text is part of the exception.

        :param method: HTTP method
        :param path: path, with or without ``/api/v2`` (pages of plugins have no such prefix)
        """
        if "authorization" not in self._client.headers:
            token = self._client.get("/auth/token").raise_for_status().json()["access_token"]
            self._client.headers["authorization"] = f"Bearer {token}"
        answer = self._client.request(method, path, **options)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def health(self) -> dict[str, str | None]:
        """Return the state of each component, nothing as long as the api-server does not answer."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5).raise_for_status().json()
        except httpx.HTTPError:
            return {}
        return {name: component["status"] for name, component in answer.items()}

    def trigger(self, dag_id: str, partition_key: str | None = None, **body: Any) -> str:
        """
        Trigger a run.

        :param dag_id: the Dag
        :param partition_key: the run's partition
        :param body: anything else that the endpoint takes (``conf``, ``dag_run_id``, ...)
        :return: the run's id
        """
        body = {"logical_date": None, "partition_key": partition_key, **body}
        return self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]

    def clear(self, dag_id: str, run_id: str) -> None:
        """
        Clear all tasks of a run, so that it runs again.

        :param dag_id: the Dag
        :param run_id: its run
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/clear"
        self.call("POST", path, json={"dry_run": False})

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """
        Pause a Dag, or take the pause back.

        :param dag_id: the Dag
        :param paused: false to unpause
        """
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": paused})

    def asset_id(self, name: str) -> int:
        """
        Return the number of an asset.

        :param name: its exact name
        """
        if name not in self._asset_ids:
            found = self.call("GET", "/api/v2/assets", params={"name_pattern": name, "limit": 1000})["assets"]
            self._asset_ids |= {asset["name"]: asset["id"] for asset in found}
        return self._asset_ids[name]

    def publish(self, asset: str, partition_key: str | None = None, **extra: Any) -> int:
        """
        Publish an asset event that no task of Airflow produced.

        :param asset: the asset's name
        :param partition_key: the partition
        :param extra: the event's extra
        :return: the event's number
        """
        body = {"asset_id": self.asset_id(asset), "partition_key": partition_key, "extra": extra}
        return self.call("POST", "/api/v2/assets/events", json=body)["id"]
