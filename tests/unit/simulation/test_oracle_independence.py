"""The oracle is worth something only as long as it shares no code and no thought with what it judges."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.simulation import graph, oracle, trace

FOLDER = Path(oracle.__file__).parent
OWN = [*sorted(FOLDER.rglob("*.py")), Path(graph.__file__), Path(trace.__file__)]
ALLOWED = ("tests.simulation.oracle", "tests.simulation.graph", "tests.simulation.trace")


def imported(path: Path) -> set[str]:
    """Every module that the file imports, or from which it imports, at any depth; dynamic ones included."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            base = node.module or ""
            inside = base == "tests.simulation"
            modules |= {f"{base}.{alias.name}" for alias in node.names} if inside else {base}
        elif isinstance(node, (ast.Name, ast.Attribute)):
            name = node.id if isinstance(node, ast.Name) else node.attr
            assert name not in ("__import__", "import_module", "exec", "eval"), f"{path.name} uses {name}"
    return modules


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_it_imports_the_standard_library_and_its_own_words_only(path):
    foreign = {
        module
        for module in imported(path)
        if module.split(".")[0] not in sys.stdlib_module_names
        and not any(module == own or module.startswith(f"{own}.") for own in ALLOWED)
    }
    assert foreign == set()


def test_the_ban_finds_what_it_forbids(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(
        "def f():\n    from airflow_lean_provider.rules import badness\n    import airflow.models\n"
    )
    assert imported(path) == {"airflow_lean_provider.rules", "airflow.models"}
