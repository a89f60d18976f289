"""Every route for every role, with Airflow's simple auth manager and with FAB; with teams; nothing leaks."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import airflow.api_fastapi.app as airflow_app
import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.models.asset import AssetModel
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.team import Team, dag_bundle_team_association_table
from airflow.sdk import DAG, Asset, PartitionedAtRuntime
from airflow.utils.session import create_session
from fastapi.routing import APIRoute
from sqlalchemy import insert, select, update
from sqlalchemy.orm import close_all_sessions

from airflow_lean_provider import settings
from airflow_lean_provider.api.app import create_app
from airflow_lean_provider.brake import partitions
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.pull import pull
from airflow_lean_provider.brake.release import release
from airflow_lean_provider.brake.targets import Scope
from airflow_lean_provider.rules.facts import Outcome, Run, Severity
from airflow_lean_provider.store.models import CordPartition
from tests.integration.api import Client, application, audited, nothing_changes
from tests.integration.dags import CLEAN, ORDERS, RATES, REPORT, Step, consumer, producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.world import World

LOG_IN, SEE, SEE_DAG = "log in", "see", "see the Dag"
PULL, RELEASE, ACKNOWLEDGE, LET_THROUGH = "pull", "release", "acknowledge", "let through"

READS_CORDS: dict[tuple[str, str], str] = {
    ("GET", "/v1/summary"): LOG_IN,
    ("GET", "/v1/health"): LOG_IN,
    ("GET", "/v1/cords"): LOG_IN,
    ("GET", "/v1/assets"): LOG_IN,
    ("GET", "/v1/holds"): LOG_IN,
    ("GET", "/v1/cords/{cord_id}"): SEE,
    ("GET", "/v1/cords/{cord_id}/partitions"): SEE,
    ("GET", "/v1/cords/{cord_id}/graph"): SEE,
    ("GET", "/v1/assets/{asset_id}"): SEE,
    ("GET", "/v1/assets/{asset_id}/partitions"): SEE,
    ("GET", "/v1/published"): SEE_DAG,
    ("GET", "/v1/why"): SEE_DAG,
    ("POST", "/v1/cords/preview"): SEE,
}
"""What it takes to read; a list of which nothing may be seen is an empty list."""

CHANGES: dict[tuple[str, str], str] = {
    ("POST", "/v1/cords"): PULL,
    ("PATCH", "/v1/cords/{cord_id}"): PULL,
    ("POST", "/v1/cords/{cord_id}/raise"): PULL,
    ("POST", "/v1/cords/{cord_id}/acknowledge"): ACKNOWLEDGE,
    ("POST", "/v1/cords/{cord_id}/release"): RELEASE,
    ("POST", "/v1/cords/{cord_id}/repair"): RELEASE,
    ("POST", "/v1/partitions/declare"): RELEASE,
    ("POST", "/v1/runs/let-through"): LET_THROUGH,
    ("POST", "/v1/runs/approve-repair"): LET_THROUGH,
}
"""What it takes to change something."""

EVENTS: dict[tuple[str, str], str] = {
    ("POST", "/v1/cords"): "andon pull",
    ("PATCH", "/v1/cords/{cord_id}"): "andon edit",
    ("POST", "/v1/cords/{cord_id}/raise"): "andon raise",
    ("POST", "/v1/cords/{cord_id}/acknowledge"): "andon ack",
    ("POST", "/v1/cords/{cord_id}/release"): "andon release",
    ("POST", "/v1/cords/{cord_id}/repair"): "andon repair",
    ("POST", "/v1/partitions/declare"): "andon declare",
    ("POST", "/v1/runs/let-through"): "andon let-through",
    ("POST", "/v1/runs/approve-repair"): "andon approve",
}
"""What the audit log calls it; :mod:`.test_api_audit` looks at all of them."""

TABLE = READS_CORDS | CHANGES

SEES = {LOG_IN, SEE, SEE_DAG}
EVERYTHING = SEES | {PULL, RELEASE, ACKNOWLEDGE, LET_THROUGH}
SIMPLE: dict[str | None, set[str]] = {
    None: set(),
    "viewer": SEES,
    "user": SEES | {LET_THROUGH},
    "op": EVERYTHING,
    "admin": EVERYTHING,
}
FAB: dict[str | None, set[str]] = {
    None: set(),
    "Public": {LOG_IN},
    "Viewer": SEES,
    "User": SEES | {PULL, ACKNOWLEDGE, LET_THROUGH},
    "Op": EVERYTHING,
    "Admin": EVERYTHING,
}
"""What each role may do with nothing configured: docs/roles.md says the same."""


def test_the_table_names_every_route() -> None:
    routes = {
        (method, route.path)
        for route in create_app().routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert routes == TABLE.keys()


class Stage:
    """The chain, and things to ask for: a key, a cord on it, and the run that it holds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys = (f"p{n}" for n in count(1))
        self.take_new()

    def take_new(self) -> None:
        """Take things that nobody has changed."""
        self.key = next(self._keys)
        self._world.publish("ingest", self.key)
        self._world.create_runs()
        self.cord = self._pull(Severity.STOP)
        self.warning = self._pull(Severity.WARN)

    def clear_away(self) -> None:
        """Do not let what was asked for slow down what comes."""
        for cord in (self.cord, self.warning):
            with suppress(BadRequest):
                release(cord, Outcome.FALSE_ALARM, by="tester")

    def _pull(self, severity: Severity) -> int:
        return pull(Scope("orders", keys=(self.key,)), reason="wrong", by="tester", severity=severity).cord

    def ask(self, client: Client, method: str, path: str) -> int:
        """Ask for a thing that is there, with a body that is good; return the status of the answer."""
        dag_id = "ingest" if path == "/v1/published" else "cleaning"
        run = {"dag_id": dag_id, "run_id": self._world.dag_run(dag_id, self.key).run_id}
        of_key = {"asset": "orders", "partition_key": self.key}
        bodies: dict[str, dict[str, Any]] = {
            "/v1/cords/preview": {"asset": "orders", "partition_keys": [self.key]},
            "/v1/cords": {"asset": "orders", "partition_keys": [self.key], "reason": "wrong"},
            "/v1/cords/{cord_id}": {"reason": "very wrong"},
            "/v1/cords/{cord_id}/release": {"outcome": "false_alarm"},
            "/v1/partitions/declare": {**of_key, "outcome": "fixed", "reason": "looked at"},
            "/v1/runs/let-through": {**run, "reason": "needed"},
            "/v1/runs/approve-repair": run,
        }
        cord = self.warning if path.endswith("/raise") else self.cord
        url = path.removeprefix("/v1").format(cord_id=cord, asset_id=1)
        options = {"params": run} if method == "GET" else {"json": bodies.get(path, {})}
        return client.ask(method, url, **options).status_code


