"""A partition that is published again under a cord is computed by the run that is there, and only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from airflow_lean_provider.brake.sweep import sweep
from airflow_lean_provider.store.models import AbsorbedEvent
from tests.integration.dags import (
    CLEAN,
    DAILY,
    ORDERS,
    RATES,
    REPORT,
    consumer,
    days_of_hours,
    hours_of,
    producer,
)
from tests.integration.doors import ask

if TYPE_CHECKING:
    from tests.integration.world import World

DAY, NEXT_DAY = "2026-06-14", "2026-06-15"


def test_identity_makes_no_second_run(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    assert chain.play() == {}
    assert chain.pending() == []
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    assert len(chain.runs("cleaning", "p1")) == len(chain.runs("reporting", "p1")) == 1
    assert chain.pending() == []


def test_a_held_run_takes_every_publication_until_it_starts(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    chain.publish("ingest", "p1")
    assert chain.play() == {}
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    assert len(chain.runs("cleaning", "p1")) == 1
    assert len(chain.dag_run("cleaning", "p1").run_id) > 0


def test_a_publication_before_the_pull_that_no_run_was_made_from_yet(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    chain.publish("ingest", "p1")
    assert chain.pending() == [("cleaning", "p1")]
    cord = chain.pull("orders", "p1")
    assert chain.pending() == []
    assert chain.play() == {}
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    assert len(chain.runs("cleaning", "p1")) == 1


def test_what_another_run_has_paid_for_is_not_owed_again_once_its_cord_is_closed(chain: World) -> None:
    """Of an incident that is over only the absorbed event was known, and no longer who had read it."""
    chain.publish("ingest", "p1", "p2")
    chain.play()
    other = chain.pull("orders", "p2")
    cord = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    chain.trigger("cleaning", "p1")
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    sweep()
    assert chain.play() == {}
    chain.release(other, "false_alarm")
    assert chain.play() == {}


def test_the_run_is_told_of_the_events_that_it_absorbed(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    assert chain.consumed("cleaning", "p1") == [("orders", "p1"), ("orders", "p1")]


def test_after_the_repair_a_publication_makes_a_run_again(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    chain.release(cord, "fixed")
    chain.play()
    chain.publish("ingest", "p1")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    assert len(chain.runs("cleaning", "p1")) == 2


def test_an_unaffected_partition_gets_its_second_run_as_ever(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.play()
    chain.pull("orders", "p1")
    chain.publish("ingest", "p2")
    assert chain.play() == {("cleaning.work", "p2"): 1, ("reporting.work", "p2"): 1}
    assert len(chain.runs("cleaning", "p2")) == 2


def test_the_event_that_comes_while_the_run_reads_again_makes_a_run(chain: World) -> None:
    """Once the reading part has started again, the run cannot have seen what comes after."""
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "fixed")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    chain.publish("ingest", "p1")
    assert chain.succeed(work) == 204
    assert chain.play()[("cleaning.work", "p1")] == 1
    assert len(chain.runs("cleaning", "p1")) == 2


@pytest.fixture
def joined(world: World) -> World:
    world.add(producer("ingest", ORDERS), producer("bank", RATES), consumer("joining", ORDERS & RATES, CLEAN))
    return world


def test_two_assets_leave_no_pending_row(joined: World) -> None:
    joined.publish("ingest", "p1")
    joined.publish("bank", "p1")
    joined.play()
    cord = joined.pull("orders", "p1")
    joined.publish("ingest", "p1")
    assert joined.play() == {}
    joined.release(cord, "fixed")
    assert joined.play() == {("joining.work", "p1"): 1}
    assert joined.pending() == []
    assert len(joined.runs("joining", "p1")) == 1


@pytest.mark.parametrize("bad_first", [True, False])
def test_two_assets_published_again_in_either_order(joined: World, bad_first: bool) -> None:
    joined.publish("ingest", "p1")
    joined.publish("bank", "p1")
    joined.play()
    cord = joined.pull("orders", "p1")
    for dag_id in ("ingest", "bank") if bad_first else ("bank", "ingest"):
        joined.publish(dag_id, "p1")
    assert joined.play() == {}
    joined.release(cord, "fixed")
    assert joined.play() == {("joining.work", "p1"): 1}
    if bad_first:
        # The publication of the good asset alone is an incomplete row, which is nobody's business.
        assert joined.pending() == [("joining", "p1")]
    else:
        assert joined.pending() == []


def test_two_assets_an_unrelated_incomplete_row_is_left_alone(joined: World) -> None:
    joined.publish("ingest", "p1")
    joined.publish("bank", "p1", "p2")
    joined.play()
    cord = joined.pull("orders", "p1")
    assert joined.pending() == [("joining", "p2")]
    joined.publish("ingest", "p1")
    joined.release(cord, "fixed")
    joined.play()
    assert joined.pending() == [("joining", "p2")]
    joined.publish("ingest", "p2")
    assert joined.play() == {("joining.work", "p2"): 1}
    assert joined.pending() == []


@pytest.fixture
def daily(world: World) -> World:
    world.add(producer("ingest", ORDERS), days_of_hours("adding", ORDERS, DAILY), consumer("mailing", DAILY))
    for hour in hours_of(DAY):
        world.publish_from_outside("orders", hour)
    world.play()
    return world


def test_a_roll_up_leaves_no_pending_row(daily: World) -> None:
    cord = daily.pull("orders", f"{DAY}T05", f"{DAY}T06")
    daily.publish("ingest", f"{DAY}T05", f"{DAY}T06")
    assert daily.play() == {}
    assert daily.pending() == []
    daily.release(cord, "fixed")
    assert daily.play() == {("adding.work", DAY): 1, ("mailing.work", DAY): 1}
    assert daily.pending() == []


def test_a_roll_up_that_waits_for_more_is_left_alone(daily: World) -> None:
    later = hours_of(NEXT_DAY)
    for hour in later[:3]:
        daily.publish_from_outside("orders", hour)
    cord = daily.pull("orders", later[1])
    daily.publish("ingest", later[1])
    daily.release(cord, "fixed")
    assert daily.play() == {}
    assert daily.pending() == [("adding", NEXT_DAY)]
    for hour in later[3:]:
        daily.publish_from_outside("orders", hour)
    assert daily.play() == {("adding.work", NEXT_DAY): 1, ("mailing.work", NEXT_DAY): 1}
    assert daily.pending() == []


def test_a_roll_up_absorbs_only_what_was_bad(daily: World) -> None:
    """A good hour that is published again waits in Airflow's row, as it would without a cord."""
    cord = daily.pull("orders", f"{DAY}T05")
    daily.publish("ingest", f"{DAY}T07")
    assert daily.pending() == [("adding", DAY)]
    daily.publish("ingest", f"{DAY}T05")
    assert daily.pending() == [("adding", DAY)]
    daily.release(cord, "fixed")
    assert daily.play() == {("adding.work", DAY): 1, ("mailing.work", DAY): 1}
    assert daily.pending() == [("adding", DAY)]


