"""
The pages in a real browser, on a real Airflow: from the pull to the repair, and what could spoil it.

Pictures of all that was seen are in ``build/screenshots``.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import text

from airflow_lean_provider import ui
from demo.airflow_process import RunningAirflow
from tests.system.harness import fresh_database

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.system.browser import Visitor, chromium, missing  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from tests.system.browser import Scheme

pytestmark = [pytest.mark.system, pytest.mark.postgres]

DAGS = Path(__file__).parent / "pages_dags"
BAD, GOOD = "2026-06-14", "2026-06-15"
REASON = "Amounts in cents, not euros"
MANY = 5_000
USERS = {"ann": "admin", "olga": "op", "vic": "viewer"}
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SIZE_LIMIT = 150_000
"""Bytes of the bundle, compressed."""

ACTS = re.compile("^(Pull|I am on it|Repair|Release|Edit|Raise|Let it through|Approve|Declare)")
"""The buttons that change something."""

OWN_ASSET = {"asset_id": 9999, "name": "my_own", "uri": "my_own", "open_cords": [], "halted": 0, "bad": 0}

SAID = re.compile(r"Cord \d|waits|has read bad data|stops? part")
"""What is on each page while a cord is open, once it is loaded."""

FOCUSED = """() => {
    const { ariaLabel, labels, tagName, textContent } = document.activeElement;
    if (tagName === "BODY") return "";
    return [ariaLabel, textContent, ...[...(labels ?? [])].map((label) => label.textContent)].join(" ");
}"""

MOST_SEEN = ("board", "cord", "run-held")

Visit = Callable[..., Visitor]


class Line:
    """
    Airflow with the Dags of :data:`DAGS`; who logs in, and who looks.

    :param airflow: it runs
    :param browser: it runs
    """

    def __init__(self, airflow: RunningAirflow, browser: Browser) -> None:
        self.airflow = airflow
        self.browser = browser
        self.tokens = {user: airflow.rest.log_in(user, user) for user in ("olga", "vic", "ann")}

    def api(self, method: str, path: str, **body: object) -> dict:
        return self.airflow.rest.call(method, f"/andon/v1{path}", **({"json": body} if body else {}))

    def wait_succeeded(self, dag_id: str, key: str) -> None:
        self.airflow.wait_until(
            lambda: self.airflow.rows(
                "SELECT 1 FROM dag_run WHERE dag_id = :dag AND partition_key = :key AND state = 'success'",
                dag=dag_id,
                key=key,
            ),
            f"{dag_id} of {key}",
            timeout=120,
        )

    def run_of(self, dag_id: str, label: str) -> str:
        """Return the path of a Dag's run of which this is said."""
        holds = self.api("GET", f"/holds?dag_id={dag_id}")["holds"]
        run = next(hold["run_id"] for hold in holds if label in hold["labels"])
        return f"/dags/{dag_id}/runs/{quote(run, safe=':+')}"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    if not ui.is_built():
        missing("the bundle was not built: `make ui`")
    home = tmp_path_factory.mktemp("airflow")
    (home / "wait").mkdir()
    (home / "wait" / "forecasting").touch()
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in USERS}))
    who = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(":".join(user) for user in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__LEAN__SWEEP_INTERVAL": "2",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
    }
    with fresh_database() as database:
        airflow = RunningAirflow(home=home, dags=DAGS, database=database, environment=who)
        with airflow, chromium() as browser:
            line = Line(airflow, browser)
            airflow.wait_parsed({"ingest", "cleaning", "reporting", "forecasting", "archive"}, timeout=180)
            yield line


@pytest.fixture
def visit(line: Line) -> Iterator[Visit]:
    visitors = []

    def come(
        user: str = "olga",
        scheme: Scheme = "light",
        width: int = 1280,
        url: str | None = None,
        token: str | None = None,
    ) -> Visitor:
        who = token or line.tokens[user]
        visitor = Visitor(line.browser, url or line.airflow.url, who, scheme, width)
        visitors.append(visitor)
        return visitor

    yield come
    for visitor in visitors:
        visitor.leave()


def test_the_bundle_is_small() -> None:
    if not ui.is_built():
        missing("the bundle was not built: `make ui`")
    assert len(gzip.compress(ui.BUNDLE.read_bytes())) < SIZE_LIMIT


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_empty_board_is_a_calm_sight(visit: Visit, scheme: Scheme) -> None:
    operator = visit(scheme=scheme)
    page = operator.go("/plugin/andon")
    page.get_by_text("Nothing is held").wait_for()
    operator.judge("board-empty")
    page = operator.go("/")
    page.get_by_role("heading", name="The line is running").wait_for()
    operator.judge("dashboard-running")


