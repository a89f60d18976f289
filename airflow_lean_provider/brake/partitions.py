"""Assets and their partitions, with their state, page by page."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals.assets import (
    NamedAsset,
    active_assets,
    assets_like,
    find_asset,
    names_of,
)
from airflow_lean_provider.airflow_internals.runs import known_runs
from airflow_lean_provider.brake.absent import absent_partitions
from airflow_lean_provider.brake.errors import BadRequest, NotFound
from airflow_lean_provider.brake.targets import the_asset
from airflow_lean_provider.rules.facts import Outcome, Partition, Publication, Run, Severity
from airflow_lean_provider.store.models import Cord, CordPartition, CordScope, HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.lineage import Published
    from airflow_lean_provider.brake.paging import Page


class State(str, Enum):
    """How a partition stands, the most urgent first."""

    HALTED = "halted"
    """A cord that stops is open on it."""
    BAD = "bad"
    """It was made from bad data, or is half-written."""
    WARNED = "warned"
    """A cord that only warns is open on it."""
    WITHDRAWN = "withdrawn"
    """It should not exist, or was made from such alone, and was not published since."""
    CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How a partition stands.

    :param cords: the open cords that are to blame
    """

    state: State = State.CLEAN
    cords: tuple[int, ...] = ()
    since: datetime | None = None


class PartitionView(NamedTuple):
    """A partition, how it stands, and its last publication, if it has one."""

    key: str | None
    standing: Standing
    published: Published | None


@dataclass(frozen=True, slots=True)
class AssetView:
    """An asset and how it stands."""

    asset: NamedAsset
    cords: tuple[int, ...]
    halted: int
    bad: int


def asset_with(name_or_uri_or_id: str | int) -> NamedAsset:
    """
    Return the asset that a person means.

    :raises NotFound: if there is none
    :raises BadRequest: if there are several
    """
    return in_transaction(lambda session: the_asset(name_or_uri_or_id, session))


def asset_ids() -> set[int]:
    """Return every asset that Dags declare."""
    return in_transaction(lambda session: active_assets(session=session))


def assets(
    page: Page,
    *,
    text: str | None = None,
    name: str | None = None,
    uri: str | None = None,
    troubled: bool | None = None,
    permitted: Collection[int] | None,
) -> tuple[list[AssetView], int]:
    """
    Return a page of the assets, and how many there are.

    :param text: part of the name or the uri
    :param name: a pattern of the name
    :param uri: a pattern of the uri
    :param troubled: only those with an open cord or a bad partition, or only the others
    :param permitted: only these, None for all
    :raises BadRequest: if they cannot be ordered like that
    """

    def read(session: Session) -> tuple[list[AssetView], int]:
        counts, cords = _trouble(None, session)
        only: set[int] | None = None if permitted is None else set(permitted)
        without: set[int] = set()
        if troubled is not None:
            ids = counts.keys() | cords.keys()
            if troubled:
                only = ids if only is None else only & ids
            else:
                without = set(ids)
        try:
            found, total = assets_like(
                text,
                name=name,
                uri=uri,
                only=only,
                without=without,
                limit=page.limit,
                offset=page.offset,
                order_by=page.order_by,
                session=session,
            )
        except KeyError as error:
            raise BadRequest("order_by", f"{error.args[0]!r} is not one of name, uri, asset_id") from None
        return [_asset_view(a, counts, cords) for a in found], total

    return in_transaction(read)


def asset(asset_id: int) -> AssetView:
    """
    Return one asset.

    :raises NotFound: if there is none with this id
    """

    def read(session: Session) -> AssetView:
        return _asset_view(_known(asset_id, session), *_trouble(asset_id, session))

    return in_transaction(read)


def _known(asset_id: int, session: Session) -> NamedAsset:
    found = find_asset(asset_id, session=session)
    if found is None:
        raise NotFound("asset_id", f"there is no asset {asset_id}")
    return found


def _asset_view(
    found: NamedAsset, counts: dict[int, dict[bool, int]], cords: dict[int, set[int]]
) -> AssetView:
    of_root = counts.get(found.id, {})
    return AssetView(
        found, tuple(sorted(cords.get(found.id, ()))), of_root.get(True, 0), of_root.get(False, 0)
    )


def _trouble(
    asset_id: int | None, session: Session
) -> tuple[dict[int, dict[bool, int]], dict[int, set[int]]]:
    """Return, by asset, how many partitions are halted (True) or bad (False), and the open cords."""
    counts: dict[int, dict[bool, int]] = defaultdict(lambda: defaultdict(int))
    cords: dict[int, set[int]] = defaultdict(set)
    halted = select(HaltedPartition.asset_id, HaltedPartition.root)
    if asset_id is not None:
        halted = halted.where(HaltedPartition.asset_id == asset_id)
    for found, root in session.execute(halted):
        counts[found][root] += 1
    for row, is_open in (
        (CordPartition, CordPartition.outcome.is_(None)),
        (CordScope, CordScope.ended_at.is_(None)),
    ):
        under = (
            select(row.asset_id, row.cord_id)
            .join(Cord, Cord.id == row.cord_id)
            .where(Cord.closed_at.is_(None), is_open)
            .distinct()
        )
        if asset_id is not None:
            under = under.where(row.asset_id == asset_id)
        for found, cord in session.execute(under):
            cords[found].add(cord)
    return counts, cords


_ORDERS = ("partition_key", "published_at", "state")
_URGENCY = {state: place for place, state in enumerate(State)}


