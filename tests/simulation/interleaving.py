"""
Several actors at once, one step at a time: who goes on at each statement and at each commit, a seed decides.

Every actor has a thread; it runs only while it has the baton. It hands the baton back before each SQL
statement and each commit, and the next one is chosen from those that can go on. Who waits for a row lock that
another one has is found by ``pg_blocking_pids``, not by a clock, so that the same seed gives the same
interleaving. PostgreSQL only. What one actor makes other threads do (the execution API's) counts as its own.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow import settings
from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from random import Random

    from sqlalchemy.engine import Connection, Engine, ExceptionContext

PLAYS = "plays"
"""The HTTP header that says which actor calls; see :class:`Attributing`."""

SECONDS_BETWEEN_LOOKS = 0.005
"""How long an actor may take for a step before it is looked whether it waits for a lock."""

PATIENCE = 120.0
"""Seconds for which no actor may come further; then something waits that nobody can find."""


class Stuck(Exception):
    """Nobody can go on, or somebody waits for something that is no row lock."""


@dataclass(eq=False)
class Part:
    """
    What one actor does.

    :param backend: the process of the PostgreSQL server that runs its last statement
    :param waits: it waits for a lock that another one has
    """

    name: str
    act: Callable[[], object]
    thread: threading.Thread | None = None
    backend: int | None = None
    waits: bool = False
    returned: bool = False
    over: bool = False
    error: BaseException | None = None
    steps: int = 0


_PART: ContextVar[Part | None] = ContextVar("part", default=None)
_LOOKS: ContextVar[bool] = ContextVar("looks", default=False)


def who_plays() -> str | None:
    """Return the name of the actor that does this, None outside of :meth:`Baton.play`."""
    part = _PART.get()
    return part.name if part is not None else None


@dataclass
class Baton:
    """
    Plays acts at once.

    :param switching: how likely somebody else goes on at a statement
    :param fair: how the statements begin whose row many want at once: they queue up for it, since who of
        several that wait for a row gets it, once it was updated, PostgreSQL leaves to chance
    """

    engine: Engine
    random: Random
    switching: float = 0.3
    fair: str = "UPDATE lean_switch"
    order: list[str] = field(default_factory=list)
    """Who had the baton, one name for each time that it was handed over."""
    _parts: dict[str, Part] = field(default_factory=dict)
    _holder: Part | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def play(self, acts: Mapping[str, Callable[[], object]]) -> None:
        """
        Play the acts until all have ended.

        :param acts: by the name of the actor
        :raises Stuck: if nobody can go on; threads may be left behind then
        """
        global _playing
        self._parts = {name: Part(name, act) for name, act in acts.items()}
        with self._control() as control, self._listening():
            _playing = self
            try:
                for part in self._parts.values():
                    part.thread = threading.Thread(
                        target=self._run, args=(part,), name=part.name, daemon=True
                    )
                    part.thread.start()
                self._conduct(control)
            finally:
                _playing = None
        for part in self._parts.values():
            if part.error is not None:
                raise part.error

    # Whoever conducts

    def _conduct(self, control: Any) -> None:
        while going_on := [part for part in self._parts.values() if not part.over]:
            self._find_who_waits_no_more(control)
            ready = [part for part in going_on if not part.waits and not part.over]
            if ready:
                self._hand(self.random.choice(ready), control)
            elif not self._wait_for_a_return():
                raise Stuck(f"{[part.name for part in going_on]} wait for each other; {self._where()}")

    def _hand(self, part: Part, control: Any) -> None:
        self.order.append(part.name)
        waited = 0.0
        with self._changed:
            self._holder = part
            self._changed.notify_all()
            while self._holder is part:
                if self._changed.wait(SECONDS_BETWEEN_LOOKS) or self._holder is not part:
                    continue
                waited += SECONDS_BETWEEN_LOOKS
                if self._is_blocked(part, control):
                    part.waits, part.returned = True, False
                    self._holder = None
                elif waited > PATIENCE:
                    raise Stuck(f"{part.name} waits for something that is no row lock; {self._where()}")

    def _find_who_waits_no_more(self, control: Any) -> None:
        for part in self._parts.values():
            waited = 0.0
            while part.waits and not self._is_blocked(part, control):
                with self._changed:
                    part.waits = not self._changed.wait_for(lambda part=part: part.returned, 0.001)
                waited += 0.001
                if waited > PATIENCE:
                    raise Stuck(f"{part.name} got its lock and does not go on; {self._where()}")

    def _wait_for_a_return(self) -> bool:
        """All wait for each other: PostgreSQL finds that out by itself and ends one of the statements."""
        with self._changed:
            waiting = list(self._parts.values())
            return self._changed.wait_for(lambda: any(p.waits and p.returned for p in waiting), PATIENCE)

    def _is_blocked(self, part: Part, control: Any) -> bool:
        if part.backend is None:
            return False
        with control.cursor() as cursor:
            cursor.execute("SELECT pg_blocking_pids(%s)", (part.backend,))
            return bool(cursor.fetchone()[0])

    @contextmanager
    def _control(self) -> Iterator[Any]:
        """A connection of its own, whose statements are nobody's steps."""
        connection: Any = self.engine.raw_connection()
        connection.detach()
        try:
            connection.dbapi_connection.autocommit = True
            yield connection.dbapi_connection
        finally:
            connection.close()

    def _where(self) -> str:
        return f"after {len(self.order)} handovers, the last to {self.order[-5:]}"

    # Whoever plays

    def _run(self, part: Part) -> None:
        _PART.set(part)
        try:
            self._await_baton(part)
            part.act()
        except BaseException as error:  # noqa: BLE001  raised again by play()
            part.error = error
        finally:
            settings.Session.remove()
            with self._changed:
                part.over = True
                if self._holder is part:
                    self._holder = None
                self._changed.notify_all()

    def _await_baton(self, part: Part) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._holder is part)

    def _step(self, part: Part, backend: int) -> None:
        """An interleaving point: perhaps somebody else goes on."""
        part.backend = backend
        part.steps += 1
        if self.random.random() >= self.switching:
            return
        with self._changed:
            self._holder = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._holder is part)

    def _stepped(self, part: Part) -> None:
        """The statement has ended. Whoever had to wait for a lock in it has no baton any more."""
        with self._changed:
            if self._holder is part:
                return
            part.returned = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._holder is part)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        def before(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if (part := _acting()) is not None:
                self._step(part, _backend_of(connection))
                if statement.startswith(self.fair):
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_QUEUE,))

        def before_commit(connection: Connection) -> None:
            if (part := _acting()) is not None:
                self._step(part, _backend_of(connection))

        def after(*_: Any) -> None:
            if (part := _acting()) is not None:
                self._stepped(part)

        def failed(_: ExceptionContext) -> None:
            after()

        listeners: tuple[tuple[str, Any], ...] = (
            ("before_cursor_execute", before),
            ("after_cursor_execute", after),
            ("handle_error", failed),
            ("commit", before_commit),
        )
        for name, listener in listeners:
            event.listen(self.engine, name, listener)
        try:
            yield
        finally:
            for name, listener in listeners:
                event.remove(self.engine, name, listener)