def test_from_the_pull_to_the_repair(line: Line, visit: Visit) -> None:
    for key in (GOOD, BAD):
        line.airflow.rest.trigger("ingest", key)
        line.wait_succeeded("reporting", key)
    operator = visit()
    cord = pull_on_the_page_of_the_asset(line, operator)
    line.airflow.rest.trigger("cleaning", BAD)
    line.airflow.wait_until(
        lambda: line.api("GET", "/holds?dag_id=cleaning&label=held")["holds"], "a hold", timeout=180
    )
    places = places_where_it_is_said(line, cord)
    everybody_sees_why(visit, cord, places)
    only_held_runs_are_said_to_come_first(operator, places)
    a_viewer_sees_no_button_that_fails(visit("vic"), places)
    a_viewer_sees_no_button_that_fails(visit("vic", "dark"), {name: places[name] for name in MOST_SEEN})
    dialogs_open_and_close_with_the_keyboard(operator, places)
    runs_of_a_cord_are_found_by_what_is_said_of_them(operator, places["cord"])
    what_nobody_publishes_is_declared(operator, places["run-held"])
    repair_from_the_board(line, operator, cord)


def pull_on_the_page_of_the_asset(line: Line, operator: Visitor) -> int:
    """Three clicks and a reason; return the number of the cord."""
    page = operator.go(f"/assets/{line.airflow.rest.asset_id('orders')}")
    page.get_by_role("button", name="Pull the cord").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="14 June 2026: 1 partition").click()
    dialog.get_by_label("What is wrong?").fill(REASON)
    dialog.get_by_text(re.compile("runs? tainted")).wait_for()
    dialog.get_by_role("region", name="Downstream graph").get_by_text("forecasting").wait_for()
    operator.judge("pull")
    dialog.get_by_role("button", name="Pull the cord").click()
    page.wait_for_url("**/plugin/andon/cords/*")
    page.get_by_role("region", name="Downstream graph").get_by_text(re.compile(r"\d stopped")).wait_for()
    cord = int(page.url.rpartition("/")[2])
    assert line.api("GET", f"/cords/{cord}")["pulled_by"] == "olga"
    return cord


def places_where_it_is_said(line: Line, cord: int) -> dict[str, str]:
    stopped = line.run_of("forecasting", "stopped")
    return {
        "board": "/plugin/andon",
        "cord": f"/plugin/andon/cords/{cord}",
        "dashboard": "/",
        "asset": f"/assets/{line.airflow.rest.asset_id('orders')}",
        "dag": "/dags/cleaning/plugin/andon_dag",
        "run-held": f"{line.run_of('cleaning', 'held')}/plugin/andon_dag_run",
        "run-tainted": f"{line.run_of('cleaning', 'tainted')}/plugin/andon_dag_run",
        "task": "/dags/forecasting/tasks/work/plugin/andon_task",
        "task-instance": f"{stopped}/tasks/work/plugin/andon_task_instance",
    }


