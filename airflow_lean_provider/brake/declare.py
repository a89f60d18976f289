"""The way out where a bad version has no natural end: a person declares what the data is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.brake.errors import BadRequest, Conflict
from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.brake.settle import settle_what_was_asked
from airflow_lean_provider.brake.targets import the_asset
from airflow_lean_provider.rules.facts import Outcome, Partition, Severity
from airflow_lean_provider.rules.versions import current
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import ClearedVersion
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Declared:
    """
    What a person has declared a version of a partition to be.

    :param new: nobody had declared it before
    """

    asset: str
    key: str | None
    outcome: Outcome
    by: str
    at: datetime
    new: bool


def declare(
    asset: str | int, key: str | None, outcome: Outcome, *, reason: str, by: str, timeout: float | None = None
) -> Declared:
    """
    Declare the last version of a partition as good.

    ``false_alarm``: it was good all along. ``fixed``: the data as it stands now is a new version, and whoever
    read the bad one runs again. Asked again, this says who declared it and changes nothing.

    :param key: None for what was published without a key
    :raises BadRequest: if the partition is not bad, or only the release of a cord can end that
    """
    if outcome is Outcome.WITHDRAWN:
        raise BadRequest("as", "must be fixed or false_alarm")
    if not reason.strip():
        raise BadRequest("reason", "must not be empty")

    def write(session: Session) -> Declared:
        if not lock_switch(session).enabled:
            raise Conflict("andon", "the brake is disabled; 'airflow andon enable' takes it up again")
        found = the_asset(asset, session)
        partition = Partition(found.id, key)
        scene = look(session, also=[partition])
        judgement = scene.judgement
        for halt in scene.facts.halts:
            if halt.partition == partition and halt.severity is Severity.STOP and halt.outcome is None:
                raise Conflict("partition", f"cord {halt.cord} is open on it; release that one instead")
        last = current(judgement.versions.get(partition, ()))
        if last is None:
            raise BadRequest("partition", f"{found.name!r} was never published for {key!r}")
        if partition not in judgement.bad_partitions:
            earlier = _declared_before(partition, session)
            if earlier is None:
                raise BadRequest("partition", f"{found.name!r} {key!r} is not bad")
            return Declared(
                found.name,
                key,
                Outcome(earlier.outcome),
                earlier.cleared_by,
                earlier.cleared_at,
                new=False,
            )
        moment = now()
        session.add(
            ClearedVersion(
                version=last.id,
                asset_id=partition.asset,
                partition_key=key,
                outcome=outcome.value,
                reason=reason.strip(),
                cleared_by=by,
                cleared_at=moment,
            )
        )
        said = f"{found.name} {key!r} ({last.id}) as {outcome.value} by {by}: {reason.strip()}"
        write_entries([Entry("andon declare", extra=said, by=by)], session)
        return Declared(found.name, key, outcome, by, moment, new=True)

    declared = in_transaction(write)
    settle_what_was_asked(timeout)
    return declared


def _declared_before(partition: Partition, session: Session) -> ClearedVersion | None:
    return session.scalars(
        select(ClearedVersion)
        .where(
            ClearedVersion.asset_id == partition.asset,
            ClearedVersion.partition_key.is_not_distinct_from(partition.key),
            ClearedVersion.outcome != Outcome.WITHDRAWN.value,
        )
        .order_by(ClearedVersion.id.desc())
    ).first()
