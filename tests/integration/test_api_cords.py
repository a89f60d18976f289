"""Cords over REST: what a person on call does, from the preview to the release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.dagrun import DagRun, DagRunNote
from airflow.models.log import Log
from airflow.sdk import DAG, PartitionedAtRuntime
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType
from sqlalchemy import select

from airflow_lean_provider.brake import hops, scene
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import pull
from airflow_lean_provider.brake.switch import disable, enable
from airflow_lean_provider.brake.targets import Scope
from airflow_lean_provider.rules import plan as plan_rules
from tests.integration.api import Client, nothing_changes
from tests.integration.dags import ORDERS, RATES, Step, producer
from tests.integration.test_inlets import reader

if TYPE_CHECKING:
    from tests.integration.world import World


def test_a_bad_partition_is_previewed_pulled_shown_and_released(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    chain.play()
    op = Client("op", "ann")
    plan = op.post("/cords/preview", asset="orders", partition_keys=["p1"])
    assert (plan["may_pull"], plan["counts"]["tainted"], plan["total_runs"]) == (True, 2, 2)
    pulled = op.post("/cords", asset="orders", partition_keys=["p1"], reason="cents")
    assert (pulled["state"], pulled["settled"], pulled["pulled_by"]) == ("open", True, "ann")
    cord = pulled["cord_id"]
    assert op.get("/cords")["total_entries"] == 1
    assert op.get(f"/cords/{cord}")["reason"] == "cents"
    states = {n["label"]: n["state"] for n in op.get(f"/cords/{cord}/graph")["nodes"]}
    assert states == {
        "orders": "bad",
        "cleaning": "tainted",
        "clean": "bad",
        "reporting": "tainted",
        "report": "bad",
    }
    assert {h["dag_id"]: h["labels"] for h in op.get("/holds")["holds"]} == {
        "cleaning": ["tainted"],
        "reporting": ["tainted"],
    }
    released = op.post(f"/cords/{cord}/release", outcome="fixed")
    assert released["partitions_open"] == 0
    assert chain.play() == {("cleaning.work", "p1"): 1, ("reporting.work", "p1"): 1}
    closed = op.get(f"/cords/{cord}")
    assert (closed["state"], closed["progress"]) == ("closed", {"to_do": 0, "done": 2})


def test_what_was_made_from_what_was_withdrawn_alone_is_shown_as_withdrawn(chain: World) -> None:
    """The hour should not exist, nor the report that was made of it; that is so after the cord's end, too."""
    chain.publish("ingest", "p1", "p2")
    chain.play()
    op = Client("op")
    cord = op.post("/cords", **wrong("p1"))["cord_id"]
    op.post(f"/cords/{cord}/release", outcome="withdrawn")
    assert op.get(f"/cords/{cord}")["state"] == "closed"
    assets = {a["name"]: a["asset_id"] for a in op.get("/assets")["assets"]}
    for name in ("orders", "clean", "report"):
        told = op.get(f"/assets/{assets[name]}/partitions")["partitions"]
        assert [p["state"] for p in told] == ["withdrawn", "clean"]
    states = {n["label"]: n["state"] for n in op.get(f"/cords/{cord}/graph")["nodes"] if n["kind"] == "asset"}
    assert states == dict.fromkeys(("orders", "clean", "report"), "withdrawn")
    chain.publish("ingest", "p1")
    chain.play()
    told = op.get(f"/assets/{assets['report']}/partitions")["partitions"]
    assert [p["state"] for p in told] == ["clean", "clean"]


def test_nobody_is_offered_a_repair_of_what_came_from_outside(chain: World) -> None:
    chain.publish_from_outside("orders", "p1")
    chain.publish("ingest", "p2")
    op = Client("op")
    assert [op.post("/cords", **wrong(key))["may"]["repair"] for key in ("p1", "p2")] == [False, True]