def everybody_sees_why(visit: Visit, cord: int, places: dict[str, str]) -> None:
    for scheme in ("light", "dark"):
        somebody = visit(scheme=scheme)
        for name, path in places.items():
            ours = somebody.go(path).locator(".andon")
            ours.get_by_text(f"Cord {cord}" if name == "asset" else REASON).first.wait_for()
            if name in ("dag", "task"):
                ours.get_by_text("Pulled by olga").wait_for()
                ours.get_by_text("Awaited: the release of the cord").wait_for()
            somebody.judge(name)
        somebody.leave()  # Airflow's own pages ask without end: too many of them choke an api-server
    for scheme in ("light", "dark"):
        phone = visit(scheme=scheme, width=390)
        for name in MOST_SEEN:
            page = phone.go(places[name])
            page.get_by_text(REASON).first.wait_for()
            phone.judge(f"phone-{name}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        phone.go(places["board"]).get_by_role("button", name="Pull the cord").wait_for()
        phone.leave()


def only_held_runs_are_said_to_come_first(operator: Visitor, places: dict[str, str]) -> None:
    for path, held in ((places["dag"], 1), ("/dags/reporting/plugin/andon_dag", 0)):
        with operator.page.expect_response(lambda answer: "waiting=true" in answer.url):
            page = operator.go(path)
        page.get_by_role("region", name="Runs").get_by_text("tainted").wait_for()
        if held:
            page.get_by_text("queued until 2037").wait_for()
        assert page.get_by_text("queued until 2037").count() == held


def a_viewer_sees_no_button_that_fails(viewer: Visitor, places: dict[str, str]) -> None:
    for name, path in places.items():
        page = viewer.go(path)
        page.locator(".andon").get_by_text(SAID).first.wait_for()
        assert page.locator(".andon").get_by_role("button", name=ACTS).count() == 0, name
        viewer.judge(f"viewer-{name}")
    viewer.leave()


def dialogs_open_and_close_with_the_keyboard(operator: Visitor, places: dict[str, str]) -> None:
    for place, button, field in (
        ("run-held", "Let it through", "Why?"),
        ("board", "Release", "Note"),
        ("cord", "Edit the reason", "What is wrong?"),
    ):
        page = operator.go(places[place])
        page.locator(".andon").get_by_role("button", name=button).focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_label(field).wait_for()
        operator.judge(button.lower().replace(" ", "-"))
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")


def runs_of_a_cord_are_found_by_what_is_said_of_them(operator: Visitor, cord: str) -> None:
    page = operator.go(cord)
    state, runs = page.get_by_label("Runs in which state"), page.get_by_role("region", name="Runs")
    state.select_option("stopped")
    runs.get_by_role("link", name="forecasting").wait_for()
    assert runs.get_by_role("link", name="cleaning").count() == 0
    operator.judge("cord-stopped")
    state.select_option("superseded")
    page.get_by_text("None is superseded.").wait_for()


def what_nobody_publishes_is_declared(operator: Visitor, run: str) -> None:
    """As if nothing were going to make good what the run waits for."""
    sent: list[object] = []

    def stuck(route: Route) -> None:
        answer = route.fetch()
        why = answer.json()
        why["reasons"][0]["may_declare"] = True
        route.fulfill(response=answer, json=why)

    def declared(route: Route) -> None:
        sent.append(route.request.post_data_json)
        route.fulfill(json={})

    operator.page.route("**/andon/v1/why?*", stuck)
    operator.page.route("**/andon/v1/partitions/declare", declared)
    page = operator.go(run)
    page.get_by_role("button", name="Declare").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("False alarm", exact=True).click()
    dialog.get_by_label("How do you know?").fill("Counted by hand")
    operator.judge("declare")
    dialog.get_by_role("button", name="Declare").click()
    dialog.wait_for(state="detached")
    assert [(d["partition_key"], d["outcome"], d["reason"]) for d in sent] == [
        (BAD, "false_alarm", "Counted by hand")
    ]
    operator.page.unroute_all(behavior="wait")


def test_a_calendar_does_not_say_what_it_does_not_know_yet(line: Line, visit: Visit) -> None:
    """Days are loading, or unknown, before they are "not published"."""
    operator = visit()
    line.airflow.rest.publish("archive_of_days", GOOD)
    asked: list[Route] = []
    answered = [asked.append, lambda route: route.abort()]
    operator.page.route("**/partitions?prefix=*", lambda route: answered[0](route))
    page = operator.go(f"/assets/{line.airflow.rest.asset_id('archive_of_days')}")
    page.get_by_role("button", name="Pull the cord").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="15 June 2026: loading").wait_for()
    assert dialog.get_by_role("button", name="not published").count() == 0
    del answered[0]
    for route in asked:
        route.abort()
    dialog.get_by_text("The partitions of this month cannot be loaded.").wait_for()
    assert dialog.get_by_role("button", name="not published").count() == 0


