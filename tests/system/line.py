"""A line to the api-server that can be cut: what a worker that is cut off sees."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65536


class Line:
    """
    Forwards connections to a port of this machine, once it leads there and until it is cut.

    Usable in a ``with`` statement, which closes it.
    """

    def __init__(self) -> None:
        self.leads_to = 0
        self._whole = threading.Event()
        self._whole.set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._drop_all()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """End every connection, in the middle of whatever it says, and refuse others within the block."""
        self._whole.clear()
        self._drop_all()
        try:
            yield
        finally:
            self._whole.set()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                near, _ = self._listener.accept()
                if not self._whole.is_set():
                    near.close()
                    continue
                with suppress(OSError):
                    self._join(near, socket.create_connection(("127.0.0.1", self.leads_to)))

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        with self._lock:
            self._connections |= {near, far}
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
        self._drop(source, target)

    def _drop_all(self) -> None:
        with self._lock:
            connections = set(self._connections)
        self._drop(*connections)

    def _drop(self, *connections: socket.socket) -> None:
        with self._lock:
            self._connections -= set(connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
