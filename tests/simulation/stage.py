"""
The stage: one history, played against the product's real code and Airflow's real scheduling code.

What is played and not real: *workers* (they call the real execution API in the order in which the Task SDK's
supervisor does: start, heartbeats, end; a process whose call is answered with 404, 409 or 410 is gone, and
its executor says so), the *trigger* of a deferred task (its event is submitted as the triggerer does), the
*clock* (the history says when a scheduled run is made) and the *dag-processor* (what it writes to the
database is written by its own code). ``test_models.py`` checks these against the real pieces.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow import settings as airflow_settings
from airflow.jobs.job import Job, JobState
from airflow.models.asset import AssetEvent, AssetModel, remove_references_to_deleted_dags
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select, update

from airflow_lean_provider.brake import cords, declare, doctor, permits, sweep, switch
from airflow_lean_provider.brake import release as releasing
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import Scope, pull
from airflow_lean_provider.rules.facts import Outcome, Run, Severity
from airflow_lean_provider.store import transactions
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import StoppedTry
from tests.integration import doors
from tests.integration.world import Scheduler, World
from tests.simulation import trace as seen
from tests.simulation.acts import Act, together
from tests.simulation.graph import Kind, OpenScope
from tests.simulation.graphs import to_airflow
from tests.simulation.interleaving import Baton, who_plays
from tests.simulation.trace import PartitionId, RunId, TaskId, Trace
from tests.simulation.watch import Actor, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.world import RecordingExecutor, Work
    from tests.simulation.graph import DagSpec, Graph

GONE = (404, 409, 410)
"""Answers after which a worker's process ends."""

ROUNDS = 80
"""Rounds after which a rest counts as one that never comes."""


class Died(BaseException):
    """The process of somebody has ended."""


class StillSettling(Exception):
    """A pull has returned, and said that it leaves the rest to the sweeper."""


class NeverAtRest(Exception):
    """Something goes round in circles."""


@dataclass(eq=False)
class Process:
    """A worker's process that runs one try."""

    task: TaskId
    attempt: int
    work: Work
    has_called: bool = False