def test_no_pull_takes_more_than_three_clicks(line: Line, visit: Visit) -> None:
    """One page; what is typed, and Enter, is no click."""
    for hour in ("14T05", "14T06", "15T05", "15T06"):
        line.airflow.rest.publish("archive_of_hours", f"2026-06-{hour}")
    operator = visit()
    page = operator.page
    dialog, reason = page.get_by_role("dialog"), page.get_by_label("What is wrong?")
    clicks: list[str] = []
    pulled: list[list[str]] = []
    page.expose_function("clicked", lambda what: clicks.append(what))
    page.add_init_script("addEventListener('pointerdown', (e) => window.clicked(e.target.textContent), true)")

    def note(route: Route) -> None:
        pulled.append(route.request.post_data_json["partition_keys"])
        route.abort()

    page.route("**/andon/v1/cords", note)

    def dialog_of_the_board() -> None:
        clicks.clear()
        operator.go("/plugin/andon").get_by_role("button", name="Pull the cord").click()

    def has_pulled(*keys: str, after: int = 3) -> None:
        dialog.get_by_text("The server cannot be reached").wait_for()
        assert pulled.pop() == list(keys)
        assert len(clicks) == after, clicks

    def by_name_and_enter() -> None:
        dialog.get_by_label("Which asset?").fill("archive_of_h")
        page.keyboard.press("Enter")

    # The newest partition, which is proposed.
    dialog_of_the_board()
    dialog.get_by_role("button", name="archive_of_hours").click()
    reason.fill(REASON)
    dialog.locator("[data-plan=settled]").wait_for()
    dialog.get_by_role("button", name="Pull the cord").click()
    has_pulled("2026-06-15T06")

    # A day: what was proposed is not pulled, too.
    dialog_of_the_board()
    by_name_and_enter()
    dialog.get_by_role("button", name="14 June 2026: 2 partitions").click()
    reason.fill(REASON)
    dialog.locator("[data-plan=settled]").wait_for()
    operator.shoot("pull-a-day")
    dialog.get_by_role("button", name="Pull the cord").click()
    has_pulled("2026-06-14T05", "2026-06-14T06")

    # An hour of the newest day, and of another.
    for day, hour, after in ((None, "2026-06-15T05", 2), ("14 June 2026", "2026-06-14T06", 3)):
        dialog_of_the_board()
        by_name_and_enter()
        if day is not None:
            dialog.get_by_role("button", name=f"{day}: 2 partitions").click()
        dialog.get_by_role("button", name=hour.replace("T", " T"), exact=True).click()
        reason.fill(REASON)
        dialog.locator("[data-plan=settled]").wait_for()
        page.keyboard.press("Control+Enter")
        has_pulled(hour, after=after)


def test_a_partition_is_picked_and_pulled_with_the_keyboard_alone(line: Line, visit: Visit) -> None:
    for key in ("2026-06-03", "2026-06-04"):
        line.airflow.rest.publish("archive_of_days", key)
    operator = visit()
    page = operator.go("/plugin/andon")
    tabbed_to(page, "Pull the cord")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Which asset?").wait_for()
    page.keyboard.type("archive_of_d")
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="3 June 2026: 1 partition").wait_for()
    tabbed_to(page, "3 June 2026: 1 partition")
    page.keyboard.press("Space")
    tabbed_to(page, "What is wrong?")
    page.keyboard.type(REASON)
    dialog.locator("[data-plan=settled]").wait_for()
    tabbed_to(page, "Pull the cord")
    page.keyboard.press("Enter")
    page.wait_for_url("**/plugin/andon/cords/*")
    cord = int(page.url.rpartition("/")[2])
    partitions = line.api("GET", f"/cords/{cord}/partitions")["partitions"]
    assert [p["partition_key"] for p in partitions] == ["2026-06-03"]
    line.api("POST", f"/cords/{cord}/release", outcome="false_alarm")


def tabbed_to(page: Page, name: str, at_most: int = 120) -> None:
    """Press Tab until what has the focus is called like that."""
    for _ in range(at_most):
        if name in page.evaluate(FOCUSED):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no {name!r} is reached with Tab")


def test_a_lost_answer_pulls_neither_twice_nor_what_was_meant_before(line: Line, visit: Visit) -> None:
    for key in ("2026-06-01", "2026-06-02"):
        line.airflow.rest.publish("archive_of_days", key)
    operator = visit()
    cords: list[int] = []

    def lose(route: Route) -> None:
        cords.append(route.fetch().json()["cord_id"])
        route.abort()

    def pull(*days: str) -> Page:
        page = operator.go(f"/assets/{line.airflow.rest.asset_id('archive_of_days')}")
        page.get_by_role("button", name="Pull the cord").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("What is wrong?").fill(REASON)
        operator.page.route("**/andon/v1/cords", lose, times=1)
        for day in days:
            dialog.get_by_role("button", name=f"{day} June 2026: 1 partition").click()
            dialog.locator("[data-plan=settled]").wait_for()
            dialog.get_by_role("button", name="Pull the cord").click()
            if day == days[0]:
                dialog.get_by_text("The server cannot be reached").wait_for()
        if len(days) == 1:
            dialog.get_by_role("button", name="Pull the cord").click()
        page.wait_for_url("**/plugin/andon/cords/*")
        page.get_by_role("heading", name="Cord").wait_for()
        return page

    page = pull("1")
    assert page.url.endswith(f"/{cords[0]}")
    page.get_by_text(f"Your first request had already pulled cord {cords[0]}").wait_for()
    operator.judge("pulled-before")
    page = pull("1", "2")
    assert not page.url.endswith(f"/{cords[1]}")
    assert page.get_by_text("Your first request").count() == 0
    newest = int(page.url.rpartition("/")[2])
    partitions = line.api("GET", f"/cords/{newest}/partitions")["partitions"]
    assert [p["partition_key"] for p in partitions] == ["2026-06-01", "2026-06-02"]
    for cord in (*cords, newest):
        line.api("POST", f"/cords/{cord}/release", outcome="false_alarm")


