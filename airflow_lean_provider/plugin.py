"""The Airflow plugin: listeners; REST API, pages and sweeper in the api-server."""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_lean_provider import ui
from airflow_lean_provider.compatibility import warn_if_untested
from airflow_lean_provider.listeners import publications, runs


def _fastapi_apps() -> list[dict[str, Any]]:
    """Only an api-server has use for the application: importing it costs every other process a second."""
    if "airflow.api_fastapi.core_api.app" not in sys.modules and "airflow.api_fastapi.app" not in sys.modules:
        return []
    from airflow_lean_provider.api.app import create_app

    return [{"app": create_app(), "url_prefix": "/andon", "name": "Andon"}]


class LeanPlugin(AirflowPlugin):
    """Found by Airflow through the ``airflow.plugins`` entry point."""

    name = "lean"
    listeners = [runs, publications]  # noqa: RUF012 (as the base class declares it)
    fastapi_apps: list[Any] = _fastapi_apps()
    react_apps: list[Any] = ui.react_apps()

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Called by Airflow when it has loaded the plugin."""
        warn_if_untested()
