"""Airflow's own doors, as people and scripts use them: the REST API of the web server, and the CLI."""

from __future__ import annotations

import contextlib
import io
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import create_app
from airflow.cli import cli_parser
from airflow.configuration import conf
from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx import Response


@contextlib.contextmanager
def _everybody_an_admin() -> Iterator[None]:
    """Other tests in this process ask with the rights that a person has."""
    before = conf.get("core", "simple_auth_manager_all_admins")
    conf.set("core", "simple_auth_manager_all_admins", "True")
    try:
        yield
    finally:
        conf.set("core", "simple_auth_manager_all_admins", before)


@cache
def _core_api() -> TestClient:
    """The real application, everybody an admin; without its lifespan, in which our sweeper would sweep."""
    with _everybody_an_admin():
        return TestClient(create_app(apps="core"))


def ask(method: str, path: str, **options: Any) -> Response:
    """Call ``/api/v2/...``."""
    with _everybody_an_admin():
        return _core_api().request(method, f"/api/v2/{path}", **options)


def rest(method: str, path: str, *, expect: int = 200, **options: Any) -> Any:
    """Call ``/api/v2/...``; return the answer's JSON, None if it has none."""
    answer = ask(method, path, **options)
    assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def cli(*arguments: str) -> str:
    """Run ``airflow ...`` in this process; return what it prints."""
    printed = io.StringIO()
    parsed = cli_parser.get_parser().parse_args(arguments)
    with contextlib.redirect_stdout(printed):
        parsed.func(parsed)
    return printed.getvalue()
