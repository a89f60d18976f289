"""
What a start has to be asked: does the task read a partition that is halted at this moment?

The scheduler holds the row lock of the run while it asks, and a pull commits its halts before it looks for
readers and waits for that lock: a start that did not see the halt is seen by the pull.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import utcnow
from airflow.models.asset import AssetEvent, TaskOutletAssetReference, association_table
from sqlalchemy import and_, inspect, select

from airflow_lean_provider.airflow_internals.dags import Dags, schedules_of
from airflow_lean_provider.airflow_internals.lineage import origin_of
from airflow_lean_provider.rules.facts import (
    DagShape,
    Facts,
    Origin,
    Partition,
    Publication,
    Run,
    RunFacts,
    Task,
)
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
    :param alive_until: when no process that the brake stopped in this run can be alive any more
    """

    forbidden: Mapping[str, frozenset[Partition]]
    whole: bool
    causes: tuple[list[Any], ...]
    alive_until: datetime | None
    teardowns: frozenset[str] = frozenset()

    @property
    def partitions(self) -> frozenset[Partition]:
        """All halted partitions that tasks of the run read."""
        return frozenset().union(*self.forbidden.values())


FREE = Verdict({}, False, (), None)


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
    with session.no_autoflush:
        dags = Dags(session)
        shape = dags.shape(dag_run.dag_id)
        schedules = [s for s in schedules_of([dag_run.dag_id], session=session) if s.partitioned]
    alive_until = connection.scalar(
        select(StoppedTry.gone_by)
        .where(
            StoppedTry.dag_id == run.dag_id, StoppedTry.run_id == run.run_id, StoppedTry.gone_by > utcnow()
        )
        .order_by(StoppedTry.gone_by.desc())
        .limit(1)
    )
    halted = _consumed_and_halted(connection, dag_run)
    assets = {s.asset for s in schedules}
    with session.no_autoflush:
        for partition, causes in _halted_of(connection, assets).items():
            keys = {
                k for s in schedules if s.asset == partition.asset for k in dags.target_keys(s, partition.key)
            }
            if dag_run.partition_key is None or dag_run.partition_key in keys:
                halted[partition] = causes
    own = _own_and_halted(connection, dag_run)
    if shape.advisory or not (halted or own):
        return Verdict({}, False, (), alive_until) if alive_until is not None else FREE
    known = _as_facts(dag_run, shape)
    facts = Facts(
        now=utcnow(),
        runs={run: known},
        readers={p: frozenset({run}) for p in halted},
        publications=tuple(
            Publication(0, p, utcnow(), Task(*run, task_id)) for p, tasks in own.items() for task_id in tasks
        ),
    )
    reading = Reading(facts)
    bad = halted.keys() | own.keys()
    forbidden = {
        t: reading.of(run, t) & bad
        for t in shape.upstream
        if t not in shape.teardowns and reading.of(run, t) & bad
    }
    whole = (
        bool(forbidden)
        and forbidden.keys() >= shape.upstream.keys() - shape.teardowns
        and (known.origin in (Origin.PERSON, Origin.OPERATOR) or bool(schedules))
        and known.origin is not Origin.SCHEDULE
    )
    causes = [c for p in frozenset().union(*forbidden.values()) for c in halted.get(p, [])]
    return Verdict(
        forbidden,
        whole,
        tuple({tuple(map(str, c)): c for c in causes}.values()),
        alive_until,
        shape.teardowns,
    )


def _as_facts(dag_run: DagRun, shape: DagShape) -> RunFacts:
    return RunFacts(
        run=Run(dag_run.dag_id, dag_run.run_id),
        key=dag_run.partition_key,
        origin=origin_of(dag_run),
        order=dag_run.id,
        shape=shape,
        tasks={},
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
        )
        .distinct()
    ):
        if key == event_key and event_task_id is not None:
            found.setdefault(Partition(asset, key), set()).add(event_task_id)
    return found
