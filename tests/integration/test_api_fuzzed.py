"""
Requests that schemathesis makes of the OpenAPI document.

No 5xx, every answer is one that the document has for its operation, and nothing changes that is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

from airflow_lean_provider.api.access import Caller
from airflow_lean_provider.api.openapi.document import DOCUMENT
from airflow_lean_provider.api.routes import cords as routes
from airflow_lean_provider.brake import cords, partitions
from airflow_lean_provider.brake.errors import Conflict
from airflow_lean_provider.brake.pull import pull
from airflow_lean_provider.brake.targets import Scope
from tests.integration.api import Client, contents

if TYPE_CHECKING:
    from tests.integration.world import World

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

RAW = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
SCHEMA = schemathesis.openapi.from_dict(RAW)
OPERATIONS = {
    f"{result.ok().method.upper()} {result.ok().path}": result.ok() for result in SCHEMA.get_all_operations()
}
EXAMPLES = 15


def send(client: Client, case: Any) -> Any:
    path = case.formatted_path.removeprefix("/v1")
    options: dict[str, Any] = {"params": case.query or {}}
    if isinstance(case.body, (dict, list, str, int, float, bool)):
        options["json"] = case.body
    return client.ask(case.method, path, **options)


def run(name: str, check: Any) -> None:
    """Make the same requests each time, good ones and bad ones."""
    modes = schemathesis.GenerationMode
    for mode in (modes.POSITIVE, modes.NEGATIVE):
        try:
            strategy = OPERATIONS[name].as_strategy(generation_mode=mode)
        except schemathesis.errors.UnsatisfiableError:
            continue

        @seed(1)
        @hypothesis_settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def each(case: Any) -> None:
            check(case)

        each()


@pytest.fixture
def busy(chain: World) -> World:
    """Everything that a number may name is there: asset 1, and a cord 1 of it."""
    chain.publish("ingest", "p1")
    chain.play()
    chain.pull("orders", "p1")
    return chain


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_that_fits_the_document_or_does_not_breaks_the_server(name: str) -> None:
    fuzz(name)


def fuzz(name: str) -> None:
    """Let somebody who may nothing and somebody who may everything ask for what schemathesis makes."""
    viewer, admin = Client("viewer"), Client("admin")

    def check(case: Any) -> None:
        before = contents()
        fits_the_document(name, send(viewer, case))
        assert contents() == before
        answer = send(admin, case)
        fits_the_document(name, answer)
        if name.startswith("GET") or name.endswith("/preview") or answer.status_code >= 400:
            assert contents() == before

    run(name, check)


def fits_the_document(name: str, answer: httpx.Response) -> None:
    """Insist on what the document says of the answers to this operation, if it was that which answered."""
    assert answer.status_code < 500, answer.text
    method, _, path = name.partition(" ")
    of_operation = re.sub(r"{\w+}", "[^/]+", f"/andon{path}")
    if answer.history or not re.fullmatch(of_operation, answer.request.url.path):
        return
    assert str(answer.status_code) in RAW["paths"][path][method.lower()]["responses"], answer.text
    OPERATIONS[name].validate_response(answer)


# The fuzzer itself


def test_a_server_that_breaks_on_some_text_is_caught(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody lets a search without an answer end as an error: the fuzzer finds a text of that kind."""
    like = partitions.assets

    def assets(page: Any, *, text: str | None = None, **options: Any) -> Any:
        if text is not None and not text.isascii():
            raise RuntimeError("who would search for that?")
        return like(page, text=text, **options)

    monkeypatch.setattr(partitions, "assets", assets)
    with pytest.raises(AssertionError, match="Internal Server Error"):
        fuzz("GET /v1/assets")


def test_a_server_that_writes_before_it_refuses_is_caught(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody lets a cord be pulled first, and asks afterwards whether that was allowed."""
    insist = Caller.insist

    def pull_and_insist(caller: Caller, allowed: bool) -> None:
        if not allowed:
            pull(Scope("orders", keys=("p1",)), reason="too early", by=caller.name)
        insist(caller, allowed)

    monkeypatch.setattr(Caller, "insist", pull_and_insist)
    with pytest.raises(AssertionError):
        fuzz("POST /v1/cords")


def test_a_server_that_begins_what_it_then_refuses_is_caught(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may everything names what cannot be changed; the server has done half of it by then."""

    def pull_and_edit(cord: int, reason: str, *, by: str) -> bool:
        pull(Scope("orders", keys=("p1",)), reason="too early", by=by)
        return edit(cord + 1000, reason, by=by)

    edit = cords.edit_reason
    monkeypatch.setattr(cords, "edit_reason", pull_and_edit)
    monkeypatch.setattr(routes, "_view", lambda _, caller, act: caller.insist(caller.name == "admin"))
    with pytest.raises(AssertionError):
        fuzz("PATCH /v1/cords/{cord_id}")


def test_an_answer_that_the_document_does_not_have_is_caught(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No asset is ever in the way of a look at it, says the document."""

    def asset(asset_id: int) -> Any:
        raise Conflict("asset_id", f"{asset_id} is being looked at")

    monkeypatch.setattr(partitions, "asset", asset)
    with pytest.raises(AssertionError, match="is being looked at"):
        fuzz("GET /v1/assets/{asset_id}")


@pytest.mark.parametrize("told", [{"detail": 1}, []])
@pytest.mark.parametrize("status", [200, 403, 404, 422])
def test_an_answer_of_another_form_is_caught(status: int, told: Any) -> None:
    def answer_so(_: httpx.Request) -> httpx.Response:
        body = httpx.ByteStream(json.dumps(told).encode())
        return httpx.Response(status, headers={"Content-Type": "application/json"}, stream=body)

    with httpx.Client(transport=httpx.MockTransport(answer_so)) as client:
        answer = client.get("http://testserver/andon/v1/assets/1")
    with pytest.raises(AssertionError, match="response schema"):
        fits_the_document("GET /v1/assets/{asset_id}", answer)