_playing: Baton | None = None
_QUEUE = 20260614


def _acting() -> Part | None:
    part = _PART.get()
    return part if part is not None and not part.over and not _LOOKS.get() else None


def _backend_of(connection: Connection) -> int:
    return int(connection.connection.dbapi_connection.get_backend_pid())  # type: ignore[union-attr]


def is_looking() -> bool:
    """Tell whether what is done just now is no step of anybody; see :func:`undisturbed`."""
    return _LOOKS.get()


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is done meanwhile is no step of anybody: to look is not to act."""
    token = _LOOKS.set(True)
    try:
        yield
    finally:
        _LOOKS.reset(token)


class Attributing:
    """ASGI: lets the threads that answer a request of an actor play its part."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        name = dict(scope.get("headers", ())).get(PLAYS.encode(), b"").decode()
        if name and _playing is not None:
            _PART.set(_playing._parts.get(name))
        await self.app(scope, receive, send)


def header() -> dict[str, str]:
    """What a request says of who calls."""
    name = who_plays()
    return {PLAYS: name} if name is not None else {}


def attribute(client: Any) -> None:
    """Let every request of the client say which actor calls; its application has :class:`Attributing`."""

    def say(request: Any) -> None:
        request.headers.update(header())

    with contextlib.suppress(AttributeError):
        client.event_hooks = {**client.event_hooks, "request": [*client.event_hooks["request"], say]}
