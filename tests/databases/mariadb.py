"""MariaDB servers and databases for tests; see the package. The driver is an extra: it has to be compiled."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL, make_url

from tests.databases.server import NoServer, free_port, someone_but_root, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "MariaDB"
VARIABLE = "ANDON_TEST_MARIADB"
_DRIVER = "mysql+mysqldb"
_PROGRAM_FOLDERS = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
_START_SECONDS = 60


@contextmanager
def server() -> Iterator[URL]:
    """Yield the URL of a server on which databases may be created."""
    try:
        import MySQLdb as _  # noqa: F401
    except ImportError as error:
        raise NoServer(f"{error}; install the extra `mariadb`") from None
    if named := os.environ.get(VARIABLE):
        url = make_url(named).set(drivername=_DRIVER)
        if problem := _unusable(url):
            raise NoServer(f"{VARIABLE}={url} cannot be used: {problem}")
        yield url
        return
    usual = URL.create(_DRIVER, username="root", host="127.0.0.1", port=3306)
    problem = _unusable(usual)
    if not problem:
        yield usual
        return
    with _private_server([f"{usual}: {problem}"]) as url:
        yield url


@contextmanager
def new_database(server: URL, prefix: str = "lean_test_") -> Iterator[URL]:
    """Create a database with a random name, and drop it at the end, whoever is still connected to it."""
    name = prefix + secrets.token_hex(6)
    _execute(server, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    try:
        yield server.set(database=name).update_query_dict({"charset": "utf8mb4"})
    finally:
        _disconnect_all(server, name)
        _execute(server, f"DROP DATABASE IF EXISTS `{name}`")


def version(url: URL) -> str:
    return _execute(url, "SELECT VERSION()")[0][0].partition("-")[0]


def _unusable(url: URL) -> str | None:
    """Why no databases can be created there; None if they can."""
    from MySQLdb import Error

    try:
        if "mariadb" not in _execute(url, "SELECT VERSION()")[0][0].lower():
            return "it is not MariaDB"
        with new_database(url, "lean_probe_"):
            return None
    except Error as error:
        return str(error)


def _disconnect_all(server: URL, database: str) -> None:
    """End the connections to the database: an open transaction that has used a table would stop its drop."""
    from MySQLdb import OperationalError

    connected = f"SELECT id FROM information_schema.processlist WHERE db = '{database}'"
    for (connection,) in _execute(server, connected):
        with suppress(OperationalError):  # it has ended meanwhile
            _execute(server, f"KILL {connection}")


def _execute(url: URL, statement: str) -> Any:
    import MySQLdb

    connection = MySQLdb.connect(
        host=url.host or "127.0.0.1",
        port=url.port or 3306,
        user=url.username or "root",
        password=url.password or "",
        connect_timeout=5,
        autocommit=True,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


@contextmanager
def _private_server(tried: list[str]) -> Iterator[URL]:
    """Start a server of our own, as somebody else than root."""
    daemon, installer = _program("mariadbd", "mysqld"), _program("mariadb-install-db", "mysql_install_db")
    if not daemon or not installer:
        raise NoServer("; ".join([*tried, "and no mariadbd was found to start one with"]))
    identity = someone_but_root("mysql") if os.geteuid() == 0 else {}
    with temporary_folder("lean-mariadb-", identity) as folder:
        data, log = folder / "data", folder / "log"
        installed = subprocess.run(
            [
                installer,
                *("--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"),
                *("--skip-test-db", "--skip-name-resolve"),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **identity,
        )
        if installed.returncode:
            raise NoServer("; ".join([*tried, f"{installer} failed: {installed.stdout.strip()}"]))
        port = free_port()
        process = subprocess.Popen(
            [
                daemon,
                *("--no-defaults", f"--datadir={data}", f"--tmpdir={folder}", f"--log-error={log}"),
                *(f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}"),
                *("--skip-log-bin", "--skip-name-resolve", "--max-connections=300"),
                *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M"),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **identity,
        )
        try:
            url = URL.create(_DRIVER, username="root", host="127.0.0.1", port=port)
            if problem := _problem_after_start(process, url):
                raise NoServer("; ".join([*tried, f"{problem} {log.read_text() if log.exists() else ''}"]))
            yield url
        finally:
            process.kill()
            process.wait()


def _problem_after_start(process: subprocess.Popen[bytes], url: URL) -> str | None:
    deadline = time.monotonic() + _START_SECONDS
    while problem := _unusable(url):
        if process.poll() is not None:
            return f"{process.args[0]} ended with {process.returncode}"  # type: ignore[index]
        if time.monotonic() > deadline:
            return problem
        time.sleep(0.1)
    return None


def _program(*names: str) -> str | None:
    path = os.pathsep.join([*os.get_exec_path(), *filter(os.path.isdir, _PROGRAM_FOLDERS)])
    found = next((where for name in names if (where := shutil.which(name, path=path))), None)
    return str(Path(found).resolve()) if found else None
