"""What is played, and what the oracle has written again, is checked against the real thing."""

from __future__ import annotations

import json
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import structlog
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

from tests.simulation.graph import Graph, Mapping
from tests.simulation.oracle.mappings import NotMapped, is_enough, map_key

if TYPE_CHECKING:
    from pathlib import Path

HOURS = [f"2026-06-14T{hour:02}:00:00" for hour in range(4)]
KEYS = [*HOURS, "2026-06-14", "us|2026-06-14T01:00:00", "us", ""]
SAME = Mapping("identity")
MAPPINGS = [
    SAME,
    Mapping("fixed", value="all"),
    Mapping("allowed", allowed=("us", HOURS[0])),
    Mapping("chain", parts=(SAME, Mapping("fixed", value="all"))),
    Mapping("day", size=2),
    Mapping("day", size=3, at_least=2),
    Mapping("day", size=3, at_least=-1),
    Mapping("day"),
    Mapping("fan_out", size=2),
    Mapping("fan_out"),
    Mapping("product", parts=(SAME, Mapping("day"))),
]


@pytest.fixture(autouse=True)
def _window() -> None:
    from tests.simulation.graphs import register_window

    register_window()


def real(mapping: Mapping) -> Any:
    """The mapper that Airflow's scheduler has when it has read the Dag."""
    from airflow.serialization.decoders import decode_partition_mapper
    from airflow.serialization.encoders import encode_partition_mapper

    from tests.simulation.graphs import mapper_of

    return decode_partition_mapper(json.loads(json.dumps(encode_partition_mapper(mapper_of(mapping)))))


def keys_of(mapping: Mapping, key: str) -> frozenset[str] | None:
    """What Airflow's mapper makes of a key, None if it raises."""
    try:
        made = real(mapping).to_downstream(key)
    except Exception:  # noqa: BLE001  Airflow catches whatever a mapper raises
        return None
    return frozenset({made} if isinstance(made, str) else made)


@pytest.mark.parametrize("mapping", MAPPINGS, ids=str)
@pytest.mark.parametrize("key", KEYS)
def test_the_oracle_maps_keys_as_airflow_does(mapping: Mapping, key: str) -> None:
    try:
        expected = map_key(mapping, key)
    except NotMapped:
        expected = None
    assert keys_of(mapping, key) == expected


@pytest.mark.parametrize("mapping", [m for m in MAPPINGS if m.kind == "day"], ids=str)
@pytest.mark.parametrize("count", range(4))
def test_the_oracle_knows_when_a_day_is_complete(mapping: Mapping, count: int) -> None:
    mapper = real(mapping)
    arrived, expected = frozenset(HOURS[:count]), mapper.to_upstream("2026-06-14")
    enough = mapper.wait_policy.is_satisfied(expected=len(expected), matched=len(arrived & expected))
    assert is_enough(mapping, "2026-06-14", arrived) == enough


@pytest.mark.parametrize("seed", range(30))
def test_a_history_is_the_same_when_it_was_saved(seed: int, tmp_path: Path) -> None:
    from tests.simulation.acts import Act, History, load, save
    from tests.simulation.graphs import FEATURES, random_graph

    graph = random_graph(Random(seed), FEATURES)
    assert isinstance(graph, Graph)
    history = History(seed, graph, (Act("tick", ("0",)), Act("rest")))
    save(history, tmp_path / "history.json")
    assert load(tmp_path / "history.json") == history


class Answers:
    """An api-server that answers every heartbeat with one status."""

    def __init__(self, status: int) -> None:
        self.status = status

    def heartbeat(self, *_: Any, **__: Any) -> None:
        request = httpx.Request("PUT", "http://api.invalid")
        response = httpx.Response(self.status, request=request, json={"detail": "no"})
        refusal = ServerResponseError.from_response(response)
        assert refusal is not None
        raise refusal


@pytest.mark.parametrize("status", [401, 404, 409, 410, 429, 500])
def test_a_worker_ends_after_the_answers_that_the_stage_ends_it_for(status: int) -> None:
    """``ActivitySubprocess._send_heartbeat_if_needed``."""
    from tests.simulation.stage import GONE

    killed: list[int] = []
    process = SimpleNamespace(
        id=1,
        _process=SimpleNamespace(pid=1),
        _last_heartbeat_attempt=float("-inf"),
        _terminal_state=None,
        client=SimpleNamespace(task_instances=Answers(status)),
        kill=lambda signal, **_: killed.append(signal),
        process_log=structlog.get_logger(),
        _handle_heartbeat_failures=lambda error: None,
    )
    ActivitySubprocess._send_heartbeat_if_needed(process)  # type: ignore[arg-type]
    assert bool(killed) == (status in GONE)


@pytest.mark.parametrize("may_retry", [True, False])
def test_a_worker_reports_the_failure_that_the_server_told_it_to(may_retry: bool) -> None:
    from airflow.sdk.execution_time import task_runner

    ti = SimpleNamespace(
        _failure_metrics_emitted=True,
        _ti_context_from_server=SimpleNamespace(should_retry=may_retry),
        rendered_map_index=None,
    )
    _, state = task_runner._finalize_task_failure(ti)  # type: ignore[arg-type]
    assert state == ("up_for_retry" if may_retry else "failed")