def test_exactly_the_chosen_partitions_are_released(line: Line, visit: Visit) -> None:
    """Of two assets with the same key, and of keys and none."""
    run = line.airflow.rest.trigger("twins", BAD)
    line.wait_succeeded("twins", BAD)
    twins = line.api("POST", "/cords", run={"dag_id": "twins", "run_id": run}, reason=REASON)["cord_id"]
    asset = line.airflow.rest.asset_id("left")
    line.airflow.rest.publish("left")
    whole = line.api("POST", "/cords", asset_id=asset, all=True, reason=REASON)["cord_id"]
    operator = visit()

    def open_under(cord: int) -> set[tuple[str, str | None]]:
        partitions = line.api("GET", f"/cords/{cord}/partitions?open=true")["partitions"]
        return {(p["asset"], p["partition_key"]) for p in partitions}

    for cord, chosen, name in ((twins, BAD, f"{BAD} left"), (whole, None, "(no key) left")):
        before = open_under(cord)
        page = operator.go(f"/plugin/andon/cords/{cord}")
        page.get_by_role("button", name="Release").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text(re.compile("^False alarm")).first.click()
        dialog.get_by_text("Only some of its").click()
        dialog.get_by_role("checkbox", name=name).check()
        dialog.get_by_role("button", name="Release 1 partition").click()
        dialog.wait_for(state="detached")
        assert len(before) > 1
        assert open_under(cord) == before - {("left", chosen)}
        line.api("POST", f"/cords/{cord}/release", outcome="false_alarm")
    assert operator.complaints == []


def test_who_may_pull_on_one_asset_of_many_has_the_button(visit: Visit) -> None:
    """As if the first hundred were those of others."""
    operator = visit("vic")
    page = operator.page

    def mine(route: Route) -> None:
        answer = route.fetch()
        assets = answer.json()
        if "may_pull=true" in route.request.url:
            assets = {"assets": [{**OWN_ASSET, "may_pull": True}], "total_entries": 1}
        route.fulfill(response=answer, json=assets)

    page.route("**/andon/v1/assets?*", mine)
    operator.go("/plugin/andon")
    page.get_by_role("button", name="Pull the cord").click()
    page.get_by_role("dialog").get_by_role("button", name="my_own").wait_for()
    page.unroute_all(behavior="wait")


def test_a_request_to_another_host_is_noticed(visit: Visit) -> None:
    """Also where nobody answers."""
    operator = visit()
    page = operator.go("/plugin/andon")
    page.evaluate("fetch('https://elsewhere.invalid/font.woff2').catch(() => null)")
    assert operator.foreign == ["https://elsewhere.invalid/font.woff2"]


def repair_from_the_board(line: Line, operator: Visitor, cord: int) -> None:
    page = operator.go("/plugin/andon")
    page.get_by_role("button", name="I am on it").click()
    page.get_by_text("olga is on it").wait_for()
    page.get_by_role("button", name="Repair").click()
    page.get_by_role("dialog").wait_for()
    operator.judge("repair")
    (line.airflow.home / "wait" / "forecasting").unlink()
    page.get_by_role("dialog").get_by_role("button", name="Repair").click()
    page.get_by_role("dialog").wait_for(state="detached")
    operator.shoot("repairing")
    page.get_by_text("Nothing is held").wait_for(timeout=240_000)  # the page refreshes itself
    page.get_by_role("tab", name="History").click()
    page.get_by_label("Find closed cords").fill("cents")
    page.get_by_text(REASON).first.wait_for()
    operator.judge("history")
    page.get_by_role("link", name=f"Cord {cord}").click()
    page.get_by_text("Fixed").first.wait_for()
    operator.judge("cord-closed")


