"""``airflow andon`` as a person at a terminal uses it: answers, exit codes, and what a mistake changes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_lean_provider.cli.definition import get_andon_cli_commands
from airflow_lean_provider.store.models import (
    AffectedRun,
    Approval,
    ClearedVersion,
    Cord,
    CordPartition,
    CordScope,
    HaltedPartition,
    LetThrough,
)
from tests.integration.dags import CLEAN, ORDERS, RATES, producer

if TYPE_CHECKING:
    from tests.integration.world import World


@pytest.fixture
def andon(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run one command; return exit code, stdout and stderr."""
    from airflow.cli import cli_parser

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        args = cli_parser.get_parser().parse_args(["andon", *words])
        try:
            args.func(args)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_from_preview_to_release(chain: World, andon: Any) -> None:
    (run_id,) = chain.publish("ingest", "p1")
    chain.play(but=["reporting"])
    code, out, _ = andon("preview", "orders", "-p", "p1", "-o", "json")
    told = json.loads(out)
    assert code == 0
    assert [(r["dag_id"], r["labels"]) for r in told["runs"]] == [
        ("cleaning", ["tainted"]),
        ("reporting", ["held"]),
    ]
    assert told["partitions"][0]["published_by"] == f"ingest {run_id}"
    assert [(d["dag_id"], d["hops"]) for d in told["late_partitions"]] == [("cleaning", 1), ("reporting", 2)]
    assert chain.rows(Cord, HaltedPartition) == {"lean_cord": [], "lean_halted_partition": []}

    code, out, _ = andon("pull", "orders", "-p", "p1", "-r", "wrong tax", "-o", "json")
    pulled = json.loads(out)
    assert (code, pulled["settled"], pulled["state"]) == (0, True, "open")
    assert [(r["dag_id"], r["labels"]) for r in pulled["runs"]] == [
        (r["dag_id"], r["labels"]) for r in told["runs"]
    ]
    cord = str(pulled["cord_id"])

    reporting = chain.dag_run("reporting", "p1").run_id
    code, out, _ = andon("why", "reporting", reporting, "-o", "yaml")
    (why,) = yaml.safe_load(out)["why"]
    assert code == 0
    assert why["reason"] == "wrong tax"
    assert why["awaits"] == "the release of the cord"

    code, out, _ = andon("list", "-o", "json")
    assert [c["partitions"] for c in json.loads(out)["cords"]] == [["orders p1"]]

    code, out, _ = andon("release", cord, "--outcome", "false_alarm", "--note", "the tax is right")
    assert code == 0
    assert "false_alarm" in out
    assert chain.play() == {("reporting.work", "p1"): 1}
    code, out, _ = andon("list", "-o", "json")
    assert json.loads(out) == {"cords": []}
    code, out, _ = andon("list", "--all", "-o", "json")
    assert [c["state"] for c in json.loads(out)["cords"]] == ["closed"]