def partitions(
    asset_id: int,
    page: Page,
    *,
    text: str | None = None,
    prefix: str | None = None,
    states: Collection[State] = (),
    cord: int | None = None,
) -> tuple[list[PartitionView], int]:
    """
    Return a page of the partitions of an asset, and how many there are.

    Two statements read all of them, however many: keys are compared exactly, and ordered by what is in
    several tables.

    :param text: part of the key, in any case
    :param states: only those in one of these, none for all
    :raises NotFound: if there is no such asset
    :raises BadRequest: if they cannot be ordered like that
    """
    for name in page.order_by:
        if name.removeprefix("-") not in _ORDERS:
            raise BadRequest("order_by", f"{name!r} is not one of {', '.join(_ORDERS)}")

    def read(session: Session) -> tuple[list[PartitionView], int]:
        _known(asset_id, session)
        published = lineage.last_published(asset_id, session=session)
        standing = _standings([asset_id], session)
        rows = []
        for key in published.keys() | {p.key for p in standing}:
            if text is not None and (key is None or text.lower() not in key.lower()):
                continue
            if prefix is not None and not (key or "").startswith(prefix):
                continue
            stands = _current(standing.get(Partition(asset_id, key)), published.get(key))
            if states and stands.state not in states:
                continue
            if cord is not None and cord not in stands.cords:
                continue
            rows.append(PartitionView(key, stands, published.get(key)))
        _sort(rows, page.order_by or ("partition_key",))
        some = rows[page.offset : page.offset + page.limit]
        sources = lineage.sources_of({r.published.event for r in some if r.published}, session=session)
        return [
            row._replace(published=row.published._replace(run=sources.get(row.published.event)))
            if row.published
            else row
            for row in some
        ], len(rows)

    return in_transaction(read)


def _sort(rows: list[PartitionView], order_by: Collection[str]) -> None:
    rows.sort(key=lambda r: (r.key is not None, r.key or ""))
    for name in reversed(tuple(order_by)):
        by = name.removeprefix("-")
        rows.sort(
            key=lambda r: {
                "partition_key": (r.key is not None, r.key or ""),
                "published_at": (r.published is not None, r.published.at.timestamp() if r.published else 0),
                "state": (_URGENCY[r.standing.state], 0),
            }[by],
            reverse=name.startswith("-"),
        )


def _standings(asset_ids: Collection[int], session: Session) -> dict[Partition, Standing]:
    """Return how the partitions stand of which something is to be said, whether published or not."""
    found: dict[Partition, Standing] = {}
    for row in session.scalars(
        select(CordPartition)
        .where(CordPartition.asset_id.in_(asset_ids), CordPartition.outcome == Outcome.WITHDRAWN.value)
        .order_by(CordPartition.ended_at)
    ):
        found[Partition(row.asset_id, row.partition_key)] = Standing(State.WITHDRAWN, since=row.ended_at)
    for partition in absent_partitions(session):
        if partition.asset in asset_ids:
            found.setdefault(partition, Standing(State.WITHDRAWN))
    warned: dict[Partition, list[tuple[int, datetime]]] = defaultdict(list)
    for row, pulled_at in session.execute(
        select(CordPartition, Cord.pulled_at)
        .join(Cord, Cord.id == CordPartition.cord_id)
        .where(
            CordPartition.asset_id.in_(asset_ids),
            CordPartition.outcome.is_(None),
            Cord.closed_at.is_(None),
            Cord.severity == Severity.WARN.value,
        )
    ):
        warned[Partition(row.asset_id, row.partition_key)].append((row.cord_id, pulled_at))
    for partition, by in warned.items():
        found[partition] = Standing(State.WARNED, tuple(sorted(c for c, _ in by)), min(at for _, at in by))
    for halted in session.scalars(select(HaltedPartition).where(HaltedPartition.asset_id.in_(asset_ids))):
        partition = Partition(halted.asset_id, halted.partition_key)
        cords = {c[0] for c in halted.causes if c[0]} | {c for c, _ in warned.get(partition, ())}
        state = State.HALTED if halted.root else State.BAD
        found[partition] = Standing(state, tuple(sorted(cords)), halted.since)
    return found


def _current(standing: Standing | None, published: Published | None) -> Standing:
    """What was withdrawn and published since is as good as any other."""
    if standing is None:
        return Standing()
    if standing.state is State.WITHDRAWN and published is not None and standing.since is not None:
        return Standing() if published.at > standing.since else standing
    return standing


@dataclass(frozen=True, slots=True)
class PublishedView:
    """What a task instance published, and how it stands now."""

    publication: Publication
    asset_name: str
    standing: Standing


def published_by(run: Run, task_id: str | None = None, map_index: int | None = None) -> list[PublishedView]:
    """
    Return the last publication of each partition by the run, or by one task (instance) of it.

    :raises NotFound: if there is no such run
    """

    def read(session: Session) -> list[PublishedView]:
        if not known_runs([run], session=session):
            raise NotFound("run", f"Dag {run.dag_id!r} has no run {run.run_id!r}")
        last: dict[Partition, Publication] = {}
        for publication in lineage.publications_of_run(run, session=session):
            task = publication.task
            if task is None or task_id not in (None, task.task_id):
                continue
            if map_index not in (None, task.map_index):
                continue
            known = last.get(publication.partition)
            if known is None or known.id < publication.id:
                last[publication.partition] = publication
        asset_ids = {p.asset for p in last}
        names = names_of(asset_ids, session=session)
        standing = _standings(asset_ids, session)
        return [
            PublishedView(last[p], names.get(p.asset, "?"), standing.get(p, Standing()))
            for p in sorted(last, key=lambda p: (p.asset, str(p.key)))
        ]

    return in_transaction(read)
