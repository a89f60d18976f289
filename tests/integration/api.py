"""Airflow's own API application in this process, our plugin mounted, and people with roles who call it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import airflow.api_fastapi.app as airflow_app
from airflow import plugins_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.configuration import conf
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from fastapi.testclient import TestClient
from sqlalchemy import select

from airflow_lean_provider.plugin import LeanPlugin, _fastapi_apps
from airflow_lean_provider.store.models import Base

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from fastapi import FastAPI

ROLES = ("viewer", "user", "op", "admin")


@cache
def application(auth_manager: str) -> FastAPI:
    """
    Airflow's application, made once for each auth manager, as an api-server makes it.

    In this process the plugin may have been imported before the application was, as in a scheduler.
    """
    assert "airflow.api_fastapi.app" in sys.modules
    if not LeanPlugin.fastapi_apps:
        LeanPlugin.fastapi_apps = _fastapi_apps()
        plugins_manager.get_fastapi_plugins.cache_clear()
    return airflow_app.create_app(apps="core")


class Client:
    """Somebody who calls ``/andon/v1``; ``role`` None is nobody who is logged in."""

    def __init__(self, role: str | None, name: str | None = None, teams: list[str] | None = None) -> None:
        user = SimpleAuthManagerUser(username=name or role, role=role, teams=teams) if role else None
        self._log_in(user)

    @classmethod
    def of(cls, user: BaseUser | None) -> Client:
        """Return somebody whom the auth manager in force knows."""
        client = cls.__new__(cls)
        client._log_in(user)
        return client

    def _log_in(self, user: BaseUser | None) -> None:
        self.name = user.get_name() if user is not None else None
        app = application(conf.get("core", "auth_manager"))
        self._http = TestClient(app, raise_server_exceptions=False)
        self.token = airflow_app.get_auth_manager().generate_jwt(user) if user is not None else None
        if self.token is not None:
            self._http.headers["Authorization"] = f"Bearer {self.token}"

    def as_browser(self) -> Client:
        """Return the same person, known by the cookie of Airflow's pages."""
        browser = Client(None)
        browser._http.cookies.set(COOKIE_NAME_JWT_TOKEN, self.token or "")
        return browser

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, f"/andon/v1{path}", **options)

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a good answer."""
        return _good(self.ask("GET", path, params=parameters))

    def post(self, path: str, **body: Any) -> Any:
        """Return the JSON of a good answer."""
        return _good(self.ask("POST", path, json=body))

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and the detail of an answer that is not good."""
        answer = self.ask(method, path, **options)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["detail"]


def _good(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, (answer.status_code, answer.text)
    return answer.json()


@contextmanager
def nothing_changes() -> Iterator[None]:
    """Insist that no table of ours, no run, no task instance and no audit row changes meanwhile."""
    before = contents()
    yield
    assert contents() == before


def audited() -> list[tuple[str, str | None]]:
    """Return what was done and by whom, as Airflow's audit log has it; the last line last."""
    with create_session(scoped=False) as session:
        return [(e, owner) for e, owner in session.execute(select(Log.event, Log.owner).order_by(Log.id))]


def contents() -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the tables that a write may change."""
    tables = [*Base.metadata.sorted_tables, DagRun.__table__, TaskInstance.__table__, Log.__table__]
    with create_session(scoped=False) as session:
        return {t.name: sorted(map(tuple, session.execute(select(t))), key=str) for t in tables}
