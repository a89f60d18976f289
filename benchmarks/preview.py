"""
``python -m benchmarks.preview``: from the click on "all of them" to the settled plan of a pull.

Two previews of an asset with many partitions: of all of them, which nobody has read, and of one of them that
was read, amid as many that were read as well. Each over HTTP and, with a browser, from the click to the
moment when nothing on the page waits any more. Over HTTP also the last page of the list from which partitions
are picked. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.line import FIRST_KEY, airflow_with

if TYPE_CHECKING:
    from demo.airflow_process import RunningAirflow

LIMIT_SECONDS = 1.0
WATCH = """() => {
    window.settled = new Promise((done) => addEventListener("click", () => {
        const began = performance.now();
        const tell = () => done(performance.now() - began);
        const drawn = () => requestAnimationFrame(() => requestAnimationFrame(tell));
        let before = document.querySelector("[data-plan=settled]") !== null;
        const observer = new MutationObserver(() => {
            const settled = document.querySelector("[data-plan=settled]") !== null;
            before &&= settled;
            if (settled && !before) {
                observer.disconnect();
                drawn();
            }
        });
        observer.observe(document, { subtree: true, childList: true, attributes: true });
    }, { capture: true, once: true }));
}"""
"""Takes the time in the page, from the click until what follows is drawn: to ask from outside takes time."""
TIMES = 5


def main() -> None:
    """Measure, print, and keep the result if told where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preview", description=__doc__)
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--results", type=Path, help="a folder in which the result is kept")
    options = parser.parse_args()
    with airflow_with(options.partitions) as airflow:
        result = {
            "benchmark": "preview",
            "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "partitions": options.partitions,
            "processors": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "http": over_http(airflow, options.partitions),
            "browser": in_the_browser(airflow),
        }
    seconds = [r["seconds"] for part in ("http", "browser") for r in result[part].values()]
    result["slowest_to_limit"] = round(max(seconds) / LIMIT_SECONDS, 2)
    said = json.dumps(result, indent=2)
    print(said)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / f"preview-{result['measured_at'][:10]}.json").write_text(said + "\n")


def over_http(airflow: RunningAirflow, partitions: int) -> dict[str, Any]:
    """Ask for the plan as the page does."""

    def preview(asset: str, **scope: Any) -> Callable[[], Any]:
        body = {"asset_id": airflow.rest.asset_id(asset), "limit": 50, **scope}
        return lambda: airflow.rest.call("POST", "/andon/v1/cords/preview", json=body)

    all_of_them = preview("imported", pattern="*")
    one_of_them = preview("orders", partition_keys=[FIRST_KEY])
    assert all_of_them()["total_partitions"] == partitions
    assert one_of_them()["total_runs"] == 2
    path = f"/andon/v1/assets/{airflow.rest.asset_id('orders')}/partitions"
    last = {"limit": 20, "offset": partitions - 20, "order_by": "-partition_key"}
    return {
        "all, read by nobody": timed(all_of_them),
        "one, read": timed(one_of_them),
        "the last 20 of the list": timed(lambda: airflow.rest.call("GET", path, params=last)),
    }


def timed(ask: Callable[[], Any]) -> dict[str, float]:
    """Return the median time, and what it costs the api-server: that says more on a busy machine."""
    ask()
    seconds, processor = [], []
    for _ in range(TIMES):
        used, began = seconds_used(), time.monotonic()
        ask()
        seconds.append(time.monotonic() - began)
        processor.append(seconds_used() - used)
    return {
        "seconds": round(statistics.median(seconds), 3),
        "processor_seconds": round(statistics.median(processor), 3),
    }


def seconds_used() -> float:
    """Return the processor time of the api-server until now."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "airflow" in " ".join(process.cmdline()):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def in_the_browser(airflow: RunningAirflow) -> dict[str, Any]:
    """Click on "The whole asset", and on one day of the calendar; nothing without a browser or the pages."""
    try:
        from tests.system.browser import Visitor, chromium
    except ImportError:
        return {}
    from airflow_lean_provider import ui

    if not ui.is_built():
        return {}
    token = airflow.rest.call("GET", "/auth/token")["access_token"]
    with chromium() as browser:
        visitor = Visitor(browser, airflow.url, token)

        def open_dialogue(asset: str) -> Any:
            page = visitor.go(f"/assets/{airflow.rest.asset_id(asset)}")
            page.get_by_role("button", name="Pull the cord").click()
            dialogue = page.get_by_role("dialog")
            dialogue.get_by_role("button", name="Month before").wait_for()
            return dialogue

        def until_settled(asset: str, way: str, clicked: Callable[[Any], Any]) -> float:
            dialogue = open_dialogue(asset)
            if way:
                dialogue.get_by_text(way, exact=True).click()
            target = clicked(dialogue)
            target.wait_for()
            dialogue.page.wait_for_load_state("networkidle")
            dialogue.page.evaluate(WATCH)
            target.click()
            return float(dialogue.page.evaluate("() => window.settled")) / 1000

        def one(dialogue: Any) -> Any:
            """Return the second partition: the first is proposed."""
            dialogue.get_by_role("checkbox").first.wait_for()
            return dialogue.get_by_role("checkbox").nth(1)

        def whole(dialogue: Any) -> Any:
            return dialogue.get_by_role("button", name="The whole asset")

        measured = {
            "all, read by nobody": [until_settled("imported", "And later", whole) for _ in range(TIMES)],
            "one, read": [until_settled("orders", "List", one) for _ in range(TIMES)],
        }
        visitor.leave()
    return {name: {"seconds": round(statistics.median(found), 3)} for name, found in measured.items()}


if __name__ == "__main__":
    main()
