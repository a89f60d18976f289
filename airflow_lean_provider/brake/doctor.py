"""Is the brake able to brake? Every check only reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from airflow_lean_provider import settings, ui
from airflow_lean_provider.airflow_internals import health
from airflow_lean_provider.airflow_internals.assets import broken_policies
from airflow_lean_provider.airflow_internals.holding import HELD_UNTIL
from airflow_lean_provider.brake.ledger import causes_to_json
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.compatibility import TESTED_MINORS, untested_minor
from airflow_lean_provider.rules.facts import Ending, Execution, Partition, Run, Task
from airflow_lean_provider.rules.plan import Plan, decide
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.db_manager import LeanDBManager
from airflow_lean_provider.store.models import (
    AffectedRun,
    Base,
    Cord,
    HaltedPartition,
    ParkedTask,
    Switch,
)
from airflow_lean_provider.store.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

NAMED_AT_MOST = 5
"""How many runs, tasks or partitions a finding names; of the others it gives the number."""

LOOKS = 3
SECONDS_BETWEEN_LOOKS = 2.0
"""While a pull or the sweeper is at work the cache lags behind: only what stays different is an error."""


class Finding(NamedTuple):
    """
    One check.

    :param check: what was looked at
    :param fine: whether nothing has to be done about it
    :param detail: what was found, or why it cannot be seen from here
    """

    check: str
    fine: bool
    detail: str = ""


CANNOT_BE_HELD = Finding(
    "what cannot be held",
    True,
    "'airflow tasks test', callbacks, and code that reads a table and does not say so in its Dag "
    "(docs/ways_in.md)",
)


def examine() -> list[Finding]:
    """Carry out every check. Checks of what is held come last: they need the tables."""
    findings = [_airflow_version(), *_guarded("plugin", _plugin), *_guarded("components", _components)]
    findings.append(_pages())
    tables = list(_guarded("tables", _tables))
    findings += tables
    if not all(finding.fine for finding in tables):
        return findings
    switch = list(_guarded("switch", _switch))
    findings += switch
    for name, check in (
        ("held runs", _held_runs),
        ("parked tasks", _parked_tasks),
        ("limits", _limits),
        ("policies", _policies),
    ):
        findings += _guarded(name, check)
    if all(finding.fine for finding in switch):
        findings += _guarded("cache", _compare)
    return [*findings, CANNOT_BE_HELD]


def _guarded(check: str, look_into: Callable[[Session], Iterable[Finding]]) -> Iterator[Finding]:
    """Carry out one check in a transaction of its own; one that fails must not hide the others."""
    try:
        with transaction() as session:
            yield from list(look_into(session))
    except Exception as error:  # whatever it is, it is what the doctor was asked to find
        log.debug("The check of %s failed", check, exc_info=True)
        yield Finding(check, False, f"cannot be checked: {type(error).__name__}: {error}")


def _airflow_version() -> Finding:
    minor = untested_minor()
    return Finding(
        "Airflow version",
        minor is None,
        ""
        if minor is None
        else f"never tested with Airflow {minor}, only {', '.join(sorted(TESTED_MINORS))}",
    )


def _plugin(session: Session) -> Iterator[Finding]:
    missing = health.missing_hooks()
    yield Finding(
        "plugin in this environment", not missing, f"missing: {', '.join(missing)}" if missing else ""
    )


def _pages() -> Finding:
    absent = "absent, since their bundle was not built (`make ui`); all else works"
    return Finding("pages in Airflow's UI", True, "" if ui.is_built() else absent)


def _components(session: Session) -> Iterator[Finding]:
    found = health.components(session=session)
    for kind, name, needed in (
        (health.SCHEDULER, "schedulers", True),
        (health.DAG_PROCESSOR, "dag-processors", True),
        (health.TRIGGERER, "triggerers", False),
    ):
        alive = [c for c in found if c.kind == kind and c.alive]
        silent = [c for c in found if c.kind == kind and not c.alive]
        said = [f"{len(alive)} alive"]
        if silent:
            said.append(f"{len(silent)} silent: {_some(f'{c.hostname} since {c.heartbeat}' for c in silent)}")
        if not alive and not needed and not silent:
            said = ["none runs; tasks that defer would wait"]
        yield Finding(name, bool(alive) or not (needed or silent), "; ".join(said))
    yield _schedulers_per_database(sum(c.alive for c in found if c.kind == health.SCHEDULER), session)
    yield Finding("api-servers", True, "cannot be seen from here: they write no heartbeat into the database")


def _schedulers_per_database(alive: int, session: Session) -> Finding:
    problems = []
    if alive > 1 and not health.takes_row_locks(session=session):
        problems.append(
            f"{alive} schedulers, but Airflow takes no row locks here, so they would take up the same runs: "
            "let one run"
        )
    if health.dies_of_asset_cleanup(session=session):
        problems.append(
            "Airflow's scheduler dies of its clean-up of assets on MariaDB: "
            "set [scheduler] parsing_cleanup_interval to 1000000000"
        )
    return Finding("schedulers suit the database", not problems, "; ".join(problems))


def _tables(session: Session) -> Iterator[Finding]:
    from sqlalchemy import inspect

    missing = sorted(set(Base.metadata.tables) - set(inspect(session.connection()).get_table_names()))
    if missing:
        yield Finding("tables", False, f"missing: {', '.join(missing)}; run 'airflow db migrate'")
        return
    manager = LeanDBManager(session)
    yield Finding(
        "tables",
        manager.check_migration(),
        f"at revision {manager.get_current_revision()}, "
        f"expected {', '.join(manager.get_script_object().get_heads())}",
    )


def _switch(session: Session) -> Iterator[Finding]:
    off = session.scalars(select(Switch).where(Switch.enabled.is_(False))).first()
    if off is None:
        yield Finding("switch", True, "on")
        return
    detail = f"off since {off.changed_at}, by {off.changed_by}: {off.reason}"
    yield Finding("switch", False, f"{detail}; nothing is held until 'airflow andon enable'")


def _held_runs(session: Session) -> Iterator[Finding]:
    """Airflow and we must agree on what is held as a whole."""
    known = {
        Run(row.dag_id, row.run_id)
        for row in session.execute(
            select(AffectedRun.dag_id, AffectedRun.run_id).where(AffectedRun.held.is_(True))
        )
    }
    in_airflow = health.runs_held_in_airflow(session=session)
    unknown, changed = in_airflow - known, known - in_airflow
    yield Finding(
        "held runs are known to us",
        not unknown,
        f"{len(in_airflow)} held"
        if not unknown
        else f"wait until {HELD_UNTIL:%Y-%m-%d} and nothing will let them go: {_some(unknown)}",
    )
    yield Finding(
        "held runs are held in Airflow",
        not changed,
        f"somebody else has changed them: {_some(changed)}" if changed else "",
    )


def _parked_tasks(session: Session) -> Iterator[Finding]:
    parked = _parked(session)
    found = health.states_of_parked(parked, session=session)
    changed = [task for task in parked if not health.is_parked(found.get(task))]
    yield Finding(
        "parked tasks are parked in Airflow",
        not changed,
        f"somebody else has changed them: {_some(changed)}" if changed else f"{len(parked)} parked",
    )


def _limits(session: Session) -> Iterator[Finding]:
    held = health.runs_held_in_airflow(session=session)
    used = health.used_up(held, _parked(session), session=session)
    full = [str(limit) for limit in used if limit.is_full]
    yield Finding(
        "Airflow's limits leave room",
        not full,
        ("used up by what is held: " + _some(full))
        if full
        else ("held runs and tasks count towards: " + _some(map(str, used)) if used else ""),
    )


def _policies(session: Session) -> Iterator[Finding]:
    """``andon(...)`` refuses a mistake where the Dag is parsed; an ``extra`` may be written by hand."""
    broken = broken_policies(session=session)
    yield Finding(
        "policies of assets are valid",
        not broken,
        "ignored: " + _some(f"{asset}: {problem}" for asset, problem in broken.items()) if broken else "",
    )


def _parked(session: Session) -> list[Task]:
    return [
        Task(*row)
        for row in session.execute(
            select(ParkedTask.dag_id, ParkedTask.run_id, ParkedTask.task_id, ParkedTask.map_index)
        )
    ]


def _compare(_: Session) -> Iterator[Finding]:
    """What is cached must equal what the definitions say; looked at again while somebody is at work."""
    for attempt in range(1, LOOKS + 1):
        with transaction() as session:
            scene = look(session)
            plan = decide(scene.facts, scene.judgement)
            findings = [
                _unsettled(session),
                _halts(plan, session),
                _affected(plan, scene),
                _acts(plan),
                _late_starts(plan, scene, session),
            ]
            session.rollback()
        if attempt == LOOKS or all(finding.fine for finding in findings):
            yield from findings
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _unsettled(session: Session) -> Finding:
    """A cord that nobody settles: its pull was killed, and no api-server sweeps."""
    patience = timedelta(seconds=settings.settle_timeout() + 10 * settings.sweep_interval())
    cords = session.scalars(
        select(Cord.id).where(Cord.settled_at.is_(None), Cord.pulled_at < now() - patience).order_by(Cord.id)
    ).all()
    return Finding(
        "cords are settled",
        not cords,
        f"cord {_some(map(str, cords))} waits: does the sweeper run in an api-server?" if cords else "",
    )


def _halts(plan: Plan, session: Session) -> Finding:
    cached = {
        Partition(row.asset_id, row.partition_key): (row.root, row.causes)
        for row in session.execute(
            select(
                HaltedPartition.asset_id,
                HaltedPartition.partition_key,
                HaltedPartition.root,
                HaltedPartition.causes,
            )
        )
    }
    wanted = {
        partition: (any(c.cord and c.partition == partition for c in causes), causes_to_json(causes))
        for partition, causes in plan.halts.items()
    }
    return _difference("halted partitions equal the definitions", cached, wanted)


def _affected(plan: Plan, scene: Scene) -> Finding:
    cached = {run: sorted(row.labels) for run, row in scene.affected.items() if row.labels or not row.held}
    wanted = {run: sorted(p.labels) for run, p in plan.runs.items() if p.labels}
    return _difference("affected runs equal the definitions", cached, wanted)


def _difference(check: str, cached: dict[Any, Any], wanted: dict[Any, Any]) -> Finding:
    said = []
    if missing := wanted.keys() - cached.keys():
        said.append(f"missing: {_some(missing)}")
    if extra := cached.keys() - wanted.keys():
        said.append(f"should not be there: {_some(extra)}")
    if other := {key for key in cached.keys() & wanted.keys() if cached[key] != wanted[key]}:
        said.append(f"say something else: {_some(other)}")
    return Finding(check, not said, "; ".join(said) or f"{len(cached)} compared")


def _acts(plan: Plan) -> Finding:
    """A hold without a halt, a debt that nobody pays: what the rules ask for and nobody has done."""
    waiting = [run for run, of_run in plan.runs.items() if of_run.acts]
    return Finding(
        "nothing is left to do",
        not waiting,
        f"to be held, let go or repaired: {_some(waiting)}; does the sweeper run in an api-server?"
        if waiting
        else "",
    )


def _late_starts(plan: Plan, scene: Scene, session: Session) -> Finding:
    """
    A scheduler without the plugin starts what the others hold.

    Which packages another process has cannot be seen from here; what it does can: a task that started long
    after a partition that it reads was halted, and was not stopped.
    """
    patience = timedelta(seconds=settings.settle_timeout())
    since = {
        Partition(row.asset_id, row.partition_key): row.since + patience
        for row in session.execute(
            select(HaltedPartition.asset_id, HaltedPartition.partition_key, HaltedPartition.since)
        )
    }
    late = [
        execution.task
        for execution in scene.facts.executions
        if execution.ending is not Ending.STOPPED and _reads_later(execution, since, plan, scene)
    ]
    return Finding(
        "every scheduler has the plugin",
        not late,
        f"started although they read a halted partition: {_some(late)}; is the package installed where each "
        "scheduler runs?"
        if late
        else "cannot be seen from here; no task has started that reads a halted partition",
    )


def _reads_later(execution: Execution, since: dict[Partition, Any], plan: Plan, scene: Scene) -> bool:
    task = execution.task
    known = scene.facts.runs.get(task.run)
    if known is None or known.shape.advisory or task.task_id in known.shape.teardowns:
        return False
    reads = plan.judgement.reading.of(task.run, task.task_id) & since.keys()
    return any(execution.started - execution.doubt > since[partition] for partition in reads)


def _some(things: Collection[Any] | Iterable[Any]) -> str:
    texts = sorted(_text(thing) for thing in things)
    more = f" and {len(texts) - NAMED_AT_MOST} more" if len(texts) > NAMED_AT_MOST else ""
    return ", ".join(texts[:NAMED_AT_MOST]) + more


def _text(thing: Any) -> str:
    if isinstance(thing, Run):
        return f"{thing.dag_id} {thing.run_id}"
    if isinstance(thing, Task):
        index = f"[{thing.map_index}]" if thing.map_index >= 0 else ""
        return f"{thing.dag_id}.{thing.task_id}{index} of {thing.run_id}"
    if isinstance(thing, Partition):
        return f"asset {thing.asset} {thing.key!r}"
    return str(thing)
