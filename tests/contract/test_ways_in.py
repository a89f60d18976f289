"""
Whatever Airflow gains that starts tasks, makes runs or publishes partitions makes a test here fail.

Then it has to be found out what holds it, tried, and written into ``docs/ways_in.md``.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from airflow.api_fastapi.app import create_app
from airflow.api_fastapi.core_api.routes.public import public_router
from airflow.api_fastapi.core_api.routes.ui import ui_router
from airflow.api_fastapi.execution_api.routes import execution_api_router
from airflow.cli.cli_parser import get_parser
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunType
from starlette.routing import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "ways_in.md"
PAGES = (PAGE, PAGE.with_name("traps.md"))

CORE_THAT_WRITES = {
    "POST /assets/events",
    "POST /assets/{asset_id}/materialize",
    "POST /backfills",
    "PUT /backfills/{backfill_id}/cancel",
    "PUT /backfills/{backfill_id}/pause",
    "PUT /backfills/{backfill_id}/unpause",
    "PATCH /dags",
    "PATCH /dags/{dag_id}",
    "DELETE /dags/{dag_id}",
    "POST /dags/{dag_id}/clearDagRuns",
    "POST /dags/{dag_id}/clearPartitions",
    "POST /dags/{dag_id}/clearTaskInstances",
    "PATCH /dags/{dag_id}/dagRuns",
    "POST /dags/{dag_id}/dagRuns",
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}",
    "POST /dags/{dag_id}/dagRuns/{dag_run_id}/clear",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
    "DELETE /assets/{asset_id}/queuedEvents",
    "DELETE /dags/{dag_id}/assets/queuedEvents",
    "DELETE /dags/{dag_id}/assets/{asset_id}/queuedEvents",
    "PUT /parseDagFile/{file_token}",
}
"""They change states of runs or task instances, whether runs are made and started, or publish."""

CORE_THAT_DOES_NOT = {
    "POST /auth/token",
    "POST /backfills/dry_run",
    "POST /dags/{dag_id}/dagRuns/list",
    "POST /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
    "POST /dags/{dag_id}/favorite",
    "POST /dags/{dag_id}/unfavorite",
}
NOT_ABOUT_RUNS = re.compile(r" /(connections|pools|variables)\b|/(state-store|xcomEntries)\b")
"""Routes of things that are no states of runs, task instances or assets."""

EXECUTION_THAT_WRITES = {
    "POST /dag-runs/{dag_id}/{run_id}",
    "POST /dag-runs/{dag_id}/{run_id}/clear",
    "PATCH /task-instances/{task_instance_id}/run",
    "PATCH /task-instances/{task_instance_id}/state",
    "PATCH /task-instances/{task_instance_id}/skip-downstream",
}
EXECUTION_THAT_DOES_NOT = {
    "PUT /task-instances/{task_instance_id}/heartbeat",
    "PUT /task-instances/{task_instance_id}/rtif",
    "PATCH /task-instances/{task_instance_id}/rendered-map-index",
    "PATCH /connection-tests/{connection_test_id}",
    "POST /hitlDetails/{task_instance_id}",
    "PATCH /hitlDetails/{task_instance_id}",
}
NOT_ABOUT_TASKS = re.compile(r" /(store|variables|xcoms)/")

COMMANDS = {
    "assets": {"details", "list", "materialize"},
    "backfill": {"create"},
    "dags": {
        "clear",
        "delete",
        "details",
        "list",
        "list-import-errors",
        "list-jobs",
        "list-runs",
        "next-execution",
        "pause",
        "report",
        "reserialize",
        "show",
        "show-dependencies",
        "state",
        "test",
        "trigger",
        "unpause",
    },
    "partitions": {"clear"},
    "tasks": {"clear", "failed-deps", "list", "render", "state", "states-for-dag-run", "test"},
}
"""Every command of the groups that are about Dags, tasks and assets."""


def test_every_type_of_run_is_on_the_page() -> None:
    missing = {run_type.value for run_type in DagRunType if f"`{run_type.value}`" not in PAGE.read_text()}
    assert not missing


def test_every_state_is_known() -> None:
    """``_STATES`` in ``airflow_internals/history.py`` says what each means to us."""
    from airflow_lean_provider.airflow_internals.history import _STATES

    assert set(TaskInstanceState) == _STATES.keys() - {None}
    assert {str(s) for s in DagRunState} == {"queued", "running", "success", "failed"}


def test_every_route_of_the_core_api_is_sorted() -> None:
    found = {r for r in _routes(public_router, ui_router) if not NOT_ABOUT_RUNS.search(r)}
    assert found == CORE_THAT_WRITES | CORE_THAT_DOES_NOT


def test_every_route_of_the_execution_api_is_sorted() -> None:
    found = {r for r in _routes(execution_api_router) if not NOT_ABOUT_TASKS.search(r)}
    assert found == EXECUTION_THAT_WRITES | EXECUTION_THAT_DOES_NOT


def test_every_route_that_writes_has_a_row_with_a_test() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("|") and "`test_" in row]
    of_workers = {re.sub(" /", " /execution/", route) for route in EXECUTION_THAT_WRITES}
    without = {
        route
        for route in CORE_THAT_WRITES | of_workers
        if not any(f"`{re.sub(r'{[^}]*}', '{}', route)}`" in row for row in rows)
    }
    assert not without


def test_there_are_no_other_applications(metadata_db: str) -> None:
    """What plugins mount is not Airflow's; ours is ``/andon``."""
    mounted = {r.path for r in create_app().routes if isinstance(r, Mount)}
    assert mounted <= {"/execution", "/auth", "/static", "/andon"}


