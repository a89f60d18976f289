"""What goes wrong in schedulers and in other tools' brakes, where no other file tells of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.asset import AssetModel
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.deadline import Deadline
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import (
    DAG,
    Asset,
    AsyncCallback,
    DayWindow,
    DeadlineAlert,
    DeadlineReference,
    FixedKeyMapper,
    MonthWindow,
    PartitionedAtRuntime,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfMonthMapper,
    StartOfWeekMapper,
    WeekWindow,
)
from airflow.triggers.base import StartTriggerArgs
from sqlalchemy import select

from airflow_lean_provider.brake.pull import Scope
from airflow_lean_provider.brake.pull import pull as pull_act
from tests.integration.dags import (
    CLEAN,
    DAILY,
    ORDERS,
    REPORT,
    Step,
    consumer,
    days_of_hours,
    hours_of,
    producer,
)
from tests.integration.test_racing import at_once

if TYPE_CHECKING:
    from tests.integration.world import Work, World

DAY = "2026-06-14"


class TestPausing:
    """T1: runs of a paused Dag pile up queued, and all start when it is unpaused."""

    def test_runs_that_piled_up_are_held_when_the_dag_is_unpaused(self, chain: World) -> None:
        chain.publish("ingest", "p1", "p2")
        chain.create_runs()
        chain.pause("cleaning")
        cord = chain.pull("orders", "p1")
        chain.pause("cleaning", paused=False)
        assert chain.play(sweeping=False) == {("cleaning.work", "p2"): 1, ("reporting.work", "p2"): 1}
        assert chain.is_held("cleaning", "p1")
        chain.release(cord, "false_alarm")
        assert chain.play()["cleaning.work", "p1"] == 1

    def test_the_brake_pauses_nothing(self, chain: World) -> None:
        chain.publish("ingest", "p1")
        chain.tick()
        cord = chain.pull("orders", "p1")
        chain.play()
        with chain._session() as session:
            assert not session.scalars(select(DagModel.dag_id).where(DagModel.is_paused)).all()
        chain.pause("reporting")
        chain.release(cord, "fixed")
        chain.play()
        with chain._session() as session:
            assert session.scalars(select(DagModel.dag_id).where(DagModel.is_paused)).all() == ["reporting"]


def test_held_partitions_that_are_published_again_leave_no_pending_rows(world: World) -> None:
    """T2: pending rows are taken oldest first, 500 a loop: left behind, they starve every other Dag."""
    keys = [f"p{n:02}" for n in range(30)]
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    for key in keys:
        world.publish_from_outside("orders", key)
    world.create_runs()
    cord = world.pull("orders", *keys)
    for key in keys:
        world.publish_from_outside("orders", key)
    assert world.pending() == []
    assert world.play() == {}
    world.release(cord, "fixed")
    assert world.play() == {("cleaning.work", key): 1 for key in keys}


def test_a_roll_up_without_a_partition_date_is_known_by_its_key(world: World) -> None:
    """T5: ``partition_date`` is None in most roll-ups; keys need not be dates."""
    regions = ["us", "eu", "apac"]
    mapper = RollupMapper(upstream_mapper=FixedKeyMapper("all regions"), window=SegmentWindow(regions))
    world.add(producer("ingest", ORDERS), consumer("adding", ORDERS, DAILY, mapper=mapper))
    for region in regions:
        world.publish_from_outside("orders", region)
    world.create_runs()
    assert world.dag_run("adding", "all regions").partition_date is None
    cord = world.pull("orders", "eu")
    assert world.play() == {}
    assert world.is_held("adding", "all regions")
    world.release(cord, "false_alarm")
    assert world.play() == {("adding.work", "all regions"): 1}


def test_an_event_with_a_key_passes_dags_without_partitions_by(world: World) -> None:
    """T6: nothing is held that will not come."""
    with DAG("exporting", schedule=[ORDERS]) as dag:
        Step(task_id="work")
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN), dag)
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    world.publish_from_outside("orders", "p2")
    assert world.play() == {("cleaning.work", "p2"): 1}
    assert world.runs("exporting") == []
    world.release(cord, "fixed")
    assert world.play() == {("cleaning.work", "p1"): 1}


@pytest.mark.parametrize("position", [0, 12, 23])
def test_the_bad_one_of_several_events_need_not_be_the_last(world: World, position: int) -> None:
    """T7."""
    world.add(producer("ingest", ORDERS), days_of_hours("adding", ORDERS, DAILY))
    hours = hours_of(DAY)
    for hour in hours:
        world.publish_from_outside("orders", hour)
    world.tick()
    work = world.take("adding", DAY)
    world.pull("orders", hours[position])
    assert world.run(work) == 404
    assert world.is_held("adding", DAY)


class Impatient(Step):
    """A task that begins in the triggerer and may take no time at all."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="tests.Trigger", trigger_kwargs={}, next_method="execute_complete", timeout=None
    )