@pytest.fixture
def stage(chain: World) -> Stage:
    return Stage(chain)


NOT_NOW = {("POST", "/v1/partitions/declare"): 409, ("POST", "/v1/runs/approve-repair"): 400}
"""What these say to somebody who may, as nothing waits for it here."""


def check(roles: dict[str | None, set[str]], client_of: Callable[[str | None], Client], stage: Stage) -> None:
    """Let everybody ask for everything; what is refused changes nothing, what is changed is on the record."""
    wrong = []
    for role, rights in roles.items():
        client = client_of(role)
        with nothing_changes():
            for route, needed in TABLE.items():
                if needed in rights and route in CHANGES:
                    continue
                expected = 200 if needed in rights else 401 if role is None else 403
                got = stage.ask(client, *route)
                if got != expected:
                    wrong.append((role, route, got))
    for role, rights in roles.items():
        for route, needed in CHANGES.items():
            if needed in rights:
                stage.clear_away()
                stage.take_new()
                client, lines = client_of(role), len(audited())
                got = stage.ask(client, *route)
                if got != NOT_NOW.get(route, 201 if route == ("POST", "/v1/cords") else 200):
                    wrong.append((role, route, got))
                elif got < 300 and (EVENTS[route], client.name) not in audited()[lines:]:
                    wrong.append((role, route, "left no line of its own in the audit log"))
    assert wrong == []


def test_every_route_for_every_role_of_the_simple_auth_manager(stage: Stage) -> None:
    check(SIMPLE, lambda role: Client(role, f"a {role}"), stage)