def test_nobody_is_offered_a_repair_by_a_run_that_is_gone(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    op = Client("op")
    first, second = (op.post("/cords", **wrong(key))["cord_id"] for key in ("p1", "p2"))
    with create_session(scoped=False) as session:
        session.delete(session.scalars(select(DagRun).filter_by(dag_id="ingest", partition_key="p1")).one())
    assert [op.get(f"/cords/{cord}")["may"]["repair"] for cord in (first, second)] == [False, True]
    assert op.refused("POST", f"/cords/{first}/repair", json={})[0] == 400
    op.post(f"/cords/{second}/repair")


def test_nobody_is_offered_a_repair_while_the_brake_is_off(chain: World) -> None:
    chain.publish("ingest", "p1")
    op = Client("op")
    cord = op.post("/cords", **wrong("p1"))["cord_id"]
    disable(reason="a test", by="tester")
    assert not op.get(f"/cords/{cord}")["may"]["repair"]
    assert op.refused("POST", f"/cords/{cord}/repair", json={})[0] == 409
    enable(by="tester")
    assert op.get(f"/cords/{cord}")["may"]["repair"]


def test_a_preview_finds_out_everything_once(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of partitions each judgement and each walk takes a good part of a second."""
    judged: list[object] = []
    walked: list[object] = []
    judge, next_hop = scene.judge, hops._next_hop

    def judge_once(facts: Any, *more: Any) -> Any:
        judged.append(facts)
        return judge(facts, *more)

    def walk_once(level: Any, *more: Any) -> Any:
        walked.append(frozenset(level))
        return next_hop(level, *more)

    for module in (scene, plan_rules):
        monkeypatch.setattr(module, "judge", judge_once)
    monkeypatch.setattr(hops, "_next_hop", walk_once)
    chain.publish("ingest", "p1")
    judged.clear()
    told = Client("op").post("/cords/preview", asset="orders", partition_keys=["p1"])
    assert told["late"] == 2
    assert len(judged) == 1
    assert len(walked) == len(set(walked)) == 3


def wrong(*keys: str, **more: Any) -> dict[str, Any]:
    return {"asset": "orders", "partition_keys": list(keys), "reason": "cents", **more}


def test_a_repeated_pull_or_release_is_one(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    op = Client("op")
    first = op.ask("POST", "/cords", json=wrong("p1", request_key="k"))
    second = op.ask("POST", "/cords", json=wrong("p1", request_key="k"))
    assert (first.status_code, second.status_code) == (201, 200)
    assert (first.json()["existed"], second.json()["existed"]) == (False, True)
    cord = first.json()["cord_id"]
    assert second.json()["cord_id"] == cord
    other = op.post("/cords", **wrong("p2"))["cord_id"]
    release = {"outcome": "false_alarm", "note": "looked", "request_key": "r"}
    before = op.post(f"/cords/{cord}/release", **release)
    with nothing_changes():
        assert op.post(f"/cords/{cord}/release", **release) == before
        assert op.refused("POST", f"/cords/{other}/release", json=release) == (
            409,
            {"field": "request_key", "message": "was used for another cord"},
        )
    assert op.refused("POST", f"/cords/{cord}/release", json={"outcome": "false_alarm"})[0] == 409


def test_a_key_of_ours_that_is_too_long_is_refused_before_the_database_does(chain: World) -> None:
    chain.publish("ingest", "p1")
    with pytest.raises(BadRequest, match="request_key: must have 1 to 250 characters"):
        pull(Scope("orders", ("p1",)), reason="x", by="tester", request_key="k" * 251)
    cord = chain.pull("orders", "p1")
    with pytest.raises(BadRequest, match="request_key"):
        chain.release(cord, "fixed", request_key="k" * 251)


def test_another_reason_is_told_everywhere(chain: World) -> None:
    chain.publish("ingest", "p1")
    op = Client("op", "ann")
    cord = op.post("/cords", **wrong("p1"))["cord_id"]
    chain.create_runs()
    chain.start_runs()
    assert op.ask("PATCH", f"/cords/{cord}", json={"reason": "in euros"}).json()["reason"] == "in euros"
    run = chain.dag_run("cleaning", "p1").run_id
    assert op.get("/why", dag_id="cleaning", run_id=run)["reasons"][0]["reason"] == "in euros"
    with create_session(scoped=False) as session:
        (note,) = session.scalars(select(DagRunNote.content))
        (said,) = session.scalars(select(Log.extra).where(Log.event == "andon edit"))
    assert note.startswith(f"Andon cord {cord}: in euros - held")
    assert said == f"cord {cord} by ann: in euros (before: cents)"
    with nothing_changes():
        op.ask("PATCH", f"/cords/{cord}", json={"reason": " in euros "})


def test_what_one_task_published_can_be_pulled_by_itself(world: World) -> None:
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="rate", outlets=[RATES])
    world.add(dag)
    world.publish("ingest", "p1")
    run = {"dag_id": "ingest", "run_id": world.dag_run("ingest", "p1").run_id}
    op = Client("op")
    published = op.get("/published", **run)["published"]
    assert [(p["asset"], p["task_id"], p["state"]) for p in published] == [
        ("orders", "load", "clean"),
        ("rates", "rate", "clean"),
    ]
    (one,) = op.get("/published", **run, task_id="rate", map_index=-1)["published"]
    assert one["asset"] == "rates"
    assert op.get("/published", **run, task_id="rate", map_index=0)["published"] == []
    pages = [op.get("/published", **run, limit=1, offset=n) for n in range(3)]
    assert [[p["asset"] for p in page["published"]] for page in pages] == [["orders"], ["rates"], []]
    assert {page["total_entries"] for page in pages} == {2}
    cord = op.post("/cords", run={**run, "task_id": "rate"}, reason="odd")
    assert [a["name"] for a in cord["assets"]] == ["rates"]
    assert [p["state"] for p in op.get("/published", **run)["published"]] == ["clean", "halted"]
    both = op.post("/cords", run=run, reason="odd")
    assert [a["name"] for a in both["assets"]] == ["orders", "rates"]


def test_cords_are_found_by_when_they_were_pulled_and_closed(chain: World) -> None:
    chain.publish("ingest", "p1", "p2")
    op = Client("op")
    first, second = (op.post("/cords", **wrong(key)) for key in ("p1", "p2"))
    closed = op.post(f"/cords/{first['cord_id']}/release", outcome="false_alarm")

    def found(**bounds: str) -> set[int]:
        return {c["cord_id"] for c in op.get("/cords", **bounds)["cords"]}

    one, two = first["cord_id"], second["cord_id"]
    moment = second["pulled_at"]
    assert found(pulled_at_gte=moment) == found(pulled_at_gt=first["pulled_at"]) == {two}
    assert found(pulled_at_lt=moment) == found(pulled_at_lte=first["pulled_at"]) == {one}
    assert found(pulled_at_gt=moment) == set()
    assert found(pulled_at_gte=first["pulled_at"], pulled_at_lte=moment) == {one, two}
    assert found(closed_at_lte=closed["closed_at"]) == found(closed_at_gte=closed["closed_at"]) == {one}
    assert found(closed_at_gt=closed["closed_at"]) == set()
    code, detail = op.refused("GET", "/cords", params={"pulled_at_gte": "2026-06-14T05:00:00"})
    assert (code, detail[0]["loc"]) == (422, ["query", "pulled_at_gte"])


PATTERNS = {
    "ORD": {"orders"},
    "o%s": {"orders"},
    "ra_e": {"rates"},
    "orders|rates": {"orders", "rates"},
    " orders | ": {"orders"},
    "~": {"orders", "rates"},
    "o.*": set(),
    "\\": set(),
    "'": set(),
}


def test_a_pattern_finds_what_it_finds_in_airflows_own_api(world: World) -> None:
    world.add(producer("ingest", ORDERS, RATES))
    op = Client("op")
    cords = {name: op.post("/cords", asset=name, all=True, reason="odd") for name in ("orders", "rates")}
    for pattern, names in PATTERNS.items():
        for field in ("name", "uri"):
            told = op.get("/assets", **{f"{field}_pattern": pattern})
            assert ({a["name"] for a in told["assets"]}, told["total_entries"]) == (names, len(names)), (
                pattern
            )
        told = op.get("/cords", asset_name_pattern=pattern)["cords"]
        assert {c["cord_id"] for c in told} == {cords[name]["cord_id"] for name in names}, pattern
        own = op._http.get("/api/v2/assets", params={"name_pattern": pattern}).json()
        assert {a["name"] for a in own["assets"]} == names, pattern


def test_a_release_that_waits_says_for_what(chain: World) -> None:
    chain.publish("ingest", "p1")
    op = Client("op", "ann")
    cord = op.post("/cords", **wrong("p1"))["cord_id"]
    repaired = op.post(f"/cords/{cord}/repair")
    assert [(t["dag_id"], t["task_id"]) for t in repaired["cleared"]] == [("ingest", "load")]
    assert repaired["partitions_asked"] == 1
    (under,) = op.get(f"/cords/{cord}/partitions")["partitions"]
    assert (under["asked_outcome"], under["asked_by"], under["outcome"]) == ("fixed", "ann", None)
    assert under["awaits"]["text"] == "1 task(s) that publish it (waiting)"
    assert [t["task_id"] for t in under["awaits"]["tasks"]] == ["load"]
    chain.play()
    assert op.get(f"/cords/{cord}")["state"] == "closed"


def test_a_cord_on_what_is_not_published_yet_is_seen_on_its_asset(chain: World) -> None:
    op = Client("op")
    for scope, keys in (({"pattern": "2026-06-*"}, "2026-06"), ({"all": True}, "")):
        cord = op.post("/cords", asset="orders", reason="garbage", **scope)
        number = cord["cord_id"]
        (asset,) = cord["assets"]
        assert (asset["name"], asset["partitions"], asset["first_keys"]) == ("orders", 0, [])
        assert op.get(f"/assets/{asset['asset_id']}")["open_cords"] == [number]
        assert [a["name"] for a in op.get("/assets", troubled=True)["assets"]] == ["orders"]
        for text in ("rder", keys):
            assert [c["cord_id"] for c in op.get("/cords", closed=False, text=text)["cords"]] == [number]
        closed = op.post(f"/cords/{number}/release", only_scope=True)
        assert (closed["state"], [a["name"] for a in closed["assets"]]) == ("closed", ["orders"])
        assert op.get(f"/assets/{asset['asset_id']}")["open_cords"] == []


def test_a_task_says_why_it_waits(world: World) -> None:
    world.add(producer("ingest", ORDERS), reader("nightly", [ORDERS]))
    world.publish("ingest", "p1")
    op = Client("user")
    op_can = Client("op")
    op_can.post("/cords", asset="orders", all=True, reason="odd")
    run_id = world.trigger("nightly", run_type=DagRunType.SCHEDULED)
    world.play()
    (hold,) = op.get("/holds", dag_id="nightly", task_id="read", waiting=True)["holds"]
    assert (hold["whole"], hold["parked"], hold["cords"][0]["reason"]) == (False, ["after", "read"], "odd")
    told = op.get("/why", dag_id="nightly", run_id=run_id, task_id="read")
    assert (told["waits"], told["may"]["let_through"]) == (True, True)
    assert told["reasons"][0]["awaits"]["text"] == "the release of the cord"
    assert op.get("/holds", dag_id="nightly", task_id="other")["total_entries"] == 0
    op.post("/runs/let-through", dag_id="nightly", run_id=run_id, reason="needed")
    again = op.post("/runs/let-through", dag_id="nightly", run_id=run_id, reason="needed, too")
    assert again["new"] is False
    world.play()
    assert world.dag_run("nightly", run_id).state == "success"


def of(asset_id: int, key: str | None) -> dict[str, Any]:
    return {"asset_id": asset_id, "partition_key": key}


def test_one_partition_is_released_and_not_its_namesake(world: World) -> None:
    """A cord on all that a run published has the same key on two assets; one of them is repaired first."""
    with DAG("ingest", schedule=PartitionedAtRuntime()) as dag:
        Step(task_id="load", outlets=[ORDERS]) >> Step(task_id="rate", outlets=[RATES])
    world.add(dag)
    world.publish("ingest", "p1")
    op = Client("op", "ann")
    run = {"dag_id": "ingest", "run_id": world.dag_run("ingest", "p1").run_id}
    pulled = op.post("/cords", run=run, reason="odd")
    cord, (orders, rates) = pulled["cord_id"], (a["asset_id"] for a in pulled["assets"])
    told = op.post(f"/cords/{cord}/release", outcome="false_alarm", of=[of(orders, "p1")])
    assert {a["name"]: a["open"] for a in told["assets"]} == {"orders": 0, "rates": 1}
    with nothing_changes():
        for named in ([of(orders, "p1")], [of(orders, "p1"), of(rates, "p1")]):
            code, detail = op.refused("POST", f"/cords/{cord}/release", json={"of": named})
            assert (code, detail["field"]) == (409, "of")
    told = op.post(f"/cords/{cord}/release", outcome="false_alarm", of=[of(rates, "p1")])
    assert told["state"] == "closed"


def test_what_has_no_key_is_released_by_itself(world: World) -> None:
    world.add(producer("ingest", ORDERS))
    world.publish_from_outside("orders", None)
    world.publish("ingest", "p1")
    op = Client("op", "ann")
    pulled = op.post("/cords", asset="orders", all=True, reason="odd")
    told = op.post(
        f"/cords/{pulled['cord_id']}/release",
        outcome="false_alarm",
        of=[of(pulled["assets"][0]["asset_id"], None)],
    )
    assert [a["open"] for a in told["assets"]] == [1]
    (left,) = op.get(f"/cords/{pulled['cord_id']}/partitions", open=True)["partitions"]
    assert left["partition_key"] == "p1"
    assert told["scopes"][0]["ended_at"] is None


PROBLEMS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "no such asset": ("POST", "/cords", wrong("p1") | {"asset": "x"}, 404, "asset"),
    "no such asset id": ("POST", "/cords", wrong("p1", asset_id=99) | {"asset": None}, 404, "asset_id"),
    "no such key": ("POST", "/cords", wrong("p9"), 400, "partition_keys"),
    "two ways": ("POST", "/cords", wrong("p1", all=True), 400, "all"),
    "an asset twice": ("POST", "/cords/preview", {"asset": "orders", "asset_id": 1}, 400, "asset"),
    "nothing": ("POST", "/cords", {"reason": "x"}, 400, "asset"),
    "no order": ("POST", "/cords/preview", {"asset": "orders", "from_key": "p1"}, 400, "from_key"),
    "no such run": (
        "POST",
        "/cords",
        {"run": {"dag_id": "ingest", "run_id": "x"}, "reason": "x"},
        404,
        "run",
    ),
    "no such cord": ("POST", "/cords/99/release", {}, 404, "cord_id"),
    "not of the cord": ("POST", "/cords/1/release", {"partition_keys": ["p9"]}, 400, "partition_keys"),
    "not of the cord, exactly": ("POST", "/cords/1/release", {"of": [of(1, "p2")]}, 400, "of"),
    "no key of the cord": ("POST", "/cords/1/release", {"of": [of(1, None)]}, 400, "of"),
    "of another asset": ("POST", "/cords/1/release", {"of": [of(1, "p1"), of(2, "p1")]}, 400, "of"),
    "named twice": (
        "POST",
        "/cords/1/release",
        {"of": [of(1, "p1")], "partition_keys": ["p1"]},
        400,
        "of",
    ),
    "of none": ("POST", "/cords/1/release", {"of": []}, 422, "of"),
    "of no asset": ("POST", "/cords/1/release", {"of": [{"partition_key": "p1"}]}, 422, "of"),
    "of only a scope": (
        "POST",
        "/cords/1/release",
        {"of": [of(1, "p1")], "only_scope": True},
        400,
        "only_scope",
    ),
    "exactly this is released": ("POST", "/cords/2/release", {"of": [of(1, "p2")]}, 409, "of"),
    "released": ("POST", "/cords/2/release", {}, 409, "cord_id"),
    "closed": ("POST", "/cords/2/acknowledge", {}, 409, "cord_id"),
    "closed for another reason": ("PATCH", "/cords/2", {"reason": "x"}, 409, "cord_id"),
    "no scope": ("POST", "/cords/1/release", {"only_scope": True}, 400, "only_scope"),
    "open": (
        "POST",
        "/partitions/declare",
        {"asset": "orders", "partition_key": "p1", "outcome": "fixed", "reason": "x"},
        409,
        "partition_keys",
    ),
    "reads nothing bad": ("POST", "/runs/let-through", {"reason": "x"}, 400, "run"),
    "no such label": ("GET", "/holds", {"label": "sleepy"}, 422, "label"),
    "no such order": ("GET", "/assets", {"order_by": "price"}, 400, "order_by"),
}


@pytest.mark.parametrize(("method", "path", "body", "code", "field"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_cannot_be_is_said_with_the_field(
    chain: World, method: str, path: str, body: dict[str, Any], code: int, field: str
) -> None:
    (run_id, _) = chain.publish("ingest", "p1", "p2")
    chain.pull("orders", "p1")
    chain.release(chain.pull("orders", "p2"), "false_alarm")
    if path == "/runs/let-through":
        body = {**body, "dag_id": "ingest", "run_id": run_id}
    with nothing_changes():
        options = {"params": body} if method == "GET" else {"json": body}
        got, detail = Client("op").refused(method, path, **options)
    assert (got, detail[0]["loc"][1] if got == 422 else detail["field"]) == (code, field)


def test_a_brake_that_is_off_says_so(chain: World) -> None:
    chain.publish("ingest", "p1")
    op = Client("op")
    cord = op.post("/cords", **wrong("p1"))["cord_id"]
    disable(reason="a test", by="ann")
    assert op.get("/summary")["line"] == "off"
    health = op.get("/health")
    assert (health["status"], health["disabled_by"]) == ("disabled", "ann")
    with nothing_changes():
        for path, body in {
            "/cords": wrong("p1"),
            f"/cords/{cord}/repair": {},
            f"/cords/{cord}/raise": {},
        }.items():
            code, detail = op.refused("POST", path, json=body)
            assert (code, detail["field"]) == (409, "andon"), path


def test_the_line_at_a_glance(chain: World) -> None:
    op = Client("op")
    assert op.get("/summary")["line"] == "running"
    chain.publish("ingest", "p1", "p2")
    chain.play()
    warned = op.post("/cords", **wrong("p1", severity="warn"))
    assert (op.get("/summary")["line"], warned["may"]["raise_to_stop"]) == ("warned", True)
    (p1, _) = op.get("/assets/1/partitions")["partitions"]
    assert (p1["state"], p1["cords"]) == ("warned", [warned["cord_id"]])
    nodes = op.get(f"/cords/{warned['cord_id']}/graph")["nodes"]
    assert {n["label"]: n["state"] for n in nodes if n["root"]} == {"orders": "warned"}
    assert op.post(f"/cords/{warned['cord_id']}/raise")["settled"]
    told = op.get("/summary")
    assert (told["line"], told["stop"], told["unacknowledged"]) == ("stopped", 1, 1)
    assert (told["halted_partitions"], told["bad_partitions"], told["runs"]["tainted"]) == (1, 2, 2)
    assert told["oldest"]["cord_id"] == warned["cord_id"]
    op.post(f"/cords/{warned['cord_id']}/release", outcome="withdrawn")
    states = [p["state"] for p in op.get("/assets/1/partitions")["partitions"]]
    assert states == ["withdrawn", "clean"]