@pytest.mark.parametrize("group", COMMANDS)
def test_every_command_is_known(group: str) -> None:
    assert set(_subcommands(_subcommands(get_parser())[group])) == COMMANDS[group]


def test_nobody_else_starts_a_task_instance() -> None:
    """
    Who makes a task instance SCHEDULED, QUEUED or RUNNING, by file and function.

    The scheduler asks us in ``DagRun._get_ready_tis``, before ``schedule_tis``; the others go on with what
    has been asked, and find it no longer in the state that they look for, or under another id.
    """
    starters = {
        "api_fastapi/execution_api/routes/task_instances.py:ti_run",
        "api_fastapi/execution_api/routes/task_instances.py:_create_ti_state_update_query_and_update_state",
        "jobs/scheduler_job_runner.py:_reschedule_stuck_task",
        "jobs/scheduler_job_runner.py:check_trigger_timeouts",
        "models/dagrun.py:schedule_tis",
        "models/taskinstance.py:_check_and_change_state_before_execution",
        "models/trigger.py:_fail_unresumable_task_instance",
        "models/trigger.py:handle_event_submit",
        "models/trigger.py:submit_failure",
        "sdk/definitions/dag.py:_run_task",
        "sdk/definitions/dag.py:test",
    }
    assert set(_who_sets({"SCHEDULED", "QUEUED", "RUNNING"})) == starters


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_the_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+\.py)::(\w+(?:::\w+)?)`", page.read_text()))
    assert len(named) > 30, "the table is there"
    known = {(file.name, name) for file in TESTS.rglob("test_*.py") for name in _tests_in(file)}
    assert not {f"{file}::{name}" for file, name in named - known}


def test_every_test_of_ways_in_is_on_the_page() -> None:
    page = PAGE.read_text()
    files = [*TESTS.glob("integration/test_ways_in*.py"), TESTS / "integration" / "test_people_decide.py"]
    missing = {
        f"{file.name}::{name}"
        for file in files
        for name in _tests_in(file)
        if f"`{file.name}::{name}`" not in page
    }
    assert not missing


def _routes(*routers: Any) -> Iterator[str]:
    for router in routers:
        for route in router.routes:
            for method in set(route.methods) - {"GET", "HEAD", "OPTIONS"}:
                yield f"{method} {re.sub('^(/api/v2|/ui)', '', route.path)}"


def _subcommands(parser: Any) -> dict[str, Any]:
    return next(dict(action.choices) for action in parser._actions if getattr(action, "choices", None))


def _who_sets(states: set[str]) -> Iterator[str]:
    root = Path(airflow.__file__).parent
    for file in root.rglob("*.py"):
        path = file.relative_to(root)
        if path.parts[0] in ("providers", "example_dags", "migrations", "ui"):
            continue
        source = file.read_text()
        if not any(f"TaskInstanceState.{state}" in source for state in states):
            continue
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                _sets_state(node, states) for node in ast.walk(function)
            ):
                yield f"{path}:{function.name}"


def _sets_state(node: ast.AST, states: set[str]) -> bool:
    """``x.state = TaskInstanceState.S``, ``set_state(TaskInstanceState.S)``, ``values(state=...)``."""
    if isinstance(node, ast.Assign):
        return _is_state(node.value, states) and any(
            isinstance(t, ast.Attribute) and t.attr == "state" for t in node.targets
        )
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name == "set_state":
            return any(_is_state(a, states) for a in [*node.args, *(k.value for k in node.keywords)])
        if name in ("values", "update"):
            return any(k.arg == "state" and _is_state(k.value, states) for k in node.keywords)
    return False


def _is_state(node: ast.expr, states: set[str]) -> bool:
    named = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr in states]
    return any(isinstance(n.value, ast.Name) and n.value.id == "TaskInstanceState" for n in named)


def _tests_in(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for each in inside:
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
                yield prefix + each.name
