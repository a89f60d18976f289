"""Partition keys are compared byte for byte, whatever they hold and whatever the database takes for equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_lean_provider.brake import declare, permits, pull, report
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import Scope
from airflow_lean_provider.rules.facts import Outcome, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.world import World

LOOK_ALIKES = ["us", "US", "us ", "ús", "u\u0301s"]
"""Five keys; the last two look the same."""

NEIGHBOURS = {
    key: [other for other in LOOK_ALIKES if other != key and (other != "us " or key == "us")]
    for key in LOOK_ALIKES
}
"""Without two that Airflow itself confuses on MariaDB if they are published within one tick."""

AWKWARD = (
    "eu|2026-06-14",
    'it\'s "so" `called`; --',
    "a/b\\c?d=e&f#g",
    "100%",
    "%",
    "_s",
    "%(key)s {key} :key $1",
    "[u]s",
    " us",
    "ключ 鍵",
    "k" * 250,
)
EMOJI = ("\N{SLIGHTLY SMILING FACE}",)
"""They are refused by Airflow's own columns on MariaDB."""

NOWHERE = ["\N{SLIGHTLY SMILING FACE}", "\udcff", "k" * 5000, "ключ", ""]
"""What nothing is called here, nor can be on some databases; the second is a byte that is no UTF-8."""


@pytest.mark.parametrize("key", LOOK_ALIKES)
def test_a_cord_concerns_one_key_from_the_pull_to_the_repair(chain: World, key: str) -> None:
    play_a_cord(chain, [key], NEIGHBOURS[key])


def test_so_it_is_with_awkward_keys(chain: World, backend: str) -> None:
    play_a_cord(chain, [*AWKWARD, *(EMOJI if backend != "mariadb" else ())], ["us"])


def play_a_cord(chain: World, keys: list[str], others: list[str]) -> None:
    chain.publish("ingest", *others)
    assert chain.play() == once(*others)
    chain.publish("ingest", *keys)
    chain.play(but=["reporting"])
    readers = [chain.take("reporting", key) for key in keys]

    cord = chain.pull("orders", *keys)
    halted = {(asset, key) for asset in ("orders", "clean") for key in keys}
    assert chain.halted() == halted
    for key, reader in zip(keys, readers, strict=True):
        assert chain.labels("cleaning", key) == {"tainted"}
        assert chain.run(reader) == 404
        assert chain.is_held("reporting", key)
    for other in others:
        assert chain.labels("cleaning", other) == chain.labels("reporting", other) == set()

    by_hand = {key: chain.trigger("cleaning", key) for key in (*keys, *others)}
    assert chain.play() == once(*others), "none of them is held, none absorbs what another one publishes"
    assert all(chain.is_held("cleaning", by_hand[key]) for key in keys)
    chain.publish("ingest", *others)
    assert chain.play() == once(*others)

    runs = {key: len(chain.runs("cleaning", key)) for key in keys}
    chain.publish("ingest", *keys)
    assert chain.play() == {}
    assert {key: len(chain.runs("cleaning", key)) for key in keys} == runs, "absorbed"
    assert chain.halted() == halted

    chain.release(cord)
    assert chain.play() == once(*keys)
    assert chain.halted() == set()
    assert {run.state for dag_id in chain.dags for run in chain.runs(dag_id)} == {"success"}


def once(*keys: str) -> dict[tuple[str, str | None], int]:
    return {(task, key): 1 for task in ("cleaning.work", "reporting.work") for key in keys}


def test_keys_that_look_alike_come_under_one_cord_and_leave_it_one_by_one(chain: World) -> None:
    for key in LOOK_ALIKES:
        chain.publish("ingest", key)
        chain.create_runs()
    cord = chain.pull("orders", *LOOK_ALIKES)
    chain.tick()
    for number, key in enumerate(LOOK_ALIKES):
        rest = LOOK_ALIKES[number + 1 :]
        chain.release(cord, "false_alarm", keys=[key])
        chain.tick()
        assert chain.halted() == {("orders", k) for k in rest}
        assert [k for k in LOOK_ALIKES if chain.is_held("cleaning", k)] == rest


def test_what_is_published_under_an_open_scope_is_halted_key_by_key(chain: World) -> None:
    chain.publish("ingest", "us")
    assert pull.pull(Scope(asset="orders", whole=True), reason="all", by="tester").settled
    for key in LOOK_ALIKES[1:]:
        chain.publish("ingest", key)
        chain.play()
    assert chain.halted() == {("orders", key) for key in LOOK_ALIKES}
    assert chain.done == [("ingest.load", key) for key in LOOK_ALIKES]


def test_a_pattern_is_exact_too(chain: World) -> None:
    for key in LOOK_ALIKES:
        chain.publish("ingest", key)
        chain.create_runs()
    pull.pull(Scope(asset="orders", pattern="u?"), reason="some", by="tester")
    assert chain.halted() == {("orders", "us")}


ASKS: dict[str, Callable[[str], Any]] = {
    "pull": lambda text: pull.pull(Scope(asset="orders", keys=(text,)), reason="r", by="b"),
    "preview": lambda text: pull.preview(Scope(asset="orders", keys=("us", text))),
    "asset": lambda text: pull.preview(Scope(asset=text, keys=("us",))),
    "run": lambda text: pull.preview(Scope(run=Run(text, text))),
    "declare": lambda text: declare.declare("orders", text, Outcome.FIXED, reason="r", by="b"),
    "let-through": lambda text: permits.let_through(Run("ingest", text), reason="r", by="b"),
    "approve": lambda text: permits.approve(Run(text, "r"), by="b"),
    "why": lambda text: report.of_run(Run("ingest", text)),
}


def test_what_does_not_exist_is_said_not_to(chain: World) -> None:
    """Also where the database itself would refuse to be asked for it."""
    chain.publish("ingest", "us")
    for text in NOWHERE:
        for ask in ASKS.values():
            with pytest.raises(BadRequest):
                ask(text)


@pytest.mark.parametrize("how", [{"pattern": "k" * 251}, {"start": "k" * 251}])
def test_no_scope_is_longer_than_a_key(chain: World, how: dict[str, str]) -> None:
    chain.publish("ingest", "us")
    with pytest.raises(BadRequest):
        pull.pull(Scope(asset="orders", **how), reason="r", by="b")  # type: ignore[arg-type]
