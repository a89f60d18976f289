"""
The whole test suite, as ``make test`` runs it: ``python -m tests.run [PYTEST ARGUMENT]...``.

Contract and integration tests on PostgreSQL, and on SQLite and MariaDB those that may differ there; system
tests on the servers, the simulation on PostgreSQL; unit tests here, and from the built wheel on every other
supported interpreter of this machine. What could not run is said at the end; with ``CI=true``, a missing
server is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

from tests.databases import SERVED, NoServer, postgres, text_of
from tests.interpreters import build_wheel, other_interpreters, prepare

ROOT = Path(__file__).resolve().parent.parent
ON_SQLITE = {"ANDON_TEST_BACKEND": "sqlite"}
IN_PARALLEL = ("-n", str(min(os.cpu_count() or 1, 4)))
"""Every process of pytest has a database of its own."""
ALL_OF_IT = ("tests/contract", "tests/integration")
WHERE_DATABASES_DIFFER = (
    "tests/contract",
    *(
        f"tests/integration/test_{what}.py"
        for what in (
            *("mariadb", "metadata_db_fixtures", "migrations", "keys", "racing", "failsafe", "holding"),
            *("stopping", "absorbing", "repairing", "switch", "scopes", "unpartitioned", "children"),
            *("doctor", "statements", "api_cords", "api_hostile"),
        )
    ),
)
"""Locks, collations, statements and the times of rows; the rules are the same on every database."""
PARTS = {"postgres": ALL_OF_IT, "mariadb": WHERE_DATABASES_DIFFER}


class Recap:
    """What ran, each with pytest's own last line, and what did not."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failed = False

    def pytest(
        self,
        name: str,
        *arguments: str,
        python: str | Path = sys.executable,
        cwd: Path = ROOT,
        variables: dict[str, str],
    ) -> None:
        print(f"\n##### {name}", flush=True)
        last = ""
        command = [str(python), "-m", "pytest", *arguments]
        environment = {**os.environ, **variables}
        with subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                last = line.strip("= \n") or last
        self.add(name, last, failed=process.returncode != 0)

    def add(self, name: str, result: str, *, failed: bool) -> None:
        self.failed |= failed
        self.lines.append(f"{'FAILED' if failed else 'ok':8}{name}: {result}")

    def not_run(self, name: str, reason: str, *, failed: bool = False) -> None:
        self.failed |= failed
        self.lines.append(f"{'FAILED' if failed else 'NOT RUN':8}{name}: {reason}")


def main() -> None:
    arguments = sys.argv[1:]
    recap = Recap()
    check_other_interpreters(recap, arguments)
    recap.pytest(
        "SQLite", "tests/unit", *WHERE_DATABASES_DIFFER, *IN_PARALLEL, *arguments, variables=ON_SQLITE
    )
    for backend, kind in SERVED.items():
        run_on_server(backend, kind, recap, arguments)
    print("\n##### Recap")
    print("\n".join(recap.lines), flush=True)
    sys.exit(recap.failed)


def run_on_server(backend: str, kind: ModuleType, recap: Recap, arguments: list[str]) -> None:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(kind.server())
        except NoServer as reason:
            in_ci = os.environ.get("CI", "").lower() in ("true", "1")
            recap.not_run(f"{kind.TITLE}, system tests on it", str(reason), failed=in_ci)
            return
        name = f"{kind.TITLE} {kind.version(server)} at {server}"
        variables = {"ANDON_TEST_BACKEND": backend, kind.VARIABLE: text_of(server)}
        recap.pytest(name, *PARTS[backend], *IN_PARALLEL, *arguments, variables=variables)
        if kind is postgres:
            recap.pytest(f"simulation, {name}", "tests/simulation", *arguments, variables=variables)
        recap.pytest(f"system tests, {name}", "tests/system", *arguments, variables=variables)


def check_other_interpreters(recap: Recap, arguments: list[str]) -> None:
    wheel: Path | None = None
    for interpreter in other_interpreters():
        name = f"Python {interpreter.version}, unit tests on the wheel"
        if interpreter.path is None:
            recap.not_run(name, "no such interpreter on this machine")
            continue
        print(f"\n##### {name}: installing", flush=True)
        try:
            wheel = wheel or build_wheel()
            python, sources = prepare(interpreter, wheel)
        except subprocess.CalledProcessError as error:
            recap.not_run(name, f"cannot be installed, exit code {error.returncode}", failed=True)
            continue
        recap.pytest(name, "tests/unit", *arguments, python=python, cwd=sources, variables=ON_SQLITE)


if __name__ == "__main__":
    main()