@pytest.mark.parametrize("beside", [False, True], ids=["held", "parked"])
def test_an_execution_timeout_does_not_pass_while_it_waits(world: World, beside: bool) -> None:
    """T15: the scheduler wakes what is deferred for too long."""
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        late = Impatient(task_id="late", execution_timeout=timedelta(microseconds=1))
        Step(task_id="load", outlets=[ORDERS]) >> late
        if beside:
            Step(task_id="beside")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    world.schedule()
    assert world.ti("ingest", "p1", "late").trigger_timeout is not None
    cord = world.pull("orders", "p1")
    world.timers()
    world.play(but=["ingest"])
    world.timers()
    assert world.states("ingest", "p1")["late"] == ("deferred" if beside else None)
    assert world.waiting() == (["ingest.beside"] if beside else [])
    world.release(cord, "false_alarm")
    world.tick()
    assert world.ti("ingest", "p1", "late").trigger_id is not None


@pytest.mark.parametrize("parked", [False, True], ids=["held", "parked"])
def test_a_deadline_alert_fires_and_changes_nothing(world: World, parked: bool) -> None:
    """T15: a late table is what it is there to tell of."""
    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(0), AsyncCallback(tell))
    with DAG("ingest", schedule=PartitionedAtRuntime(), deadline=alert) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="after")
        if parked:
            Step(task_id="beside")
    world.add(dag)
    world.trigger("ingest", "p1")
    world.tick()
    assert world.work(world.take("ingest", "p1", "load"))
    cord = world.pull("orders", "p1")
    before = world.rows(DagRun)
    with world._session() as session:
        (deadline,) = session.scalars(select(Deadline))
        deadline.handle_miss(session)
    assert world.rows(DagRun) == before
    world.play(but=["ingest"])
    world.release(cord, "false_alarm")
    assert world.play()["ingest.after", "p1"] == 1
    assert world.dag_run("ingest", "p1").state == "success"


async def tell(**context: Any) -> None:
    """What a deadline alert calls."""


class TestAnAssetThatChanges:
    """T16: an asset is renamed or orphaned while a cord is open."""

    @pytest.fixture
    def held(self, chain: World) -> tuple[World, int]:
        chain.publish("ingest", "p1")
        chain.play()
        return chain, chain.pull("orders", "p1")

    @pytest.mark.parametrize("outcome", ["fixed", "false_alarm"])
    def test_renamed(self, held: tuple[World, int], outcome: str) -> None:
        world, cord = held
        renamed = Asset("purchases")
        world.add(producer("ingest", renamed), consumer("cleaning", renamed, CLEAN))
        world.timers()
        with world._session() as session:
            orders = session.scalars(select(AssetModel).where(AssetModel.name == "orders")).one()
            assert orders.active is None, "Airflow takes it for orphaned"
        assert world.play() == {}
        assert ("clean", "p1") in world.halted()
        world.release(cord, outcome)
        again = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
        assert world.play() == (again if outcome == "fixed" else {})
        assert world.halted() == set()

    def test_its_producer_is_gone(self, held: tuple[World, int]) -> None:
        world, cord = held
        world.add(producer("ingest", REPORT))
        world.clear("cleaning", "p1")
        assert world.play() == {}
        assert world.is_held("cleaning", "p1")
        world.release(cord, "fixed")
        assert world.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


