"""The definitions D4 and D5 at one moment: who owes, and who pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.oracle.facts import DONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.oracle.deliveries import Delivery
    from tests.simulation.oracle.facts import Facts
    from tests.simulation.oracle.holds import Holds
    from tests.simulation.oracle.records import Execution, Run
    from tests.simulation.oracle.state import Cause, State
    from tests.simulation.trace import RunId, TaskId


class Group(NamedTuple):
    """D5's (Dag, key): the runs of which one pays; ``run`` is set where the run itself is the key."""

    dag: str
    key: str | None
    run: str | None = None


def group_of(run: Run) -> Group:
    """
    Scheduled, backfill and conf-carrying runs have the run itself as key, and so has every run without a
    key that events of unpartitioned assets did not make: those share one.
    """
    of_nobody_else = run.key is None and run.type != "asset_triggered"
    alone = run.type in ("scheduled", "backfill") or run.has_conf or of_nobody_else
    return Group(run.id.dag, run.key, run.id.run if alone else None)


class Debts:
    """
    Who owes and who pays at one moment.
    """

    def __init__(self, facts: Facts, state: State, holds: Holds, deliveries: Iterable[Delivery]) -> None:
        self.facts = facts
        self.state = state
        self.holds = holds
        self._by_instance: dict[tuple[Group, str, int], list[Execution]] = {}
        for each in facts.executions:
            self._by_instance.setdefault(self._instance(each.task), []).append(each)
        self._withdrawn_and_halted = facts.absent & state.halted.keys() if state.mild else set()
        self.owing: dict[TaskId, Execution] = {}
        self.tainted: dict[TaskId, Execution] = {}
        for execution in facts.executions:
            self._judge(execution)
        for delivery in deliveries:
            self._owe_what_was_absorbed(delivery)

    def _instance(self, task: TaskId) -> tuple[Group, str, int]:
        return group_of(self.facts.runs[task.run]), task.task, task.map_index

    # D4

    def _judge(self, execution: Execution) -> None:
        if not self._counts(execution):
            return
        causes = self.unpaid(execution)
        if any(self._is_owed_for(cause, execution) for cause in causes):
            self.owing[execution.task] = execution
        if execution.task in self.owing or any(self._outcome(cause) is None for cause in causes):
            self.tainted[execution.task] = execution

    def unpaid(self, execution: Execution) -> set[Cause]:
        """Why what it saw is bad, without what a later one has paid for."""
        later = self._paying_after(execution) if self.state.seen_bad(execution) else []
        return {
            cause for cause in self._causes(execution) if all(cause in self._causes(each) for each in later)
        }

    def _counts(self, execution: Execution) -> bool:
        """It ended of itself, what it read is not all withdrawn, it is there and was not marked since."""
        run = self.facts.runs[execution.task.run]
        return (
            execution.how in ("success", "skipped", "failed", "up_for_retry")
            and run.exists
            and execution.task in self.facts.instances(run.id)
            and (not self.facts.is_absent_for(execution) or self._reads_what_is_halted(execution))
            and (run.by_hand is None or run.by_hand < execution.granted)
            and not self.facts.is_marked_since(execution.task, execution.granted)
        )

    def _reads_what_is_halted(self, execution: Execution) -> bool:
        """One of two cords has ended as withdrawn: as long as the other is open, it is not called absent."""
        return any(execution.covers(partition) for partition in self._withdrawn_and_halted)

    def _outcome(self, cause: Cause) -> str | None:
        """How it ended: half-written always does as fixed."""
        return "fixed" if cause.cord is None else self.facts.cords[cause.cord].outcomes.get(cause.partition)

    def _ended(self, cause: Cause) -> int:
        return 0 if cause.cord is None else self.facts.cords[cause.cord].ended.get(cause.partition, 0)

    def _is_owed_for(self, cause: Cause, execution: Execution) -> bool:
        """The cause ended as fixed, or as withdrawn while the task also reads others."""
        outcome = self._outcome(cause)
        if execution.forgiven is not None and self._ended(cause) <= execution.forgiven:
            return self.state.mild and self._reads_what_is_new(execution, execution.forgiven)
        others = set(self.facts.versions) - self.facts.absent
        return outcome == "fixed" or (
            outcome == "withdrawn" and any(execution.covers(partition) for partition in others)
        )

    def _reads_what_is_new(self, execution: Execution, since: int) -> bool:
        """As if it had been there before: nobody can tell (docs/decisions/0003, 60)."""
        return any(
            execution.covers(partition) and all(version.begins > since for version in versions)
            for partition, versions in self.facts.versions.items()
        )

    def _causes(self, execution: Execution) -> set[Cause]:
        return {cause for causes in self.state.seen_bad(execution).values() for cause in causes}

    def _paying_after(self, execution: Execution) -> list[Execution]:
        """Later ones of the same instance that ended well pay for all causes of which they saw nothing."""
        return [
            later
            for later in self._by_instance[self._instance(execution.task)]
            if later.granted > execution.granted and later.how in DONE
        ]

    def _owe_what_was_absorbed(self, delivery: Delivery) -> None:
        """An event absorbed into its run is newer than its last execution."""
        run = delivery.may if self.state.mild else delivery.must
        if run is None or delivery.consumed or not run.exists:
            return
        for task in self.facts.instances(run.id):
            last = self.facts.last.get(task)
            if last is None or not self._counts(last) or not last.covers(delivery.partition):
                continue
            if last.forgiven is not None and delivery.at <= last.forgiven:
                continue
            if last.granted < delivery.at and not any(
                later.granted > delivery.at and later.how in DONE
                for later in self._by_instance[self._instance(task)]
            ):
                self.owing.setdefault(task, last)

    def is_due(self, task: TaskId) -> bool:
        """When every partition that the task reads is clean."""
        return not self.state.bad_for(task)

    def is_part_of_a_repair(self, task: TaskId) -> bool:
        """
        A due debt re-runs the task, what follows it, and their setups and teardowns.

        And what it follows, if another run has paid for that: in this one it would hand on what it saw.
        """
        facts, dag = self.facts, task.run.dag
        spec, last = facts.spec(task), facts.last.get(task)
        if last is not None and self.state.seen_bad(last):
            follow = [each for each in self.owing if task.task in facts.above(dag, each.task)]
            if any(each.run == task.run for each in follow):
                return True
        served = {task.task}
        if spec is not None and spec.is_setup:
            served |= {each.id for each in facts.dags[dag].tasks if task.task in facts.above(dag, each.id)}
        causes = served.union(*(facts.above(dag, each) for each in served))
        repaired_since = {
            other
            for other, then in facts.last.items()
            if then.for_repair and last is not None and then.granted > last.granted
        }
        group = group_of(facts.runs[task.run])
        owed_by_others = {
            other.task
            for other in self.owing
            if other.run != task.run
            and group_of(facts.runs[other.run]) == group
            and (self.payer(other.run) == task.run or self._goes_on(task.run))
        }
        return bool(causes & owed_by_others) or any(
            other.run == task.run and other.task in causes for other in {*self.owing, *repaired_since}
        )

    def _goes_on(self, run: RunId) -> bool:
        """Part of it has still to read."""
        return any(task.run == run for task in self.facts.waiting())

    # D5

    def is_absorbing(self, run: RunId) -> bool:
        """Held, stopped, tainted or owing, and its reading part has not started again."""
        not_again = [
            self.facts.last[task] in (self.tainted.get(task), self.owing.get(task))
            for task in self.tainted | self.owing
            if task.run == run
        ]
        if self.facts.runs[run].by_hand is not None:
            return False  # nobody would ever read it
        if self.holds.waits(run):  # what a person has marked meanwhile waits no more
            return any(self.facts.states.get(task) not in (*DONE, "failed") for task in self.holds[run])
        return bool(not_again) and (any(not_again) if self.state.mild else all(not_again))

    def owes(self, run: RunId) -> bool:
        return any(task.run == run for task in self.owing)

    def payer(self, run: RunId) -> RunId | None:
        """Who pays in the place of this run, None if nobody else does."""
        group = group_of(self.facts.runs[run])
        others = [
            each
            for each in self.facts.runs.values()
            if each.exists
            and group_of(each) == group
            and (self._waits_to_read(each.id) or self.owes(each.id))
            and (each.id == run or not self.has_failed_or_is_abandoned(each.id, self.holds.begun(each.id)))
            and not self.triggered_in_vain(each.id)
        ]
        best = max(others, key=lambda each: self._rank(each), default=None)
        return None if best is None or best.id == run else best.id

    def _waits_to_read(self, run: RunId) -> bool:
        """Something that its Dag still has was held, and has not ended since."""
        return any(self.facts.spec(task) is not None for task in self.holds[run])

    def _rank(self, run: Run) -> tuple[bool, bool, int]:
        """Who waits to read before who owes; the latest that asset events made, else the latest."""
        return self._waits_to_read(run.id), run.type == "asset_triggered", run.created

    def has_failed_or_is_abandoned(self, run: RunId, since: int | None = None) -> bool:
        """It failed for good on good data, repaired or begun since then, or a person marked or deleted it."""
        facts = self.facts
        if facts.runs[run].by_hand is not None or not facts.runs[run].exists:
            return True
        return any(
            last.how == "failed" and not self.state.seen_bad(last)
            for task, last in facts.last.items()
            if task.run == run and (last.for_repair or (since is not None and last.granted >= since))
        )

    def triggered_in_vain(self, run: RunId) -> bool:
        """A child run whose triggering task owes, or has run again since, is superseded."""
        parent = self.facts.runs[run].parent
        if parent is None:
            return False
        same = self._by_instance[self._instance(parent)] if parent.run in self.facts.runs else []
        asked = [self.facts.cleared.get(task, -1) for task in self.facts.instances(run)]
        again = [each for each in same if each.granted > max(self.facts.runs[run].created, *asked, -1)]
        return parent in self.owing or any(self.state.mild or each.task == parent for each in again)
