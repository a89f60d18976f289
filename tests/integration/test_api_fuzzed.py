"""Requests that schemathesis makes of the OpenAPI document: no 5xx, and nothing changes that is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

from airflow_lean_provider.api.openapi.document import DOCUMENT
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
DECLARED = {"200", "201", "400", "401", "403", "404", "409", "415", "422"}


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
        def fuzz(case: Any) -> None:
            check(case)

        fuzz()


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
    viewer, admin = Client("viewer"), Client("admin")

    def check(case: Any) -> None:
        before = contents()
        refused = send(viewer, case)
        assert refused.status_code < 500, refused.text
        if refused.status_code >= 400:
            assert contents() == before
        answer = send(admin, case)
        assert str(answer.status_code) in DECLARED | {"405"}, answer.text
        if answer.status_code >= 400:
            assert answer.json()["detail"]

    run(name, check)
