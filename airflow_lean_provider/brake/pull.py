"""Preview and pull: one function makes the plan, the other carries out the plan of its own moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals import lineage
from airflow_lean_provider.airflow_internals.assets import find_assets, names_of
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.brake.settle import settle
from airflow_lean_provider.rules.facts import Halt, Partition, Run, Severity
from airflow_lean_provider.rules.plan import Plan, decide
from airflow_lean_provider.rules.scope import NoOrder, keys_between
from airflow_lean_provider.rules.versions import Version, current
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Cord, CordPartition, HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

A_PREVIEW = -1
"""The cord of a halt that a preview supposes."""


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What a pull means: partitions of one asset, or all that one run published.

    :param asset: name or uri
    :param keys: partition keys
    :param between: first and last key of a range
    :param run: the run whose publications are meant
    """

    asset: str | None = None
    keys: tuple[str, ...] = ()
    between: tuple[str, str] | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A partition that a pull names, and the versions of it."""

    partition: Partition
    asset_name: str
    named: tuple[Version, ...]
    latest: Version | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a pull would do at this moment."""

    targets: Sequence[Target]
    scene: Scene
    plan: Plan


@dataclass(frozen=True, slots=True)
class Pulled:
    """
    A cord that was pulled.

    :param settled: whether every reader is held or stopped; if not, that goes on
    :param existed: the same request had pulled it before
    """

    cord: int
    settled: bool
    existed: bool = False


def preview(scope: Scope) -> Preview:
    """
    Say what a pull would do now.

    :raises BadRequest: if the scope names something that does not exist
    """

    def look_ahead(session: Session) -> Preview:
        targets = _targets(scope, session)
        supposed = [_supposed(t) for t in targets]
        scene = look(session, supposed=supposed)
        plan = decide(scene.facts)
        return Preview(targets, scene, plan)

    return in_transaction(look_ahead)


def pull(
    scope: Scope,
    *,
    reason: str,
    by: str,
    severity: Severity = Severity.STOP,
    request_key: str | None = None,
    timeout: float | None = None,
) -> Pulled:
    """
    Mark partitions as bad; when this returns settled, no task that reads them is granted a start.

    The halt is committed first; whatever is killed after that, the sweeper finishes the rest.

    :param request_key: a repeated request with the same key returns the cord that exists
    :param timeout: seconds to wait until every reader is held or stopped
    :raises BadRequest: if something is wrong with the request; nothing was changed
    """
    if not reason.strip():
        raise BadRequest("reason", "must not be empty")

    def record(session: Session) -> Pulled:
        if not lock_switch(session).enabled:
            raise BadRequest("andon", "the brake is disabled; 'airflow andon enable' takes it up again")
        if request_key is not None:
            existing = session.scalar(select(Cord.id).where(Cord.request_key == request_key))
            if existing is not None:
                return Pulled(existing, settled=False, existed=True)
        targets = _targets(scope, session)
        moment = now()
        cord = Cord(
            reason=reason.strip(),
            severity=severity.value,
            request_key=request_key,
            pulled_by=by,
            pulled_at=moment,
        )
        session.add(cord)
        session.flush()
        for target in targets:
            session.add(
                CordPartition(
                    cord_id=cord.id,
                    asset_id=target.partition.asset,
                    asset_name=target.asset_name,
                    partition_key=target.partition.key,
                    opened_at=_opened(target, moment),
                    named=[v.id for v in target.named],
                )
            )
            if severity is Severity.STOP:
                _halt(target.partition, cord.id, moment, session)
        said = f"cord {cord.id} by {by}: {cord.reason}"
        write_entries([Entry("andon pull", extra=said)], session)
        return Pulled(cord.id, settled=False)

    pulled = in_transaction(record)
    return Pulled(pulled.cord, settle(timeout), pulled.existed)


def _halt(partition: Partition, cord: int, moment: datetime, session: Session) -> None:
    cause = [cord, partition.asset, partition.key]
    for row in session.scalars(select(HaltedPartition).where(HaltedPartition.asset_id == partition.asset)):
        if row.partition_key == partition.key:
            row.root = True
            row.causes = sorted([*row.causes, cause], key=lambda c: [str(x) for x in c])
            return
    session.add(
        HaltedPartition(
            asset_id=partition.asset, partition_key=partition.key, root=True, causes=[cause], since=moment
        )
    )


def _opened(target: Target, moment: datetime) -> datetime:
    """What is published after the last version that the pull knew of is presumed bad."""
    return target.latest.at if target.latest is not None else moment


def _supposed(target: Target) -> Halt:
    return Halt(
        A_PREVIEW,
        target.partition,
        Severity.STOP,
        opened=_opened(target, now()),
        named=frozenset(v.id for v in target.named),
    )


def _targets(scope: Scope, session: Session) -> list[Target]:
    if scope.run is not None:
        return _published_by(scope.run, session)
    if not scope.asset:
        raise BadRequest("asset", "name an asset, or a run with --run")
    assets = find_assets(scope.asset, session=session)
    if not assets:
        raise BadRequest("asset", f"no asset has the name or uri {scope.asset!r}")
    if len(assets) > 1:
        raise BadRequest(
            "asset",
            f"{scope.asset!r} is ambiguous; use a uri: " + ", ".join(sorted(a.uri for a in assets)),
        )
    asset = assets[0]
    published = lineage.published_keys(asset.id, session=session) | set(
        session.scalars(select(HaltedPartition.partition_key).where(HaltedPartition.asset_id == asset.id))
    )
    keys: Collection[str] = scope.keys
    if scope.between is not None:
        try:
            keys = keys_between(*scope.between, {k for k in published if k is not None})
        except NoOrder as error:
            raise BadRequest("range", str(error)) from None
        if not keys:
            raise BadRequest("range", f"no key of {asset.name!r} was published between its ends")
    if not keys:
        raise BadRequest("partition", "name at least one partition, or a range")
    unknown = sorted(set(keys) - published)
    if unknown:
        raise BadRequest(
            "partition", f"{asset.name!r} was never published for {', '.join(map(repr, unknown))}"
        )
    partitions = [Partition(asset.id, key) for key in dict.fromkeys(keys)]
    versions = decide(look(session, also=partitions).facts).judgement.versions
    targets = []
    for partition in partitions:
        last = current(versions.get(partition, ()))
        targets.append(Target(partition, asset.name, (last,) if last else (), last))
    return targets


def _published_by(run: Run, session: Session) -> list[Target]:
    if not lineage.known_runs([run], session=session):
        raise BadRequest("run", f"Dag {run.dag_id!r} has no run {run.run_id!r}")
    partitions = sorted(
        {p.partition for p in lineage.publications_of_run(run, session=session)},
        key=lambda p: (p.asset, str(p.key)),
    )
    if not partitions:
        raise BadRequest("run", f"{run.run_id!r} of {run.dag_id!r} has published nothing")
    names = names_of({p.asset for p in partitions}, session=session)
    versions = decide(look(session, also=partitions).facts).judgement.versions
    targets = []
    for partition in partitions:
        found = versions.get(partition, ())
        mine = tuple(v for v in found if v.run == run)[-1:]
        targets.append(Target(partition, names.get(partition.asset, "?"), mine, current(found)))
    return targets
