"""What the servers have in common: their URLs, and how one is started for a test run."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL


class NoServer(Exception):
    """There is no such server, and none can be started; the message says what was tried."""


def text_of(url: URL) -> str:
    """The URL as Airflow's configuration takes it, password included."""
    return url.render_as_string(hide_password=False)


def someone_but_root(*names: str) -> dict[str, Any]:
    """
    The first of these users, or nobody, as :class:`subprocess.Popen` takes it.

    Database servers refuse to run as root, so root lends them another user.
    """
    for name in (*names, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise NoServer(f"a server does not run as root, and there is no user {' or '.join((*names, 'nobody'))}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def temporary_folder(prefix: str, owner: dict[str, Any]) -> Iterator[Path]:
    """
    A folder with a path short enough for a socket in it.

    :param owner: as :func:`someone_but_root` tells it, or nothing
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
