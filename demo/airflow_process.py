"""
A real Airflow of one's own: api-server, schedulers, dag-processor and triggerer as subprocesses.

::

    with RunningAirflow(home=folder, dags=Path("dags_examples"), database=sqlite_url(folder)) as airflow:
        airflow.wait_parsed({"ingest_orders"})
        airflow.rest.trigger("ingest_orders", partition_key="2026-06-14T05")
        airflow.wait_until(lambda: airflow.rows("SELECT 1 FROM asset_event"), "the hour to be published")

Everything lives in *home*; nothing of an Airflow that the environment may point to is used or touched.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from demo.airflow_rest import AirflowRest

T = TypeVar("T")

STARTUP_SECONDS = 120.0
LOG_TAIL_LINES = 12
CONNECT_ARGS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 30},
    "mysql": {"init_command": "SET time_zone = '+00:00'"},
}
"""By the kind of database: how it is asked, besides its URL."""


class AirflowFailed(AssertionError):
    """Airflow did not do what was waited for; the message carries its state and the ends of its logs."""


def sqlite_url(folder: Path, name: str = "airflow") -> str:
    """
    Return the URL of a SQLite file.

    :param folder: where it is, or will be
    :param name: its name, without ``.db``
    """
    return f"sqlite:///{folder / name}.db"


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class RunningAirflow:
    """
    Start Airflow on entry, kill every process of it on exit.

    :param home: existing folder of its own: AIRFLOW_HOME, logs, configuration
    :param dags: the Dags folder
    :param database: SQLAlchemy URL of an empty database, or of one that was already migrated
    :param schedulers: how many schedulers (SQLite: one)
    :param api_workers: processes of the api-server
    :param celery_workers: how many; with none, the schedulers run the tasks themselves
    :param parallelism: tasks that one scheduler, or one Celery worker, runs at once
    :param triggerer: whether to start one
    :param environment: further variables for every process (``AIRFLOW__...``, ``AIRFLOW_CONN_...``)
    :param environment_of: further variables for one component, by its name
    :param python: the interpreter whose Airflow is run
    """

    home: Path
    dags: Path
    database: str
    schedulers: int = 1
    api_workers: int = 1
    celery_workers: int = 0
    parallelism: int = 4
    triggerer: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    python: str = sys.executable

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.rest = AirflowRest(self.url)
        self._components: dict[str, subprocess.Popen[bytes]] = {}
        self._secret = base64.b64encode(secrets.token_bytes(64)).decode()
        self._fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()

    def __enter__(self) -> RunningAirflow:
        try:
            self.migrate()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---------------------------------------------------------------- start and stop

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment of every process of this Airflow."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags.resolve()),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor" if self.celery_workers else "LocalExecutor",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(self.parallelism),
            "AIRFLOW__CORE__PARALLELISM": str(self.parallelism),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": self._fernet_key,
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret,
            "AIRFLOW__API__SECRET_KEY": self._secret,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": str(self.api_workers),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            **self.environment,
        }

    def migrate(self) -> None:
        """Create Airflow's tables, and those of every provider that brings some."""
        self.cli("db", "migrate")

    def start(self) -> None:
        """Start every component at once and wait until all report themselves healthy."""
        self.start_component("api-server")
        for number in range(self.schedulers):
            self.start_component(f"scheduler-{number + 1}")
        self.start_component("dag-processor")
        if self.triggerer:
            self.start_component("triggerer")
        for number in range(self.celery_workers):
            self.start_component(f"worker-{number + 1}")
        self.wait_until(self._is_healthy, "every component to be healthy", timeout=STARTUP_SECONDS)

    def start_component(self, name: str) -> int:
        """
        Start one component in a process group of its own; its output goes to ``<home>/<name>.log``.

        :param name: ``api-server``, ``dag-processor``, ``triggerer``; numbered ``scheduler-1``, ``worker-1``
        :return: its process id
        """
        kind = name.rstrip("-0123456789")
        command = ["celery", "worker", "--celery-hostname", name] if kind == "worker" else [kind]
        options = ["--skip-serve-logs"] if kind in ("scheduler", "triggerer", "worker") else []
        with self.log_file(name).open("ab") as log:
            self._components[name] = subprocess.Popen(
                [self.python, "-m", "airflow", *command, *options],
                env={**self.variables, **self.environment_of.get(name, {})},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._components[name].pid

    def kill_component(self, name: str, with_signal: int = signal.SIGKILL) -> None:
        """
        Kill one component and all that it started, as a crash of its machine would.

        :param name: as given to :meth:`start_component`, which starts it again
        :param with_signal: the signal for all of them
        """
        component = self._components.pop(name)
        for process in [*_descendants(component.pid), component]:
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                process.send_signal(with_signal)
        component.wait()

    def revive(self) -> list[str]:
        """Start again every component that has ended, as whatever supervises processes does; return them."""
        ended = [name for name, process in self._components.items() if process.poll() is not None]
        for name in ended:
            self.start_component(name)
        return ended

    def stop(self) -> None:
        """Kill every process of this Airflow, also tasks: they are in process groups of their own."""
        for name in list(self._components):
            self.kill_component(name)
        for process in self._own_processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if "engine" in self.__dict__:
            self.engine.dispose()
        self.rest.close()

    @property
    def kill_command(self) -> str:
        """What a person types to end an Airflow that was left running."""
        groups = " ".join(f"-{component.pid}" for component in self._components.values())
        return f"kill -9 -- {groups}; rm -r {self.home}"

    def _own_processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("AIRFLOW_HOME") == str(self.home) and process.pid != os.getpid():
                    found.append(process)
        return found

    def _is_healthy(self) -> bool:
        states = self.rest.health()
        expected = ["metadatabase", "scheduler", "dag_processor"] + ["triggerer"] * self.triggerer
        if any(states.get(name) != "healthy" for name in expected):
            return False
        running = self.rows("SELECT count(*) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'")
        return running[0][0] >= self.schedulers

    # ---------------------------------------------------------------- use

    def cli(
        self, *arguments: str, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """
        Run ``airflow <arguments>`` to its end.

        :param arguments: the command's words
        :param check: whether an exit code other than 0 raises :class:`AirflowFailed`
        :param timeout: seconds after which it is killed
        """
        done = subprocess.run(
            [self.python, "-m", "airflow", *arguments],
            env=self.variables,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            output = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            raise AirflowFailed(f"airflow {' '.join(arguments)}: exit {done.returncode}\n{output}")
        return done

    @cached_property
    def engine(self) -> Engine:
        """Airflow's own database."""
        backend = make_url(self.database).get_backend_name()
        return create_engine(self.database, poolclass=NullPool, connect_args=CONNECT_ARGS.get(backend, {}))

    def rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        """
        Ask Airflow's database.

        :param sql: one SELECT with ``:name`` parameters
        """
        with self.engine.connect() as connection:
            return connection.execute(text(sql), parameters).all()

    def quoted(self, name: str) -> str:
        """
        Return a name as Airflow's database takes it where the word has a meaning of its own.

        :param name: of a table or a column
        """
        return self.engine.dialect.identifier_preparer.quote(name)

    def wait_parsed(self, dag_ids: Collection[str], timeout: float = 90) -> None:
        """
        Wait until these Dags can run: parsed, serialized, not paused.

        :param dag_ids: the Dags
        :param timeout: seconds
        """

        def parsed() -> bool:
            errors = self.rows("SELECT filename, stacktrace FROM import_error")
            if errors:
                raise AirflowFailed("\n".join(f"{name}:\n{trace}" for name, trace in errors))
            known = self.rows(
                "SELECT dag_id FROM dag WHERE NOT is_stale AND NOT is_paused "
                "AND dag_id IN (SELECT dag_id FROM serialized_dag)"
            )
            return set(dag_ids) <= {dag_id for (dag_id,) in known}

        self.wait_until(parsed, f"{len(dag_ids)} Dags to be parsed", timeout=timeout)

    def wait_until(
        self, condition: Callable[[], T], what: str, timeout: float = 60, interval: float = 0.2
    ) -> T:
        """
        Ask again and again until the answer is true; return it.

        :param condition: what is asked
        :param what: what is waited for, for the message
        :param timeout: seconds until :class:`AirflowFailed`
        :param interval: seconds between two questions
        """
        begin = time.monotonic()
        while True:
            if answer := condition():
                return answer
            dead = {name: process.returncode for name, process in self._components.items() if process.poll()}
            if dead:
                raise AirflowFailed(f"waiting for {what}: ended {dead}\n{self.report()}")
            if time.monotonic() - begin > timeout:
                raise AirflowFailed(f"waited {timeout:g} s for {what}\n{self.report()}")
            time.sleep(interval)

    def is_quiet(self) -> bool:
        """Whether no run and no task is on its way; runs that are held until a far date do not count."""
        busy = self.rows(
            "SELECT (SELECT count(*) FROM dag_run WHERE state = 'running' "
            "        OR (state = 'queued' AND run_after <= :now)) "
            "     + (SELECT count(*) FROM task_instance WHERE state IN "
            "        ('scheduled', 'queued', 'running', 'restarting', 'up_for_retry', 'up_for_reschedule'))",
            now=_utc_now(),
        )
        return busy[0][0] == 0

    # ---------------------------------------------------------------- when something went wrong

    def log_file(self, component: str) -> Path:
        """
        Where a component's output goes.

        :param component: its name
        """
        return self.home / f"{component}.log"

    def report(self) -> str:
        """Return all that helps to see what happened: states in the database, ends of the logs."""
        parts = []
        with suppress(Exception):
            states = self.rows(
                "SELECT dag_id, run_id, task_id, state, try_number FROM task_instance "
                "WHERE state IS NULL OR state <> 'success' ORDER BY dag_id, run_id LIMIT 40"
            )
            parts.append("-- task instances that are not successful\n" + "\n".join(map(str, states)))
            runs = self.rows(
                "SELECT dag_id, run_id, partition_key, state, run_after FROM dag_run "
                "WHERE state <> 'success' ORDER BY dag_id LIMIT 40"
            )
            parts.append("-- runs that are not successful\n" + "\n".join(map(str, runs)))
        for log in sorted(self.home.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            errors = [line for line in lines if "[error" in line or "[critical" in line]
            parts.append(f"-- errors in {log}\n" + "\n".join(errors[-LOG_TAIL_LINES:]))
            parts.append(f"-- end of {log}\n" + "\n".join(lines[-LOG_TAIL_LINES:]))
        return "\n".join(parts)


def is_alive(pid: int) -> bool:
    """
    Whether a process still runs; one that has ended and was not yet waited for does not.

    :param pid: its number
    """
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _utc_now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime())