@pytest.fixture
def fab(clean_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str | None], Client]]:
    """FAB as the auth manager, its own tables and roles included; return who has a role."""
    pytest.importorskip("airflow.providers.fab", reason="apache-airflow-providers-fab is not installed")
    from airflow.providers.fab.auth_manager.models.db import FABDBManager

    monkeypatch.setenv(
        "AIRFLOW__CORE__AUTH_MANAGER", "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    )
    before = airflow_app._AuthManagerState.instance
    with create_session(scoped=False) as session:
        FABDBManager(session).initdb()
    application.cache_clear()
    Client(None)
    manager: Any = airflow_app.get_auth_manager()

    def client_of(role: str | None) -> Client:
        if role is None:
            return Client.of(None)
        security = manager.security_manager
        name = f"a-{role}"
        user = security.find_user(username=name) or security.add_user(
            name, "A", role, f"{name}@example.org", security.find_role(role), "secret"
        )
        return Client.of(user)

    with manager.flask_app.app_context():
        yield client_of
    close_all_sessions()  # FAB leaves some open in a transaction, which locks the tables
    application.cache_clear()
    airflow_app._AuthManagerState.instance = before


def test_every_route_for_every_role_of_fab(fab: Callable[[str | None], Client], stage: Stage) -> None:
    check(FAB, fab, stage)


# Configured


def test_another_right_can_be_asked_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rights on Dags instead of assets, whoever may run the Dags around an asset may pull on it."""
    user = Client("user", "uma")
    assert stage.ask(user, "POST", "/v1/cords") == 403
    monkeypatch.setenv("AIRFLOW__LEAN__PULL_REQUIRES", "dag:PUT")
    settings.forget()
    assert stage.ask(user, "POST", "/v1/cords") == 201
    assert stage.ask(Client("viewer"), "POST", "/v1/cords") == 403
    assert stage.ask(user, "POST", "/v1/cords/{cord_id}/release") == 403


# Teams


@pytest.fixture
def teams(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """
    Red makes orders and reads them; blue makes rates and reads both.

    They become teams once all has run: Airflow then hands no event of one to a Dag of the other.
    """
    world.add(
        producer("ingest", ORDERS),
        consumer("cleaning", ORDERS, CLEAN),
        producer("rating", RATES),
        consumer("pricing", RATES & CLEAN, REPORT),
    )
    world.publish("ingest", "p1")
    world.publish("rating", "p1")
    world.play()
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    with create_session(scoped=False) as session:
        for team, dag_ids in {"red": ("ingest", "cleaning"), "blue": ("rating", "pricing")}.items():
            session.add(Team(name=team))
            bundle = DagBundleModel(name=team)
            session.add(bundle)
            session.flush()
            session.execute(
                insert(dag_bundle_team_association_table).values(dag_bundle_name=team, team_name=team)
            )
            session.execute(update(DagModel).where(DagModel.dag_id.in_(dag_ids)).values(bundle_name=team))
    return world


def test_a_team_pulls_on_what_its_own_dags_publish_or_read(teams: World) -> None:
    red, blue = Client("op", "rita", ["red"]), Client("op", "bob", ["blue"])
    wrong = {"partition_keys": ["p1"], "reason": "wrong"}
    assert red.refused("POST", "/cords", json={"asset": "rates", **wrong}) == (403, "Forbidden")
    on_rates = blue.post("/cords", asset="rates", **wrong)["cord_id"]
    on_clean = blue.post("/cords", asset="clean", **wrong)["cord_id"]
    on_orders = red.post("/cords", asset="orders", **wrong)["cord_id"]
    assert {c["cord_id"] for c in red.get("/cords")["cords"]} == {on_orders, on_clean}
    assert {c["cord_id"] for c in blue.get("/cords")["cords"]} == {on_rates, on_clean}
    assert red.refused("GET", f"/cords/{on_rates}") == (403, "Forbidden")
    for path in ("acknowledge", "release", "repair"):
        assert red.refused("POST", f"/cords/{on_rates}/{path}", json={})[0] == 403
    assert red.post(f"/cords/{on_clean}/release", outcome="false_alarm")["partitions_open"] == 0
    assert {h["dag_id"] for h in red.get("/holds")["holds"]} == {"cleaning"}
    assert red.get("/holds")["hidden"] == 1
    run = teams.dag_run("pricing", "p1").run_id
    assert red.refused("GET", "/why", params={"dag_id": "pricing", "run_id": run})[0] == 403
    let_through = {"dag_id": "pricing", "run_id": run, "reason": "needed"}
    assert red.refused("POST", "/runs/let-through", json=let_through)[0] == 403
    assert blue.ask("POST", "/runs/let-through", json=let_through).status_code == 200


def on_which_may_pull(client: Client, **parameters: Any) -> dict[bool, list[str]]:
    """Return the names of the assets that are found with each value of the filter."""
    told = {m: client.get("/assets", may_pull=m, **parameters) for m in (True, False)}
    for answer in told.values():
        assert answer["total_entries"] == len(answer["assets"])
    return {m: sorted(a["name"] for a in answer["assets"]) for m, answer in told.items()}


def test_the_assets_are_found_on_which_a_person_may_pull(chain: World) -> None:
    everything = ["clean", "orders", "report"]
    assert on_which_may_pull(Client("op")) == {True: everything, False: []}
    assert on_which_may_pull(Client("viewer")) == {True: [], False: everything}
    assert on_which_may_pull(Client("op"), text="or") == {True: ["orders", "report"], False: []}


def test_the_assets_are_found_on_which_a_team_may_pull(teams: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teams narrow it down, and so does a right on one asset: who sees it need not be one who may pull."""
    red, blue = Client("op", "rita", ["red"]), Client("op", "bob", ["blue"])
    assert on_which_may_pull(red) == {True: ["clean", "orders"], False: []}
    assert on_which_may_pull(blue) == {True: ["clean", "rates", "report"], False: []}
    may = SimpleAuthManager.is_authorized_asset

    def is_authorized_asset(self: Any, *, method: str, details: Any = None, **options: Any) -> bool:
        asset = getattr(details, "id", None)
        clean = asset is not None and partitions.asset(int(asset)).asset.name == "clean"
        return not (clean and method != "GET") and may(self, method=method, details=details, **options)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_asset", is_authorized_asset)
    assert on_which_may_pull(blue) == {True: ["rates", "report"], False: ["clean"]}
    assert blue.get("/assets", may_pull=True, limit=1, order_by="-name")["total_entries"] == 2


# Nothing leaks


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may read the Dag ``payroll``, nor the assets ``salaries`` and ``wages``."""
    of_dag, of_asset = SimpleAuthManager.is_authorized_dag, SimpleAuthManager.is_authorized_asset

    def is_authorized_dag(self: Any, *, details: Any = None, **options: Any) -> bool:
        return getattr(details, "id", None) != "payroll" and of_dag(self, details=details, **options)

    def is_authorized_asset(self: Any, *, details: Any = None, **options: Any) -> bool:
        asset = getattr(details, "id", None)
        hidden = asset is not None and partitions.asset(int(asset)).asset.name in ("salaries", "wages")
        return not hidden and of_asset(self, details=details, **options)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_asset", is_authorized_asset)


@pytest.mark.usefixtures("secret")
def test_what_may_not_be_read_is_counted_and_not_named(world: World) -> None:
    salaries, wages = Asset("salaries"), Asset("wages")
    world.add(
        producer("ingest", ORDERS, wages),
        consumer("payroll", ORDERS, salaries, max_active_runs=1),
        consumer("cleaning", salaries, CLEAN),
    )
    world.publish("ingest", "p1")
    world.tick()
    world.work(world.take("payroll", "p1"))
    world.play()
    op, said = Client("op", "ann"), []

    def told(answer: Any) -> Any:
        said.append(answer.text)
        return answer.json()

    def get(path: str, **parameters: Any) -> Any:
        return told(op.ask("GET", path, params=parameters))

    def post(path: str, **body: Any) -> Any:
        return told(op.ask("POST", path, json=body))

    plan = post("/cords/preview", asset="orders", partition_keys=["p1"])
    assert (plan["total_runs"], len(plan["runs"]), plan["hidden"]["runs"]) == (2, 1, 1)
    assert plan["hidden"]["late"] == 1
    hidden = [n for n in plan["graph"]["nodes"] if n["label"] is None]
    assert {(n["kind"], n["state"]) for n in hidden} == {("dag", "tainted"), ("asset", "bad")}
    cord = post("/cords", asset="orders", partition_keys=["p1"], reason="wrong")["cord_id"]
    with create_session(scoped=False) as session:
        number = session.scalar(select(AssetModel.id).where(AssetModel.name == "salaries"))
    on_salaries = pull(Scope("salaries", keys=("p1",)), reason="secret", by="tester").cord
    on_both = pull(
        Scope(run=Run("ingest", world.dag_run("ingest", "p1").run_id)), reason="both", by="tester"
    ).cord
    assert {c["cord_id"] for c in get("/cords")["cords"]} == {cord, on_both}
    assert get(f"/cords/{on_both}")["hidden_assets"] == 1
    assert get(f"/cords/{on_both}/partitions")["total_entries"] == 1
    assert op.ask("GET", f"/cords/{on_salaries}").status_code == 403
    assert op.ask("GET", f"/assets/{number}/partitions").status_code == 403
    assert get("/assets", text="salar")["total_entries"] == 0
    assert get("/assets")["total_entries"] == 2
    holds = get("/holds")
    assert (holds["total_entries"], holds["hidden"]) == (1, 1)
    (why,) = [get("/why", dag_id=h["dag_id"], run_id=h["run_id"]) for h in holds["holds"]]
    assert None in {r["asset"] for r in why["reasons"]}
    published = get("/published", dag_id="ingest", run_id=world.dag_run("ingest", "p1").run_id)
    assert (len(published["published"]), published["hidden"], published["may_pull"]) == (1, 1, False)
    assert op.ask("POST", f"/cords/{on_both}/release", json={}).status_code == 403
    get(f"/cords/{cord}/graph")
    get("/summary")
    assert {check["detail"] for check in get("/health")["checks"]} == {None}
    post(f"/cords/{cord}/repair")
    world.play()
    get(f"/cords/{cord}/partitions")
    get(f"/cords/{on_both}/graph")
    post(f"/cords/{cord}/release", outcome="fixed")
    assert [text for text in said if any(name in text for name in ("payroll", "salaries", "wages"))] == []


@pytest.mark.usefixtures("secret")
def test_nobody_finds_out_by_searching_what_a_cord_is_on(world: World) -> None:
    """A cord on orders and wages is told of as one on orders: no search tells more, not even of the past."""
    wages = Asset("wages")
    world.add(producer("ingest", ORDERS), producer("paying", wages))
    with DAG("both", schedule=PartitionedAtRuntime()) as both:
        Step(task_id="load", outlets=[ORDERS, wages])
    world.add(both)
    world.publish("both", "staff-42")
    run = Run("both", world.dag_run("both", "staff-42").run_id)
    cord = pull(Scope(run=run), reason="wrong", by="tester").cord
    world.publish("paying", "boss-1")
    hidden = pull(Scope("wages", keys=("boss-1",)), reason="wrong", by="tester").cord
    with create_session(scoped=False) as session:
        asset_ids = {a.name: a.id for a in session.scalars(select(AssetModel))}
        row = session.scalars(
            select(CordPartition).where(
                CordPartition.cord_id == cord, CordPartition.asset_id == asset_ids["wages"]
            )
        ).one()
        row.partition_key = "staff-43"  # as a mapper of another Dag may have named it
    op = Client("op", "ann")

    def found(**parameters: Any) -> set[int]:
        answer = op.get("/cords", **parameters)
        assert answer["total_entries"] == len(answer["cords"])
        return {c["cord_id"] for c in answer["cords"]}

    for closed in (False, True):
        if closed:
            for number in (cord, hidden):
                release(number, Outcome.FALSE_ALARM, by="tester")
        assert found(closed=closed, text="orders") == found(closed=closed, text="staff-42") == {cord}
        assert found(closed=closed, asset_id=asset_ids["orders"]) == found(closed=closed) == {cord}
        assert found(closed=closed, text="wages") == found(closed=closed, text="boss") == set()
        assert found(closed=closed, text="staff-43") == set()
        assert found(closed=closed, asset_name_pattern="wage%") == set()
        assert found(closed=closed, asset_name_pattern="ord%|wage%") == {cord}
        assert found(closed=closed, asset_id=asset_ids["wages"]) == set()
    pull(Scope("wages", whole=True), reason="all of it", by="tester")
    assert found(text="wages") == found(asset_name_pattern="wages") == set()


def test_nobody_clears_the_tasks_of_a_dag_that_he_may_not_edit(stage: Stage, monkeypatch: Any) -> None:
    of_dag = SimpleAuthManager.is_authorized_dag

    def is_authorized_dag(self: Any, *, method: str, details: Any = None, **options: Any) -> bool:
        if method != "GET" and getattr(details, "id", None) == "ingest":
            return False
        return of_dag(self, method=method, details=details, **options)

    assert Client("op").get(f"/cords/{stage.cord}")["may"]["repair"]
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)
    with nothing_changes():
        assert stage.ask(Client("op"), "POST", "/v1/cords/{cord_id}/repair") == 403
    assert not Client("op").get(f"/cords/{stage.cord}")["may"]["repair"]


@pytest.mark.usefixtures("secret")
def test_an_ambiguous_name_tells_only_what_may_be_read(world: World) -> None:
    """One asset has as its name what is another one's uri, and that other one is not everybody's business."""
    hidden, open_to_all = Asset("salaries", uri="x://a/both"), Asset("x://a/both", uri="x://a/open")
    world.add(producer("ingest", hidden, open_to_all))
    world.publish("ingest", "p1")
    op = Client("op")
    for path, more in {
        "/cords/preview": {"partition_keys": ["p1"]},
        "/cords": {"partition_keys": ["p1"], "reason": "x"},
        "/partitions/declare": {"partition_key": "p1", "outcome": "fixed", "reason": "x"},
    }.items():
        code, detail = op.refused("POST", path, json={"asset": "x://a/both", **more})
        assert (code, detail["field"]) == (400, "asset")
        assert detail["message"].endswith("use a uri: x://a/open, 1 that you may not read")


# Who sends it


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_changes_nothing_with_the_cookie_of_a_person(stage: Stage, site: str) -> None:
    browser = Client("op").as_browser()
    path, body = f"/cords/{stage.cord}/acknowledge", {"note": "mine"}
    with nothing_changes():
        refused = browser.refused("POST", path, json=body, headers={"Sec-Fetch-Site": site})
    assert refused == (403, "Forbidden: another site's page has sent this")
    own = browser.ask("POST", path, json=body, headers={"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(stage: Stage, content_type: str) -> None:
    browser = Client("op").as_browser()
    with nothing_changes():
        got = browser.ask(
            "POST",
            f"/cords/{stage.cord}/acknowledge",
            content='{"note": "mine"}',
            headers={"Content-Type": content_type},
        )
    assert got.status_code == 415


@pytest.mark.parametrize("token", ["nonsense", "e30.e30.e30"])
def test_a_token_that_nobody_signed_is_refused(stage: Stage, token: str) -> None:
    nobody = Client(None)
    answer = nobody.ask("GET", "/cords", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("body", ["[", '{"reason": ', ""])
def test_nobody_is_told_that_his_json_is_wrong(world: World, body: str) -> None:
    options = {"content": body, "headers": {"Content-Type": "application/json"}}
    assert Client(None).refused("POST", "/cords", **options)[0] == 401
    assert Client("op").refused("POST", "/cords", **options)[0] == 422


def test_nobody_is_told_that_his_body_is_no_text(world: World) -> None:
    options = {"content": b'{"reason": "\xff"}', "headers": {"Content-Type": "application/json"}}
    assert Client(None).refused("POST", "/cords", **options)[0] == 401
    assert Client("op").refused("POST", "/cords", **options)[0] == 400


@pytest.fixture
def all_admins(clean_db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Airflow as it is tried out: everybody is an administrator, and Airflow adds the token by itself."""
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    before = airflow_app._AuthManagerState.instance
    application.cache_clear()
    yield
    application.cache_clear()
    airflow_app._AuthManagerState.instance = before


@pytest.mark.usefixtures("all_admins")
def test_another_sites_page_changes_nothing_where_everybody_is_an_administrator(stage: Stage) -> None:
    anybody, path = Client(None), f"/cords/{stage.cord}/acknowledge"
    with nothing_changes():
        refused = anybody.refused("POST", path, json={}, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused == (403, "Forbidden: another site's page has sent this")
    assert anybody.ask("POST", path, json={}).status_code == 200