def test_repair_says_what_it_waits_for(chain: World, andon: Any) -> None:
    chain.publish("ingest", "p1")
    chain.play()
    _, out, _ = andon(
        "pull", "--run", "ingest", chain.dag_run("ingest", "p1").run_id, "-r", "x", "-o", "json"
    )
    cord = str(json.loads(out)["cord_id"])
    code, out, _ = andon("repair", cord, "-o", "json")
    repaired = json.loads(out)
    assert code == 0
    assert [t["dag_id"] for t in repaired["cleared"]] == ["ingest"]
    assert "ingest.load" in repaired["partitions"][0]["waits_for"]
    assert chain.play() == {("ingest.load", "p1"): 1, ("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    assert json.loads(andon("show", cord, "-o", "json")[1])["state"] == "closed"


MISTAKES = {
    "unknown asset": (["pull", "nothing", "-p", "p1", "-r", "x"], "asset: no asset has the name"),
    "key never published": (["pull", "orders", "-p", "p9", "-r", "x"], "partition: 'orders' was never"),
    "no partition": (["pull", "orders", "-r", "x"], "partition: name at least one"),
    "empty reason": (["pull", "orders", "-p", "p1", "-r", "  "], "reason: must not be empty"),
    "range without order": (["pull", "orders", "--range", "p1", "p2", "-r", "x"], "range: keys like"),
    "range backwards": (
        ["preview", "orders", "--range", "2026-02", "2026-01"],
        "range: '2026-02' comes",
    ),
    "range of nothing": (["preview", "orders", "--range", "2020-01", "2020-02"], "range: no key of 'orders'"),
    "range and keys": (["preview", "orders", "-p", "p1", "--range", "1", "2"], "range: name either"),
    "pattern and all": (["preview", "orders", "--pattern", "p*", "--all"], "all: name either"),
    "empty pattern": (["preview", "orders", "--pattern", ""], "pattern: must have 1 to 250 characters"),
    "from without order": (
        ["pull", "orders", "--from", "p1", "-r", "x"],
        "from: keys like 'p1' have no order",
    ),
    "since no moment": (["preview", "orders", "-p", "p1", "--since", "soon"], "since: 'soon' is no date"),
    "since a duration": (["preview", "orders", "-p", "p1", "--since", "P1D"], "since: 'P1D' is no date"),
    "since nothing": (
        ["pull", "orders", "-p", "p1", "--since", "2999-01-01", "-r", "x"],
        "since: no version",
    ),
    "until before since": (
        ["preview", "orders", "-p", "p1", "--since", "2026-01-02", "--until", "2026-01-01"],
        "until: is before --since",
    ),
    "until and later": (["preview", "orders", "--all", "--until", "2026-01-01"], "until: --all also covers"),
    "run and asset": (["preview", "orders", "--run", "a", "b"], "run: name either"),
    "unknown run": (["pull", "--run", "ingest", "nope", "-r", "x"], "run: Dag 'ingest' has no run 'nope'"),
    "unknown cord": (["release", "99", "--outcome", "fixed"], "cord: there is no cord 99"),
    "cord to show": (["show", "99"], "cord: there is no cord 99"),
    "cord to repair": (["repair", "99"], "cord: there is no cord 99"),
    "cord to acknowledge": (["ack", "99"], "cord: there is no cord 99"),
    "cord to raise": (["raise", "99"], "cord: there is no cord 99"),
    "release without outcome": (["release", "99"], "outcome: say how it ends"),
    "release of nothing but a scope": (["release", "99", "--only-scope"], "cord: there is no cord 99"),
    "scope and outcome": (["release", "9", "--only-scope", "--outcome", "fixed"], "only-scope: releases no"),
    "scope and asset": (["release", "9", "--only-scope", "--asset", "orders"], "only-scope: releases no"),
    "outcome and publication": (
        ["release", "9", "--on-publication", "--outcome", "withdrawn"],
        "on-publication: ends a cord as fixed",
    ),
    "repair of nothing": (["repair"], "cord: name either a cord, or a run"),
    "repair of two things": (["repair", "9", "--run", "a", "b"], "cord: name either a cord, or a run"),
    "run to repair": (["repair", "--run", "ingest", "nope"], "run: Dag 'ingest' has no run 'nope'"),
    "run to let through": (["let-through", "ingest", "no", "-r", "x"], "run: Dag 'ingest' has no run 'no'"),
    "let through without reason": (["let-through", "ingest", "no", "-r", " "], "reason: must not be empty"),
    "asset to declare": (["declare", "no", "--as", "fixed", "-r", "x"], "asset: no asset has the name"),
    "declared without reason": (
        ["declare", "orders", "--as", "fixed", "-r", ""],
        "reason: must not be empty",
    ),
    "declared although good": (
        ["declare", "orders", "-p", "p1", "--as", "fixed", "-r", "x"],
        "partition: 'orders' 'p1' is not bad",
    ),
    "clean before what": (["clean", "--before", "lunch"], "before: 'lunch' is no date"),
    "why of nothing": (["why", "ingest", "nope"], "run: Dag 'ingest' has no run 'nope'"),
    "disable without reason": (["disable", "-r", ""], "reason: must not be empty"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_clear_line_and_changes_nothing(chain: World, andon: Any, mistake: str) -> None:
    chain.publish("ingest", "p1")
    tables = (
        Cord,
        CordPartition,
        CordScope,
        HaltedPartition,
        AffectedRun,
        LetThrough,
        Approval,
        ClearedVersion,
    )
    before = chain.rows(*tables)
    words, line = MISTAKES[mistake]
    code, out, err = andon(*words)
    assert code == 2
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert chain.rows(*tables) == before


def test_a_released_cord_is_not_released_again(chain: World, andon: Any) -> None:
    chain.publish("ingest", "p1")
    chain.release(cord := chain.pull("orders", "p1"), "false_alarm")
    code, _, err = andon("release", str(cord), "--outcome", "fixed")
    assert (code, err) == (2, f"cord: cord {cord} is released already\n")


def test_a_cord_on_two_assets_is_released_on_one_of_them(world: World, andon: Any) -> None:
    world.add(producer("ingest", ORDERS, RATES), producer("other", CLEAN))
    world.publish("ingest", "p1")
    run_id = world.dag_run("ingest", "p1").run_id
    cord = str(json.loads(andon("pull", "--run", "ingest", run_id, "-r", "x", "-o", "json")[1])["cord_id"])
    release = ("release", cord, "--outcome", "false_alarm")
    for words, said in {
        ("--asset", "nothing"): "asset: no asset has the name",
        ("--asset", "clean"): f"asset: cord {cord} names no partition of 'clean'",
        ("--asset", "orders", "-p", "p2"): f"partition: cord {cord} does not name 'p2'",
    }.items():
        code, _, err = andon(*release, *words)
        assert (code, err[: len(said)]) == (2, said)
    assert world.halted() == {("orders", "p1"), ("rates", "p1")}
    assert andon(*release, "--asset", "orders", "-p", "p1")[0] == 0
    assert world.halted() == {("rates", "p1")}
    code, _, err = andon(*release, "--asset", "orders")
    assert (code, err) == (2, f"asset: cord {cord} is released already on 'orders'\n")
    assert andon(*release, "--asset", "rates")[0] == 0
    assert json.loads(andon("show", cord, "-o", "json")[1])["state"] == "closed"


def test_a_name_of_two_assets_is_refused(world: World, andon: Any) -> None:
    from airflow.sdk import Asset

    world.add(
        producer("one", Asset(name="same", uri="x://one")), producer("two", Asset(name="other", uri="same"))
    )
    code, _, err = andon("pull", "same", "-p", "p1", "-r", "x")
    assert code == 2
    assert "ambiguous" in err


def test_a_range_means_the_published_keys_between_its_ends(chain: World, andon: Any) -> None:
    chain.publish("ingest", "2026-06-30", "2026-07-01", "2026-07-02")
    _, out, _ = andon("preview", "orders", "--range", "2026-06-30", "2026-07-01", "-o", "json")
    assert [p["partition_key"] for p in json.loads(out)["partitions"]] == ["2026-06-30", "2026-07-01"]


def test_still_settling_is_exit_code_3(chain: World, andon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.publish("ingest", "p1")
    monkeypatch.setattr("airflow_lean_provider.brake.settle.step", lambda session: False)
    code, out, _ = andon("pull", "orders", "-p", "p1", "-r", "x", "--timeout", "0.01", "-o", "json")
    assert code == 3
    assert json.loads(out)["settled"] is False
    assert chain.halted() == {("orders", "p1")}


def test_disable_and_enable(chain: World, andon: Any) -> None:
    chain.publish("ingest", "p1")
    chain.pull("orders", "p1")
    chain.create_runs()
    chain.start_runs()
    assert chain.is_held("cleaning", "p1")
    code, out, _ = andon("disable", "-r", "upgrade")
    assert (code, out) == (0, "The brake is off; 1 held run(s) go on.\n")
    assert not chain.is_held("cleaning", "p1")
    code, _, err = andon("pull", "orders", "-p", "p1", "-r", "x")
    assert code == 2
    assert "disabled" in err
    code, out, _ = andon("enable")
    assert (code, out) == (0, "The brake is on.\n")
    assert chain.is_held("cleaning", "p1")


def test_an_incident_that_goes_on(chain: World, andon: Any) -> None:
    """A source writes garbage hour by hour: a warning, raised, one run let through, the source repaired."""
    chain.publish("ingest", "2026-06-14T05")

    def told(*words: str) -> dict[str, Any]:
        code, out, err = andon(*words, "-o", "json")
        assert (code, err) == (0, "")
        return dict(json.loads(out))

    preview = told("preview", "orders", "--from", "2026-06-14T05", "--severity", "warn")
    assert (preview["severity"], preview["covers_later"]) == ("warn", "from 2026-06-14T05")
    pulled = told("pull", "orders", "--from", "2026-06-14T05", "--severity", "warn", "-r", "garbage")
    cord = str(pulled["cord_id"])
    assert told("ack", cord, "--note", "on it")["new"] is True
    assert told("ack", cord)["new"] is False
    assert told("raise", cord)["severity"] == "stop"
    chain.publish("ingest", "2026-06-14T06")
    chain.tick()
    run_id = chain.dag_run("cleaning", "2026-06-14T06").run_id
    assert told("let-through", "cleaning", run_id, "-r", "the board")["new"] is True
    assert chain.play() == {("cleaning.work", "2026-06-14T06"): 1}
    (listed,) = told("list")["cords"]
    assert listed["partitions"] == ["orders 2026-06-14T05", "orders 2026-06-14T06"]
    assert listed["scopes"] == ["orders from 2026-06-14T05"]
    shown = told("show", cord)
    assert [s["covers"] for s in shown["scopes"]] == ["from 2026-06-14T05"]
    assert shown["acknowledged_note"] == "on it"
    told("release", cord, "--only-scope")
    chain.publish("ingest", "2026-06-14T07")
    assert ("cleaning.work", "2026-06-14T07") in chain.play()
    released = told("release", cord, "--on-publication")
    assert {p["waits_for"] for p in released["partitions"]} == {"its next publication"}
    chain.publish("ingest", "2026-06-14T05", "2026-06-14T06")
    chain.play()
    assert told("show", cord)["state"] == "closed"
    assert chain.halted() == set()
    would = told("clean", "--before", "2999-01-01", "--dry-run")
    assert {"table": "lean_cord", "rows": 1} in would["tables"]
    assert told("clean", "--before", "2999-01-01") == would | {"deleted": True}
    assert told("list", "--all") == {"cords": []}


def test_every_command_is_in_the_readme() -> None:
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    (group,) = get_andon_cli_commands()
    names = [command.name for command in group.subcommands]
    assert [n for n in names if not re.search(rf"`(airflow andon )?{n}[ `]", readme)] == []