def test_what_a_roll_up_has_got_so_far_is_not_forgotten_when_one_event_is_absorbed(daily: World) -> None:
    """Airflow adds events to the latest row only: a later one of ours would leave the good hour alone."""
    cord = daily.pull("orders", f"{DAY}T05")
    daily.publish("ingest", f"{DAY}T07")
    daily.publish("ingest", f"{DAY}T05")
    daily.release(cord, "fixed")
    daily.play()
    for hour in hours_of(DAY):
        if hour != f"{DAY}T07":
            daily.publish_from_outside("orders", hour)
    assert daily.play() == {("adding.work", DAY): 1, ("mailing.work", DAY): 1}
    assert daily.pending() == []


def test_a_run_that_a_person_has_marked_absorbs_nothing(chain: World) -> None:
    """It owes nothing, so that nobody would ever read the event."""
    chain.publish("ingest", "p1")
    chain.play(but=["reporting"])
    cord = chain.pull("orders", "p1")
    marked = chain.dag_run("cleaning", "p1").run_id
    assert ask("PATCH", f"dags/cleaning/dagRuns/{marked}", json={"state": "success"}).status_code == 200
    chain.play()
    chain.publish("ingest", "p1")
    chain.release(cord, "fixed")
    assert chain.play()[("cleaning.work", "p1")] == 1


def test_what_is_halted_by_its_own_publication_was_not_halted_before(world: World) -> None:
    """Only what was halted just before an event is absorbed; what a repair publishes may be born bad."""
    world.add(
        producer("ingest", ORDERS),
        producer("bank", RATES),
        consumer("cleaning", ORDERS, CLEAN),
        consumer("joining", ORDERS & CLEAN & RATES, REPORT),
    )
    world.publish("bank", "p1")
    world.publish("ingest", "p1")
    world.play(but=["joining"])
    world.publish_from_outside("clean", "p1")
    world.pull("rates", "p1")
    orders = world.pull("orders", "p1")
    assert world.is_held("joining", "p1")
    world.release(orders, "fixed")
    assert world.play() == {("cleaning.work", "p1"): 1}
    with world._session() as session:
        assert session.scalars(select(AbsorbedEvent.event_id)).all() == []


def test_an_event_from_outside_is_absorbed_too(chain: World) -> None:
    chain.publish_from_outside("orders", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.publish_from_outside("orders", "p1")
    assert chain.play() == {}
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    assert len(chain.runs("cleaning", "p1")) == 1


def test_a_run_that_is_tainted_again_after_its_repair_absorbs_again(chain: World) -> None:
    """From the moment a run is tainted until its reading part starts again: also the second time."""
    chain.publish("ingest", "p1", "p2")
    chain.play()
    other = chain.pull("orders", "p2")
    first = chain.pull("orders", "p1")
    chain.repair(first)
    chain.play()
    second = chain.pull("orders", "p1")
    chain.repair(second)
    assert chain.play() == {
        ("ingest.load", "p1"): 1,
        ("cleaning.work", "p1"): 1,
        ("reporting.work", "p1"): 1,
    }
    assert len(chain.runs("cleaning", "p1")) == 1
    chain.release(other, "false_alarm")


def test_a_run_that_owes_nothing_after_a_withdrawal_absorbs_nothing(chain: World) -> None:
    """What it saw was withdrawn; the next cord is on what it has never read."""
    chain.publish("ingest", "p1")
    chain.play()
    chain.release(chain.pull("orders", "p1"), "withdrawn")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    assert chain.play() == {}
    assert len(chain.runs("cleaning", "p1")) == 2
    chain.release(cord, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