class Stage:
    """Plays acts; every public method that is named in ``acts.WORDS`` is one."""

    def __init__(self, graph: Graph, watch: Watch) -> None:
        self.watch = watch
        watch.who = who_plays
        self.world = World()
        self.schedulers = [self.world._one, Scheduler()]
        self.dags: dict[str, DagSpec] = {}
        self.processes: list[Process] = []
        self.cords: dict[str, int] = {}
        """Numbers by label."""
        self.partitions: dict[int, tuple[PartitionId, ...]] = {}
        self.scopes: dict[int, OpenScope] = {}
        self.severities: dict[int, str] = {}
        self.enabled = True
        self.unreturned: list[Callable[[int], seen.Event]] = []
        """What the sweeper makes true, since whoever had begun it has died."""
        self.calls = 0
        self.problems: list[str] = []
        """What is wrong for other reasons than the oracle's."""
        doctor.SECONDS_BETWEEN_LOOKS = 0
        with self._as("the dag-processor") as actor:
            self._write(list(graph.dags), actor)

    def play(self, act: Act) -> None:
        getattr(self, act.do)(*act.names)

    def at_once(self, seed: str, *acts: str) -> None:
        """Play several acts, one step at a time; see ``interleaving.py``."""
        random, parts = Random(seed), together(Act("at_once", (seed, *acts)))
        if self.watch.engine.dialect.name != "postgresql":
            for act in parts:
                self.play(act)
            return
        baton = Baton(self.watch.engine, random, random.choice((0.03, 0.1, 0.3, 0.6)))
        baton.play({f"{number}. {act.do}": partial(self.play, act) for number, act in enumerate(parts)})

    def trace(self) -> Trace:
        """All that was seen; the last thing played must have been a rest."""
        last = self.watch.events[-1]
        assert isinstance(last, seen.Rest), last
        return Trace(
            tuple(self.watch.events),
            last.at,
            last.runs,
            last.pending,
            overlooked=last.overlooked,
            waiting=last.waiting,
        )

    # The dag-processor

    def _write(self, specs: list[DagSpec], actor: Actor) -> None:
        actor.says += [("dag", lambda at, spec=spec: seen.DagWritten(at, spec)) for spec in specs]
        paused = {spec.id for spec in specs if self.is_paused(spec.id)}
        self.dags |= {spec.id: spec for spec in specs}
        self.world.add(*map(to_airflow, specs))
        for spec in specs:
            self._set_due(spec.id, None)  # the history says when the clock strikes
        for dag in paused:
            self.world.pause(dag)

    def lose(self, dag: str, task: str) -> None:
        """The Dag is written without this task; what followed it follows what it followed."""
        spec = self.dags.get(dag)
        lost = next((each for each in spec.tasks if each.id == task), None) if spec else None
        if spec is None or lost is None or len(spec.tasks) == 1 or lost.is_setup or lost.teardown_of:
            return

        def follows(before: str) -> tuple[str, ...]:
            return lost.after if before == task else (before,)

        tasks = tuple(
            replace(each, after=tuple(name for before in each.after for name in follows(before)))
            for each in spec.tasks
            if each is not lost
        )
        with self._as("the dag-processor") as actor:
            self._write([replace(spec, tasks=tasks)], actor)

    def remove(self, dag: str) -> None:
        """``DagFileProcessorManager.deactivate_deleted_dags``."""
        if dag not in self.dags or self.is_stale(dag):
            return
        with self._as("the dag-processor") as actor, create_session(scoped=False) as session:
            actor.says.append(("dag", lambda at: seen.DagRemoved(at, dag)))
            session.get_one(DagModel, dag).is_stale = True
            session.flush()
            remove_references_to_deleted_dags(session)

    def restore(self, dag: str) -> None:
        if dag in self.dags and self.is_stale(dag):
            with self._as("the dag-processor") as actor:
                self._write([self.dags[dag]], actor)

    # The schedulers and the sweeper

    def tick(self, number: str) -> None:
        with self._as(f"scheduler {number}"):
            self.schedulers[int(number)].tick()

    def restart(self, number: str) -> None:
        """
        The process of this scheduler is gone, with its executor's and all that those knew; a new one begins.

        Nobody tells of the processes, but their time passes.
        """
        gone, new = self.schedulers[int(number)], Scheduler()
        self.schedulers[int(number)] = new
        for process in [each for each in self.processes if each.work.executor is gone.executor]:
            self._gone(process)
        with create_session(scoped=False) as session:
            session.execute(update(StoppedTry).values(gone_by=now()))
        with self._as(f"scheduler {number}"), create_session(scoped=False) as session:
            session.get_one(Job, gone.runner.job.id).state = JobState.FAILED
            session.flush()
            new.runner.adopt_or_reset_orphaned_tasks(session=session)

    def sweep(self) -> None:
        with self._as("the sweeper"):
            sweep.sweep()
        for say in self.unreturned:
            self.watch.tell(say)
        self.unreturned = []

    def die(self, after: str, act: str) -> None:
        """The process ends before its next transaction; the sweeper finishes what it had begun."""
        left, who, original = int(after), self.watch.who(), transactions.transaction

        def transaction() -> Any:
            nonlocal left
            if self.watch.who() == who:
                if not left:
                    raise Died
                left -= 1
            return original()

        transactions.transaction = transaction
        try:
            self.play(together(Act("die", (after, act)))[0])
        except Died:
            airflow_settings.Session.remove()
        finally:
            transactions.transaction = original

    @contextlib.contextmanager
    def _promising(self, say: Callable[[int], seen.Event], recorded: Callable[[], bool]) -> Iterator[None]:
        """It is promised when that returns; if it breaks in between, once the sweeper has done it."""
        try:
            yield
        except BaseException:
            if recorded():
                self.unreturned.append(say)
            raise
        self.watch.tell(say)

    # The workers

    def waiting(self) -> list[tuple[TaskId, Work]]:
        """What the executors were handed and has not started."""
        return sorted(
            (
                (self._task_of(work), work)
                for scheduler in self.schedulers
                for work in scheduler.executor.waiting
                if (work.dag_id, work.run_id) in self.watch.names
            ),
            key=lambda pair: (pair[0], pair[1].try_number),
        )

    def start(self, *task: str) -> None:
        """The oldest that was handed over under this name is started."""
        name = self._name(*task)
        found = [work for each, work in self.waiting() if each == name]
        if not found:
            return
        work = found[0]
        work.executor.waiting.remove(work)
        with self._as("a worker"):
            try:
                answer = self.world.run(work)
            except BaseException:
                work.executor.waiting.insert(0, work)  # the worker asks again
                raise
        if answer == 200:
            self.processes.append(Process(name, self.watch.attempts[name], work))
            if self.watch.open.get(name) is None:
                self.problems.append(f"{name} was granted a start but is not running")
        else:
            self.watch.refused(name)
            work.executor.ended(work, TaskInstanceState.FAILED)

    def hear_of_ends(self, executor: RecordingExecutor) -> None:
        """The scheduler that has this executor hears from it what has ended."""
        for number, scheduler in enumerate(self.schedulers):
            if scheduler.executor is executor:
                with self._as(f"scheduler {number}"):
                    scheduler.hear()

    def process_of(self, task: TaskId) -> Process | None:
        """The oldest process of the task instance that is still alive."""
        return next((each for each in self.processes if each.task == task), None)

    def succeed(self, *task: str) -> None:
        """:param task: the task's name and, at the end, further keys to publish, divided by blanks"""
        *name, keys = task if len(task) == 5 else (*task, "")
        process = self.process_of(self._name(*name))
        spec = process and self._spec(process.task)
        if process is None:
            return
        if spec is not None and spec.triggers and not process.has_called:
            self.call(*name)
            if process not in self.processes:
                return
        self._end(process, lambda: self.world.succeed(process.work, keys=keys.split()))

    def call(self, *task: str) -> None:
        """It triggers a run of another Dag."""
        process = self.process_of(self._name(*task))
        spec = process and self._spec(process.task)
        if process is None or spec is None or spec.triggers not in self.dags or process.has_called:
            return
        process.has_called = True
        row = self.watch.runs.get(process.task.run)
        takes_keys = self.dags[spec.triggers].kind in (Kind.RUNTIME, Kind.PARTITIONED)
        key = row.partition_key if row is not None and takes_keys else None
        with self._as("a worker") as actor:
            actor.calls = process.task
            self.world.trigger_from(process.work, spec.triggers, key)

    def fail(self, *task: str) -> None:
        process = self.process_of(self._name(*task))
        if process is not None:
            report = self.world.retry if self.world.may_retry[process.work.id] else self.world.fail
            self._end(process, lambda: report(process.work))

    def skip(self, *task: str) -> None:
        process = self.process_of(self._name(*task))
        if process is not None:
            self._end(process, lambda: self.world.skip(process.work))

    def defer(self, *task: str) -> None:
        process = self.process_of(self._name(*task))
        if process is not None:
            self._end(process, lambda: self.world.defer(process.work))

    def reschedule(self, *task: str) -> None:
        process = self.process_of(self._name(*task))
        if process is not None:
            self._end(process, lambda: self.world.reschedule(process.work))
            # Airflow fails what another scheduler queues again before this one has heard of the end.
            self.hear_of_ends(process.work.executor)

    def hear(self, *task: str) -> None:
        """A heartbeat: the process learns whether it may go on."""
        process = self.process_of(self._name(*task))
        if process is not None:
            with self._as("a worker"):
                answer = self.world.heartbeat(process.work)
            if answer in GONE:
                self._gone(process)

    def _end(self, process: Process, report: Callable[[], int]) -> None:
        task = process.task
        with self._as("a worker") as actor:
            actor.ends = task
            answer = report()
        if answer in GONE:
            self._gone(process)
            return
        self.processes.remove(process)
        if task not in self.watch.open or self.watch.open[task].attempt != process.attempt:
            self.watch.answered(task, process.attempt)

    def _gone(self, process: Process) -> None:
        if process in self.processes:
            self.processes.remove(process)
        self.watch.killed(process.task, process.attempt)
        process.work.executor.ended(process.work, TaskInstanceState.SUCCESS)

    def wake(self, *task: str) -> None:
        name = self._name(*task)
        instance = self.watch.instances.get(name)
        if instance is None or instance.state != "deferred" or name not in self.watch.open:
            return
        with self._as("the triggerer"), create_session(scoped=False) as session:
            ti = session.get(TaskInstance, UUID(str(self.watch.open[name].id)))
            if ti is not None and ti.trigger_id is not None:
                Trigger.submit_event(ti.trigger_id, TriggerEvent({}), session=session)

    # People

    def trigger(self, dag: str, key: str, conf: str = "") -> None:
        if dag in self.dags:
            with self._as("somebody"):
                self._rest(
                    "POST",
                    f"dags/{dag}/dagRuns",
                    {"logical_date": None, "partition_key": key or None, "conf": {"x": conf} if conf else {}},
                )

    def clock(self, dag: str, date: str) -> None:
        """The run of this day becomes due, and scheduler 0 creates it."""
        begins = datetime.fromisoformat(date)
        if dag not in self.dags or self._has_run_of(dag, begins):
            return
        with self._as("scheduler 0"):
            self._set_due(dag, begins)
            self.schedulers[0].create_runs()
            self._set_due(dag, None)

    def _has_run_of(self, dag: str, begins: datetime) -> bool:
        with create_session(scoped=False) as session:
            return session.scalar(select(DagRun.id).filter_by(dag_id=dag, logical_date=begins)) is not None

    @staticmethod
    def _set_due(dag: str, begins: datetime | None) -> None:
        ends = begins and begins + timedelta(days=1)
        with create_session(scoped=False) as session:
            model = session.get_one(DagModel, dag)
            model.next_dagrun = model.next_dagrun_data_interval_start = begins
            model.next_dagrun_data_interval_end = model.next_dagrun_create_after = ends

    def backfill(self, dag: str, date: str) -> None:
        if dag in self.dags:
            body = {"dag_id": dag, "from_date": date, "to_date": date, "reprocess_behavior": "completed"}
            with self._as("somebody") as actor:
                actor.clears = True  # the run that is there runs again
                self._rest("POST", "backfills", body)

    def outside(self, asset: str, key: str) -> None:
        with create_session(scoped=False) as session:
            known = session.scalar(select(AssetModel.id).where(AssetModel.name == asset))
        if known is not None:
            with self._as("somebody"):
                self.world.publish_from_outside(asset, key or None)

    def pause(self, dag: str) -> None:
        self._pause(dag, paused=True)

    def unpause(self, dag: str) -> None:
        self._pause(dag, paused=False)

    def _pause(self, dag: str, *, paused: bool) -> None:
        if dag in self.dags and self.is_paused(dag) != paused:
            with self._as("somebody") as actor:
                actor.says.append(("dag", lambda at: seen.DagPaused(at, dag, paused)))
                self.world.pause(dag, paused=paused)

    def clear(self, dag: str, run: str, tasks: str) -> None:
        """
        Once more, if Airflow has ended the run meanwhile.

        Its clear does not lock a run that is RUNNING, and leaves what a scheduler makes of it just then.

        :param tasks: divided by blanks; all if empty
        """
        row = self._row(dag, run)
        if row is None:
            return
        body: dict[str, Any] = {"dry_run": False, "dag_run_id": row.run_id, "only_failed": False}
        if tasks:
            body["task_ids"] = tasks.split()
        with self._as("somebody") as actor:
            actor.clears = True
            self._rest("POST", f"dags/{dag}/clearTaskInstances", body)
            if self._is_over_with_something_to_do(dag, run):
                self._rest("POST", f"dags/{dag}/clearTaskInstances", body)

    def _is_over_with_something_to_do(self, dag: str, run: str) -> bool:
        row = self._row(dag, run)
        is_over = row is not None and row.state in ("success", "failed")
        states = [each.state for task, each in self.watch.instances.items() if task.run == RunId(dag, run)]
        return is_over and None in states

    def mark(self, dag: str, run: str, state: str) -> None:
        row = self._row(dag, run)
        if row is not None:
            with self._as("somebody") as actor:
                actor.marks = True
                name = RunId(dag, run)

                def say(at: int) -> seen.RunMarked:
                    return seen.RunMarked(at, name, state, self.watch.changed_in(name))

                actor.says.append(("dag_run task_instance", say))
                self._rest("PATCH", f"dags/{dag}/dagRuns/{row.run_id}", {"state": state})
                if actor.says and self._row(dag, run) is not None:
                    self.watch.tell(say)

    def mark_task(self, dag: str, run: str, task: str, index: str, state: str) -> None:
        """What had failed because of it is cleared by Airflow, too."""
        row, name = self._row(dag, run), self._name(dag, run, task, index)
        if row is None or name not in self.watch.instances:
            return

        def say(at: int) -> seen.TasksMarked:
            changed = self.watch.changed_in(name.run)
            return seen.TasksMarked(at, {t: s for t, s in changed.items() if s == state})

        path = f"dags/{dag}/dagRuns/{row.run_id}/taskInstances/{task}"
        with self._as("somebody") as actor:
            actor.marks = actor.clears = True
            actor.says.append(("task_instance", say))
            self._rest("PATCH", path if index == "-1" else f"{path}/{index}", {"new_state": state})

    def delete(self, dag: str, run: str) -> None:
        row = self._row(dag, run)
        if row is not None and row.state not in ("queued", "running"):
            with self._as("somebody"):
                self._rest("DELETE", f"dags/{dag}/dagRuns/{row.run_id}")

    def _rest(self, method: str, path: str, body: Any = None) -> None:
        """Once more, as a person would, if the database has ended the request to end a deadlock."""
        answer = doors.ask(method, path, json=body)
        if answer.status_code >= 500 and "deadlock detected" in answer.text:
            answer = doors.ask(method, path, json=body)
        if answer.status_code >= 500:
            self.problems.append(f"{method} {path}: {answer.status_code} {answer.text}")

    # The cord

    def pull(self, label: str, asset: str, key: str, severity: str) -> None:
        named = tuple(PartitionId(asset, each) for each in key.split()) or (PartitionId(asset, None),)
        self._pull(label, Scope(asset, keys=tuple(key.split())), severity, named)

    def pull_open(self, label: str, asset: str, kind: str, value: str, severity: str) -> None:
        """:param kind: see :class:`OpenScope`"""
        ways: dict[str, dict[str, Any]] = {
            "all": {"whole": True},
            "pattern": {"pattern": value},
            "from": {"start": value},
        }
        self._pull(label, Scope(asset, **ways[kind]), severity, (), scope=OpenScope(asset, kind, value))

    def pull_some(self, label: str, asset: str, key: str, since: str, until: str, severity: str) -> None:
        """:param since: the first bad publication of the partition, by number; empty for the last one"""
        partition = PartitionId(asset, key or None)
        events = [
            each.event
            for each in self.watch.events
            if isinstance(each, seen.Published) and each.partition == partition
        ]
        if any(number and int(number) >= len(events) for number in (since, until)):
            return
        first, last = (events[int(number)] if number else None for number in (since, until))
        with create_session(scoped=False) as session:
            moments = [event and session.get_one(AssetEvent, event).timestamp for event in (first, last)]
        scope = Scope(asset, keys=tuple(key.split()), since=moments[0], until=moments[1])
        self._pull(label, scope, severity, (partition,), since=first, until=last)

    def _pull(
        self, label: str, meant: Scope, severity: str, named: tuple[PartitionId, ...], **more: Any
    ) -> None:
        self.calls += 1
        call = self.calls
        self.watch.tell(lambda at: seen.PullCalled(at, call))
        before = set(self.watch.cords)

        def know(cord: int) -> None:
            self.cords[label] = cord
            self.partitions[cord] = named
            if "scope" in more:
                self.scopes[cord] = more["scope"]
            self.severities[cord] = severity

        def recorded() -> bool:
            for cord in self.watch.cords.keys() - before - {*self.cords.values()}:
                know(cord)
            return label in self.cords

        def say(at: int) -> seen.Pulled:
            cord = self.cords[label]
            recorded, looked = self.watch.cords[cord], self.watch.looked[cord]
            return seen.Pulled(at, call, cord, named, severity, recorded, looked=looked, **more)

        with self._as("somebody"), self._asking(), self._promising(say, recorded):
            pulled = pull(meant, reason="looks wrong", by="tester", severity=Severity(severity))
            if not pulled.settled:
                raise StillSettling(label)
            know(pulled.cord)

    def under(self, cord: int) -> tuple[PartitionId, ...]:
        """What the cord covers, as far as a person knows."""
        scope = self.scopes.get(cord)
        if scope is None:
            return self.partitions[cord]
        published = sorted(self.watch.published, key=str)
        return tuple(each for each in published if each.asset == scope.asset and scope.covers(each.key))

    def end_scope(self, label: str) -> None:
        cord = self.cords.get(label)
        if cord is not None:
            with self._as("somebody") as actor, self._asking():
                actor.says.append(("lean_cord_scope", lambda at: seen.ScopeEnded(at, cord)))
                releasing.end_scope(cord, by="tester")

    def raise_(self, label: str) -> None:
        cord = self.cords.get(label)
        if cord is not None:
            begun: list[int] = []

            def say(at: int) -> seen.Raised:
                return seen.Raised(at, cord, begun[0] if begun else None)

            with self._as("somebody") as actor, self._asking(), self._promising(say, lambda: bool(begun)):
                actor.notes.append(("lean_cord", begun.append))
                cords.raise_to_stop(cord, by="tester")
                self.severities[cord] = "stop"

    def acknowledge(self, label: str) -> None:
        if label in self.cords:
            with self._as("somebody"), self._asking():
                cords.acknowledge(self.cords[label], by="tester")

    def release(self, label: str, key: str, outcome: str, how: str) -> None:
        """:param how: `` by force``, `` once it is published again``, `` and goes on covering``, or empty"""
        cord = self.cords.get(label)
        if cord is None:
            return
        keys = tuple(key.split())
        named = tuple(p for p in self.partitions[cord] if not keys or p.key in keys)
        if cord in self.scopes:
            named = tuple(PartitionId(self.scopes[cord].asset, each) for each in keys)
        forced, again, ends = "force" in how, "again" in how, not keys and "covering" not in how
        said = "lean_cord_partition lean_cord_scope"
        with self._as("somebody") as actor, self._asking():
            actor.says.append(
                (said, lambda at: seen.ReleaseAsked(at, cord, named, outcome, forced, again, ends))
            )
            releasing.release(
                cord,
                Outcome(outcome),
                by="tester",
                keys=keys,
                forced=forced,
                on_publication=again,
                keep_scope=not ends and not keys,
            )

    def repair(self, label: str) -> None:
        cord = self.cords.get(label)
        if cord is not None:
            with self._as("somebody") as actor, self._asking():
                actor.clears = True
                asked = self.partitions[cord]
                actor.says.append(
                    (
                        "lean_cord_partition",
                        lambda at: seen.ReleaseAsked(at, cord, asked, "fixed", again=True),
                    )
                )
                releasing.repair(cord, by="tester")

    def let_through(self, dag: str, run: str) -> None:
        row = self._row(dag, run)
        if row is not None:
            with self._as("somebody") as actor, self._asking():
                actor.says.append(("lean_let_through", lambda at: seen.LetThrough(at, RunId(dag, run))))
                permits.let_through(Run(dag, row.run_id), reason="needed", by="tester")

    def approve(self, dag: str, run: str) -> None:
        row = self._row(dag, run)
        if row is not None:
            with self._as("somebody") as actor, self._asking():
                actor.says.append(("lean_approval", lambda at: seen.Approved(at, RunId(dag, run))))
                permits.approve(Run(dag, row.run_id), by="tester")

    def disable(self) -> None:
        if self.enabled:
            with self._as("somebody") as actor, self._asking():
                actor.says.append(("lean_switch", self._see_disabled))
                switch.disable(reason="tired of it", by="tester")

    def _see_disabled(self, at: int) -> seen.Disabled:
        self.enabled = False
        return seen.Disabled(at)

    def enable(self) -> None:
        if self.enabled:
            return

        def say(at: int) -> seen.Enabled:
            return seen.Enabled(at, returned=True)

        def begin(at: int) -> seen.Enabled:
            self.enabled = True
            return seen.Enabled(at)

        with self._as("somebody") as actor, self._promising(say, lambda: self.enabled):
            actor.says.append(("lean_switch", begin))
            switch.enable(by="tester")

    def declare(self, asset: str, key: str, as_: str) -> None:
        with self._as("somebody") as actor, self._asking():
            actor.says.append(
                ("lean_cleared_version", lambda at: seen.Cleared(at, PartitionId(asset, key or None), as_))
            )
            declare.declare(asset, key or None, Outcome(as_), reason="looked at it", by="tester")

    # Rest

    def rest(self, leaving: str = "") -> None:
        """
        Everybody works until nothing is left to do.

        :param leaving: if not empty, tasks that run now go on running
        """
        left = list(self.processes) if leaving else []
        quiet = 0
        for number in range(ROUNDS):
            before = self._snapshot()
            self.sweep()
            self.tick(str(number % len(self.schedulers)))
            for task in dict.fromkeys(task for task, _ in self.waiting()):
                self.start(*_names(task))
            for process in list(self.processes):
                if process in left:
                    self.hear(*_names(process.task))
                else:
                    self.succeed(*_names(process.task))
            for task in [task for task, each in self.watch.open.items() if not each.has_process]:
                self.wake(*_names(task))
            quiet = quiet + 1 if before == self._snapshot() else 0
            if quiet > len(self.schedulers):  # what the last of them has heard, the sweeper acts on
                break
        else:
            raise NeverAtRest(f"still busy after {ROUNDS} rounds")
        runs, pending = self.watch.final()
        overlooked, waiting = self.watch.overlooked(), self.watch.waiting()
        self.watch.tell(lambda at: seen.Rest(at, runs, pending, overlooked, waiting))
        self._compare_cache()

    def _snapshot(self) -> tuple[Any, ...]:
        watch = self.watch
        return watch.now, dict(watch.runs), dict(watch.instances), len(self.waiting()), len(self.processes)

    def _compare_cache(self) -> None:
        """The cache always equals the definitions, while anybody looks after it."""
        if not self.enabled:
            return
        with create_session(scoped=False) as session:
            found = [finding for finding in doctor._compare(session) if not finding.fine]
        self.problems += [f"doctor: {finding.check}: {finding.detail}" for finding in found]

    # Inside

    def is_paused(self, dag: str) -> bool:
        with create_session(scoped=False) as session:
            return bool(session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag)))

    def is_stale(self, dag: str) -> bool:
        with create_session(scoped=False) as session:
            return bool(session.scalar(select(DagModel.is_stale).where(DagModel.dag_id == dag)))

    @contextlib.contextmanager
    def _as(self, name: str) -> Iterator[Actor]:
        with self.watch.acting(Actor(name)) as actor:
            yield actor

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """A request that makes no sense (any more) does nothing."""
        with contextlib.suppress(BadRequest):
            yield

    def _row(self, dag: str, run: str) -> Any:
        return self.watch.runs.get(RunId(dag, run))

    def _name(self, dag: str, run: str, task: str, index: str = "-1") -> TaskId:
        return TaskId(RunId(dag, run), task, int(index))

    def _task_of(self, work: Work) -> TaskId:
        return TaskId(self.watch.names[work.dag_id, work.run_id], work.task_id, work.map_index)

    def _spec(self, task: TaskId) -> Any:
        return next((each for each in self.dags[task.run.dag].tasks if each.id == task.task), None)


def _names(task: TaskId) -> tuple[str, str, str, str]:
    return task.run.dag, task.run.run, task.task, str(task.map_index)


def new_watch() -> Watch:
    return Watch(airflow_settings.engine)
