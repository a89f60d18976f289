"""
Watches the metadata database from outside and writes down, commit by commit, what has become true.

Whoever plays (one actor at a time) says what it is about to do; after each of its commits the rows that it
may have changed are read again and compared with what they were. Nothing of the product is asked, except the
numbers of its cords and the moments at which they were recorded and released.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import event, text

from tests.simulation import trace as seen
from tests.simulation.interleaving import undisturbed
from tests.simulation.trace import PartitionId, RunId, TaskId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection, Engine

OVER = ("success", "failed", "skipped", "upstream_failed", "removed")
NO_PROCESS = ("deferred", "up_for_reschedule", "scheduled", "queued", "awaiting_input")
"""States of a try that has begun and has no process just now."""

_WRITES = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+[\"`]?(\w+)", re.IGNORECASE)


class Instance(NamedTuple):
    """A row of ``task_instance``."""

    id: Any
    state: str | None


@dataclass
class Execution:
    """A try that has begun and has not ended."""

    attempt: int
    id: Any
    has_process: bool = True


@dataclass
class Actor:
    """
    Somebody who acts on the database, and what it says of itself.

    :param says: what to write down, before what that commit has changed, at its next commit that writes to
        one of these tables, divided by blanks
    :param notes: whom to tell the moment of its next commit that writes to one of these tables
    :param clears: the run whose task instances a person is clearing
    :param marks: it marks a run, which skips what has not started
    :param ends: the try whose end its worker reports
    :param calls: the task instance that triggers a run
    """

    name: str
    says: list[tuple[str, Callable[[int], seen.Event]]] = field(default_factory=list)
    notes: list[tuple[str, Callable[[int], object]]] = field(default_factory=list)
    clears: bool = False
    marks: bool = False
    ends: TaskId | None = None
    calls: TaskId | None = None


NOBODY = Actor("nobody")


class Watch:
    """The trace in the making."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = 0
        self.events: list[seen.Event] = []
        self.who: Callable[[], str | None] = lambda: None
        """Whose turn it is, if several play at once."""
        self._actors: dict[str | None, Actor] = {}
        self.runs: dict[RunId, Any] = {}
        """The rows of the runs that exist, by name."""
        self.names: dict[tuple[str, str], RunId] = {}
        self.began_after: dict[RunId, Any] = {}
        """The ``run_after`` that each run was created with."""
        self.starts_failed = False
        """Something has kept the product from judging a start, so that it may have put a run back."""
        self.instances: dict[TaskId, Instance] = {}
        self.open: dict[TaskId, Execution] = {}
        self.cords: dict[int, int] = {}
        """The moment at which each cord was recorded."""
        self.looked: dict[int, int] = {}
        """The moment at which whoever pulled it last asked what had been published of its partitions."""
        self._asked: dict[str | None, list[tuple[int, set[object]]]] = defaultdict(list)
        self.attempts: Counter[TaskId] = Counter()
        self._last: dict[TaskId, int] = {}
        self._numbered: Counter[tuple[str, str | None]] = Counter()
        self.published: dict[PartitionId, int] = {}
        """How often each partition was published."""
        self._events: set[int] = set()
        self._released: dict[tuple[int, PartitionId], str | None] = {}
        self._assets: dict[int, str] = {}
        self._paused: dict[str, bool] = {}
        self._looking = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look after each commit of anybody in this process."""
        original: Any = self.engine.dialect.do_commit

        def do_commit(connection: Any) -> None:
            original(connection)
            with undisturbed():
                self._look(self._written.pop(id(connection.dbapi_connection), {}))

        self._written: dict[int, dict[str, int]] = defaultdict(dict)
        event.listen(self.engine, "before_cursor_execute", self._note_write)
        event.listen(self.engine, "after_cursor_execute", self._note_question)
        self.engine.dialect.do_commit = do_commit  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self.engine.dialect.do_commit
            event.remove(self.engine, "before_cursor_execute", self._note_write)
            event.remove(self.engine, "after_cursor_execute", self._note_question)

    @property
    def actor(self) -> Actor:
        """Who acts now."""
        return self._actors.get(self.who(), NOBODY)

    def _note_write(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if match := _WRITES.match(statement):
            self._written[id(connection.connection.dbapi_connection)].setdefault(match[1].lower(), self.now)

    def _note_question(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if "FROM asset_event" in statement and not self._looking:
            values = parameters.values() if isinstance(parameters, dict) else parameters
            self._asked[self.who()].append((self.now, set(values)))

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[Actor]:
        """Everything that is committed meanwhile is the actor's doing."""
        who = self.who()
        before, self._actors[who] = self.actor, actor
        try:
            yield actor
        finally:
            self._actors[who] = before

    # What is said

    def tell(self, make: Callable[[int], seen.Event]) -> None:
        """Write down what happens at this moment."""
        self.now += 1
        self.events.append(make(self.now))

    def refused(self, task: TaskId) -> None:
        self.tell(lambda at: seen.Refused(at, task))

    def killed(self, task: TaskId, attempt: int) -> None:
        """The process of this try has learned that it must not go on."""
        self._end(task, attempt, "killed")

    def answered(self, task: TaskId, attempt: int) -> None:
        self.tell(lambda at: seen.Answered(at, task, attempt))

    def _end(self, task: TaskId, attempt: int, how: str) -> None:
        self.tell(lambda at: seen.Ended(at, task, attempt, how))
        if task in self.open and self.open[task].attempt == attempt:
            del self.open[task]

    # What is seen

    def _look(self, written: dict[str, int]) -> None:
        """:param written: the tables that were written to, with the moments of the first statements"""
        if self._looking or not written:
            return
        self._looking = True
        committed_before = self.now
        try:
            with self.engine.connect() as connection:
                for tables, say in list(self.actor.says):
                    if written.keys() & {*tables.split()}:
                        self.tell(say)
                        self.actor.says.remove((tables, say))
                for tables, note in list(self.actor.notes):
                    if written.keys() & {*tables.split()}:
                        self.now += 1
                        note(self.now)
                        self.actor.notes.remove((tables, note))
                if "dag_run" in written or "dagrun_asset_event" in written:
                    self._see_runs(connection)
                if "task_instance" in written or "dag_run" in written:
                    self._see_instances(connection)
                if "asset_event" in written:
                    since = written["asset_event"]
                    self._see_publications(connection, since if since < committed_before else None)
                if "lean_cord" in written:
                    self._see_cords(connection)
                if "lean_cord_partition" in written:
                    self._see_releases(connection)
        finally:
            self._looking = False

    def _see_runs(self, connection: Connection) -> None:
        rows = connection.execute(
            text(
                "SELECT id, dag_id, run_id, run_type, partition_key, conf, state, run_after, "
                "data_interval_start FROM dag_run ORDER BY id"
            )
        ).all()
        found = set()
        for row in rows:
            known = self.names.get((row.dag_id, row.run_id))
            if known is None or known not in self.runs:
                known = self._see_run(connection, row)
            self.runs[known] = row
            found.add(known)
        for gone in [run for run in self.runs if run not in found]:
            del self.runs[gone]
            for task in [task for task in self.instances if task.run == gone]:
                del self.instances[task]
            self.tell(lambda at, gone=gone: seen.RunDeleted(at, gone))

    def _see_run(self, connection: Connection, row: Any) -> RunId:
        key = row.partition_key
        self._numbered[row.dag_id, key] += 1
        run = RunId(row.dag_id, f"{key or ''}#{self._numbered[row.dag_id, key]}")
        self.names[row.dag_id, row.run_id] = run
        self.began_after[run] = str(row.run_after)
        consumed = connection.scalars(
            text("SELECT event_id FROM dagrun_asset_event WHERE dag_run_id = :id ORDER BY event_id"),
            {"id": row.id},
        ).all()
        parent = self.actor.calls if row.run_type == "operator_triggered" else None
        has_conf = row.conf not in (None, {}, "{}", "null")
        interval = row.data_interval_start and str(row.data_interval_start)[:19].replace(" ", "T")
        self.tell(
            lambda at: seen.RunCreated(
                at, run, row.run_type, key, tuple(consumed), has_conf, parent, interval
            )
        )
        return run

    def _see_instances(self, connection: Connection) -> None:
        rows = connection.execute(
            text(
                "SELECT id, dag_id, run_id, task_id, map_index, state FROM task_instance "
                "ORDER BY dag_id, run_id, task_id, map_index"
            )
        ).all()
        changed: list[tuple[TaskId, Instance, Instance]] = []
        before = self.instances
        self.instances = {}
        for row in rows:
            run = self.names.get((row.dag_id, row.run_id))
            if run is None:
                continue
            task = TaskId(run, row.task_id, row.map_index)
            now = Instance(row.id, row.state)
            self.instances[task] = now
            was = before.get(task, Instance(None, None))
            if was != now:
                changed.append((task, was, now))
        cleared = tuple(task for task, was, now in changed if self._is_cleared(task, was, now))
        if cleared:
            by_person = self.actor.clears
            self.tell(lambda at: seen.TaskCleared(at, cleared, by_person))
        for task, was, now in changed:
            self._see_instance(task, was, now)

    def _see_instance(self, task: TaskId, was: Instance, now: Instance) -> None:
        execution = self.open.get(task)
        if execution is not None and self.actor.ends == task:
            if now.state in (*OVER, "up_for_retry"):
                self._end(task, execution.attempt, now.state or "")
            elif now.state in NO_PROCESS:
                execution.has_process = False
            return
        if execution is not None and not execution.has_process:
            if now.state == "running":
                execution.has_process = True
                return
            if now.state in ("failed", "up_for_retry") and not self.actor.marks:
                self._end(task, execution.attempt, now.state)
            elif now.id != execution.id or now.state not in NO_PROCESS:
                self._end(task, execution.attempt, "killed")
        if now.state == "running" and was.state != "running":
            self.attempts[task] += 1
            attempt = self.attempts[task]
            self.open[task] = Execution(attempt, now.id)
            self.tell(lambda at: seen.Granted(at, task, attempt))
        elif was.state != now.state and now.state == "skipped" and not self.actor.marks:
            self.tell(lambda at: seen.Skipped(at, task))
        elif was.state != now.state and now.state == "upstream_failed":
            self.tell(lambda at: seen.CutOff(at, task))

    def _is_cleared(self, task: TaskId, was: Instance, now: Instance) -> bool:
        if self.actor.ends == task or now.state in ("running", "skipped"):
            return False
        by_person = self.actor.clears and was.id is not None and was.id != now.id
        return by_person or (was.state in OVER and now.state not in OVER)

    def _see_publications(self, connection: Connection, written: int | None) -> None:
        rows = connection.execute(
            text(
                "SELECT id, asset_id, partition_key, source_dag_id, source_run_id, source_task_id, "
                "source_map_index FROM asset_event ORDER BY id"
            )
        ).all()
        for row in rows:
            if row.id in self._events:
                continue
            self._events.add(row.id)
            partition = PartitionId(self.asset(connection, row.asset_id), row.partition_key)
            self.published[partition] = self.published.get(partition, 0) + 1
            run = self.names.get((row.source_dag_id, row.source_run_id))
            task = TaskId(run, row.source_task_id, row.source_map_index) if run is not None else None
            attempt = self.attempts[task] if task is not None else None
            self.tell(
                lambda at, row=row, partition=partition, task=task, attempt=attempt: seen.Published(
                    at, row.id, partition, task, attempt, written
                )
            )

    def _see_cords(self, connection: Connection) -> None:
        for cord in connection.scalars(text("SELECT id FROM lean_cord ORDER BY id")).all():
            if cord not in self.cords:
                self.looked[cord] = self._when_asked(connection, cord)
                self.now += 1
                self.cords[cord] = self.now

    def _when_asked(self, connection: Connection, cord: int) -> int:
        """When whoever acts last asked for the events of the partitions that this cord is on."""
        rows = connection.execute(
            text("SELECT asset_id, partition_key FROM lean_cord_partition WHERE cord_id = :id"), {"id": cord}
        ).all()
        wanted = {row.asset_id for row in rows} | {row.partition_key for row in rows} - {None}
        moments = [at for at, values in self._asked.pop(self.who(), ()) if wanted <= values]
        return max(moments, default=self.now)

    def _see_releases(self, connection: Connection) -> None:
        rows = connection.execute(
            text("SELECT cord_id, asset_name, partition_key, outcome FROM lean_cord_partition ORDER BY id")
        ).all()
        for row in rows:
            partition = PartitionId(row.asset_name, row.partition_key)
            if row.outcome is not None and self._released.get((row.cord_id, partition)) is None:
                self._released[row.cord_id, partition] = row.outcome
                self.tell(
                    lambda at, row=row, partition=partition: seen.Released(
                        at, row.cord_id, partition, row.outcome
                    )
                )

    def changed_in(self, run: RunId) -> dict[TaskId, str | None]:
        """The states of the run's task instances that are not written down yet."""
        row = self.runs[run]
        with self.engine.connect() as connection:
            found = connection.execute(
                text(
                    "SELECT task_id, map_index, state FROM task_instance "
                    "WHERE dag_id = :dag AND run_id = :run ORDER BY task_id, map_index"
                ),
                {"dag": row.dag_id, "run": row.run_id},
            ).all()
        states = {TaskId(run, each.task_id, each.map_index): each.state for each in found}
        return {
            task: state
            for task, state in states.items()
            if state != self.instances.get(task, Instance(None, None)).state
        }

    def asset(self, connection: Connection, number: int) -> str:
        if number not in self._assets:
            self._assets[number] = connection.scalar(
                text("SELECT name FROM asset WHERE id = :id"), {"id": number}
            )
        return self._assets[number]

    # At rest

    def final(self) -> tuple[dict[RunId, seen.FinalRun], tuple[tuple[str, str], ...]]:
        """Every run that exists, and Airflow's pending partition runs."""
        with self.engine.connect() as connection:
            self._see_runs(connection)
            self._see_instances(connection)
            pending = connection.execute(
                text(
                    "SELECT target_dag_id, partition_key FROM asset_partition_dag_run "
                    "WHERE created_dag_run_id IS NULL ORDER BY target_dag_id, partition_key"
                )
            ).all()
        runs = {
            run: seen.FinalRun(
                row.state,
                {task: each.state for task, each in self.instances.items() if task.run == run},
                str(row.run_after) == self.began_after[run] or self._was_put_back(row),
            )
            for run, row in self.runs.items()
        }
        return runs, tuple((row.target_dag_id, row.partition_key) for row in pending)

    def _was_put_back(self, row: Any) -> bool:
        moment = datetime.fromisoformat(str(row.run_after))
        return self.starts_failed and moment.replace(tzinfo=timezone.utc) < datetime.now(timezone.utc)

    def waiting(self) -> tuple[tuple[int, str, str], ...]:
        """The events that Airflow has noted for pending partition runs."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT log.asset_event_id, log.target_dag_id, log.target_partition_key "
                    "FROM partitioned_asset_key_log log "
                    "JOIN asset_partition_dag_run pending ON pending.id = log.asset_partition_dag_run_id "
                    "WHERE pending.created_dag_run_id IS NULL ORDER BY 1, 2, 3"
                )
            ).all()
        return tuple((row[0], row[1], row[2]) for row in rows)

    def overlooked(self) -> tuple[tuple[int, str, str], ...]:
        """
        The events that Airflow has noted for a pending row after it had read the events of that row.

        It locks the row, but not against events (``AssetManager._get_or_create_apdr``). A row none of whose
        events the run was given is none of those.
        """
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT log.asset_event_id, log.target_dag_id, log.target_partition_key "
                    "FROM partitioned_asset_key_log log "
                    "JOIN asset_partition_dag_run made ON made.id = log.asset_partition_dag_run_id "
                    "WHERE made.created_dag_run_id IS NOT NULL AND NOT EXISTS (SELECT * "
                    "FROM dagrun_asset_event given WHERE given.event_id = log.asset_event_id "
                    "AND given.dag_run_id = made.created_dag_run_id) AND EXISTS (SELECT * "
                    "FROM dagrun_asset_event given JOIN partitioned_asset_key_log other "
                    "ON other.asset_event_id = given.event_id AND other.asset_partition_dag_run_id = made.id "
                    "WHERE given.dag_run_id = made.created_dag_run_id) ORDER BY 1, 2, 3"
                )
            ).all()
        return tuple((row[0], row[1], row[2]) for row in rows)
