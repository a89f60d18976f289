"""The board: cords and what is left to do for them, page by page, from what settling has noted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, case, func, or_, select, union

from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals import runs as dag_runs
from airflow_lean_provider.airflow_internals.audit import runs_of_cords
from airflow_lean_provider.airflow_internals.statements import is_like
from airflow_lean_provider.brake import scopes
from airflow_lean_provider.brake.errors import NotFound
from airflow_lean_provider.brake.paging import ANY_TIME, order_of
from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.brake.settle import Awaits, release_waits_for
from airflow_lean_provider.rules.facts import Partition, Run, Severity
from airflow_lean_provider.rules.plan import Label, decide
from airflow_lean_provider.rules.versions import events_of
from airflow_lean_provider.store.models import (
    AffectedRun,
    Cord,
    CordPartition,
    CordScope,
    HaltedPartition,
    Switch,
)
from airflow_lean_provider.store.transactions import THE_SWITCH, in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from airflow_lean_provider.brake.paging import Moments, Page

FIRST_KEYS = 10
"""How many partition keys of an asset are told with a cord; the others are asked for."""

NEEDS_NOTHING = frozenset({Label.SUPERSEDED.value})
"""The labels of runs for which nothing is left to do."""


@dataclass(frozen=True, slots=True)
class AssetUnder:
    """
    How many partitions of an asset a cord names, how many are open, and the first of them.

    None at all of an asset of which it covers only what is published later, as long as nothing was.
    """

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
    :param asset: only cords on this one
    :param asset_name: a pattern of the name of one that may be named
    :param text: part of the reason, of who pulled it, or of the name or a key of an asset that may be named
    :param assets: those that may be named: only cords on one of these, None for all
    """

    closed: bool | None = None
    severity: Severity | None = None
    acknowledged: bool | None = None
    asset: int | None = None
    text: str | None = None
    pulled_by: str | None = None
    asset_name: str | None = None
    pulled_at: Moments = ANY_TIME
    closed_at: Moments = ANY_TIME
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
    if wanted.assets is not None:
        found.append(_is_on(wanted.assets))
    if wanted.asset is not None:
        found.append(_is_on([wanted.asset] if _may_name(wanted.asset, wanted) else []))
    found += wanted.pulled_at.bound(Cord.pulled_at) + wanted.closed_at.bound(Cord.closed_at)
    if wanted.text is not None:
        found.append(_tells_of(wanted.text, wanted.assets))
    if wanted.asset_name is not None:
        found.append(
            or_(
                _names(is_like(CordPartition.asset_name, wanted.asset_name), wanted.assets),
                _covers(is_like(CordScope.asset_name, wanted.asset_name), wanted.assets),
            )
        )
    return found


def _may_name(asset: int, wanted: CordFilter) -> bool:
    return wanted.assets is None or asset in wanted.assets


def _tells_of(text: str, assets: Collection[int] | None) -> ColumnElement[bool]:
    """What is not told of a cord does not find it, either: it could be guessed letter by letter."""
    of_partition = or_(
        CordPartition.asset_name.icontains(text, autoescape=True),
        CordPartition.partition_key.icontains(text, autoescape=True),
    )
    of_scope = or_(
        CordScope.asset_name.icontains(text, autoescape=True),
        CordScope.value.icontains(text, autoescape=True),
    )
    return or_(
        Cord.reason.icontains(text, autoescape=True),
        Cord.pulled_by.icontains(text, autoescape=True),
        _names(of_partition, assets),
        _covers(of_scope, assets),
    )


def _is_on(assets: Collection[int]) -> ColumnElement[bool]:
    return or_(_names(CordPartition.asset_id.in_(assets)), _covers(CordScope.asset_id.in_(assets)))


def _names(condition: ColumnElement[bool], assets: Collection[int] | None = None) -> ColumnElement[bool]:
    return _has(CordPartition, condition, assets)


def _covers(condition: ColumnElement[bool], assets: Collection[int] | None = None) -> ColumnElement[bool]:
    return _has(CordScope, condition, assets)


def _has(row: Any, condition: ColumnElement[bool], assets: Collection[int] | None) -> ColumnElement[bool]:
    found = select(row.id).where(row.cord_id == Cord.id, condition)
    return (found if assets is None else found.where(row.asset_id.in_(assets))).exists()


def _views(rows: Sequence[Cord], session: Session) -> list[CordView]:
    numbers = [row.id for row in rows]
    covering: dict[int, list[CordScope]] = defaultdict(list)
    for scope in session.scalars(
        select(CordScope).where(CordScope.cord_id.in_(numbers)).order_by(CordScope.id)
    ):
        covering[scope.cord_id].append(scope)
    assets = _assets_under(numbers, covering, session)
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
    """
    Return, by cord, the Dags of the runs that published its open partitions.

    No cord of which a partition has no such run any more, and none while the brake is off.
    """
    if session.scalar(select(Switch.id).where(Switch.enabled.is_(False))) is not None:
        return {}
    of_cord: dict[int, list[CordPartition]] = defaultdict(list)
    for row in session.scalars(
        select(CordPartition).where(CordPartition.cord_id.in_(numbers), CordPartition.outcome.is_(None))
    ):
        of_cord[row.cord_id].append(row)
    sources = lineage.sources_of(
        {event for rows in of_cord.values() for row in rows for event in events_of(row.named)},
        session=session,
    )
    left = dag_runs.known_runs(set(sources.values()), session=session)
    sources = {event: run for event, run in sources.items() if run in left}
    unnamed = {
        Partition(row.asset_id, row.partition_key)
        for rows in of_cord.values()
        for row in rows
        if not events_of(row.named) & sources.keys()
    }
    others = [p for p in lineage.publications_of(unnamed, session=session) if p.task is not None]
    left = dag_runs.known_runs({p.task.run for p in others if p.task is not None}, session=session)
    later = {
        p.partition: p.task.run
        for p in sorted(others, key=lambda p: p.id)
        if p.task is not None and p.task.run in left
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


def _assets_under(
    numbers: Sequence[int], covering: Mapping[int, Sequence[CordScope]], session: Session
) -> dict[int, list[AssetUnder]]:
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
    for number, scopes_of_cord in covering.items():
        named = {a.asset_id for a in found[number]}
        unpublished = {s.asset_id: s.asset_name for s in scopes_of_cord if s.asset_id not in named}
        found[number] += [
            AssetUnder(asset, name, partitions=0, open=0, asked=0, first_keys=())
            for asset, name in unpublished.items()
        ]
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
