"""Release and repair: how a cord ends, partition by partition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals import clearing, holding
from airflow_lean_provider.airflow_internals.audit import Entry, write_entries
from airflow_lean_provider.brake import scopes
from airflow_lean_provider.brake.errors import BadRequest, Conflict, NotFound, NotPermitted
from airflow_lean_provider.brake.requests import check_request_key, is_repeated
from airflow_lean_provider.brake.scene import look
from airflow_lean_provider.brake.settle import release_waits_for, settle_what_was_asked
from airflow_lean_provider.brake.targets import the_asset
from airflow_lean_provider.rules.facts import Outcome, Partition, Run, Task
from airflow_lean_provider.rules.plan import decide
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import Cord, CordPartition
from airflow_lean_provider.store.transactions import in_transaction, lock_switch

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.orm import Session

    from airflow_lean_provider.airflow_internals.assets import NamedAsset


@dataclass(frozen=True, slots=True)
class Released:
    """
    What became of a release.

    :param ended: the partitions that are released
    :param waiting: those that are not yet, with what they wait for
    """

    cord: int
    ended: tuple[CordPartition, ...] = ()
    waiting: tuple[tuple[CordPartition, str], ...] = ()
    cleared: tuple[Task, ...] = field(default=())


def release(
    cord: int,
    outcome: Outcome,
    *,
    by: str,
    keys: Collection[str] = (),
    of: Collection[Partition] = (),
    asset: str | None = None,
    note: str | None = None,
    forced: bool = False,
    on_publication: bool = False,
    keep_scope: bool = False,
    request_key: str | None = None,
    timeout: float | None = None,
) -> Released:
    """
    End a cord, on all of its partitions or on some.

    ``fixed`` takes effect when no task that publishes the partition is tainted, owing, stopped, cleared,
    queued, retrying or running; until then it stays asked for. With all partitions, an open-ended scope ends
    at once: what is published from now on is good.

    :param keys: only the partitions with these keys, whatever their asset
    :param of: only these partitions
    :param asset: name or uri; only its partitions, all of them or those with ``keys``
    :param forced: do not wait for the tasks that publish
    :param on_publication: wait for a new version besides
    :param keep_scope: go on covering what is published later
    :param request_key: a repeated request with the same key changes nothing
    :raises BadRequest: if there is no such cord or partition, or it is released already
    """
    if on_publication and (outcome is not Outcome.FIXED or forced):
        raise BadRequest("on-publication", "ends a cord as fixed, once it was published again")
    if of and (keys or asset is not None):
        raise BadRequest("of", "names partitions; it goes with no keys and no asset besides")

    check_request_key(request_key)

    def ask(session: Session) -> None:
        lock_switch(session)
        if is_repeated(request_key, cord, by, session):
            return
        scopes.cover_what_was_published(session)
        everything = not keys and not of and asset is None
        scope_ended = everything and not keep_scope and scopes.end(cord, by, session)
        rows = _named_by(cord, session)
        if asset is not None:
            rows = _of_asset(cord, rows, the_asset(asset, session))
        for row in _still_open(cord, rows, keys, frozenset(of), none_is_fine=scope_ended):
            row.asked_outcome = outcome.value
            row.asked_by = by
            row.asked_at = now()
            row.note = note
            row.forced = forced
            row.after_publication = on_publication
        when = " once it is published again" if on_publication else ""
        said = f"cord {cord} as {outcome.value}{when} by {by}: {note or ''}"
        write_entries([Entry("andon release", extra=said, by=by)], session)

    in_transaction(ask)
    settle_what_was_asked(timeout)
    return _state_of(cord)


def end_scope(
    cord: int, *, by: str, request_key: str | None = None, timeout: float | None = None
) -> Released:
    """
    Stop covering what is published from now on; the partitions that the cord names stay halted.

    :param request_key: a repeated request with the same key changes nothing
    :raises BadRequest: if there is no such cord, or nothing of it covers what is published later
    """

    check_request_key(request_key)

    def end(session: Session) -> None:
        lock_switch(session)
        if is_repeated(request_key, cord, by, session):
            return
        if session.get(Cord, cord) is None:
            raise NotFound("cord", f"there is no cord {cord}")
        scopes.cover_what_was_published(session)
        if not scopes.end(cord, by, session):
            raise BadRequest("only-scope", f"cord {cord} does not cover what is published later")

    in_transaction(end)
    settle_what_was_asked(timeout)
    return _state_of(cord)


def repair(
    cord: int, *, by: str, permitted: Collection[str] | None = None, timeout: float | None = None
) -> Released:
    """
    Clear the tasks that published the bad versions, and release as fixed once they have published again.

    A task that is about to publish already is left alone; whatever follows the last version that was seen
    counts, for its publication may have been under way while this looked.

    :param permitted: the Dags whose tasks ``by`` may clear, None for all
    :raises NotPermitted: if a task of another Dag would have to be cleared
    :raises BadRequest: if no run can be found that published a partition of the cord
    """

    def clear_publishers(session: Session) -> list[Task]:
        if not lock_switch(session).enabled:
            raise Conflict("andon", "the brake is disabled; 'airflow andon enable' takes it up again")
        rows = _still_open(cord, _named_by(cord, session))
        wanted: set[Task] = set()
        last_seen: dict[int, datetime] = {}
        scene = look(session)
        judgement = scene.judgement
        for row in rows:
            partition = Partition(row.asset_id, row.partition_key)
            versions = [v for v in judgement.versions.get(partition, ()) if v.run in scene.facts.runs]
            named = [v for v in versions if v.id in row.named] or versions
            if not named:
                raise BadRequest(
                    "cord",
                    f"no run is left that published {row.asset_name} {row.partition_key!r}; publish it, "
                    "then release the cord as fixed",
                )
            known = scene.facts.runs[named[-1].run or Run("", "")]
            writers = {a.task for a in named[-1].contributors} or {
                t for t in known.tasks if partition in known.outlets(t.task_id)
            }
            if any(not known.tasks[t].finished for t in writers if t in known.tasks):
                last_seen[row.id] = max(v.at for v in judgement.versions[partition])
                continue
            following = {f for t in writers for f in known.shape.downstream(t.task_id)}
            wanted |= writers | {t for t in known.tasks if t.task_id in following}
        if permitted is not None and not {t.dag_id for t in wanted} <= set(permitted):
            raise NotPermitted("cord", "what has published it belongs to a Dag that you may not clear")
        locked = holding.lock_runs({t.run for t in wanted}, session=session)
        again = {run: [t for t in wanted if t.run == run] for run in locked}
        cleared = clearing.clear(locked, again, session=session)
        trail = [Entry("andon repair", run, f"cord {cord}: publishes again", by=by) for run in locked]
        write_entries([Entry("andon repair", extra=f"cord {cord} by {by}", by=by), *trail], session)
        for row in rows:
            row.asked_outcome = Outcome.FIXED.value
            row.asked_by = by
            row.asked_at = last_seen.get(row.id) or now()
            row.after_publication = True
            row.forced = False
        return cleared

    cleared = in_transaction(clear_publishers)
    settle_what_was_asked(timeout)
    state = _state_of(cord)
    return Released(cord, state.ended, state.waiting, tuple(cleared))


def _named_by(cord: int, session: Session) -> list[CordPartition]:
    if session.get(Cord, cord) is None:
        raise NotFound("cord", f"there is no cord {cord}")
    return list(session.scalars(select(CordPartition).where(CordPartition.cord_id == cord)))


def _of_asset(cord: int, rows: Collection[CordPartition], asset: NamedAsset) -> list[CordPartition]:
    found = [r for r in rows if r.asset_id == asset.id]
    if not found:
        raise BadRequest("asset", f"cord {cord} names no partition of {asset.name!r}")
    if all(r.outcome is not None for r in found):
        raise Conflict("asset", f"cord {cord} is released already on {asset.name!r}")
    return found


def _still_open(
    cord: int,
    rows: Collection[CordPartition],
    keys: Collection[str] = (),
    of: Collection[Partition] = (),
    *,
    none_is_fine: bool = False,
) -> list[CordPartition]:
    """Return the open ones of the rows, or of those that are named, all of which have to be open."""
    unknown = sorted(set(keys) - {r.partition_key for r in rows})
    if unknown:
        raise BadRequest("partition", f"cord {cord} does not name {', '.join(map(repr, unknown))}")
    strange = set(of) - {Partition(r.asset_id, r.partition_key) for r in rows}
    if strange:
        told = ", ".join(f"{p.key!r} of asset {p.asset}" for p in sorted(strange, key=str))
        raise BadRequest("of", f"cord {cord} does not name {told}")
    chosen = [
        r
        for r in rows
        if (not keys or r.partition_key in keys) and (not of or Partition(r.asset_id, r.partition_key) in of)
    ]
    still_open = [r for r in chosen if r.outcome is None]
    if (keys or of) and len(still_open) < len(chosen):
        done = ", ".join(repr(r.partition_key) for r in chosen if r.outcome is not None)
        raise Conflict("of" if of else "partition", f"{done} of cord {cord} is released already")
    if not still_open and not none_is_fine:
        if not rows:
            raise Conflict("cord", f"nothing that cord {cord} covers was published yet")
        raise Conflict("cord", f"cord {cord} is released already")
    return still_open


def _state_of(cord: int) -> Released:
    def read(session: Session) -> Released:
        rows = list(session.scalars(select(CordPartition).where(CordPartition.cord_id == cord)))
        asked = [r for r in rows if r.outcome is None and r.asked_outcome is not None]
        waiting: list[tuple[CordPartition, str]] = []
        if asked:
            scene = look(session)
            plan = decide(scene.facts, scene.judgement)
            waiting = [(r, str(release_waits_for(r, scene, plan) or "being carried out")) for r in asked]
        return Released(cord, tuple(r for r in rows if r.outcome is not None), tuple(waiting))

    return in_transaction(read)
