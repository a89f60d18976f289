"""After ``pip install``, with nothing configured, Airflow knows the provider."""

from __future__ import annotations

import json
from importlib.metadata import distribution, entry_points, version
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager

import airflow_lean_provider
from airflow_lean_provider import settings
from airflow_lean_provider.provider import get_provider_info

PACKAGE = "airflow-lean-provider"
OPTIONS = get_provider_info()["config"]["lean"]["options"]


def test_versions_agree():
    assert version(PACKAGE) == airflow_lean_provider.__version__
    assert ProvidersManager().providers[PACKAGE].version == airflow_lean_provider.__version__
    assert get_provider_info()["versions"][0] == airflow_lean_provider.__version__


def test_provider_info_matches_airflows_schema():
    schema = json.loads(Path(airflow.__file__).with_name("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_wheel_says_that_it_is_typed():
    assert Path(airflow_lean_provider.__file__).with_name("py.typed").exists()


def test_python_versions_are_those_of_airflow():
    def pythons(package: str) -> set[str]:
        prefix = "Programming Language :: Python :: 3."
        classifiers = distribution(package).metadata.get_all("Classifier") or []
        return {line.removeprefix(prefix) for line in classifiers if line.startswith(prefix)}

    assert pythons(PACKAGE) == pythons("apache-airflow-core")


def test_plugin_is_an_entry_point():
    (plugin,) = [entry for entry in entry_points(group="airflow.plugins") if entry.name == "lean"]
    assert plugin.load().__name__ == "LeanPlugin"


def test_plugin_is_loaded():
    from airflow import plugins_manager

    plugins, import_errors = plugins_manager._get_plugins()
    assert not import_errors
    assert "LeanPlugin" in {type(plugin).__name__ for plugin in plugins}


def test_db_manager_is_found():
    manager = "airflow_lean_provider.store.db_manager.LeanDBManager"
    assert manager in ProvidersManager().db_managers


def test_command_line_has_andon():
    from airflow.cli import cli_parser

    assert "andon" in cli_parser.ALL_COMMANDS_DICT


@pytest.mark.parametrize("option", OPTIONS)
def test_option_has_a_default_in_airflows_configuration(option):
    assert conf.get("lean", option) == OPTIONS[option]["default"]


RIGHTS = [option for option in OPTIONS if option.endswith("_requires")]


@pytest.mark.parametrize("option", RIGHTS)
def test_option_that_is_a_right_has_a_function_of_its_name(option):
    function = getattr(settings, option)
    assert ":".join(function()) == OPTIONS[option]["default"]
    assert function.__doc__.startswith(f"[lean] {option}: the right")
    assert OPTIONS[option]["description"].startswith("The right ")


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in RIGHTS])
def test_option_has_a_function_of_its_name_that_says_its_unit(option):
    function = getattr(settings, option)
    assert function() == float(OPTIONS[option]["default"])
    assert function.__doc__.startswith(f"[lean] {option}: seconds")
    assert OPTIONS[option]["description"].startswith("Seconds ")
