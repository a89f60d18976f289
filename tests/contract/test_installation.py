"""How Airflow finds us, and in which processes: entry points, provider info, plugin, policies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from textwrap import dedent

import pytest
from airflow.listeners.listener import get_listener_manager
from airflow.models.asset import PartitionedAssetKeyLog
from airflow.models.taskinstance import TaskInstance
from airflow.providers_manager import ProvidersManager
from sqlalchemy import event

from airflow_lean_provider.listeners import hooks


def in_a_process(program: str) -> dict[str, object]:
    """What a fresh Python process prints as JSON on its last line, in the tests' own environment."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


class TestPolicyEntryPoint:
    """``airflow.policy``: ``settings.load_policy_plugins``."""

    @pytest.fixture(scope="class")
    @staticmethod
    def process() -> dict[str, object]:
        return in_a_process(
            """
            import json, sys
            import airflow.settings
            said = {}
            airflow.settings.initialize()
            said["imported"] = "airflow_lean_provider.listeners.hooks" in sys.modules
            from sqlalchemy import event
            from airflow.models.taskinstance import TaskInstance
            said["too early"] = hasattr(TaskInstance.get_failed_dep_statuses, "asks_andon")
            from airflow.models.asset import PartitionedAssetKeyLog
            from sqlalchemy.orm import configure_mappers
            configure_mappers()
            said["gate"] = getattr(TaskInstance.get_failed_dep_statuses, "asks_andon", False)
            hooks = sys.modules["airflow_lean_provider.listeners.hooks"]
            said["absorbing"] = event.contains(PartitionedAssetKeyLog, "after_insert", hooks._on_key_logged)
            said["fastapi"] = any(m.startswith("airflow_lean_provider.api") for m in sys.modules)
            print(json.dumps(said))
            """
        )

    def test_the_hooks_are_imported_when_the_settings_are_initialized(self, process):
        """``settings.initialize``, which ``import airflow`` in every component leads to."""
        assert process["imported"] is True

    def test_the_models_are_hooked_when_sqlalchemy_has_configured_them(self, process):
        """``Mapper``'s ``after_configured``: before the first query, after the models were imported."""
        assert process["gate"] is True
        assert process["absorbing"] is True

    def test_nothing_of_the_api_is_imported_then(self, process):
        """Every process pays for what is imported here."""
        assert process["fastapi"] is False

    def test_the_hooks_are_installed_in_this_process_once(self):
        """``after_configured`` may be sent several times."""
        hooks._install()
        assert TaskInstance.get_failed_dep_statuses.asks_andon
        assert not hasattr(TaskInstance.get_failed_dep_statuses.__wrapped__, "asks_andon")
        assert event.contains(PartitionedAssetKeyLog, "after_insert", hooks._on_key_logged)


def test_the_command_line_and_the_schedulers_process_have_the_hooks(metadata_db):
    """``python -m airflow <component>`` initializes the settings, and any query configures the mappers."""
    said = in_a_process(
        """
        import json, sys
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.jobs.job import Job
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select
        with create_session() as session:
            session.scalars(select(Job)).all()
        print(json.dumps({"gate": getattr(TaskInstance.get_failed_dep_statuses, "asks_andon", False)}))
        """
    )
    assert said["gate"] is True


class TestPlugin:
    """``airflow.plugins``: ``plugins_manager.py``."""

    def test_listeners_are_those_of_the_plugin_class(self):
        """``plugins_manager.integrate_listener_plugins``, called by ``get_listener_manager``."""
        from airflow_lean_provider.listeners import publications, runs

        manager = get_listener_manager()
        assert manager.pm.is_registered(runs)
        assert manager.pm.is_registered(publications)

    def test_the_hooks_have_the_arguments_that_we_take(self):
        """``airflow/listeners/spec``."""
        hook = get_listener_manager().pm.hook
        assert {"dag_run", "msg"} <= set(hook.on_dag_run_running.spec.argnames)
        assert "asset_event" in hook.on_asset_event_emitted.spec.argnames

    def test_the_lifespan_of_a_mounted_application_runs_in_the_api_server(self, metadata_db, monkeypatch):
        """``api_fastapi/app.py`` ``lifespan``: our sweeper lives there; plugins are mounted in core apps."""
        import airflow.api_fastapi.app as api_server
        from airflow import plugins_manager
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        lived: list[str] = []

        @asynccontextmanager
        async def live(app: FastAPI) -> Iterator[None]:
            lived.append("began")
            yield
            lived.append("ended")

        ours = {"app": FastAPI(lifespan=live), "url_prefix": "/contract", "name": "contract"}
        monkeypatch.setattr(plugins_manager, "get_fastapi_plugins", lambda: ([ours], []))
        monkeypatch.setattr(api_server, "app", None, raising=False)
        with TestClient(api_server.create_app(apps="core")) as client:
            assert lived == ["began"]
            assert client.get("/api/v2/version").status_code == 200
        assert lived == ["began", "ended"]

    def test_the_plugin_is_loaded_with_the_application_only_where_the_core_app_is(self, metadata_db):
        """``api_fastapi/app.py`` imports before it asks for plugins; a scheduler never imports it."""
        program = """
            import json, sys
            import airflow.settings
            airflow.settings.initialize()
            {imports}
            from airflow import plugins_manager
            apps, _ = plugins_manager.get_fastapi_plugins()
            print(json.dumps([app["url_prefix"] for app in apps]))
            """
        assert in_a_process(program.format(imports="import airflow.api_fastapi.app")) == ["/andon"]
        assert in_a_process(program.format(imports="")) == []


class TestProviderInfo:
    """``apache_airflow_provider``: ``providers_manager.py``."""

    def test_db_managers_are_picked_up_without_configuration(self):
        """Key ``db-managers``."""
        assert "airflow_lean_provider.store.db_manager.LeanDBManager" in ProvidersManager().db_managers

    def test_commands_are_picked_up(self):
        """Key ``cli``."""
        names = {f.__module__ for f in ProvidersManager().cli_command_functions}
        assert "airflow_lean_provider.cli.definition" in names

    def test_configuration_is_picked_up(self):
        """Key ``config``."""
        assert "lean" in dict(ProvidersManager().provider_configs)["airflow-lean-provider"]

    def test_the_plugin_is_not_among_the_keys(self):
        """The provider-info key ``plugins`` is not loaded by default: the entry point is."""
        from airflow_lean_provider.provider import get_provider_info

        assert "plugins" not in get_provider_info()
