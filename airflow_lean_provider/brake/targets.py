"""What a pull means: which partitions, and which versions of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals.assets import NamedAsset, find_asset, find_assets, names_of
from airflow_lean_provider.airflow_internals.runs import known_runs
from airflow_lean_provider.brake.errors import Ambiguous, BadRequest, NotFound
from airflow_lean_provider.rules.facts import Partition, Publication, Run
from airflow_lean_provider.rules.scope import Kind, NoOrder, OpenEnded, keys_between, starting_at
from airflow_lean_provider.rules.versions import Version, current, partial_ones
from airflow_lean_provider.store.models import HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

LONGEST_KEY = 250
"""Characters of a partition key, in Airflow's columns and in ours."""


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What a person names: partitions of one asset in one of several ways, or all that one run published.

    An asset whose events have no key is named by itself. ``pattern``, ``start`` and ``whole`` also cover what
    is published later.

    :param asset: name, uri or id
    :param keys: partition keys
    :param between: first and last key of a range
    :param pattern: a shell-style pattern of keys
    :param start: a key, and those that follow it
    :param whole: every partition, and events without a key
    :param run: the run whose publications are meant
    :param task_id: only what this task of the run published
    :param map_index: only what this instance of the task published
    :param since: the versions published from this moment on are bad, instead of the last one
    :param until: what was published after this moment is good; without ``since``, the last version before it
        is bad
    """

    asset: str | int | None = None
    keys: tuple[str, ...] = ()
    between: tuple[str, str] | None = None
    pattern: str | None = None
    start: str | None = None
    whole: bool = False
    run: Run | None = None
    task_id: str | None = None
    map_index: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """
    A partition that a pull names.

    :param named: the versions of it that are bad
    :param latest: the last version that the pull knows of
    :param good_again: ``latest`` is declared good
    """

    partition: Partition
    asset_name: str
    named: tuple[Version, ...]
    latest: Version | None
    good_again: bool = False


@dataclass(frozen=True, slots=True)
class Meant:
    """
    What a scope means at this moment.

    :param assets: the assets in question, by id
    :param later: what it covers of what is published later
    """

    targets: tuple[Target, ...]
    assets: dict[int, str]
    later: OpenEnded | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """The partitions that a scope names at this moment, of which some version may be meant."""

    partitions: tuple[Partition, ...]
    assets: dict[int, str]
    later: OpenEnded | None = None


def find_named(scope: Scope, *, session: Session) -> Named:
    """
    Say which partitions the scope names now.

    :raises BadRequest: if it contradicts itself, or names something that does not exist
    """
    later = _later(scope)
    if scope.run is not None:
        partitions = _partitions_published_by(scope.run, scope, session)
        return Named(tuple(partitions), names_of({p.asset for p in partitions}, session=session))
    asset = the_asset(scope.asset, session)
    published = lineage.published_keys(asset.id, session=session) | set(
        session.scalars(select(HaltedPartition.partition_key).where(HaltedPartition.asset_id == asset.id))
    )
    if later is not None:
        keys = sorted((k for k in published if later.covers(k)), key=lambda k: (k is not None, k))
    else:
        keys = list(_named_keys(scope, asset, published))
    return Named(tuple(Partition(asset.id, key) for key in keys), {asset.id: asset.name}, later)


def find_meant(
    named: Named,
    scope: Scope,
    versions: Mapping[Partition, Sequence[Version]],
    withdrawn: Mapping[Partition, Collection[datetime]],
) -> Meant:
    """
    Say which versions of the partitions are meant.

    :param versions: at least those of the partitions
    :param withdrawn: when partitions were withdrawn
    :raises BadRequest: if none is
    """
    targets = []
    for partition in named.partitions:
        found = versions.get(partition, ())
        last = current(found)
        bad = _bad_ones(found, scope, max(withdrawn.get(partition, ()), default=None))
        if not bad and (scope.since or scope.until):
            continue
        good_again = scope.until is not None and last is not None and last.at > scope.until
        targets.append(Target(partition, named.assets.get(partition.asset, "?"), bad, last, good_again))
    if not targets and named.later is None:
        whose = "what the run published" if scope.run else " and ".join(map(repr, named.assets.values()))
        raise BadRequest("since" if scope.since else "until", f"no version of {whose} is of that time")
    return Meant(tuple(targets), named.assets, named.later)


def meant_assets(scope: Scope) -> set[int]:
    """
    Return the assets that the scope means.

    :raises BadRequest: if it names something that does not exist
    """

    def read(session: Session) -> set[int]:
        if scope.run is None:
            return {the_asset(scope.asset, session).id}
        return {p.asset for p in _partitions_published_by(scope.run, scope, session)}

    return in_transaction(read)


def _later(scope: Scope) -> OpenEnded | None:
    """Check that one way of naming partitions is chosen; return it if it covers what is published later."""
    ways = {
        "partition": scope.keys,
        "range": scope.between,
        "pattern": scope.pattern is not None,
        "from": scope.start is not None,
        "all": scope.whole,
    }
    chosen = [way for way, named in ways.items() if named]
    if scope.run is not None and (scope.asset or chosen):
        raise BadRequest("run", "name either a run or partitions of an asset")
    if len(chosen) > 1:
        raise BadRequest(chosen[-1], f"name either partitions or one of {', '.join(chosen[1:])}")
    if scope.since is not None and scope.until is not None and scope.since > scope.until:
        raise BadRequest("until", "is before --since")
    if scope.pattern is None and scope.start is None and not scope.whole:
        return None
    if scope.until is not None:
        raise BadRequest("until", f"--{chosen[0]} also covers what is published later, which cannot be good")
    if scope.pattern is not None:
        if not 0 < len(scope.pattern) <= LONGEST_KEY:
            raise BadRequest("pattern", f"must have 1 to {LONGEST_KEY} characters")
        return OpenEnded(Kind.PATTERN, scope.pattern)
    if scope.start is not None:
        try:
            return starting_at(scope.start)
        except NoOrder as error:
            raise BadRequest("from", str(error)) from None
    return OpenEnded(Kind.ALL)


def the_asset(name_or_uri: str | int | None, session: Session) -> NamedAsset:
    """
    Return the asset that a person means, by name, uri or id.

    :raises BadRequest: if there is none, or several
    """
    if not name_or_uri:
        raise BadRequest("asset", "name an asset, or a run")
    if isinstance(name_or_uri, int):
        found = find_asset(name_or_uri, session=session)
        if found is None:
            raise NotFound("asset_id", f"there is no asset {name_or_uri}")
        return found
    assets = find_assets(name_or_uri, session=session)
    if not assets:
        raise NotFound("asset", f"no asset has the name or uri {name_or_uri!r}")
    if len(assets) > 1:
        raise Ambiguous(name_or_uri, {a.id: a.uri for a in assets})
    return assets[0]


def _named_keys(scope: Scope, asset: NamedAsset, published: Collection[str | None]) -> Iterable[str | None]:
    keys: Collection[str] = scope.keys
    if scope.between is not None:
        try:
            keys = keys_between(*scope.between, {k for k in published if k is not None})
        except NoOrder as error:
            raise BadRequest("range", str(error)) from None
        if not keys:
            raise BadRequest("range", f"no key of {asset.name!r} was published between its ends")
    if not keys:
        if set(published) == {None}:
            return [None]
        raise BadRequest("partition", "name at least one partition, a range, a pattern, or --all")
    unknown = sorted(set(keys) - set(published))
    if unknown:
        raise BadRequest(
            "partition", f"{asset.name!r} was never published for {', '.join(map(repr, unknown))}"
        )
    return dict.fromkeys(keys)


def _partitions_published_by(run: Run, scope: Scope, session: Session) -> list[Partition]:
    if not known_runs([run], session=session):
        raise NotFound("run", f"Dag {run.dag_id!r} has no run {run.run_id!r}")
    partitions = sorted(
        {p.partition for p in lineage.publications_of_run(run, session=session) if _is_by(p, scope)},
        key=lambda p: (p.asset, str(p.key)),
    )
    if not partitions:
        raise BadRequest("run", f"{run.run_id!r} of {run.dag_id!r} has published nothing")
    return partitions


def _is_by(publication: Publication, scope: Scope) -> bool:
    task = publication.task
    if task is None:
        return False
    return scope.task_id in (None, task.task_id) and scope.map_index in (None, task.map_index)


def _bad_ones(versions: Iterable[Version], scope: Scope, withdrawn: datetime | None) -> tuple[Version, ...]:
    """Return what the pull names: what was withdrawn only if it is told to by a moment."""
    fitting = tuple(
        v
        for v in versions
        if (scope.run is None or v.run == scope.run)
        and (scope.since is None or v.at >= scope.since)
        and (scope.until is None or v.at <= scope.until)
    )
    if scope.since is not None:
        return fitting
    if withdrawn is not None and scope.until is None:
        fitting = tuple(v for v in fitting if v.at > withdrawn)
    last = current(fitting)
    return (*([last] if last is not None else []), *partial_ones(fitting))
