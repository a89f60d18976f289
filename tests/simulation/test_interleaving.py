"""The baton: the same seed gives the same interleaving, locks and deadlocks included."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres


@pytest.fixture
def table(metadata_db: str) -> Iterator[Table]:
    made = Table()
    yield made
    made.drop()


class Table:
    """Two rows that actors lock, and what they did in which order."""

    def __init__(self) -> None:
        from airflow import settings
        from sqlalchemy import text

        self.engine = settings.engine
        self.text = text
        self.done: list[str] = []
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE counted (id INT PRIMARY KEY, n INT)"))
            connection.execute(text("INSERT INTO counted VALUES (1, 0), (2, 0)"))

    def count(self, name: str, *rows: int) -> Callable[[], None]:
        def act() -> None:
            with self.engine.begin() as connection:
                for row in rows:
                    statement = self.text("UPDATE counted SET n = n + 1 WHERE id = :id")
                    connection.execute(statement, {"id": row})
                    self.done.append(f"{name}{row}")

        return act

    def total(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(self.text("SELECT sum(n) FROM counted")))

    def drop(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.text("DROP TABLE counted"))


def interleave(table: Table, seed: int) -> tuple[list[str], list[str]]:
    from tests.simulation.interleaving import Baton

    table.done = []
    baton = Baton(table.engine, Random(seed), switching=0.6, fair="UPDATE counted")
    baton.play({name: table.count(name, 1, 2) for name in "abc"})
    return baton.order, table.done


def test_a_seed_is_an_interleaving(table: Table) -> None:
    played = [interleave(table, seed) for seed in range(10)]
    assert played == [interleave(table, seed) for seed in range(10)]
    assert len({tuple(order) for order, _ in played}) > 5
    assert table.total() == 2 * 3 * 2 * 10


def test_who_waits_for_a_lock_lets_others_go_on(table: Table) -> None:
    """Row 1 is locked until its holder commits: who holds it is through before anybody else has it."""
    for seed in range(10):
        _, done = interleave(table, seed)
        assert [done[at][0] for at in (0, 2, 4)] == [done[at][0] for at in (1, 3, 5)]


def test_a_deadlock_is_ended_by_the_database(table: Table) -> None:
    from tests.simulation.interleaving import Baton

    def play(seed: int) -> None:
        baton = Baton(table.engine, Random(seed), switching=1.0)
        baton.play({"a": table.count("a", 1, 2), "b": table.count("b", 2, 1)})

    def is_dead(seed: int) -> bool:
        try:
            play(seed)
        except OperationalError as error:
            return "deadlock detected" in str(error)
        return False

    assert {is_dead(seed) for seed in range(6)} == {True, False}