class TestRaces:
    """T18, T26."""

    def test_the_fix_is_published_while_the_pull_looks(self, chain: World) -> None:
        """Whichever was first: one cord, one release, and every reader ends on what was published last."""
        for key in (f"p{n}" for n in range(6)):
            chain.publish("ingest", key)
            chain.play()
            chain.trigger("ingest", key)
            chain.start_runs()
            chain.schedule()
            chain.queue()
            work = chain.take("ingest", key)
            assert chain.run(work) == 200
            cords: list[int] = []
            at_once(
                lambda key=key, cords=cords: cords.append(chain.pull("orders", key)),
                lambda work=work: chain.succeed(work),
            )
            assert chain.play() == {}, "what is published under an open cord is presumed bad"
            chain.release(cords[0], "fixed")
            done = chain.play()
            assert (done["cleaning.work", key], done["reporting.work", key]) == (1, 1)
            assert chain.halted() == set()
            assert chain.pending() == []

    @pytest.mark.parametrize("outcome", ["fixed", "false_alarm"])
    def test_a_cord_is_released_while_it_is_still_being_pulled(self, chain: World, outcome: str) -> None:
        chain.publish("ingest", "p1")
        chain.tick()
        assert chain.run(chain.take("cleaning", "p1")) == 200
        pulled = pull_act(Scope(asset="orders", keys=("p1",)), reason="wrong", by="tester", timeout=0)
        assert not pulled.settled
        chain.release(pulled.cord, outcome)
        chain.play()
        assert chain.dag_run("cleaning", "p1").state in ("success", "running")
        assert chain.halted() <= {("clean", "p1")}

    def test_a_diamond_pulled_while_one_side_publishes(self, world: World) -> None:
        """A -> C and A -> B -> C: the pull locks runs that the publication refers to."""
        world.add(
            producer("ingest", ORDERS),
            consumer("cleaning", ORDERS, CLEAN),
            consumer("joining", ORDERS & CLEAN, REPORT),
        )
        for key in (f"p{n}" for n in range(6)):
            world.publish("ingest", key)
            world.tick()
            work = world.take("cleaning", key)
            assert world.run(work) == 200
            cords: list[int] = []
            answers: list[int] = []
            at_once(
                lambda key=key, cords=cords: cords.append(world.pull("orders", key)),
                lambda work=work, answers=answers: answers.append(world.succeed(work)),
            )
            assert answers in ([204], [404])
            assert world.play() == {}
            world.release(cords[0], "fixed")
            done = world.play()
            assert done["joining.work", key] == 1
            assert done["cleaning.work", key] == 1
            assert world.halted() == set()


ROLL_UPS = {
    "a leap day": (
        RollupMapper(upstream_mapper=StartOfMonthMapper(input_format="%Y-%m-%d"), window=MonthWindow()),
        "2028-02-29",
        "2028-03-01",
    ),
    "week 53": (
        RollupMapper(upstream_mapper=StartOfWeekMapper(input_format="%Y-%m-%d"), window=WeekWindow()),
        "2027-01-01",
        "2027-01-04",
    ),
    "a day of 23 hours": (
        RollupMapper(
            upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%dT%H:%M:%S%z", timezone="Europe/Berlin"),
            window=DayWindow(),
        ),
        "2026-03-29T03:00:00+0200",
        "2026-03-30T03:00:00+0200",
    ),
}


@pytest.mark.parametrize("calendar", ROLL_UPS)
def test_calendars(world: World, calendar: str) -> None:
    """T21: daylight saving, leap days, week 53, a zone of its own."""
    mapper, bad, other = ROLL_UPS[calendar]
    world.add(producer("ingest", ORDERS), consumer("adding", ORDERS, DAILY, mapper=mapper))
    with world._session() as session:
        serialized = SerializedDagModel.get("adding", session=session)
        assert serialized is not None
        timetable: Any = serialized.dag.timetable
        core = timetable.get_partition_mapper(name="orders", uri="orders")
        whole = core.to_downstream(bad)
        keys = sorted(core.to_upstream(whole))
    assert bad in keys
    assert other not in keys
    for key in keys:
        world.publish_from_outside("orders", key)
    world.publish_from_outside("orders", other)
    world.create_runs()
    assert [r.partition_key for r in world.runs("adding")] == [whole]
    cord = world.pull("orders", other)
    assert world.play() == {("adding.work", whole): 1}, "the next one is another partition"
    world.release(cord, "fixed")
    cord = world.pull("orders", bad)
    assert "tainted" in world.labels("adding", world.runs("adding")[0].run_id)
    by_hand = world.trigger("adding", whole)
    assert world.play() == {}
    assert world.is_held("adding", by_hand)
    world.release(cord, "fixed")
    assert world.play() == {("adding.work", whole): 1}


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_a_worker_does_not_count(chain: World, hours: int) -> None:
    """T25: what an execution saw is told by the moments that the api-server has written down."""
    chain.publish("ingest", "p1")
    chain.tick()
    work = chain.take("cleaning", "p1")
    wrong = datetime.now(timezone.utc) + timedelta(hours=hours)
    body = {"state": "running", "hostname": "worker", "unixname": "airflow", "pid": 1}
    assert chain._call("PATCH", work, "run", **body, start_date=wrong.isoformat()) == 200
    succeed_at(chain, work, wrong)
    chain.play()
    cord = chain.pull("orders", "p1")
    assert "tainted" in chain.labels("cleaning", "p1")
    assert chain.halted() == {("orders", "p1"), ("clean", "p1"), ("report", "p1")}
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def succeed_at(world: World, work: Work, moment: datetime) -> None:
    answer = world._state(
        work,
        "success",
        end_date=moment.isoformat(),
        task_outlets=[{"name": "clean", "uri": "clean", "type": "Asset"}],
        outlet_events=[],
    )
    assert answer == 204
