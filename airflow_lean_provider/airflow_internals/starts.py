"""
What a start has to be asked: does the task read a partition that is halted at this moment?

The scheduler holds the row lock of the run while it asks, and a pull commits its halts before it looks for
readers and waits for that lock: a start that did not see the halt is seen by the pull.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.models.asset import AssetEvent, TaskOutletAssetReference, association_table
from sqlalchemy import and_, inspect, select

from airflow_lean_provider.airflow_internals.dags import Dags, schedules_of
from airflow_lean_provider.airflow_internals.lineage import origin_of
from airflow_lean_provider.rules.facts import (
    DagShape,
    Facts,
    Partition,
    Publication,
    Run,
    RunFacts,
    Task,
)
from airflow_lean_provider.rules.plan import holds_as_a_whole
from airflow_lean_provider.rules.reading import Reading
from airflow_lean_provider.store.models import Base, HaltedPartition, StoppedTry, Switch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow.models.dagrun import DagRun
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_CACHE = "andon_starts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What may not start in a run.

    :param forbidden: by task id, the halted partitions that it reads
    :param whole: every task but teardowns is forbidden, and the run may be held as a whole
    :param alive: by task and map index, until when a process of it that the brake stopped may live
    :param tasks: the tasks that the Dag has now; any other reads as the run does
    """

    forbidden: Mapping[str, frozenset[Partition]]
    whole: bool = False
    causes: tuple[list[Any], ...] = ()
    alive: Mapping[tuple[str, int], datetime] = field(default_factory=dict)
    teardowns: frozenset[str] = frozenset()
    unknown_task: frozenset[Partition] = frozenset()
    tasks: frozenset[str] = frozenset()

    @property
    def partitions(self) -> frozenset[Partition]:
        """All halted partitions that tasks of the run read."""
        return frozenset().union(*self.forbidden.values())

    def halted_for(self, task_id: str) -> frozenset[Partition]:
        """Return the halted partitions that the task reads."""
        if task_id in self.tasks:
            return self.forbidden.get(task_id, frozenset())
        return self.unknown_task


FREE = Verdict({})


class StartNotJudged(RuntimeError):
    """A start could not be judged because of an error of ours; it is not let through."""


def judge_start(dag_run: DagRun, *, session: Session) -> Verdict:
    """
    Apply D3 to the tasks of a run, as far as the table of halted partitions goes.

    Asked once per run and transaction; one statement answers while nothing is halted.

    :raises StartNotJudged: on any error; the transaction of the caller can go on
    """
    kept = _kept(session)
    if kept.get("halted") is False:
        return FREE
    key = (dag_run.dag_id, dag_run.run_id)
    if key in kept:
        return kept[key]
    try:
        connection = session.connection()
        with connection.begin_nested():
            if "halted" not in kept:
                kept["halted"] = _anything_halted(connection)
            if not kept["halted"]:
                return FREE
            verdict = _judge(dag_run, connection, session)
    except Exception as error:  # whatever it is, the scheduler must go on, and the start must not
        if tables_missing(session):
            log.error(
                "The tables of airflow-lean-provider do not exist: no partition can be halted, and every run "
                "starts. Run 'airflow db migrate'."
            )
            kept["halted"] = False
            return FREE
        raise StartNotJudged(f"The start of {dag_run} could not be judged") from error
    kept[key] = verdict
    return verdict


def tables_missing(session: Session) -> bool:
    """Tell whether our tables were never migrated, in which case no cord can exist."""
    try:
        with session.get_bind().engine.connect() as connection:
            present = set(inspect(connection).get_table_names())
    except Exception:  # then we do not know, and the caller must not let anything through
        log.exception("The tables of airflow-lean-provider cannot be looked for")
        return False
    return not present & set(Base.metadata.tables)


def _kept(session: Session) -> dict[Any, Any]:
    transaction = session.get_transaction()
    kept = session.info.get(_CACHE)
    if kept is None or kept[0] is not transaction or transaction is None:
        kept = (transaction, {})
        session.info[_CACHE] = kept
    return kept[1]


def _anything_halted(connection: Connection) -> bool:
    row = connection.execute(
        select(
            select(HaltedPartition.id).exists()
            | select(StoppedTry.dag_id).where(StoppedTry.gone_by > utcnow()).exists(),
            select(Switch.id).where(Switch.enabled.is_(False)).exists(),
        )
    ).one()
    return bool(row[0]) and not row[1]


