"""The board: cords, what they hold and what is left to do, page by page, from what settling has noted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, case, func, or_, select, union

from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.airflow_internals.audit import runs_of_cords
from airflow_lean_provider.brake import scopes
from airflow_lean_provider.brake.errors import BadRequest, NotFound
from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.brake.settle import Awaits, release_waits_for
from airflow_lean_provider.rules.facts import Cause, Partition, Run, Severity
from airflow_lean_provider.rules.plan import Label, decide
from airflow_lean_provider.rules.versions import events_of
from airflow_lean_provider.store.models import (
    AffectedRun,
    Cord,
    CordPartition,
    CordScope,
    HaltedPartition,
    ParkedTask,
    StoppedTry,
    Switch,
)
from airflow_lean_provider.store.transactions import THE_SWITCH, in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

FIRST_KEYS = 10
"""How many partition keys of an asset are told with a cord; the others are asked for."""

CAUSES_AT_MOST = 10
"""How many causes are told with a run that is held."""

NEEDS_NOTHING = frozenset({Label.SUPERSEDED.value})
"""The labels of runs for which nothing is left to do."""


class Page(NamedTuple):
    """Which part of a list is asked for; ``order_by`` names fields, with a minus in front for descending."""

    limit: int = 50
    offset: int = 0
    order_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AssetUnder:
    """How many partitions of an asset a cord names, how many are open, and the first of them."""

    asset_id: int
    name: str
    partitions: int
    open: int
    asked: int
    first_keys: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class CordView:
    """
    A cord with what it concerns.

    :param runs: how many runs have each label
    :param to_do: runs that the brake has not done with
    :param done: runs that it has done with
    :param publishers: the Dags whose tasks a repair would clear; None if some partition has none
    """

    cord: Cord
    assets: tuple[AssetUnder, ...]
    scopes: tuple[CordScope, ...]
    runs: Counter[str]
    to_do: int
    done: int
    publishers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class CordFilter:
    """
    Which cords are asked for.

    :param closed: None for both
    :param assets: only cords on one of these, None for all
    """

    closed: bool | None = None
    severity: Severity | None = None
    acknowledged: bool | None = None
    asset: int | None = None
    text: str | None = None
    pulled_by: str | None = None
    assets: Collection[int] | None = None


_URGENCY: tuple[Any, ...] = (
    case((Cord.closed_at.is_(None), 0), else_=1),
    Cord.closed_at.desc(),
    case((Cord.severity == Severity.STOP.value, 0), else_=1),
    case((Cord.acknowledged_at.is_(None), 0), else_=1),
    Cord.pulled_at,
)
_ORDERS: dict[str, Any] = {
    "cord_id": Cord.id,
    "pulled_at": Cord.pulled_at,
    "closed_at": Cord.closed_at,
    "severity": Cord.severity,
    "pulled_by": Cord.pulled_by,
}


def assets_under_cords() -> set[int]:
    """Return every asset that a cord names or covers."""
    return in_transaction(
        lambda session: set(
            session.scalars(union(select(CordPartition.asset_id), select(CordScope.asset_id)))
        )
    )


def assets_of(cord: int) -> set[int]:
    """
    Return the assets that the cord names or covers.

    :raises NotFound: if there is no such cord
    """

    def read(session: Session) -> set[int]:
        if session.get(Cord, cord) is None:
            raise NotFound("cord", f"there is no cord {cord}")
        return set(
            session.scalars(
                union(
                    select(CordPartition.asset_id).where(CordPartition.cord_id == cord),
                    select(CordScope.asset_id).where(CordScope.cord_id == cord),
                )
            )
        )

    return in_transaction(read)


def cords(wanted: CordFilter, page: Page) -> tuple[list[CordView], int]:
    """
    Return a page of cords, the most urgent first unless told otherwise, and how many there are.

    :raises BadRequest: if they cannot be ordered like that
    """
    order = [*order_of(page.order_by, _ORDERS), Cord.id] if page.order_by else [*_URGENCY, Cord.id]

    def read(session: Session) -> tuple[list[CordView], int]:
        query = select(Cord).where(*_conditions(wanted))
        total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        rows = session.scalars(query.order_by(*order).limit(page.limit).offset(page.offset)).all()
        return _views(rows, session), total

    return in_transaction(read)


def cord(number: int) -> CordView:
    """
    Return one cord.

    :raises NotFound: if there is none with this number
    """

    def read(session: Session) -> CordView:
        row = session.get(Cord, number)
        if row is None:
            raise NotFound("cord", f"there is no cord {number}")
        return _views([row], session)[0]

    return in_transaction(read)


def order_of(order_by: Sequence[str], columns: dict[str, Any]) -> list[Any]:
    """
    Return what to order by.

    :raises BadRequest: if a name is not among the columns
    """
    found = []
    for name in order_by:
        column = columns.get(name.removeprefix("-"))
        if column is None:
            raise BadRequest("order_by", f"{name!r} is not one of {', '.join(columns)}")
        found.append(column.desc() if name.startswith("-") else column.asc())
    return found


def _conditions(wanted: CordFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.closed is not None:
        found.append(Cord.closed_at.is_not(None) if wanted.closed else Cord.closed_at.is_(None))
    if wanted.acknowledged is not None:
        known = Cord.acknowledged_at.is_not(None)
        found.append(known if wanted.acknowledged else ~known)
    if wanted.severity is not None:
        found.append(Cord.severity == wanted.severity.value)
    if wanted.pulled_by is not None:
        found.append(Cord.pulled_by == wanted.pulled_by)
    for assets in ([wanted.asset] if wanted.asset is not None else None, wanted.assets):
        if assets is not None:
            found.append(_is_on(assets))
    if wanted.text is not None:
        found.append(
            or_(
                Cord.reason.icontains(wanted.text, autoescape=True),
                Cord.pulled_by.icontains(wanted.text, autoescape=True),
                _names(CordPartition.asset_name.icontains(wanted.text, autoescape=True)),
                _names(CordPartition.partition_key.icontains(wanted.text, autoescape=True)),
            )
        )
    return found


def _is_on(assets: Collection[int]) -> ColumnElement[bool]:
    return or_(
        _names(CordPartition.asset_id.in_(assets)),
        select(CordScope.id).where(CordScope.cord_id == Cord.id, CordScope.asset_id.in_(assets)).exists(),
    )


def _names(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(CordPartition.id).where(CordPartition.cord_id == Cord.id, condition).exists()


def _views(rows: Sequence[Cord], session: Session) -> list[CordView]:
    numbers = [row.id for row in rows]
    assets = _assets_under(numbers, session)
    covering: dict[int, list[CordScope]] = defaultdict(list)
    for scope in session.scalars(
        select(CordScope).where(CordScope.cord_id.in_(numbers)).order_by(CordScope.id)
    ):
        covering[scope.cord_id].append(scope)
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    busy: dict[int, set[Run]] = defaultdict(set)
    known: dict[int, set[Run]] = runs_of_cords(
        min((row.pulled_at for row in rows), default=None),
        _last_closed(rows),
        session=session,
    )
    publishers = _publishers([row.id for row in rows if row.closed_at is None], session)
    for affected in session.scalars(select(AffectedRun)):
        run = Run(affected.dag_id, affected.run_id)
        for number in {c[0] for c in affected.causes}:
            labels[number].update(affected.labels)
            if set(affected.labels) - NEEDS_NOTHING:
                busy[number].add(run)
    return [
        CordView(
            row,
            tuple(assets[row.id]),
            tuple(covering[row.id]),
            labels[row.id],
            to_do=len(busy[row.id]),
            done=len(known.get(row.id, set()) - busy[row.id]),
            publishers=publishers.get(row.id),
        )
        for row in rows
    ]


def _publishers(numbers: Sequence[int], session: Session) -> dict[int, frozenset[str]]:
    """Return, by cord, the Dags that published its open partitions; no cord of which one has no such Dag."""
    of_cord: dict[int, list[CordPartition]] = defaultdict(list)
    for row in session.scalars(
        select(CordPartition).where(CordPartition.cord_id.in_(numbers), CordPartition.outcome.is_(None))
    ):
        of_cord[row.cord_id].append(row)
    sources = lineage.sources_of(
        {event for rows in of_cord.values() for row in rows for event in events_of(row.named)},
        session=session,
    )
    unnamed = {
        Partition(row.asset_id, row.partition_key)
        for rows in of_cord.values()
        for row in rows
        if not events_of(row.named) & sources.keys()
    }
    later = {
        p.partition: p.task.run
        for p in sorted(lineage.publications_of(unnamed, session=session), key=lambda p: p.id)
        if p.task is not None
    }
    found = {}
    for number, rows in of_cord.items():
        runs = [
            sources[max(known)]
            if (known := events_of(row.named) & sources.keys())
            else later.get(Partition(row.asset_id, row.partition_key))
            for row in rows
        ]
        if None not in runs:
            found[number] = frozenset(run.dag_id for run in runs if run is not None)
    return found


def _last_closed(rows: Sequence[Cord]) -> datetime | None:
    """Return when the last of them was closed, None if one is open."""
    closed = [row.closed_at for row in rows if row.closed_at is not None]
    return max(closed) if closed and len(closed) == len(rows) else None


def _assets_under(numbers: Sequence[int], session: Session) -> dict[int, list[AssetUnder]]:
    first: dict[tuple[int, int], list[str | None]] = defaultdict(list)
    is_open = CordPartition.outcome.is_(None)
    place = (
        func.row_number()
        .over(
            partition_by=(CordPartition.cord_id, CordPartition.asset_id),
            order_by=(case((is_open, 0), else_=1), CordPartition.id),
        )
        .label("place")
    )
    ranked = (
        select(CordPartition.cord_id, CordPartition.asset_id, CordPartition.partition_key, place)
        .where(CordPartition.cord_id.in_(numbers))
        .subquery()
    )
    for row in session.execute(select(ranked).where(ranked.c.place <= FIRST_KEYS).order_by(ranked.c.place)):
        first[row.cord_id, row.asset_id].append(row.partition_key)
    found: dict[int, list[AssetUnder]] = defaultdict(list)
    for row in session.execute(
        select(
            CordPartition.cord_id,
            CordPartition.asset_id,
            func.max(CordPartition.asset_name).label("name"),
            func.count().label("partitions"),
            func.sum(case((is_open, 1), else_=0)).label("open"),
            func.sum(case((and_(is_open, CordPartition.asked_outcome.is_not(None)), 1), else_=0)).label(
                "asked"
            ),
        )
        .where(CordPartition.cord_id.in_(numbers))
        .group_by(CordPartition.cord_id, CordPartition.asset_id)
        .order_by(CordPartition.cord_id, CordPartition.asset_id)
    ):
        found[row.cord_id].append(
            AssetUnder(
                row.asset_id,
                row.name,
                row.partitions,
                int(row.open),
                int(row.asked),
                tuple(first[row.cord_id, row.asset_id]),
            )
        )
    return found


class PartitionUnder(NamedTuple):
    """A partition under a cord, and what its release waits for, if it was asked for."""

    row: CordPartition
    awaits: Awaits | None


_PARTITION_ORDERS: dict[str, Any] = {
    "partition_key": CordPartition.partition_key,
    "asset": CordPartition.asset_name,
    "outcome": CordPartition.outcome,
    "ended_at": CordPartition.ended_at,
}


def partitions_of(
    number: int,
    page: Page,
    *,
    is_open: bool | None = None,
    text: str | None = None,
    assets: Collection[int] | None = None,
) -> tuple[list[PartitionUnder], int]:
    """
    Return a page of a cord's partitions, and how many there are.

    :param text: part of the key
    :param assets: only of these, None for all
    :raises NotFound: if there is no such cord
    :raises BadRequest: if they cannot be ordered like that
    """
    order = [*order_of(page.order_by, _PARTITION_ORDERS), CordPartition.id]

    def read(session: Session) -> tuple[list[PartitionUnder], int]:
        if session.get(Cord, number) is None:
            raise NotFound("cord", f"there is no cord {number}")
        query = select(CordPartition).where(CordPartition.cord_id == number)
        if is_open is not None:
            ended = CordPartition.outcome.is_not(None)
            query = query.where(~ended if is_open else ended)
        if text is not None:
            query = query.where(CordPartition.partition_key.icontains(text, autoescape=True))
        if assets is not None:
            query = query.where(CordPartition.asset_id.in_(assets))
        total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        rows = session.scalars(query.order_by(*order).limit(page.limit).offset(page.offset)).all()
        return _awaiting(rows, session), total

    return in_transaction(read)


def _awaiting(rows: Sequence[CordPartition], session: Session) -> list[PartitionUnder]:
    if not any(row.outcome is None and row.asked_outcome for row in rows):
        return [PartitionUnder(row, None) for row in rows]
    scene = look(session)
    plan = decide(scene.facts, scene.judgement)
    return [
        PartitionUnder(
            row,
            (release_waits_for(row, scene, plan) or Awaits("being carried out"))
            if row.outcome is None and row.asked_outcome
            else None,
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Hold:
    """
    A run that an open cord concerns.

    :param parked: the tasks of it that wait inside the run
    :param stopped: the tasks of it that were killed
    """

    row: AffectedRun
    parked: tuple[str, ...]
    stopped: tuple[str, ...]
    causes: tuple[Cause, ...]
    cords: tuple[Cord, ...]
    names: dict[int, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HoldFilter:
    """Which of them are asked for."""

    cord: int | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    label: str | None = None
    waiting: bool | None = None


_HOLD_ORDERS: dict[str, Any] = {
    "dag_id": AffectedRun.dag_id,
    "run_id": AffectedRun.run_id,
    "partition_key": AffectedRun.partition_key,
    "since": AffectedRun.since,
}


def holds(wanted: HoldFilter, page: Page, readable: Collection[str]) -> tuple[list[Hold], int, int]:
    """
    Return a page of the runs that open cords concern, how many there are, and how many more hidden ones.

    :param readable: the Dags that may be named
    :raises BadRequest: if they cannot be ordered like that
    """
    order = [
        *order_of(page.order_by, _HOLD_ORDERS),
        AffectedRun.since,
        AffectedRun.dag_id,
        AffectedRun.run_id,
    ]

    def read(session: Session) -> tuple[list[Hold], int, int]:
        parked, stopped = _tasks(ParkedTask, session), _tasks(StoppedTry, session)
        query = select(AffectedRun).order_by(*order)
        if wanted.dag_id is not None:
            query = query.where(AffectedRun.dag_id == wanted.dag_id)
        if wanted.run_id is not None:
            query = query.where(AffectedRun.run_id == wanted.run_id)
        fitting = [
            row
            for row in session.scalars(query)
            if _fits(row, wanted, parked[row.dag_id, row.run_id], stopped[row.dag_id, row.run_id])
        ]
        named = [row for row in fitting if row.dag_id in readable]
        rows = named[page.offset : page.offset + page.limit]
        causes = {
            (row.dag_id, row.run_id): tuple(
                Cause(cord, Partition(asset, key)) for cord, asset, key in row.causes
            )
            for row in rows
        }
        names = names_of({c.partition.asset for found in causes.values() for c in found}, session=session)
        known = {
            c.id: c
            for c in session.scalars(
                select(Cord).where(Cord.id.in_({c.cord for found in causes.values() for c in found}))
            )
        }
        return (
            [
                Hold(
                    row,
                    tuple(sorted(parked[row.dag_id, row.run_id])),
                    tuple(sorted(stopped[row.dag_id, row.run_id])) if "stopped" in row.labels else (),
                    causes[row.dag_id, row.run_id],
                    tuple(
                        known[n]
                        for n in sorted({c.cord for c in causes[row.dag_id, row.run_id]} & known.keys())
                    ),
                    names,
                )
                for row in rows
            ],
            len(named),
            len(fitting) - len(named),
        )

    return in_transaction(read)


def _tasks(model: Any, session: Session) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for dag_id, run_id, task_id in session.execute(select(model.dag_id, model.run_id, model.task_id)):
        found[dag_id, run_id].add(task_id)
    return found


def _fits(row: AffectedRun, wanted: HoldFilter, parked: set[str], stopped: set[str]) -> bool:
    if wanted.dag_id not in (None, row.dag_id) or wanted.run_id not in (None, row.run_id):
        return False
    if wanted.cord is not None and wanted.cord not in {c[0] for c in row.causes}:
        return False
    if wanted.label is not None and wanted.label not in row.labels:
        return False
    if wanted.task_id is not None and not (row.held or wanted.task_id in parked | stopped):
        return False
    return wanted.waiting is None or wanted.waiting == (row.held or bool(parked))


@dataclass(frozen=True, slots=True)
class Summary:
    """The line at a glance; ``halted`` are the partitions that a cord names, ``bad`` the others."""

    enabled: bool
    cords: tuple[Cord, ...]
    halted: int
    bad: int
    runs: Counter[str]


def summary() -> Summary:
    """Return what is open, the oldest cord first."""

    def read(session: Session) -> Summary:
        halted = Counter(session.scalars(select(HaltedPartition.root)))
        runs: Counter[str] = Counter()
        for labels in session.scalars(select(AffectedRun.labels)):
            runs.update(labels)
        open_ones = session.scalars(select(Cord).where(Cord.closed_at.is_(None)).order_by(Cord.pulled_at))
        return Summary(_switched_off(session) is None, tuple(open_ones), halted[True], halted[False], runs)

    return in_transaction(read)


def switched_off() -> Switch | None:
    """Return who has switched the brake off, None while it is on."""
    return in_transaction(_switched_off)


def _switched_off(session: Session) -> Switch | None:
    row = session.get(Switch, THE_SWITCH)
    return row if row is not None and not row.enabled else None


def covers(scope: CordScope) -> str:
    """Say what an open-ended scope covers."""
    return str(scopes.meaning(scope))
