"""
The whole test suite, as ``make test`` runs it: ``python -m tests.run [PYTEST ARGUMENT]...``.

Contract and integration tests on PostgreSQL, and on SQLite and MariaDB those that may differ there; system
tests on the servers, the simulation and its faults on PostgreSQL; unit tests here, and from the built wheel
on every other supported interpreter of this machine. The parts that pytest cannot divide run beside one
another, and each line says of which part it is. What could not run is said at the end; with ``CI=true``, a
missing server is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tests.databases import SERVED, NoServer, text_of
from tests.interpreters import build_wheel, other_interpreters, pages_in, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

ROOT = Path(__file__).resolve().parent.parent
ON_SQLITE = {"ANDON_TEST_BACKEND": "sqlite"}
PROCESSES = min(os.cpu_count() or 1, 4)
IN_PARALLEL = ("-n", str(PROCESSES))
"""Every process of pytest has a database of its own."""
ALL_OF_IT = ("tests/contract", "tests/integration")
WHERE_DATABASES_DIFFER = (
    "tests/contract",
    *(
        f"tests/integration/test_{what}.py"
        for what in (
            *("mariadb", "metadata_db_fixtures", "migrations", "keys", "racing", "failsafe", "holding"),
            *("stopping", "absorbing", "repairing", "switch", "scopes", "unpartitioned", "children"),
            *("doctor", "statements", "api_cords", "api_hostile", "killed"),
        )
    ),
)
"""Locks, collations, statements and the times of rows; the rules are the same on every database."""
PARALLEL_PARTS = {"postgres": ALL_OF_IT, "mariadb": WHERE_DATABASES_DIFFER}
OTHER_PARTS = {
    "postgres": {"system tests": "tests/system", "simulation": "tests/simulation", "faults": "tests/faults"},
    "mariadb": {"system tests": "tests/system"},
}
"""One process of pytest each, the longest first: Airflow has many of its own, or a change in it lasts."""


@dataclass(frozen=True)
class Server:
    """A database server that tests of this machine run on."""

    backend: str
    kind: ModuleType
    url: URL

    @property
    def title(self) -> str:
        return f"{self.kind.TITLE} {self.kind.version(self.url)}"

    @property
    def variables(self) -> dict[str, str]:
        return {"ANDON_TEST_BACKEND": self.backend, self.kind.VARIABLE: text_of(self.url)}


class Recap:
    """What ran, each with pytest's own last line and the tests that failed, and what did not."""

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
        last = ""
        broken = []
        command = [str(python), "-m", "pytest", *arguments]
        environment = {**os.environ, **variables}
        with subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                say(f"{name}: {line}")
                last = line.strip("= \n") or last
                if line.startswith(("FAILED ", "ERROR ")):
                    broken.append(line.strip())
        self.add(name, "\n          ".join([last, *broken]), failed=process.returncode != 0)

    def add(self, name: str, result: str, *, failed: bool) -> None:
        self.failed |= failed
        self.lines.append(f"{'FAILED' if failed else 'ok':8}{name}: {result}")

    def not_run(self, name: str, reason: str, *, failed: bool = False) -> None:
        self.failed |= failed
        self.lines.append(f"{'FAILED' if failed else 'NOT RUN':8}{name}: {reason}")


def main() -> None:
    arguments = sys.argv[1:]
    recap = Recap()
    with ExitStack() as stack:
        servers = list(reach_servers(stack, recap))
        recap.pytest(
            "SQLite", "tests/unit", *WHERE_DATABASES_DIFFER, *IN_PARALLEL, *arguments, variables=ON_SQLITE
        )
        for server in servers:
            tests = PARALLEL_PARTS[server.backend]
            recap.pytest(server.title, *tests, *IN_PARALLEL, *arguments, variables=server.variables)
        with ThreadPoolExecutor(PROCESSES) as at_once:
            parts = [
                at_once.submit(
                    recap.pytest, f"{server.title}, {what}", tests, *arguments, variables=server.variables
                )
                for server in servers
                for what, tests in OTHER_PARTS[server.backend].items()
            ]
            parts.append(at_once.submit(check_other_interpreters, recap, arguments))
        for part in parts:
            part.result()
    say("\n##### Recap\n" + "\n".join([*recap.lines, ""]))
    sys.exit(recap.failed)


def reach_servers(stack: ExitStack, recap: Recap) -> Iterator[Server]:
    for backend, kind in SERVED.items():
        try:
            url = stack.enter_context(kind.server())
        except NoServer as reason:
            in_ci = os.environ.get("CI", "").lower() in ("true", "1")
            recap.not_run(f"{kind.TITLE}, system tests on it", str(reason), failed=in_ci)
            continue
        server = Server(backend, kind, url)
        say(f"{server.title} at {url!r}\n")
        yield server


def check_other_interpreters(recap: Recap, arguments: list[str]) -> None:
    wheel: Path | None = None
    for interpreter in other_interpreters():
        name = f"Python {interpreter.version}, unit tests on the wheel"
        if interpreter.path is None:
            recap.not_run(name, "no such interpreter on this machine")
            continue
        say(f"{name}: installing\n")
        try:
            if wheel is None:
                wheel = build_wheel()
                check_pages(recap, wheel)
            python, sources = prepare(interpreter, wheel)
        except subprocess.CalledProcessError as error:
            recap.not_run(name, f"cannot be installed, exit code {error.returncode}", failed=True)
            continue
        recap.pytest(name, "tests/unit", *arguments, python=python, cwd=sources, variables=ON_SQLITE)


def check_pages(recap: Recap, wheel: Path) -> None:
    contained = pages_in(wheel)
    if contained is None:
        recap.not_run("pages in the wheel", "they were not built: `make ui`")
    else:
        recap.add("pages in the wheel", "contained" if contained else "missing", failed=not contained)


def say(text: str) -> None:
    """Print it in one go: several threads do."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