def test_what_a_run_published_is_pulled_from_its_page(line: Line, visit: Visit) -> None:
    (line.airflow.home / "wait" / "forecasting").unlink(missing_ok=True)
    run = line.airflow.rest.trigger("ingest", "2026-06-16")
    line.wait_succeeded("reporting", "2026-06-16")
    line.wait_succeeded("forecasting", "2026-06-16")
    operator = visit()
    page = operator.go(f"/dags/ingest/runs/{run}/plugin/andon_dag_run")
    page.get_by_role("button", name="Pull what it published").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("What is wrong?").fill("<b>half</b> of it is 'missing'")
    dialog.get_by_text(re.compile("runs? tainted")).wait_for()
    operator.judge("pull-published")
    dialog.get_by_role("button", name="Pull the cord").click()
    page.wait_for_url("**/plugin/andon/cords/*")
    page.get_by_text("<b>half</b> of it is 'missing'").wait_for()
    cord = page.url.rpartition("/")[2]
    page.get_by_role("button", name="Release").click()
    page.get_by_role("dialog").get_by_text(re.compile("^False alarm")).first.click()
    page.get_by_label("Note").fill("It was a holiday")
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    page.get_by_text("It was a holiday").wait_for(timeout=60_000)
    page.get_by_text("False alarm", exact=True).wait_for(timeout=60_000)
    line.airflow.wait_until(
        lambda: line.api("GET", f"/cords/{cord}")["state"] == "closed", "the cord's end", timeout=180
    )
    assert operator.complaints == []


def test_what_a_run_published_is_repaired_from_its_page(line: Line, visit: Visit) -> None:
    key = "2026-06-22"
    run = line.airflow.rest.trigger("twins", key)
    line.wait_succeeded("twins", key)
    cord = line.api("POST", "/cords", run={"dag_id": "twins", "run_id": run}, reason=REASON)["cord_id"]
    for path in ("plugin/andon_dag_run", "tasks/work/plugin/andon_task_instance"):
        viewer = visit("vic")
        page = viewer.go(f"/dags/twins/runs/{run}/{path}")
        page.get_by_role("link", name=f"Cord {cord}").first.wait_for()
        assert page.locator(".andon").get_by_role("button", name=ACTS).count() == 0
        operator = visit()
        page = operator.go(f"/dags/twins/runs/{run}/{path}")
        page.get_by_role("region", name="Published").get_by_role("button", name="Repair").wait_for()
        operator.judge("published-repair")
    page.get_by_role("button", name="Repair").click()
    page.get_by_role("dialog", name=f"Repair cord {cord}").get_by_role("button", name="Repair").click()
    page.get_by_role("dialog").wait_for(state="detached")
    line.airflow.wait_until(
        lambda: line.api("GET", f"/cords/{cord}")["state"] == "closed", "the cord's end", timeout=180
    )
    outcomes = {p["outcome"] for p in line.api("GET", f"/cords/{cord}/partitions")["partitions"]}
    assert outcomes == {"fixed"}
    assert operator.complaints == []


def test_a_cord_on_what_is_not_published_yet_says_what_it_covers(line: Line, visit: Visit) -> None:
    asset = line.airflow.rest.asset_id("right")
    cord = line.api("POST", "/cords", asset_id=asset, pattern="never-*", reason=REASON)["cord_id"]
    operator = visit()
    page = operator.go("/plugin/andon")
    card = page.get_by_role("article", name=f"Cord {cord}")
    card.get_by_role("link", name="right").wait_for()
    card.get_by_text("what is published from now on: pattern never-*").wait_for()
    operator.judge("board-scope")
    line.api("POST", f"/cords/{cord}/release", only_scope=True)