def _judge(dag_run: DagRun, connection: Connection, session: Session) -> Verdict:
    run = Run(dag_run.dag_id, dag_run.run_id)
    alive = _alive(connection, run)
    with session.no_autoflush:
        schedules = [s for s in schedules_of([run.dag_id], session=session) if s.partitioned]
    halted = _consumed_and_halted(connection, dag_run)
    of_schedule = _halted_of(connection, {s.asset for s in schedules})
    own = _own_and_halted(connection, dag_run)
    if not (halted or of_schedule or own):
        return Verdict({}, alive=alive) if alive else FREE
    with session.no_autoflush:
        dags = Dags(session)
        shape = dags.shape(run.dag_id)
        for partition, causes in of_schedule.items():
            keys = {
                k for s in schedules if s.asset == partition.asset for k in dags.target_keys(s, partition.key)
            }
            if dag_run.partition_key is None or dag_run.partition_key in keys:
                halted[partition] = causes
    if shape.advisory or not (halted or own):
        return Verdict({}, alive=alive) if alive else FREE
    known = _as_facts(dag_run, shape)
    reading = Reading(
        Facts(
            now=utcnow(),
            runs={run: known},
            readers={p: frozenset({run}) for p in halted},
            publications=tuple(
                Publication(0, p, utcnow(), Task(*run, task_id))
                for p, tasks in own.items()
                for task_id in tasks
            ),
        )
    )
    bad = halted.keys() | own.keys()
    work = shape.upstream.keys() - shape.teardowns
    forbidden = {t: reading.of(run, t) & bad for t in work if reading.of(run, t) & bad}
    causes = [c for p in frozenset(halted).union(*forbidden.values()) for c in halted.get(p, [])]
    return Verdict(
        forbidden,
        whole=bool(forbidden) and forbidden.keys() >= work and holds_as_a_whole(known),
        causes=tuple({tuple(map(str, c)): c for c in causes}.values()),
        alive=alive,
        teardowns=shape.teardowns,
        unknown_task=frozenset(halted),
        tasks=frozenset(shape.upstream),
    )


def _alive(connection: Connection, run: Run) -> dict[tuple[str, int], datetime]:
    """Return, by task and map index, until when a process that the brake stopped may live."""
    found: dict[tuple[str, int], datetime] = {}
    for task_id, map_index, gone_by in connection.execute(
        select(StoppedTry.task_id, StoppedTry.map_index, StoppedTry.gone_by).where(
            StoppedTry.dag_id == run.dag_id, StoppedTry.run_id == run.run_id, StoppedTry.gone_by > utcnow()
        )
    ):
        found[task_id, map_index] = max(gone_by, found.get((task_id, map_index), gone_by))
    return found


def _as_facts(dag_run: DagRun, shape: DagShape) -> RunFacts:
    return RunFacts(
        run=Run(dag_run.dag_id, dag_run.run_id),
        key=dag_run.partition_key,
        origin=origin_of(dag_run),
        order=dag_run.id,
        shape=shape,
        tasks={},
        partitioned=dag_run.partition_key is not None,
    )


def _consumed_and_halted(connection: Connection, dag_run: DagRun) -> dict[Partition, list[Any]]:
    return {
        Partition(row.asset_id, row.partition_key): row.causes
        for row in connection.execute(
            select(
                HaltedPartition.asset_id,
                HaltedPartition.partition_key,
                HaltedPartition.causes,
                AssetEvent.partition_key.label("event_key"),
            )
            .join(
                AssetEvent,
                and_(
                    AssetEvent.asset_id == HaltedPartition.asset_id,
                    AssetEvent.partition_key.is_not_distinct_from(HaltedPartition.partition_key),
                ),
            )
            .join(association_table, association_table.c.event_id == AssetEvent.id)
            .where(association_table.c.dag_run_id == dag_run.id)
        )
        if row.event_key == row.partition_key
    }


def _halted_of(connection: Connection, assets: set[int]) -> dict[Partition, list[Any]]:
    if not assets:
        return {}
    return {
        Partition(row.asset_id, row.partition_key): row.causes
        for row in connection.execute(
            select(HaltedPartition.asset_id, HaltedPartition.partition_key, HaltedPartition.causes).where(
                HaltedPartition.asset_id.in_(assets)
            )
        )
    }


def _own_and_halted(connection: Connection, dag_run: DagRun) -> dict[Partition, set[str]]:
    """Return the halted partitions that tasks of this run publish, by their outlets or by their events."""
    found: dict[Partition, set[str]] = {}
    for asset, key, task_id in connection.execute(
        select(HaltedPartition.asset_id, HaltedPartition.partition_key, TaskOutletAssetReference.task_id)
        .join(TaskOutletAssetReference, TaskOutletAssetReference.asset_id == HaltedPartition.asset_id)
        .where(
            TaskOutletAssetReference.dag_id == dag_run.dag_id,
            HaltedPartition.partition_key.is_not_distinct_from(dag_run.partition_key),
        )
    ):
        if key == dag_run.partition_key:
            found.setdefault(Partition(asset, key), set()).add(task_id)
    for asset, key, event_task_id, event_key in connection.execute(
        select(
            HaltedPartition.asset_id,
            HaltedPartition.partition_key,
            AssetEvent.source_task_id,
            AssetEvent.partition_key,
        )
        .join(
            AssetEvent,
            and_(
                AssetEvent.asset_id == HaltedPartition.asset_id,
                AssetEvent.partition_key.is_not_distinct_from(HaltedPartition.partition_key),
            ),
        )
        .join(TaskOutletAssetReference, TaskOutletAssetReference.asset_id == HaltedPartition.asset_id)
        .where(
            TaskOutletAssetReference.dag_id == dag_run.dag_id,
            AssetEvent.source_dag_id == dag_run.dag_id,
            AssetEvent.source_run_id == dag_run.run_id,
            AssetEvent.timestamp >= (dag_run.created_at or dag_run.run_after),
        )
        .distinct()
    ):
        if key == event_key and event_task_id is not None:
            found.setdefault(Partition(asset, key), set()).add(event_task_id)
    return found
