"""What people do to a cord besides pulling and releasing it, and that all of it is on the record."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.api.common.delete_dag import delete_dag
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG, Asset, StartOfDayMapper
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType
from sqlalchemy import select

from airflow_lean_provider.assets import andon, inlet
from airflow_lean_provider.brake import report, sweep, switch
from airflow_lean_provider.brake.clean import clean
from airflow_lean_provider.brake.cords import acknowledge, raise_to_stop
from airflow_lean_provider.brake.declare import declare
from airflow_lean_provider.brake.doctor import examine
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.permits import approve, let_through
from airflow_lean_provider.brake.pull import preview, pull
from airflow_lean_provider.brake.targets import Scope
from airflow_lean_provider.rules.facts import Outcome, Run, Severity
from airflow_lean_provider.store.clock import now
from airflow_lean_provider.store.models import (
    Approval,
    ChildRun,
    ClearedVersion,
    Cord,
    CordPartition,
    CordScope,
    DagDependency,
    LetThrough,
)
from tests.integration.api import Client
from tests.integration.dags import CLEAN, ORDERS, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.world import World

DAY = datetime(2026, 6, 14, tzinfo=timezone.utc)
ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def audit(event: str) -> list[str]:
    with create_session(scoped=False) as session:
        return [
            e or "" for e in session.scalars(select(Log.extra).where(Log.event == event).order_by(Log.id))
        ]


def the_run(world: World, dag_id: str, key: str = "p1") -> Run:
    return Run(dag_id, world.dag_run(dag_id, key).run_id)


# Acknowledging


def test_the_first_who_acknowledges_is_on_it(chain: World) -> None:
    chain.publish("ingest", "p1")
    cord = chain.pull("orders", "p1")
    first = acknowledge(cord, by="ann", note="looking")
    second = acknowledge(cord, by="bob", note="me too")
    assert first.new
    assert (second.by, second.at, second.new) == ("ann", first.at, False)
    told = report.of_cord(cord)
    assert (told["acknowledged_by"], told["acknowledged_note"]) == ("ann", "looking")
    assert audit("andon ack") == [f"cord {cord} by ann: looking"]
    chain.release(cord, "false_alarm")
    chain.play()
    with pytest.raises(BadRequest, match="is closed"):
        acknowledge(cord, by="bob")


# Raising


def warn(world: World, *keys: str, **scope: Any) -> int:
    return pull(Scope("orders", keys=keys, **scope), reason="odd", by="tester", severity=Severity.WARN).cord


def test_a_warning_holds_nothing_until_it_is_raised(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.tick()
    running = chain.take("cleaning", "p1")
    assert chain.run(running) == 200
    cord = warn(chain, "p1")
    assert chain.halted() == set()
    assert raise_to_stop(cord, by="ann")
    assert chain.succeed(running) == 404
    assert chain.play() == {("cleaning.work", "p2"): 1, ("reporting.work", "p2"): 1}
    assert audit("andon raise") == [f"cord {cord} by ann"]
    assert raise_to_stop(cord, by="bob")
    assert len(audit("andon raise")) == 1
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE


def test_what_was_published_while_it_only_warned_is_bad_once_it_is_raised(chain: World) -> None:
    """D1: a cord names what its pull named and what is completed while its root halt is open."""
    chain.publish("ingest", "p1")
    cord = warn(chain, pattern="p*")
    chain.publish("ingest", "p1", "p2")
    assert chain.play()[("cleaning.work", "p2")] == 1
    raise_to_stop(cord, by="ann")
    assert chain.halted() >= {("orders", "p1"), ("orders", "p2"), ("clean", "p2"), ("report", "p2")}
    chain.publish("ingest", "p3")
    assert ("orders", "p3") in chain.halted()


def test_neither_a_closed_cord_nor_a_disabled_brake_can_be_raised(chain: World) -> None:
    chain.publish("ingest", "p1")
    cord = warn(chain, "p1")
    switch.disable(reason="x", by="tester")
    with pytest.raises(BadRequest, match="andon: the brake is disabled"):
        raise_to_stop(cord, by="ann")
    switch.enable(by="tester")
    chain.release(cord, "false_alarm")
    sweep.sweep()
    with pytest.raises(BadRequest, match="is closed"):
        raise_to_stop(cord, by="ann")


# Letting through


def test_who_let_a_run_through_and_why_is_on_the_record(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    run = the_run(chain, "cleaning")
    first = let_through(run, reason=" the board waits ", by="ann")
    second = let_through(run, reason="again", by="bob")
    assert (first.new, second.new, second.by) == (True, False, "ann")
    assert [(r["reason"], r["let_by"]) for r in chain.rows(LetThrough)["lean_let_through"]] == [
        ("the board waits", "ann")
    ]
    assert audit("andon let-through") == ["ann: the board waits"]
    assert chain.play() == {("cleaning.work", "p1"): 1}
    assert {line["let_through_by"] for line in report.of_run(run)} == {"ann"}


@pytest.mark.parametrize(
    ("dag_id", "key", "reason", "message"),
    [
        ("cleaning", "p2", "x", "run: .* reads nothing that is halted"),
        ("cleaning", "nope", "x", "run: Dag 'cleaning' has no run 'nope'"),
        ("cleaning", "p1", "  ", "reason: must not be empty"),
    ],
)
def test_what_cannot_be_let_through(chain: World, dag_id: str, key: str, reason: str, message: str) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.tick()
    chain.pull("orders", "p1")
    run = Run(dag_id, key) if key == "nope" else the_run(chain, dag_id, key)
    with pytest.raises(BadRequest, match=message):
        let_through(run, reason=reason, by="ann")
    assert chain.rows(LetThrough) == {"lean_let_through": []}


# Repairs that ask


def test_a_repair_that_asks_waits_for_a_person(world: World) -> None:
    mails = Asset("mails", extra=andon(repair="ask"))
    world.add(producer("ingest", ORDERS), consumer("mailing", ORDERS, mails))
    world.publish("ingest", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    run = the_run(world, "mailing")
    with pytest.raises(BadRequest, match="waits for a person"):
        approve(run, by="ann")
    world.release(cord, "fixed")
    assert world.play() == {}
    assert "asks" in world.labels("mailing", "p1")
    (line,) = report.of_run(run)
    assert line["awaits"] == f"a person: 'airflow andon repair --run mailing {run.run_id}'"
    (shown,) = report.of_cord(cord)["runs"]
    assert shown["awaits"] == line["awaits"]
    assert approve(run, by="ann", reason="told them").new
    assert not approve(run, by="bob").new
    assert world.play() == {("mailing.work", "p1"): 1}
    assert [(r["approved_by"], r["reason"]) for r in world.rows(Approval)["lean_approval"]] == [
        ("ann", "told them")
    ]
    assert audit("andon approve") == ["ann: told them"]
    assert report.of_cord(cord)["state"] == "closed"


# Ways out


@pytest.fixture
def stuck(chain: World) -> World:
    """The table ``clean`` was made from bad data, and the run that made it is gone when the cord ends."""
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.trigger("reporting", "p1", conf={"again": True})
    chain.tick()
    gone = chain.dag_run("cleaning", "p1").id
    with create_session(scoped=False) as session:
        session.delete(session.get_one(DagRun, gone))
    chain.release(cord, "fixed")
    assert chain.play() == {}
    return chain


def test_why_names_what_nobody_is_going_to_publish(stuck: World) -> None:
    lines = report.of_run(the_run(stuck, "reporting"))
    (line,) = [line for line in lines if line["reason"].startswith("bad, and nothing")]
    assert (line["asset"], line["partition_key"]) == ("clean", "p1")
    assert "airflow andon declare clean -p p1 --as fixed" in line["awaits"]
    (shown,) = report.of_cord(1)["stuck"]
    assert shown["asset"] == "clean"


def test_who_may_declare_is_offered_it_where_nothing_else_helps(stuck: World) -> None:
    run = the_run(stuck, "reporting")._asdict()

    def offered(role: str) -> list[str]:
        return [r["asset"] for r in Client(role).get("/why", **run)["reasons"] if r["may_declare"]]

    assert (offered("viewer"), offered("op")) == ([], ["clean"])
    (reason,) = [r for r in Client("op").get("/why", **run)["reasons"] if r["may_declare"]]
    where = {name: reason[name] for name in ("asset_id", "partition_key")}
    assert Client("op").post("/partitions/declare", **where, outcome="false_alarm", reason="counted")["new"]
    assert offered("op") == []
    assert stuck.halted() == set()


def test_declared_as_false_alarm_everything_goes_on(stuck: World) -> None:
    declared = declare("clean", "p1", Outcome.FALSE_ALARM, reason="checked by hand", by="ann")
    assert declared.new
    assert stuck.play() == {("reporting.work", "p1"): 1}
    assert stuck.halted() == set()
    assert not declare("clean", "p1", Outcome.FALSE_ALARM, reason="x", by="bob").new
    assert len(stuck.rows(ClearedVersion)["lean_cleared_version"]) == 1
    (said,) = audit("andon declare")
    assert said.startswith("clean 'p1' (event:")
    assert said.endswith("as false_alarm by ann: checked by hand")
    assert report.of_cord(1)["state"] == "closed"


def test_declared_as_fixed_who_read_it_runs_again(stuck: World) -> None:
    """Both runs of the report: the one that was held, with conf of its own, and the one that had read it."""
    declare("clean", "p1", Outcome.FIXED, reason="repaired in place", by="ann")
    assert stuck.play() == {("reporting.work", "p1"): 2}
    assert stuck.halted() == set()
    assert report.of_cord(1)["state"] == "closed"


def test_what_cannot_be_declared(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    cord = chain.pull("orders", "p1")
    for asset, key, outcome, message in (
        ("orders", "p1", Outcome.FIXED, f"partition: cord {cord} is open on it"),
        ("orders", "p2", Outcome.FIXED, "partition: 'orders' 'p2' is not bad"),
        ("orders", "p9", Outcome.FIXED, "partition: 'orders' was never published for 'p9'"),
        ("nothing", "p1", Outcome.FIXED, "asset: no asset has the name"),
        ("orders", "p1", Outcome.WITHDRAWN, "as: must be fixed or false_alarm"),
    ):
        with pytest.raises(BadRequest, match=message):
            declare(asset, key, outcome, reason="x", by="ann")
    with pytest.raises(BadRequest, match="reason: must not be empty"):
        declare("orders", "p1", Outcome.FIXED, reason=" ", by="ann")
    assert chain.rows(ClearedVersion) == {"lean_cleared_version": []}


# Cleaning


def age(days: int) -> None:
    """Make everything that was closed, let through, approved or declared so many days older."""
    with create_session(scoped=False) as session:
        for model, column in (
            (Cord, "closed_at"),
            (LetThrough, "let_at"),
            (Approval, "approved_at"),
            (ClearedVersion, "cleared_at"),
        ):
            for row in session.scalars(select(model)):
                if getattr(row, column) is not None:
                    setattr(row, column, getattr(row, column) - timedelta(days=days))


OURS = (Cord, CordPartition, CordScope, LetThrough, Approval, ClearedVersion)


def test_clean_deletes_old_closed_cords_and_nothing_else(stuck: World) -> None:
    declare("clean", "p1", Outcome.FALSE_ALARM, reason="checked by hand", by="ann")
    stuck.play()
    age(days=40)
    stuck.publish("ingest", "p2", "p3")
    stuck.tick()
    recent = stuck.pull("orders", "p2")
    let_through(the_run(stuck, "cleaning", "p2"), reason="x", by="ann")
    covering = pull(Scope("orders", pattern="x*"), reason="x", by="ann").cord
    before = stuck.rows(*OURS)
    month = now() - timedelta(days=30)
    told = clean(before=month, by="ann", dry_run=True)
    assert {table: n for table, n in told.items() if n} == {
        "lean_cord": 1,
        "lean_cord_partition": 1,
        "lean_cleared_version": 1,
    }
    assert stuck.rows(*OURS) == before
    assert clean(before=month, by="ann") == told
    after = stuck.rows(*OURS)
    assert {c["id"] for c in after["lean_cord"]} == {recent, covering}
    assert {p["cord_id"] for p in after["lean_cord_partition"]} == {recent}
    assert after["lean_cleared_version"] == []
    assert len(after["lean_let_through"]) == 1
    assert len(after["lean_cord_scope"]) == 1
    assert not clean(before=month, by="ann").total()
    assert len(audit("andon clean")) == 1


def test_clean_keeps_what_an_open_cord_needs_however_old(stuck: World) -> None:
    """A person has declared the table as good while its cord stays open for other reasons."""
    declare("clean", "p1", Outcome.FALSE_ALARM, reason="checked by hand", by="ann")
    cord = stuck.pull("clean", "p1")
    let_through(the_run(stuck, "reporting"), reason="x", by="ann")
    age(days=40)
    told = clean(before=now(), by="ann")
    assert told["lean_cleared_version"] == told["lean_let_through"] == 0
    assert cord in {c["id"] for c in stuck.rows(Cord)["lean_cord"]}


def test_clean_forgets_who_triggered_runs_that_are_gone(chain: World) -> None:
    run_id = chain.trigger("ingest", "p1")
    parent = {"parent_dag_id": "a", "parent_run_id": "b", "parent_task_id": "c", "parent_map_index": -1}
    with create_session(scoped=False) as session:
        session.add(ChildRun(dag_id="ingest", run_id=run_id, **parent))
        session.add(ChildRun(dag_id="ingest", run_id="gone", **parent))
    assert clean(before=now(), by="ann")["lean_child_run"] == 1
    assert [r["run_id"] for r in chain.rows(ChildRun)["lean_child_run"]] == [run_id]


def test_clean_forgets_what_dags_that_are_gone_wait_for(world: World) -> None:
    with DAG("waiting", schedule=None) as waiting:
        ExternalTaskSensor(task_id="wait", external_dag_id="elsewhere")
        Step(task_id="read", inlets=[Asset.ref(name="orders")])
    with DAG("staying", schedule=None) as staying:
        ExternalTaskSensor(task_id="wait", external_dag_id="elsewhere")
    world.add(waiting, staying)
    assert not clean(before=now(), by="ann").total()
    delete_dag("waiting")
    told = clean(before=now(), by="ann")
    assert {table: n for table, n in told.items() if n} == {
        "lean_inlet_reference": 1,
        "lean_dag_dependency": 1,
    }
    assert [r["dag_id"] for r in world.rows(DagDependency)["lean_dag_dependency"]] == ["staying"]


# What the author of an asset has decided


def policed(world: World, **policy: Any) -> World:
    orders = Asset("orders", extra={**andon(**policy), "owner": "sales"})
    world.add(
        producer("ingest", orders), consumer("cleaning", orders, CLEAN), consumer("reporting", CLEAN, REPORT)
    )
    world.publish("ingest", "p1")
    return world


def pulled(**options: Any) -> dict[str, Any]:
    cord = pull(Scope("orders", keys=("p1",)), reason="x", by="tester", **options).cord
    return report.of_cord(cord)


def test_the_severity_of_an_asset_is_that_of_its_cords(world: World) -> None:
    policed(world, severity="warn")
    assert preview(Scope("orders", keys=("p1",))).severity is Severity.WARN
    assert pulled()["severity"] == "warn"
    assert world.halted() == set()
    assert pulled(severity=Severity.STOP)["severity"] == "stop"
    assert world.halted() == {("orders", "p1")}


def test_a_cord_on_two_assets_is_as_strict_as_the_stricter(world: World) -> None:
    soft, hard = Asset("soft", extra=andon(severity="warn", release_on="publication")), Asset("hard")
    world.add(producer("ingest", soft, hard))
    (run_id,) = world.publish("ingest", "p1")
    cord = pull(Scope(run=Run("ingest", run_id)), reason="x", by="tester").cord
    assert (report.of_cord(cord)["severity"], report.of_cord(cord)["release_on"]) == ("stop", "manual")


def test_an_asset_may_say_that_its_cords_end_with_the_next_publication(world: World) -> None:
    policed(world, release_on="publication")
    world.play()
    told = pulled()
    assert told["release_on"] == "publication"
    assert told["partitions"][0]["waits_for"] == "its next publication"
    world.publish("ingest", "p1")
    assert world.play() == ONCE


def test_a_person_has_the_last_word(world: World) -> None:
    policed(world, release_on="publication")
    world.play()
    cord = pulled(release_on="manual")["cord_id"]
    world.publish("ingest", "p1")
    assert world.play() == {}
    assert report.of_cord(cord)["partitions"][0]["outcome"] == "open"


def test_a_cord_that_a_person_pulled_does_not_wait_for_a_check(world: World) -> None:
    policed(world, release_on="check")
    assert pulled()["release_on"] == "manual"


def test_a_task_that_finishes_what_it_publishes_is_not_killed(world: World) -> None:
    clean_table = Asset("clean", extra=andon(on_running="finish"))
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, clean_table))
    world.publish("ingest", "p1")
    world.tick()
    work = world.take("cleaning", "p1")
    assert world.run(work) == 200
    cord = world.pull("orders", "p1")
    assert world.succeed(work) == 204
    assert world.halted() == {("orders", "p1"), ("clean", "p1")}
    world.release(cord, "fixed")
    assert world.play() == {("cleaning.work", "p1"): 1}
    assert world.halted() == set()


def test_a_mistake_in_a_policy_fails_where_the_dag_is_parsed(clean_db: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from airflow.sdk import DAG, Asset\n"
        "from airflow_lean_provider.assets import andon\n"
        "DAG('shop', schedule=Asset('orders', extra=andon(severty='warn')))\n"
    )
    bag = DagBag(tmp_path)
    assert bag.dags == {}
    (error,) = bag.import_errors.values()
    assert "severty: andon(...) has no such field; did you mean severity?" in error


def test_a_policy_that_was_written_by_hand_is_ignored_where_it_is_wrong(world: World) -> None:
    orders = Asset("orders", extra={"andon": {"severity": "loud", "release_on": "publication"}})
    world.add(producer("ingest", orders))
    world.publish("ingest", "p1")
    (said,) = [f for f in examine() if f.check == "policies of assets are valid"]
    assert (said.fine, said.detail) == (
        False,
        "ignored: orders: severity: must be one of stop, warn, not 'loud'",
    )
    told = pulled()
    assert (told["severity"], told["release_on"]) == ("stop", "publication")


# Whose slots are used up


def is_about(run_id: str, moment: datetime) -> None:
    with create_session(scoped=False) as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()
        run.logical_date = run.data_interval_start = run.data_interval_end = moment


def test_whose_slots_are_used_up_is_said_everywhere(world: World) -> None:
    """A scheduled run is parked task by task and stays RUNNING: with max_active_runs=1 the next one waits."""
    with DAG("nightly", schedule=None, max_active_runs=1) as nightly:
        Step(task_id="read", inlets=inlet(ORDERS, reads=StartOfDayMapper()))
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", DAY.date().isoformat())
    is_about(world.trigger("nightly", run_type=DagRunType.SCHEDULED), DAY)
    world.tick()
    used_up = [{"dag_id": "nightly", "limit": "nightly: 1 of 1 max_active_runs"}]
    assert report.of_preview(preview(Scope("orders", keys=("2026-06-14",))))["used_up"] == used_up
    cord = world.pull("orders", "2026-06-14")
    assert report.of_cord(cord)["used_up"] == used_up
    second = world.trigger("nightly")
    is_about(second, DAY + timedelta(days=1))
    assert world.play() == {}
    assert report.of_run(Run("nightly", second)) == [
        {"labels": [], "awaits": "room: nightly: 1 of 1 max_active_runs used up by what is held"}
    ]
    world.release(cord, "false_alarm")
    assert world.play() == {("nightly.read", None): 2}
    assert report.of_run(Run("nightly", second)) == []


def test_who_would_be_held_in_doubt_is_listed_apart(world: World) -> None:
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=[ORDERS])
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", "p1")
    world.trigger("nightly")
    in_doubt = [
        {
            "dag_id": "nightly",
            "task_id": "read",
            "asset": "orders",
            "ends_the_doubt": "inlets=inlet(orders, reads=<a partition mapper>)",
        }
    ]
    assert report.of_preview(preview(Scope("orders", keys=("p1",))))["held_in_doubt"] == in_doubt
    assert report.of_cord(world.pull("orders", "p1"))["held_in_doubt"] == in_doubt


def test_a_run_that_says_nothing_of_its_time_is_held_in_doubt_whatever_its_author_declares(
    world: World,
) -> None:
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=inlet(ORDERS, reads=StartOfDayMapper()))
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", "2026-06-14")
    world.trigger("nightly")
    (line,) = report.of_preview(preview(Scope("orders", keys=("2026-06-14",))))["held_in_doubt"]
    assert line["ends_the_doubt"].startswith("a partition key, or a logical date, for the run")


def test_dags_that_merely_wait_for_an_affected_one_are_listed_and_left_alone(chain: World) -> None:
    with DAG("waiting", schedule=None) as waiting:
        ExternalTaskSensor(task_id="wait", external_dag_id="reporting")
        ExternalTaskSensor.partial(task_id="mapped", external_dag_id="cleaning").expand(
            external_task_id=["work"]
        )
    with DAG("starting", schedule=None) as starting:
        TriggerDagRunOperator(task_id="start", trigger_dag_id="cleaning")
    with DAG("elsewhere", schedule=None) as elsewhere:
        ExternalTaskSensor(task_id="wait", external_dag_id="ingest")
        TriggerDagRunOperator(task_id="start", trigger_dag_id="{{ var.value.anything }}")
    chain.add(waiting, starting, elsewhere)
    chain.publish("ingest", "p1")
    not_followed = [
        {"dag_id": "starting", "task_id": "start", "why": "triggers cleaning"},
        {"dag_id": "waiting", "task_id": "mapped", "why": "waits for cleaning"},
        {"dag_id": "waiting", "task_id": "wait", "why": "waits for reporting"},
    ]
    assert report.of_preview(preview(Scope("orders", keys=("p1",))))["not_followed"] == not_followed
    assert report.of_cord(chain.pull("orders", "p1"))["not_followed"] == not_followed
    with DAG("waiting", schedule=None) as later:
        Step(task_id="wait")
    chain.add(later)
    assert report.of_cord(1)["not_followed"] == not_followed[:1]