def test_thousands_of_partitions_are_picked_without_delay(line: Line, visit: Visit) -> None:
    asset = line.airflow.rest.asset_id("many")
    with line.airflow.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO asset_event (asset_id, extra, source_map_index, timestamp, partition_key) "
                "SELECT :asset, '{}', -1, now(), to_char(timestamp '2026-01-01' + n * interval '1 hour', "
                "'YYYY-MM-DD\"T\"HH24') FROM generate_series(0, :last) AS n"
            ),
            {"asset": asset, "last": MANY - 1},
        )
    operator = visit()
    page = operator.go(f"/assets/{asset}")
    page.get_by_role("button", name="Pull the cord").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="20 July 2026: 24 partitions").wait_for()
    operator.judge("many-calendar")
    dialog.get_by_text("List", exact=True).click()
    dialog.get_by_text("5,000 partitions").wait_for()
    drawn = dialog.get_by_role("group", name="Partitions").get_by_role("checkbox")
    assert drawn.count() < 50
    dialog.get_by_role("checkbox", name="2026-07-28T07").click()
    dialog.get_by_role("group", name="Partitions").evaluate("(e) => e.scrollTo(0, e.scrollHeight)")
    first = dialog.get_by_role("checkbox", name="2026-01-01T00")
    first.wait_for()
    operator.shoot("many-list")
    first.click(modifiers=["Shift"])
    dialog.get_by_role("button", name="5,000 selected").wait_for()
    dialog.get_by_text("5,000", exact=True).first.wait_for()
    operator.judge("many-plan")


def test_hundreds_of_dags_can_be_read(line: Line, visit: Visit) -> None:
    line.airflow.rest.publish("root", BAD)
    asset = line.airflow.rest.asset_id("root")
    cord = line.api("POST", "/cords", asset_id=asset, partition_keys=[BAD], reason=REASON)["cord_id"]
    graph = line.api("GET", f"/cords/{cord}/graph")
    assert len(graph["nodes"]) > 500
    operator = visit()
    page = operator.go(f"/plugin/andon/cords/{cord}")
    region = page.get_by_role("region", name="Downstream graph")
    region.get_by_text("240 Dags").wait_for()
    assert region.get_by_role("listitem").count() < 50
    operator.judge("wide")
    region.get_by_role("button", name=re.compile("240 Dags")).click()
    region.get_by_text("region_9_shop_23").first.wait_for()
    operator.shoot("wide-open")
    line.api("POST", f"/cords/{cord}/release", outcome="false_alarm")


def test_nothing_is_asked_while_nobody_looks(visit: Visit) -> None:
    operator = visit()
    page = operator.go("/plugin/andon")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/andon/v1" in request.url else None)
    page.clock.install()
    _hide(page, True)
    page.wait_for_timeout(500)
    asked.clear()
    page.clock.run_for(120_000)
    assert asked == []
    with page.expect_request(lambda request: "/summary" in request.url):
        _hide(page, False)


def _hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def beside(main: RunningAirflow, home: Path) -> RunningAirflow:
    """Return an Airflow on the same database, of which nothing runs yet."""
    other = RunningAirflow(home=home, dags=DAGS, database=main.database)
    secrets = {name: main.variables[name] for name in main.variables if name.startswith("AIRFLOW__API_AUTH")}
    other.environment = {**secrets, **main.environment}
    return other


def test_the_runs_of_a_cord_are_turned_page_by_page(line: Line, visit: Visit) -> None:
    key, many = "2026-06-21", 28
    line.airflow.rest.publish("orders", key)
    asset = line.airflow.rest.asset_id("orders")
    cord = line.api("POST", "/cords", asset_id=asset, partition_keys=[key], reason=REASON)["cord_id"]
    started = {line.airflow.rest.trigger("cleaning", key) for _ in range(many)}
    line.airflow.wait_until(
        lambda: line.api("GET", f"/holds?cord_id={cord}&limit=1")["total_entries"] > many,
        "the holds",
        timeout=180,
    )
    operator = visit()
    page = operator.go(f"/plugin/andon/cords/{cord}")
    runs = page.get_by_role("region", name="Runs").get_by_role("row")
    pages = page.get_by_role("navigation", name="Pages").first
    pages.get_by_text(f"1 to 25 of {many + 1}").wait_for()
    first = set(runs.all_inner_texts())
    pages.get_by_role("button", name="Next").click()
    pages.get_by_text(f"26 to {many + 1} of {many + 1}").wait_for()
    operator.judge("cord-second-page")
    told = " ".join(first | set(runs.all_inner_texts()))
    assert [run for run in started if run not in told] == []
    pages.get_by_role("button", name="Before").click()
    pages.get_by_text(f"1 to 25 of {many + 1}").wait_for()
    held_runs_hide_no_other(operator)
    assert operator.complaints == []
    line.api("POST", f"/cords/{cord}/release", outcome="false_alarm")


