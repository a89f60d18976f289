"""What must be true when all that can go on by itself has gone on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.graph import Kind
from tests.simulation.oracle.debts import group_of
from tests.simulation.oracle.state import label, name

if TYPE_CHECKING:
    from tests.simulation.graph import TaskSpec
    from tests.simulation.oracle.deliveries import Delivery
    from tests.simulation.oracle.judge import Judge
    from tests.simulation.trace import FinalRun, PartitionId, Rest, RunId, TaskId

FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")


class AtRest:
    """Judges one rest: ``runs`` and ``pending`` are what exists then."""

    def __init__(self, judge: Judge, rest: Rest) -> None:
        self.judge = judge
        self.facts = judge.facts
        self.runs = {run: final for run, final in rest.runs.items() if run in judge.facts.runs}
        self.pending = rest.pending
        self.overlooked = rest.overlooked

    def complain(self) -> None:
        for run, final in self.runs.items():
            self._judge_run(run, final)
            for task, state in final.tasks.items():
                self._judge_task(run, final, task, state)
        self._judge_debts()
        self._judge_deliveries()
        self._judge_releases()

    # Runs and tasks

    def _goes_on(self, dag: str) -> bool:
        return dag not in self.facts.removed | self.facts.paused

    def _judge_run(self, run: RunId, final: FinalRun) -> None:
        is_over = all(state in FINISHED for state in final.tasks.values())
        held = any(self.judge.moment.mild.forbids(task) for task in final.tasks)
        if not final.restored and not (held and not is_over) and self._goes_on(run.dag):
            self.judge.complain("no hold outlives its reason", f"run {run.run} of {run.dag} is left held")
        if is_over and final.state not in ("success", "failed") and self._goes_on(run.dag):
            self.judge.complain(
                "no run is left", f"run {run.run} of {run.dag} is {final.state} although all its tasks ended"
            )

    def _judge_task(self, run: RunId, final: FinalRun, task: TaskId, state: str | None) -> None:
        if task not in self.facts.instances(run) or not self._goes_on(run.dag):
            return
        if state in FINISHED:
            self._judge_end(final, task, state)
        elif state == "running" and self._is_open(task):
            return
        elif final.state in ("success", "failed"):
            self.judge.complain("no task is left", f"{label(task)} is {state} in a run that has ended")
        elif self.is_ready(final, task) and not self._may_wait(run, final, task):
            self.judge.complain(
                "a held run goes on, unaffected work is never delayed",
                f"{label(task)} waits ({state}, its run is {final.state}) although it may start",
            )

    def _is_open(self, task: TaskId) -> bool:
        last = self.facts.last.get(task)
        return last is not None and last.ended is None

    def is_ready(self, final: FinalRun, task: TaskId) -> bool:
        spec = self.facts.spec(task)
        if spec is None:
            return False
        above = [state for other, state in final.tasks.items() if other.task in spec.after]
        if spec.teardown_of is not None:
            return all(
                s in FINISHED or self._was_killed(t) for t, s in final.tasks.items() if t.task in spec.after
            )
        return all(state == "success" for state in above)

    def _was_killed(self, task: TaskId) -> bool:
        """Teardowns of killed tasks finish."""
        last = self.facts.last.get(task)
        return last is not None and last.stopped is not None and last.ended is not None

    def _may_wait(self, run: RunId, final: FinalRun, task: TaskId) -> bool:
        """
        It is forbidden, or its own stopped process is not gone, or the Dag's own limit is used up.

        Or its run is superseded, and held for what follows it: it ends as skipped once nothing holds it.
        """
        last, moment = self.facts.last.get(task), self.judge.moment
        if moment.mild.forbids(task) or (last is not None and last.ended is None):
            return True
        if moment.may_be_owed.payer(run) is not None and any(map(moment.mild.forbids, final.tasks)):
            return True
        busy = [
            other
            for other, its in self.runs.items()
            if other.dag == run.dag and its.state == "running" and not self._uses_no_slot(other, its)
        ]
        return final.state == "queued" and len(busy) >= self.facts.dags[run.dag].max_active_runs

    def _uses_no_slot(self, run: RunId, final: FinalRun) -> bool:
        """Held as a whole: only scheduled, backfill and unpartitioned asset-triggered runs use slots up."""
        waiting = [task for task, state in final.tasks.items() if state not in FINISHED]
        return (
            self.facts.runs[run].type in ("asset_triggered", "manual")
            and self.facts.dags[run.dag].kind is Kind.PARTITIONED
            and bool(waiting)
            and all(self.judge.moment.mild.forbids(task) for task in waiting)
        )

    def _judge_end(self, final: FinalRun, task: TaskId, state: str) -> None:
        """A held run never times out, fails or is skipped for waiting."""
        last = self.facts.last.get(task)
        if self.facts.acted_on.get(task, -1) > (last.granted if last is not None else -1):
            return
        spec = self.facts.spec(task)
        above = [other for name, other in final.tasks.items() if spec and self._is_before(name, spec)]
        by_itself = last is not None and last.how == state
        if state == "failed" and not by_itself:
            self._unexplained(task, state)
        if state == "upstream_failed" and not {"failed", "upstream_failed", "removed"} & set(above):
            self._unexplained(task, state)
        if state == "skipped" and not (by_itself or self.facts.states.get(task) == "skipped"):
            self._unexplained(task, state)

    def _is_before(self, task: TaskId, spec: TaskSpec) -> bool:
        """What the Dag has no more may have been."""
        return task.task in (*spec.after, spec.teardown_of) or self.facts.spec(task) is None

    def _unexplained(self, task: TaskId, state: str) -> None:
        self.judge.complain(
            "a held run never fails or is skipped for waiting",
            f"{label(task)} is {state} for no reason of its own",
        )

    # Debts

    def _judge_debts(self) -> None:
        """Each due debt is paid, unless whoever could pay has failed, is paused, or is gone."""
        owed = self.judge.moment.owed
        for task, execution in owed.owing.items() if self.facts.promises else ():
            final = self.runs.get(task.run)
            if (
                final is None
                or not self._goes_on(task.run.dag)
                or not owed.is_due(task)
                or self.judge.moment.mild.bad_for(task)
                or self.judge.moment.may_be_owed.triggered_in_vain(task.run)
                or owed.has_failed_or_is_abandoned(task.run)
                or owed.payer(task.run) is not None
                or self._will_run(task)
                or self._waits_for_a_person(task)
                or self.facts.was_told_by_a_task_that_is_gone(task.run)
            ):
                continue
            self.judge.complain(
                "D4, a due debt is paid",
                f"{label(task)} saw bad data in try {execution.attempt}, all that it reads is clean again, "
                "and it did not run again",
            )

    def _waits_for_a_person(self, task: TaskId) -> bool:
        """Something that would run again with it asks before."""
        return any(map(self.facts.asks, self.facts.instances(task.run)))

    def _will_run(self, task: TaskId) -> bool:
        """Somebody of the same (Dag, key) still has it before it: that is judged there."""
        group = group_of(self.facts.runs[task.run])
        return any(
            final.tasks.get(task._replace(run=run), "success") not in FINISHED
            for run, final in self.runs.items()
            if group_of(self.facts.runs[run]) == group
        )

    # Events and releases

    def _had_been_marked(self, delivery: Delivery) -> bool:
        """A person had ended all of the run that absorbed it, and has not asked for another try since."""
        run = delivery.must or delivery.may
        return run is not None and all(
            self.facts.marked.get(task, delivery.at) < delivery.at for task in self.facts.instances(run.id)
        )

    def _judge_deliveries(self) -> None:
        """No event is lost, and no pending row is left that the rule of absorption forbids."""
        for delivery in self.judge.mail.all:
            waits = (delivery.dag, delivery.key) in self.pending or delivery.key is None
            by_airflow = (delivery.event, delivery.dag, delivery.key) in self.overlooked
            is_absorbed = delivery.may is not None and not self._had_been_marked(delivery)
            lost = not (delivery.consumed or is_absorbed or waits or by_airflow)
            if lost and self._goes_on(delivery.dag):
                self.judge.complain(
                    "Publish: only what is absorbed makes no run",
                    f"the event {delivery.event} on {name(delivery.partition)} was lost for {delivery.dag} "
                    f"{delivery.key}",
                )
        for dag, key in self.pending:
            there = self.judge.mail.open(dag, key)
            kept = [each for each in there if each.must is None]
            if there and not kept:
                self.judge.complain(
                    "Publish: no pending row is left for what was absorbed",
                    f"a pending row for {dag} {key} is left although all its events were to be absorbed",
                )
            elif self._goes_on(dag) and self.judge.mail.is_complete(
                dag, key, [each for each in kept if each.may is None]
            ):
                self.judge.complain(
                    "no run is left pending for ever", f"the pending row for {dag} {key} is complete"
                )

    def _judge_releases(self) -> None:
        for (cord, partition), asked in self.judge.asked.items() if self.facts.promises else ():
            if asked.outcome == "fixed" and self.publishers_to_wait_for(partition, asked.at):
                continue
            if asked.again and (
                not self.facts.is_written_since(partition, asked.at)
                or self.facts.cords[cord].is_finished_since(partition, asked.at)
            ):
                continue
            self.judge.complain(
                "Release: it takes effect when nothing is left to wait for",
                f"cord {cord} was not released on {name(partition)} as {asked.outcome}",
            )

    def publishers_to_wait_for(self, partition: PartitionId, asked: int) -> list[TaskId]:
        return [
            task
            for final in self.runs.values()
            for task, state in final.tasks.items()
            if partition in self.facts.may_publish(task) and self._is_to_publish(task, state, asked)
        ]

    def _is_to_publish(self, task: TaskId, state: str | None, asked: int) -> bool:
        """Tainted, owing, on its way, or failed since: then the release stays pending."""
        debts = self.judge.moment.may_be_owed
        if task in debts.tainted or task in debts.owing or state not in FINISHED:
            return True
        return state in ("failed", "upstream_failed") and any(
            last.how == "failed" and (last.ended or 0) > asked
            for other, last in self.facts.last.items()
            if other.run == task.run
        )
