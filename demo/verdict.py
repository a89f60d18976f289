"""Was everything as promised? Tables, executions and what Airflow has left over, against the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo import truth

if TYPE_CHECKING:
    from demo.airflow_process import RunningAirflow
    from demo.shop_database import Execution, ShopDatabase


@dataclass(frozen=True)
class TableCount:
    """What happened to one table."""

    table: str
    partitions: int
    computed: int
    killed: int
    computed_again: int
    wrong: int


def wrong_partitions(shop: ShopDatabase, expected: truth.Tables) -> dict[str, set[str]]:
    """
    Return the partitions whose content is not the expected one, by table.

    :param shop: the shop's database
    :param expected: what the tables must contain
    """
    wrong = {}
    for table, rows in expected.items():
        should = Counter(rows)
        found = Counter(shop.content(table))
        wrong[table] = {row[0] for row in ((should - found) + (found - should))}
    return wrong


def count_tables(
    executions: list[Execution], expected: truth.Tables, wrong: dict[str, set[str]], since: float
) -> list[TableCount]:
    """
    Count per table what ran.

    :param executions: all of them
    :param expected: what the tables must contain
    :param wrong: as :func:`wrong_partitions` returned it
    :param since: what began later counts as computed again
    """
    counts = []
    for table, rows in expected.items():
        written = [
            one.started_at for one in executions for output in one.outputs if output.startswith(f"{table}/")
        ]
        counts.append(
            TableCount(
                table=table,
                partitions=len({row[0] for row in rows}),
                computed=len(written),
                killed=sum(1 for one in executions if one.dag_id == table and one.ended_at is None),
                computed_again=sum(1 for started_at in written if started_at >= since),
                wrong=len(wrong[table]),
            )
        )
    return counts


def not_as_promised(
    executions: list[Execution],
    expected: truth.Tables,
    affected: frozenset[str],
    pulled_at: float,
    external: frozenset[str],
) -> list[str]:
    """
    Return what the executions did that they should not have done.

    :param executions: all of them
    :param expected: what the tables must contain
    :param affected: the partitions that the bad one is in
    :param pulled_at: when the pull had returned
    :param external: partitions that no task wrote
    """
    good = truth.checksums(expected)
    complaints = []
    writers: dict[str, list[Execution]] = {name: [] for name in good}
    for one in executions:
        for output in one.outputs:
            writers.setdefault(output, []).append(one)
    for partition, wrote in sorted(writers.items()):
        if partition in external:
            continue
        before = [one for one in wrote if one.started_at < pulled_at]
        after = [one for one in wrote if one.started_at >= pulled_at]
        if partition in affected and len(after) != 1:
            complaints.append(f"{partition}: computed {len(after)} times after the pull, not once")
        if partition not in affected and len(wrote) != 1:
            complaints.append(f"{partition}: unaffected, yet computed {len(wrote)} times")
        if partition in affected and len(before) > 1:
            complaints.append(f"{partition}: computed {len(before)} times before the pull")
        for one in after if partition in affected else wrote:
            complaints += [
                f"{partition}: computed from {name} with checksum {found}, true is {good.get(name)}"
                for name, found in one.inputs.items()
                if name in good and found != good[name]
            ]
    return complaints


def left_over(airflow: RunningAirflow) -> dict[str, list[str]]:
    """
    Return what did not end well in Airflow, by what it is.

    :param airflow: a quiet Airflow
    """
    pending = airflow.rows(
        "SELECT target_dag_id, partition_key FROM asset_partition_dag_run WHERE created_dag_run_id IS NULL"
    )
    runs = airflow.rows("SELECT dag_id, run_id, state FROM dag_run WHERE state <> 'success'")
    tasks = airflow.rows(
        "SELECT dag_id, run_id, task_id, state FROM task_instance WHERE state IS NULL OR state <> 'success'"
    )
    return {
        "pending partitions": [f"{dag_id}/{key}" for dag_id, key in pending],
        "runs": [" ".join(map(str, run)) for run in runs],
        "tasks": [" ".join(map(str, task)) for task in tasks],
    }
