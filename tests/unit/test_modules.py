"""What the other interpreters have to understand."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import airflow_lean_provider

MODULES = [
    module.name
    for module in pkgutil.walk_packages(airflow_lean_provider.__path__, "airflow_lean_provider.")
    if ".migrations." not in module.name and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_imported(name: str) -> None:
    importlib.import_module(name)