def held_runs_hide_no_other(operator: Visitor) -> None:
    """Airflow lists them first; the tab of the Dag leads to the others."""
    page = operator.go("/dags/cleaning/plugin/andon_dag")
    page.get_by_role("link", name="All runs that are not held").click()
    page.get_by_text(re.compile(r"^\d+ Dag Runs?$")).wait_for()
    page.get_by_role("row").filter(has_text="Success").first.wait_for()
    operator.shoot("airflow-runs-not-held")
    assert page.get_by_role("row").filter(has_text="2037").count() == 0


def test_a_viewer_of_fab_sees_no_button_that_fails(line: Line, visit: Visit, tmp_path: Path) -> None:
    """One who may read plugins, for else FAB shows nobody a page of theirs; and one who may not."""
    pytest.importorskip("airflow.providers.fab", reason="apache-airflow-providers-fab is not installed")
    line.airflow.rest.trigger("ingest", "2026-06-20")
    line.wait_succeeded("reporting", "2026-06-20")
    asset = line.airflow.rest.asset_id("orders")
    cord = line.api("POST", "/cords", asset_id=asset, partition_keys=["2026-06-20"], reason=REASON)["cord_id"]
    of_fab = beside(line.airflow, tmp_path)
    of_fab.environment = {**of_fab.environment, "AIRFLOW__CORE__AUTH_MANAGER": FAB}
    places = {
        "board": "/plugin/andon",
        "cord": f"/plugin/andon/cords/{cord}",
        "dashboard": "/",
        "asset": f"/assets/{asset}",
        "dag": "/dags/cleaning/plugin/andon_dag",
        "run": f"{line.run_of('cleaning', 'tainted')}/plugin/andon_dag_run",
    }
    try:
        of_fab.cli("fab-db", "migrate")
        name = ("-u", "root", "-f", "x", "-l", "x", "-e", "root@example.org")
        of_fab.cli("users", "create", *name, "-r", "Admin", "-p", "root", timeout=400)
        of_fab.start_component("api-server")
        of_fab.wait_until(of_fab.rest.health, "the api-server", timeout=180)
        of_fab.rest.log_in("root", "root")
        reads_plugins = [
            {"action": {"name": name}, "resource": {"name": "Plugins"}}
            for name in ("can_read", "menu_access")
        ]
        of_fab.rest.call("POST", "/auth/fab/v1/roles", json={"name": "Plugins", "actions": reads_plugins})
        for user, roles in (("vera", ("Viewer", "Plugins")), ("nobody", ("Viewer",))):
            who = {"username": user, "first_name": user, "last_name": "x", "email": f"{user}@example.org"}
            given = [{"name": role} for role in roles]
            of_fab.rest.call("POST", "/auth/fab/v1/users", json={**who, "roles": given, "password": user})
        viewer = visit(url=of_fab.url, token=of_fab.rest.log_in("vera", "vera"))
        a_viewer_sees_no_button_that_fails(viewer, {f"fab-{name}": path for name, path in places.items()})
        other = visit(url=of_fab.url, token=of_fab.rest.log_in("nobody", "nobody"))
        for path in places.values():
            with other.page.expect_response(lambda answer: "/plugins" in answer.url):
                other.page.goto(of_fab.url + path)
            other.page.get_by_role("link", name="Assets").first.wait_for()
            assert other.page.locator(".andon").get_by_role("button", name=ACTS).count() == 0
        assert other.complaints == []
    finally:
        of_fab.stop()
        line.api("POST", f"/cords/{cord}/release", outcome="false_alarm")


def test_the_pages_work_below_a_sub_path(line: Line, visit: Visit, tmp_path: Path) -> None:
    main = line.airflow
    below = beside(main, tmp_path)
    below.environment = {**below.environment, "AIRFLOW__API__BASE_URL": f"{below.url}/air/flow"}
    try:
        below.start_component("api-server")
        below.wait_until(below.rest.health, "the api-server", timeout=120)
        operator = visit(url=f"{below.url}/air/flow")
        page = operator.go("/plugin/andon")
        page.get_by_role("button", name="Pull the cord").click()
        page.get_by_role("dialog").get_by_role("button", name="orders").click()
        page.get_by_role("dialog").get_by_text("June 2026", exact=True).wait_for()
        operator.judge("sub-path")
        assert page.locator("img[src*='andon.svg']").first.evaluate("(image) => image.naturalWidth") > 0
    finally:
        below.stop()
