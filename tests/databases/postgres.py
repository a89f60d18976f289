"""PostgreSQL servers and databases for tests; see the package."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.engine import URL, make_url

from tests.databases.server import NoServer, free_port, someone_but_root, temporary_folder, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "PostgreSQL"
VARIABLE = "ANDON_TEST_POSTGRES"
_DRIVER = "postgresql+psycopg2"
_PROGRAM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/opt/postgresql*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)


@contextmanager
def server() -> Iterator[URL]:
    """Yield the URL of a database on a server on which databases may be created."""
    if named := os.environ.get(VARIABLE):
        url = make_url(named).set(drivername=_DRIVER)
        if problem := _unusable(url):
            raise NoServer(f"{VARIABLE}={url} cannot be used: {problem}")
        yield url
        return
    tried = []
    for url in _usual_places():
        problem = _unusable(url)
        if not problem:
            yield url
            return
        tried.append(f"{url}: {problem}")
    try:
        with own_server() as own:
            yield own.url
    except NoServer as reason:
        raise NoServer("; ".join([*tried, str(reason)])) from None


@contextmanager
def new_database(server: URL, prefix: str = "lean_test_") -> Iterator[URL]:
    """
    Create a database with a random name, and drop it at the end, whoever is still connected to it.

    Its commits do not wait for the disk: it need not survive a crash of the server.
    """
    name = prefix + secrets.token_hex(6)
    _execute(server, f'CREATE DATABASE "{name}"')
    try:
        _execute(server, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        yield server.set(database=name)
    finally:
        _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def version(url: URL) -> str:
    return _execute(url, "SHOW server_version", fetch=True).split()[0]


def _usual_places() -> Iterator[URL]:
    yield URL.create(_DRIVER, username="postgres", host="127.0.0.1", port=5432, database="postgres")
    for folder in ("/var/run/postgresql", "/tmp"):
        if Path(folder, ".s.PGSQL.5432").exists():
            socket_folder = {"host": folder, "port": "5432"}
            yield URL.create(_DRIVER, username=getpass.getuser(), database="postgres", query=socket_folder)


def _unusable(url: URL) -> str | None:
    """Why no databases can be created there; None if they can."""
    try:
        allowed = _execute(
            url, "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user", fetch=True
        )
    except psycopg2.Error as error:
        return str(error).strip().replace("\n", " ")
    return None if allowed else "its user may not create databases"


def _execute(url: URL, statement: str, *, fetch: bool = False) -> Any:
    connection = psycopg2.connect(text_of(url.set(drivername="postgresql")), connect_timeout=5)
    connection.autocommit = True  # CREATE DATABASE runs in no transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if fetch else None
    finally:
        connection.close()


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """
    Start a server that nobody else uses, in a folder and at a port of its own; it is gone at the end.

    :raises NoServer: if there are no programs to start one with
    """
    programs = _programs()
    if programs is None:
        raise NoServer("no initdb was found to start a server with")
    # PostgreSQL refuses to run as root, so root lends it another user.
    identity = someone_but_root("postgres") if os.geteuid() == 0 else {}
    with temporary_folder("lean-postgres-", identity) as folder:
        own = OwnServer(programs, folder, identity, free_port())
        own.create()
        own.start()
        try:
            yield own
        finally:
            own.stop()


@dataclass
class OwnServer:
    """A server that can be stopped and started; see :func:`own_server`."""

    programs: Path
    folder: Path
    identity: dict[str, Any]
    port: int

    @property
    def url(self) -> URL:
        return URL.create(_DRIVER, username="postgres", host="127.0.0.1", port=self.port, database="postgres")

    def create(self) -> None:
        self._call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder} "
            "-c fsync=off -c max_connections=200"
        )
        self._call("pg_ctl", "-l", str(self.folder / "log"), "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Stop it as a crash would: what is under way is lost, what is committed is not."""
        self._call("pg_ctl", "-m", "immediate", "-w", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), "-D", str(self.folder / "data"), *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            **self.identity,
        )
        if done.returncode:
            log = self.folder / "log"
            detail = log.read_text() if log.exists() else ""
            raise NoServer(f"{program} failed: {done.stderr} {detail}".strip())


def _programs() -> Path | None:
    """The folder that holds both initdb and pg_ctl, of the newest version found."""
    folders = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    for pattern in _PROGRAM_FOLDERS:
        folders += sorted(Path("/").glob(pattern.lstrip("/")), key=_version_in, reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


def _version_in(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)
