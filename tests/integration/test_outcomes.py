"""How a cord ends: what runs again, how often, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG, PartitionedAssetTimetable, PartitionedAtRuntime
from sqlalchemy import select

from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import Scope, preview
from airflow_lean_provider.store.models import CordPartition
from tests.integration.dags import CLEAN, ORDERS, RATES, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World

ONCE = {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}


def test_fixed_after_a_new_publication_repairs_every_hop_in_order(world: World) -> None:
    """Five hops and a diamond: everything once, nothing before what it reads."""
    from airflow.sdk import Asset

    a, b, c, d, e = (Asset(name) for name in "abcde")
    world.add(
        producer("ingest", ORDERS),
        consumer("to_a", ORDERS, a),
        consumer("to_b", a, b),
        consumer("to_c", a, c),
        consumer("to_d", b & c, d),
        consumer("to_e", d & ORDERS, e),
    )
    world.publish("ingest", "p1", "p2")
    world.play()
    cord = world.pull("orders", "p1")
    assert {(dag, key) for dag, key in world.halted()} == {(x, "p1") for x in ("orders", *"abcde")}
    world.publish("ingest", "p1")
    assert world.play() == {}
    start = len(world.done)
    world.release(cord, "fixed")
    assert world.play() == {(f"to_{x}.work", "p1"): 1 for x in "abcde"}
    order = [name for name, _ in world.done[start:]]
    assert order.index("to_a.work") == 0
    assert set(order[1:3]) == {"to_b.work", "to_c.work"}
    assert order[3:] == ["to_d.work", "to_e.work"]
    assert world.halted() == set()
    assert world.pending() == []
    assert {len(world.runs(f"to_{x}", "p1")) for x in "abcde"} == {1}


def test_repair_clears_the_publisher_and_releases_when_it_has_published(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    released = chain.repair(cord)
    assert [t.task_id for t in released.cleared] == ["load"]
    assert not released.ended
    assert chain.play() == ONCE | {("ingest.load", "p1"): 1}
    assert chain.halted() == set()
    assert [len(chain.runs(d, "p1")) for d in ("ingest", "cleaning", "reporting")] == [1, 1, 1]


def test_false_alarm_runs_nothing_again_that_has_finished(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "false_alarm")
    assert chain.play() == {}
    assert chain.halted() == set()


def test_false_alarm_starts_what_was_held_and_runs_again_what_was_stopped(chain: World) -> None:
    chain.publish("ingest", "p1", "p2", "p3")
    chain.tick()
    finished, running = chain.take("cleaning", "p1"), chain.take("cleaning", "p2")
    assert chain.work(finished)
    assert chain.run(running) == 200
    cord = chain.pull("orders", "p1", "p2", "p3")
    assert chain.play() == {}
    chain.release(cord, "false_alarm")
    assert chain.play() == {
        ("cleaning.work", "p2"): 1,
        ("cleaning.work", "p3"): 1,
        ("reporting.work", "p1"): 1,
        ("reporting.work", "p2"): 1,
        ("reporting.work", "p3"): 1,
    }


def test_fixed_without_a_new_version_means_the_data_as_it_stands(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    released = chain.release(cord, "fixed")
    assert [p.outcome for p in released.ended] == ["fixed"]
    assert chain.play() == ONCE


def test_a_release_of_one_partition_frees_only_that(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.tick()
    cord = chain.pull("orders", "p1", "p2")
    chain.release(cord, "false_alarm", keys=["p2"])
    assert chain.play() == {("cleaning.work", "p2"): 1, ("reporting.work", "p2"): 1}
    assert chain.is_held("cleaning", "p1")
    with pytest.raises(BadRequest, match="released already"):
        chain.release(cord, "fixed", keys=["p2"])
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE


def test_withdrawn_ends_what_read_nothing_else_as_skipped(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    chain.release(cord, "withdrawn")
    assert chain.play() == {}
    assert chain.dag_run("cleaning", "p1").state == "success"
    assert chain.states("cleaning", "p1") == {"work": "skipped"}
    chain.publish("ingest", "p1")
    assert chain.play() == ONCE


def test_withdrawn_withdraws_what_was_made_from_it_alone(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play(but=["reporting"])
    cord = chain.pull("orders", "p1")
    assert chain.is_held("reporting", "p1")
    chain.release(cord, "withdrawn")
    assert chain.play() == {}
    assert chain.states("reporting", "p1") == {"work": "skipped"}
    assert chain.halted() == set()


def test_withdrawn_lets_go_on_what_reads_others_too(world: World) -> None:
    world.add(
        producer("ingest", ORDERS),
        producer("bank", RATES),
        consumer("joining", ORDERS & RATES, CLEAN),
        consumer("reporting", CLEAN, REPORT),
    )
    world.publish("ingest", "p1")
    world.publish("bank", "p1")
    world.tick()
    cord = world.pull("orders", "p1")
    world.release(cord, "withdrawn")
    assert world.play() == {("joining.work", "p1"): 1, ("reporting.work", "p1"): 1}


def test_withdrawn_leaves_nothing_to_read_to_a_task_with_an_inlet(world: World) -> None:
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=[ORDERS])
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", "p1")
    run_id = world.trigger("nightly")
    cord = world.pull("orders", "p1")
    world.release(cord, "withdrawn")
    assert world.play() == {}
    assert world.states("nightly", run_id) == {"read": "skipped"}


def test_withdrawn_lets_go_on_whose_inlet_has_other_partitions(world: World) -> None:
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=[ORDERS])
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", "p1", "p2")
    world.trigger("nightly")
    cord = world.pull("orders", "p1")
    world.release(cord, "withdrawn")
    assert world.play() == {("nightly.read", None): 1}


def test_who_read_others_too_is_not_forgiven_because_it_was_published_again(world: World) -> None:
    """Of two cords on one hour, one ends as withdrawn; it is published again; the other was a false alarm."""
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as cleaning:
        Step(task_id="work", inlets=[RATES], outlets=[CLEAN])
    world.add(producer("ingest", ORDERS), producer("bank", RATES), cleaning)
    world.publish("bank", "p9")
    world.publish("ingest", "p1")
    world.play()
    first, second = world.pull("orders", "p1"), world.pull("orders", "p1")
    world.release(first, "withdrawn")
    world.publish("ingest", "p1")
    world.release(second, "false_alarm")
    assert world.halted() == {("clean", "p1")}
    assert world.play() == {("cleaning.work", "p1"): 1}
    assert world.halted() == set()


def test_what_was_withdrawn_stays_absent_after_its_cord_is_closed(world: World) -> None:
    world.add(producer("ingest", ORDERS), producer("bank", RATES), consumer("joining", ORDERS & RATES, CLEAN))
    world.publish("ingest", "p1")
    world.publish("bank", "p1")
    world.play()
    world.release(world.pull("orders", "p1"), "withdrawn")
    assert world.play() == {("joining.work", "p1"): 1}
    world.release(world.pull("rates", "p1"), "withdrawn")
    assert world.play() == {}


def test_what_went_with_it_stays_absent_after_its_cord_is_closed(chain: World) -> None:
    """The hour is published again: a pull on what was made from it before names nothing."""
    chain.publish("ingest", "p1")
    chain.play()
    chain.release(chain.pull("orders", "p1"), "withdrawn")
    chain.play()
    chain.publish("ingest", "p1")
    (target,) = preview(Scope("clean", keys=("p1",))).meant.targets
    assert target.named == ()
    cord = chain.pull("clean", "p1")
    assert chain.labels("reporting", "p1") == set()
    chain.release(cord, "false_alarm")
    assert chain.play() == ONCE
    assert len(chain.runs("reporting", "p1")) == 2


def test_what_was_called_fixed_as_it_stands_is_there_after_its_cord_is_closed(world: World) -> None:
    """The hour was withdrawn, then found to be good; a later cord on it ends as false alarm."""
    with DAG("nightly", schedule=None) as nightly:
        Step(task_id="read", inlets=[ORDERS])
    world.add(producer("ingest", ORDERS), nightly)
    world.publish("ingest", "p1")
    world.release(world.pull("orders", "p1"), "withdrawn")
    world.release(world.pull("orders", "p1"), "fixed")
    world.play()
    world.trigger("nightly")
    world.tick()
    world.release(world.pull("orders", "p1"), "false_alarm")
    assert world.play() == {("nightly.read", None): 1}


def test_what_was_called_fixed_as_it_stands_is_good_after_its_cord_is_closed(chain: World) -> None:
    """A person has looked at it while another cord was open on what it was made from, and still is."""
    chain.publish("ingest", "p1")
    chain.play(but=["reporting"])
    chain.pull("orders", "p1")
    assert ("clean", "p1") in chain.halted()
    chain.release(chain.pull("clean", "p1"), "fixed", forced=True)
    chain.play()
    assert chain.halted() == {("orders", "p1")}


def test_a_pull_on_what_is_withdrawn_names_nothing(chain: World) -> None:
    """It is absent: who had read it owes nothing, though it is called fixed and is there again."""
    chain.publish("ingest", "p1")
    chain.play()
    chain.release(chain.pull("orders", "p1"), "withdrawn")
    (target,) = preview(Scope("orders", keys=("p1",))).meant.targets
    assert target.named == ()
    cords = [chain.pull("orders", "p1") for _ in range(2)]
    with chain._session() as session:
        named = select(CordPartition.named).where(CordPartition.cord_id.in_(cords))
        assert session.scalars(named).all() == [[], []]
    for cord in cords:
        chain.release(cord, "fixed")
    assert chain.play() == {}


def test_withdrawn_ends_the_debts_for_what_was_absorbed(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    chain.release(cord, "withdrawn")
    assert chain.play() == {}


def test_what_is_declared_fixed_after_a_withdrawal_is_not_run_for_ever(world: World) -> None:
    """Who wrote it has nothing left to read, and never runs again; what follows it does, once."""
    with DAG("cleaning", schedule=PartitionedAssetTimetable(assets=ORDERS)) as cleaning:
        Step(task_id="work", outlets=[CLEAN]) >> Step(task_id="tell")
    world.add(producer("ingest", ORDERS), cleaning)
    world.publish("ingest", "p1")
    world.play()
    orders, clean = world.pull("orders", "p1"), world.pull("clean", "p1")
    world.release(clean, "fixed")
    world.release(orders, "withdrawn")
    assert world.play() == {("cleaning.tell", "p1"): 1}


def test_withdrawn_runs_again_what_saw_it_and_reads_others_too(world: World) -> None:
    world.add(
        producer("ingest", ORDERS),
        producer("bank", RATES),
        consumer("joining", ORDERS & RATES, CLEAN),
        consumer("reporting", CLEAN, REPORT),
    )
    world.publish("ingest", "p1")
    world.publish("bank", "p1")
    world.play()
    cord = world.pull("orders", "p1")
    world.release(cord, "withdrawn")
    assert world.play() == {("joining.work", "p1"): 1, ("reporting.work", "p1"): 1}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("outcomes", [("false_alarm", "false_alarm"), ("fixed", "fixed")])
def test_two_cords_released_in_either_order(chain: World, first: int, outcomes: tuple[str, str]) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    chain.trigger("cleaning", "p1")
    cords = [chain.pull("orders", "p1"), chain.pull("orders", "p1")]
    chain.release(cords[first], outcomes[first])
    assert chain.play() == {}
    assert ("orders", "p1") in chain.halted()
    chain.release(cords[1 - first], outcomes[1 - first])
    chain.play()
    assert chain.halted() == set()
    assert not any(chain.is_held("cleaning", run.run_id) for run in chain.runs("cleaning"))


def test_two_cords_of_two_hops(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    upstream, downstream = chain.pull("orders", "p1"), chain.pull("clean", "p1")
    chain.release(upstream, "fixed")
    assert chain.play() == {("cleaning.work", "p1"): 1}
    chain.release(downstream, "fixed")
    assert chain.play() == {("reporting.work", "p1"): 1}
    assert chain.halted() == set()


def test_pulled_again_while_repairing(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    first = chain.pull("orders", "p1")
    chain.publish("ingest", "p1")
    chain.release(first, "fixed")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    second = chain.pull("orders", "p1", reason="still wrong")
    assert chain.succeed(work) == 404
    assert chain.play() == {}
    chain.publish("ingest", "p1")
    chain.release(second, "fixed")
    assert chain.play() == ONCE
    assert chain.halted() == set()


def test_of_two_runs_for_one_key_one_pays(chain: World) -> None:
    """D5: the latest that events made; the other does not start and ends as skipped, with a note."""
    chain.publish("ingest", "p1")
    chain.tick()
    by_hand = chain.trigger("cleaning", "p1")
    made_by_events = chain.runs("cleaning", "p1")[0].run_id
    cord = chain.pull("orders", "p1")
    chain.tick()
    assert chain.is_held("cleaning", by_hand)
    assert chain.is_held("cleaning", made_by_events)
    chain.publish("ingest", "p1")
    chain.release(cord, "fixed")
    assert chain.play() == ONCE
    assert chain.states("cleaning", made_by_events) == {"work": "success"}
    assert chain.states("cleaning", by_hand) == {"work": "skipped"}
    assert chain.dag_run("cleaning", by_hand).state == "success"
    assert chain.note("cleaning", by_hand)


def test_a_run_with_conf_pays_for_itself(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.tick()
    special = chain.trigger("cleaning", "p1", conf={"special": True})
    cord = chain.pull("orders", "p1")
    chain.tick()
    chain.release(cord, "fixed")
    assert chain.play()[("cleaning.work", "p1")] == 2
    assert chain.states("cleaning", special) == {"work": "success"}


def test_the_rerun_that_fails_keeps_its_consumers_held(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    run_id = chain.trigger("reporting", "p1")
    chain.tick()
    assert chain.is_held("reporting", run_id)
    chain.release(cord, "fixed")
    chain.tick()
    work = chain.take("cleaning", "p1")
    assert chain.run(work) == 200
    assert chain.fail(work) == 204
    assert chain.play() == {}
    assert chain.halted() == {("clean", "p1"), ("report", "p1")}
    assert chain.is_held("reporting", run_id)
    assert "repair failed" in chain.labels("cleaning", "p1")
    # A person clears it: the debt is paid, and everybody goes on.
    chain.clear("cleaning", "p1")
    assert chain.play() == ONCE
    assert chain.halted() == set()


def test_a_release_waits_for_the_producer_that_was_cleared(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.clear("ingest", "p1")
    released = chain.release(cord, "fixed")
    assert not released.ended
    assert "ingest.load" in released.waiting[0][1]
    chain.tick()
    assert ("cleaning.work", "p1") not in chain.play(but=["ingest"])
    assert chain.play() == ONCE | {("ingest.load", "p1"): 1}
    assert chain.halted() == set()


def test_a_release_that_is_forced_does_not_wait(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.clear("ingest", "p1")
    released = chain.release(cord, "fixed", forced=True)
    assert len(released.ended) == 1
    assert chain.play(but=["ingest"]) == ONCE


def test_a_release_stays_pending_while_the_producer_fails(chain: World) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    cord = chain.pull("orders", "p1")
    chain.repair(cord)
    chain.tick()
    work = chain.take("ingest", "p1")
    assert chain.run(work) == 200
    assert chain.fail(work) == 204
    assert chain.play() == {}
    assert ("orders", "p1") in chain.halted()
    chain.clear("ingest", "p1")
    assert chain.play() == ONCE | {("ingest.load", "p1"): 1}


def test_three_instances_publish_one_partition(world: World) -> None:
    """The release waits until all three have published again, not for the first."""
    with DAG("ingest", schedule=PartitionedAtRuntime()) as ingest:
        Step.partial(task_id="load", outlets=[ORDERS]).expand(value=[1, 2, 3])
    world.add(ingest, consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest", "p1")
    world.play(but=["cleaning"])
    assert world.events("orders", "p1") == 3
    world.play()
    cord = world.pull("orders", "p1")
    world.repair(cord)
    world.tick()
    for number in range(3):
        assert world.halted() == {("orders", "p1"), ("clean", "p1")}
        assert world.work(world.take("ingest", run_id, "load", number))
    before = len(world.runs("cleaning", "p1"))
    assert world.play() == {("cleaning.work", "p1"): 1}
    assert world.halted() == set()
    assert len(world.runs("cleaning", "p1")) == before
    assert world.pending() == []


def test_the_rest_of_what_was_pulled_is_no_new_publication(world: World) -> None:
    """One of two instances has published when the cord is pulled, the other does then: it is one version."""
    with DAG("ingest", schedule=PartitionedAtRuntime()) as ingest:
        Step.partial(task_id="load", outlets=[ORDERS]).expand(value=[1, 2])
    world.add(ingest, consumer("cleaning", ORDERS, CLEAN))
    run_id = world.trigger("ingest", "p1")
    world.tick()
    first, second = (world.take("ingest", run_id, "load", number) for number in range(2))
    assert world.run(second) == 200
    assert world.work(first)
    assert world.play(but=["ingest"]) == {("cleaning.work", "p1"): 1}
    cord = world.pull("orders", "p1")
    world.release(cord, "fixed", on_publication=True)
    assert world.succeed(second) == 204
    assert world.play() == {}
    assert world.halted() == {("orders", "p1"), ("clean", "p1")}
    world.publish_from_outside("orders", "p1")
    assert world.play() == {("cleaning.work", "p1"): 1}
    assert world.halted() == set()


def test_what_was_never_published_is_nothing_else_to_read(world: World) -> None:
    """Parts that read nothing else end as skipped: a run by hand, whose other asset has no such partition."""
    world.add(producer("ingest", ORDERS), consumer("joining", ORDERS & RATES, CLEAN))
    world.publish("ingest", "p1")
    cord = world.pull("orders", "p1")
    run_id = world.trigger("joining", "p1")
    assert world.play() == {}
    world.release(cord, "withdrawn")
    assert world.play() == {}
    assert world.states("joining", run_id) == {"work": "skipped"}


@pytest.mark.parametrize(("outcome", "runs"), [("false_alarm", 1), ("fixed", 1), ("withdrawn", 0)])
def test_who_was_made_just_before_the_release_counts_as_held(chain: World, outcome: str, runs: int) -> None:
    """Nobody has looked at the run when the release is asked for."""
    chain.publish("ingest", "p1")
    chain.tick()
    cord = chain.pull("orders", "p1")
    chain.trigger("cleaning", "p1")
    chain.release(cord, outcome)
    assert chain.play().get(("cleaning.work", "p1"), 0) == runs
