"""Publish: what becomes of an event for each Dag that is scheduled on it by partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.graph import Kind
from tests.simulation.oracle.mappings import NotMapped, is_enough, map_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.graph import DagSpec
    from tests.simulation.oracle.debts import Debts
    from tests.simulation.oracle.facts import Facts
    from tests.simulation.oracle.records import Run
    from tests.simulation.trace import PartitionId, Published, RunId


@dataclass(eq=False)
class Delivery:
    """
    One event for one Dag and key.

    :param must: the run into which it is to be absorbed by the strict reading, None if there is none
    :param may: the same by the mild reading
    :param consumed: a run was created for it, as Airflow does by itself
    """

    event: int
    at: int
    partition: PartitionId
    dag: str
    key: str | None
    must: Run | None
    may: Run | None
    consumed: bool = False


class Mail:
    """All deliveries so far, and which run takes each."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.all: list[Delivery] = []
        self._known: set[RunId] = set()
        """The affected runs that the brake has found so far."""
        self._lately: set[RunId] = set()
        """Runs that may have been affected when the brake last looked, or since then."""

    def look(self, strict: Debts, mild: Debts, at: Iterable[RunId]) -> None:
        """The brake has looked whether these runs are affected; who is no longer is forgotten."""
        self._known = {run for run in {*self._known, *at} if strict.is_absorbing(run)}
        affected = {run for run, known in self.facts.runs.items() if known.exists and mild.is_absorbing(run)}
        self._lately = affected | (self._lately - {*at})

    def deliver(self, event: Published, strict: Debts, mild: Debts) -> None:
        """To whom Airflow delivers the event, and who absorbs it as things stand just before it."""
        for dag in self.facts.dags.values():
            if dag.id in self.facts.removed | self.facts.paused:
                continue
            for key in _keys(dag, event.partition):
                must, may = (self._absorbs(debts, dag, key, event) for debts in (strict, mild))
                self.all.append(Delivery(event.event, event.at, event.partition, dag.id, key, must, may))
                if key is not None and may is not None:
                    self._absorb_what_is_complete_with(self.all[-1], may)

    def _absorb_what_is_complete_with(self, absorbed: Delivery, into: Run) -> None:
        """A pending row that the absorbed event completes may be absorbed as it is, or without that event."""
        rest = [
            each
            for each in self.open(absorbed.dag, absorbed.key)
            if each.must is None or each.event == absorbed.event
        ]
        if self.is_complete(absorbed.dag, absorbed.key or "", rest):
            for delivery in rest:
                delivery.may = delivery.may or into

    def consume(self, run: RunId, key: str | None, events: tuple[int, ...]) -> list[Delivery]:
        """Airflow made a run for these."""
        taken = [each for each in self.all if (each.dag, each.key) == (run.dag, key) and each.event in events]
        for delivery in taken:
            delivery.consumed = True
        return taken

    def give_back(self) -> None:
        """The brake is disabled: Airflow makes runs of what was absorbed and not read."""
        for each in self.all:
            run = each.may or each.must
            read = (
                any(e.task.run == run.id and e.granted > each.at for e in self.facts.executions)
                if run
                else True
            )
            each.must = None
            if not read:
                each.may = None

    def open(self, dag: str, key: str | None) -> list[Delivery]:
        """What no run was made for."""
        return [each for each in self.all if (each.dag, each.key) == (dag, key) and not each.consumed]

    def is_complete(self, dag: str, key: str, deliveries: list[Delivery]) -> bool:
        """Whether Airflow makes a run of these."""
        spec = self.facts.dags[dag]
        enough = [
            is_enough(
                source.mapping,
                key,
                {each.partition.key or "" for each in deliveries if each.partition.asset == source.asset},
            )
            for source in spec.sources
        ]
        return any(enough) if spec.any_of else all(enough)

    def absorb_rows(self, strict: Debts | None, mild: Debts) -> None:
        """Every pending row that is complete; None for the strict reading if nothing is promised just now."""
        for dag, key in {(each.dag, each.key) for each in self.all if each.key is not None}:
            row = [each for each in self.open(dag, key) if each.may is None or (strict and each.must is None)]
            if not row or key is None or not self.is_complete(dag, key, row):
                continue
            may = self._affected(mild, self.facts.dags[dag], key)
            must = self._affected(strict, self.facts.dags[dag], key) if strict else None
            for delivery in row:
                delivery.may = delivery.may or may
                delivery.must = delivery.must or must

    def _affected(self, debts: Debts, dag: DagSpec, key: str | None) -> Run | None:
        """The latest affected run that asset events made; advisory Dags absorb nothing."""
        if debts.state.is_off:
            return None
        runs = [
            run
            for run in self.facts.runs.values()
            if (run.id.dag, run.key, run.type) == (dag.id, key, "asset_triggered")
            and run.exists
            and not dag.advisory
            and (debts.is_absorbing(run.id) or (debts.state.mild and run.id in self._lately))
        ]
        return max(runs, key=lambda run: run.created, default=None)

    def _absorbs(self, debts: Debts, dag: DagSpec, key: str | None, event: Published) -> Run | None:
        """An event of a partition that is halted just before it, or of which that run saw a bad version."""
        run, state, partition = self._affected(debts, dag, key), debts.state, event.partition
        if run is None or not (state.mild or run.id in self._known or self._is_seen_with(event, debts, run)):
            return None
        executions = [each for each in self.facts.executions if each.task.run == run.id]
        saw_bad = [each for each in executions if state.seen_bad(each)]
        last = max((each.granted for each in saw_bad), default=-1)
        if not state.mild and any(each.granted > last and each.covers(partition) for each in executions):
            return None  # its reading part has started again
        saw_it_bad = any(
            version.partition == partition and (state.mild or causes & debts.unpaid(each))
            for each in saw_bad
            for version, causes in state.seen_bad(each).items()
        )
        return run if saw_it_bad or partition in state.halted else None

    @staticmethod
    def _is_seen_with(event: Published, debts: Debts, run: Run) -> bool:
        """Else only the next look finds out that the run is affected (docs/decisions/0003, 58)."""
        return event.task is not None and debts.holds.waits(run.id)


def _keys(dag: DagSpec, partition: PartitionId) -> set[str | None]:
    """Partitioned events go to partitioned Dags, the others to the others."""
    sources = [source for source in dag.sources if source.asset == partition.asset]
    if partition.key is None or dag.kind is not Kind.PARTITIONED:
        return {None} if sources and partition.key is None and dag.kind is Kind.UNPARTITIONED else set()
    found: set[str | None] = set()
    for source in sources:
        try:
            found |= map_key(source.mapping, partition.key)
        except NotMapped:
            continue
    return found
