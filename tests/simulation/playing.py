"""Plays histories one after the other, each in an empty Airflow."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING, Any

from airflow import settings as airflow_settings
from airflow.assets.manager import AssetManager
from airflow.utils.db import add_default_pool_if_not_exists, upgradedb

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals import dags
from airflow_lean_provider.brake import publication
from airflow_lean_provider.brake.settle import settle
from tests import conftest
from tests.integration import doors, world
from tests.simulation import acts as acts_module
from tests.simulation.acts import Act, History, in_words
from tests.simulation.graphs import FEATURES, MORE_FEATURES, random_graph, register_window
from tests.simulation.interleaving import Attributing, attribute
from tests.simulation.oracle import judge
from tests.simulation.player import ACTS, MORE_ACTS, Player
from tests.simulation.shrink import shrink
from tests.simulation.stage import Stage
from tests.simulation.telling import line
from tests.simulation.theorems import broken_by
from tests.simulation.trace import Trace
from tests.simulation.watch import Watch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from tests.simulation.graph import Graph


@dataclass
class Played:
    """
    What came of a history.

    :param wrong: complaints of the oracle, and whatever else was wrong
    """

    history: History
    wrong: list[str] = field(default_factory=list)
    trace: Trace | None = None
    traceback: str = ""
    seconds: float = 0.0


@contextmanager
def airflow_without_delays(**options: str) -> Iterator[None]:
    """
    A migrated metadata database, and options that make moments mean what they say.

    :param options: further ones of the section ``[lean]``
    """
    os.environ.update(
        AIRFLOW__API__EXPOSE_STACKTRACE="True",
        AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL="0",
        AIRFLOW__LEAN__CLOCK_SKEW="0",
        AIRFLOW__LEAN__SURVIVAL_TIME="1000000",
        **{f"AIRFLOW__LEAN__{name}": value for name, value in options.items()},
    )
    settings.forget()
    upgradedb()
    register_window()
    _attribute_requests()
    _queue_in_order()
    yield
    airflow_settings.dispose_orm()


def _queue_in_order() -> None:
    """Airflow writes the pending rows of one event in the order of a set, which a replay would not repeat."""
    original: Any = AssetManager._queue_partitioned_dags.__func__  # type: ignore[attr-defined]

    @classmethod
    def queue(cls: Any, *arguments: Any, partition_dags: Any, **options: Any) -> Any:
        in_order = sorted(partition_dags, key=attrgetter("dag_id"))
        return original(cls, *arguments, partition_dags=in_order, **options)

    AssetManager._queue_partitioned_dags = queue  # type: ignore[assignment]


def _attribute_requests() -> None:
    """The threads of the api-servers know whose step a statement is; every call has a process of its own."""
    world.execution_app().app.add_middleware(Attributing)
    attribute(world.execution_api())
    core = doors._core_api()
    core.app.add_middleware(Attributing)
    attribute(core)
    publication._one = _EachSettles()


class _EachSettles:
    """In place of what spares the calls of one process."""

    def settle(self) -> None:
        settle(publication.AT_MOST_SECONDS)


def play_seed(
    seed: int,
    *,
    without: Iterable[str] = (),
    more: Iterable[str] = (),
    length: int = 40,
    interleaved: bool = False,
) -> Played:
    """
    Make up a graph and a history from the seed, and play it.

    :param more: what occurs besides, of :data:`MORE_FEATURES` and :data:`MORE_ACTS`; ``all`` for all of it
    """
    without = {*without} if interleaved else {*without, "at_once"}
    more = MORE_FEATURES | MORE_ACTS if "all" in more else {*more}
    random = Random(seed)
    graph = random_graph(random, (FEATURES | MORE_FEATURES & more) - without)

    def improvise(stage: Stage, done: list[Act]) -> None:
        def play(act: Act) -> None:
            done.append(act)
            stage.play(act)

        player = Player(
            random, stage, (ACTS | MORE_ACTS & more) - without, random.randint(length // 2, length * 3 // 2)
        )
        for act in player.opening():
            play(act)
        for _ in range(player.length):
            play(player.next())
        for act in player.ending():
            play(act)

    return play_acts(seed, graph, improvise)


def play_history(history: History) -> Played:
    """Play what is written."""

    def recite(stage: Stage, done: list[Act]) -> None:
        for act in history.acts:
            done.append(act)
            stage.play(act)
        if not done or done[-1] != Act("rest"):
            stage.play(Act("rest"))

    return play_acts(history.seed, history.graph, recite)


def play_acts(seed: int, graph: Graph, script: Callable[[Stage, list[Act]], None]) -> Played:
    """Let the script play on a new stage, and judge; it ends with a rest, and says what it has done."""
    started = time.monotonic()
    _empty()
    done: list[Act] = []
    played = Played(History(seed, graph, ()))
    watch = Watch(airflow_settings.engine)
    with watch.watching():
        try:
            stage = Stage(graph, watch)
            script(stage, done)
            played.trace = stage.trace()
            played.wrong = [*stage.problems, *judge(played.trace)]
        except Exception as error:  # noqa: BLE001  whatever it is, it is what the simulation looks for
            where = traceback.extract_tb(error.__traceback__)[-1]
            played.wrong = [f"{type(error).__name__} in {where.name}: {str(error)[:2000]}"]
            played.traceback = traceback.format_exc()
            played.trace = Trace(tuple(watch.events), watch.now, {})
    played.history = History(seed, graph, tuple(done))
    played.seconds = time.monotonic() - started
    return played


def _empty() -> None:
    conftest._refuse_any_other_database()
    airflow_settings.Session.remove()
    dags._KEPT.clear()  # a replay in a new process takes the same steps
    conftest._empty_tables()
    add_default_pool_if_not_exists()


def first_of_each(complaints: list[str]) -> list[str]:
    """What is wrong stays wrong: leave out what was said before."""
    return list({re.sub(r"^At \d+: ", "", each): each for each in reversed(complaints)}.values())[::-1]


class Theatre:
    """The command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @contextmanager
    def open(self) -> Iterator[None]:
        logging.disable(logging.ERROR)
        with airflow_without_delays():
            yield

    def hunt(self) -> int:
        """Play seeds until one is wrong; return the exit code."""
        o = self.options
        seeds = (
            range(o.seed, o.seed + 1) if o.seed is not None else range(*o.seeds) if o.seeds else range(o.n)
        )
        started, bad, done = time.monotonic(), [], 0
        for done, seed in enumerate(seeds, 1):
            played = play_seed(
                seed, without=o.without, more=o.more, length=o.length, interleaved=o.interleaved
            )
            if o.theorems and not played.wrong:
                played.wrong = broken_by(played.history, play_history)
            if o.story:
                self._tell(played)
            if played.wrong:
                bad.append(seed)
                self._report(played)
                if not o.keep_going:
                    break
            spent = time.monotonic() - started
            self._progress(done, len(seeds), spent, bad)
            if o.minutes and spent > o.minutes * 60:
                break
        print(
            f"\n{done} histories, {len(bad)} with complaints{': ' + ' '.join(map(str, bad)) if bad else ''}"
        )
        return 1 if bad else 0

    def replay(self) -> int:
        played = play_history(acts_module.load(self.options.replay))
        self._tell(played)
        return 1 if played.wrong else 0

    def _progress(self, done: int, of: int, spent: float, bad: list[int]) -> None:
        width = 30 * done // of
        line = f"[{'#' * width:30}] {done}/{of} {60 * done / spent:.0f} a minute, {len(bad)} with complaints"
        print(f"\r{line}", end="" if sys.stdout.isatty() else "\n", flush=True)

    def _tell(self, played: Played) -> None:
        print(in_words(played.history))
        if played.trace is not None:
            for event in played.trace.events:
                print(line(event))
        print("\n".join([*first_of_each(played.wrong), played.traceback]) or "nothing was wrong")

    def _report(self, played: Played) -> None:
        o = self.options
        print(f"\nSeed {played.history.seed}, {len(played.history.acts)} acts:")
        print("\n".join(first_of_each(played.wrong)))
        shortest = played if o.no_shrink or o.theorems else shrink(played, play_history)
        o.stories.mkdir(exist_ok=True)
        path = o.stories / f"{played.history.seed}.json"
        acts_module.save(shortest.history, path)
        if shortest is not played:
            print(f"\nShrunk to {len(shortest.history.acts)} acts:\n{in_words(shortest.history)}")
            print("\n".join(shortest.wrong))
        print(f"\nAgain: python -m tests.simulation --backend {o.backend} --replay {path}")
