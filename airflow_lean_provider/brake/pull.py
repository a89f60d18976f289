"""Preview and pull: one function makes the plan, the other carries out the plan of its own moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.assets import policies_of
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.brake.errors import BadRequest, Conflict
from airflow_lean_provider.brake.hops import Made, walk
from airflow_lean_provider.brake.requests import check_request_key
from airflow_lean_provider.brake.scene import Scene, look
from airflow_lean_provider.brake.scopes import A_TRANSACTION
from airflow_lean_provider.brake.settle import settle_what_was_asked
from airflow_lean_provider.brake.targets import Meant, Scope, Target, find_meant, find_named
from airflow_lean_provider.rules.badness import judge
from airflow_lean_provider.rules.facts import Facts, Halt, Outcome, Partition, Severity
from airflow_lean_provider.rules.plan import Plan, decide
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Cord, CordPartition, CordScope, HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from airflow_lean_provider.rules.versions import Version

A_PREVIEW = -1
"""The cord of a halt that a preview supposes."""

MANUAL, ON_PUBLICATION = "manual", "publication"
"""How a cord ends: by a person, or once what it names is published again."""


@dataclass(frozen=True, slots=True)
class Preview:
    """
    What a pull would do at this moment.

    :param downstream: what is made of what it names, hop by hop
    """

    meant: Meant
    severity: Severity
    scene: Scene
    plan: Plan
    downstream: tuple[Made, ...]


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


def preview(scope: Scope, *, severity: Severity | None = None) -> Preview:
    """
    Say what a pull would do now.

    :param severity: None for what the assets' policies say
    :raises BadRequest: if the scope names something that does not exist
    """

    def look_ahead(session: Session) -> Preview:
        named = find_named(scope, session=session)
        chosen = severity or _severity_of(named.assets, session)
        moment = now()
        meant: list[Meant] = []

        def suppose(facts: Facts, versions: Mapping[Partition, Sequence[Version]]) -> list[Halt]:
            was_withdrawn = facts.went_with or any(h.outcome is Outcome.WITHDRAWN for h in facts.halts)
            withdrawn = judge(facts).presence.withdrawn if was_withdrawn else {}
            meant[:] = [find_meant(named, scope, versions, withdrawn)]
            return [_supposed(target, chosen, moment) for target in meant[0].targets]

        scene = look(session, also=named.partitions, suppose=suppose)
        plan = decide(scene.facts, scene.judgement)
        roots = [target.partition for target in meant[0].targets]
        return Preview(meant[0], chosen, scene, plan, tuple(walk(roots, scene.dags, session)))

    return in_transaction(look_ahead)


def pull(
    scope: Scope,
    *,
    reason: str,
    by: str,
    severity: Severity | None = None,
    release_on: str | None = None,
    request_key: str | None = None,
    permitted: Collection[int] | None = None,
    timeout: float | None = None,
) -> Pulled:
    """
    Mark partitions as bad; when this returns settled, no task that reads them is granted a start.

    The halt is committed first; whatever is killed after that, the sweeper finishes the rest.

    :param severity: None for what the assets' policies say
    :param release_on: ``manual`` or ``publication``; None for what the assets' policies say
    :param request_key: a repeated request with the same key returns the cord that exists
    :param permitted: the assets on which ``by`` may pull, None for all
    :param timeout: seconds to wait until every reader is held or stopped
    :raises BadRequest: if something is wrong with the request; nothing was changed
    """
    if not reason.strip():
        raise BadRequest("reason", "must not be empty")
    check_request_key(request_key)
    key = request_key or uuid4().hex  # a commit whose answer is lost is not repeated

    def record(session: Session) -> Pulled:
        if not lock_switch(session).enabled:
            raise Conflict("andon", "the brake is disabled; 'airflow andon enable' takes it up again")
        existing = session.scalar(select(Cord.id).where(Cord.request_key == key))
        if existing is not None:
            return Pulled(existing, settled=False, existed=request_key is not None)
        named = find_named(scope, session=session)
        judgement = look(session, also=named.partitions).judgement
        meant = find_meant(named, scope, judgement.versions, judgement.presence.withdrawn)
        if permitted is not None and not meant.assets.keys() <= set(permitted):
            raise Conflict("run", "has published another asset meanwhile; ask again")
        moment = now()
        cord = Cord(
            reason=reason.strip(),
            severity=(severity or _severity_of(meant.assets, session)).value,
            release_on=release_on or _release_on_of(meant.assets, session),
            request_key=key,
            pulled_by=by,
            pulled_at=moment,
        )
        session.add(cord)
        session.flush()
        session.add_all(_under(cord, target, moment) for target in meant.targets)
        if meant.later is not None:
            session.add_all(
                CordScope(
                    cord_id=cord.id,
                    asset_id=asset,
                    asset_name=name,
                    kind=meant.later.kind.value,
                    value=meant.later.value,
                    opened_at=scope.since or moment - A_TRANSACTION,
                )
                for asset, name in meant.assets.items()
            )
        if cord.severity == Severity.STOP.value:
            halt({t.partition for t in meant.targets if not t.good_again}, cord.id, moment, session)
        said = f"cord {cord.id} by {by}: {cord.reason}"
        write_entries([Entry("andon pull", extra=said, by=by)], session)
        return Pulled(cord.id, settled=False)

    pulled = in_transaction(record)
    return Pulled(pulled.cord, settle_what_was_asked(timeout, cord=pulled.cord), pulled.existed)


def halt(partitions: Collection[Partition], cord: int, moment: datetime, session: Session) -> None:
    """Keep whatever reads the partitions from starting, from the commit of this transaction on."""
    present = {
        Partition(row.asset_id, row.partition_key): row
        for row in session.scalars(
            select(HaltedPartition).where(HaltedPartition.asset_id.in_({p.asset for p in partitions}))
        )
    }
    for partition in sorted(partitions, key=str):
        cause = [cord, partition.asset, partition.key]
        row = present.get(partition)
        if row is None:
            row = HaltedPartition(
                asset_id=partition.asset, partition_key=partition.key, causes=[], since=moment
            )
            session.add(row)
        row.root = True
        row.causes = sorted([*row.causes, cause], key=lambda c: [str(x) for x in c])


def _under(cord: Cord, target: Target, moment: datetime) -> CordPartition:
    """Return the partition under the cord; if its last version is declared good, as ended already."""
    row = CordPartition(
        cord_id=cord.id,
        asset_id=target.partition.asset,
        asset_name=target.asset_name,
        partition_key=target.partition.key,
        opened_at=_opened(target, moment),
        named=[v.id for v in target.named],
    )
    if target.good_again or cord.release_on == ON_PUBLICATION:
        row.asked_outcome = Outcome.FIXED.value
        row.asked_by = cord.pulled_by
        row.asked_at = moment
        row.after_publication = not target.good_again
    if target.good_again:
        row.outcome = Outcome.FIXED.value
        row.ended_at = moment
    return row


def _opened(target: Target, moment: datetime) -> datetime:
    """What is published after the last version that the pull knew of is presumed bad."""
    return target.latest.at if target.latest is not None else moment


def _supposed(target: Target, severity: Severity, moment: datetime) -> Halt:
    return Halt(
        A_PREVIEW,
        target.partition,
        severity,
        opened=_opened(target, moment),
        named=frozenset(v.id for v in target.named),
        outcome=Outcome.FIXED if target.good_again else None,
        ended=moment if target.good_again else None,
    )


def _severity_of(assets: Collection[int], session: Session) -> Severity:
    """Return what the assets' authors want, the stricter if they differ."""
    said = {policy.severity for policy in policies_of(assets, session=session)}
    return Severity.WARN if said == {Severity.WARN.value} else Severity.STOP


def _release_on_of(assets: Collection[int], session: Session) -> str:
    """Return what the assets' authors want; else, or if they differ, a person decides."""
    said = {policy.release_on for policy in policies_of(assets, session=session)}
    return ON_PUBLICATION if said == {ON_PUBLICATION} else MANUAL
