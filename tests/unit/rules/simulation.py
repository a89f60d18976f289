"""
The world of the stories, living by itself: a scheduler starts what may start, a brake does its plan.

Every step takes one minute and one thing happens at a time, so that nothing is ever seen half way.
"""

from __future__ import annotations

from airflow_lean_provider.rules.facts import Ending, Origin, Outcome, Run, Task, TaskState
from airflow_lean_provider.rules.plan import Label, Plan, waits_for
from tests.unit.rules.story import World, minute

STEPS_AT_MOST = 300
ABSORBING = {Label.HELD, Label.STOPPED, Label.TAINTED, Label.OWES}


class LivingWorld(World):
    """The same words, and time goes by."""

    def steps(self) -> float:
        self.now += 1
        return self.now

    def arrives(self, asset: str, key: str = "h5") -> str:
        """Somebody delivers the partition, and whoever is scheduled on it gets a run or absorbs the event."""
        before = self.plan()
        version = self.publishes(asset, key, at=self.steps())
        self.deliver(asset, key, before)
        return version

    def deliver(self, asset: str, key: str | None, before: Plan) -> None:
        for dag_id, dag in self.dags.items():
            if asset not in dag.reads:
                continue
            affected = [
                run
                for run, known in self.runs.items()
                if (run.dag_id, known.key, known.origin) == (dag_id, key, Origin.ASSETS)
                and before.runs[run].labels & ABSORBING
                and not before.runs[run].labels & {Label.SUPERSEDED}
                and not known.shape.advisory
            ]
            if affected:
                self.absorbs(affected[-1], at=self.now)
            elif not self.is_waiting(dag_id, key):
                self.run(dag_id, key)

    def is_waiting(self, dag_id: str, key: str | None) -> bool:
        """A run that has not begun consumes the later event too: the story has one event at a time."""
        return any(
            run.dag_id == dag_id
            and known.key == key
            and all(s is TaskState.WAITING for s in known.tasks.values())
            for run, known in self.runs.items()
        )

    def pulled(self, asset: str, key: str = "h5") -> int:
        cord = self.pulls(asset, key, at=self.steps())
        self.settles()
        return cord

    def released(self, cord: int, outcome: Outcome) -> None:
        self.releases(cord, outcome, at=self.steps())

    # The brake

    def settles(self) -> None:
        """Do the plan until there is nothing to do."""
        for _ in range(STEPS_AT_MOST):
            plan = self.plan()
            acting = [p for p in plan.runs.values() if p.acts]
            if not acting:
                return
            for run_plan in acting:
                for task in {*run_plan.stop, *run_plan.pull_back}:
                    self.stops(task)
                for task in run_plan.park:
                    self.is_now(task, TaskState.PARKED)
                for task in run_plan.unpark:
                    self.is_now(task, TaskState.WAITING)
                if run_plan.clear:
                    self.is_cleared(run_plan.run, *run_plan.clear)
                if run_plan.hold or run_plan.release:
                    self.of_run(run_plan.run, held=run_plan.hold)
                if run_plan.skip:
                    self.ends_as_skipped(run_plan.run)
        raise AssertionError("the plan is never done")

    def stops(self, task: Task) -> None:
        attempts = [t for t, e in self.executions.items() if t.task == task and e.ending is Ending.OPEN]
        for attempt in attempts:
            start = (self.executions.pop(attempt).started - minute(0)).total_seconds() / 60
            self.is_killed(task.run, task.task_id, start=start, at=self.steps(), index=task.map_index)
        self.is_now(task, TaskState.WAITING)

    def ends_as_skipped(self, run: Run) -> None:
        for task, state in self.runs[run].tasks.items():
            if not state.finished:
                self.is_now(task, TaskState.SKIPPED)
        self.of_run(run, over=True, held=False)

    # The scheduler

    def startable(self) -> list[Task]:
        found = []
        for known in self.runs.values():
            if known.over or known.held:
                continue
            for task, state in known.tasks.items():
                before = [known.tasks[self.task(task.run, t)] for t in known.shape.upstream[task.task_id]]
                if state is TaskState.WAITING and all(s.finished for s in before):
                    found.append(task)
        return found

    def starts_one(self) -> Task | None:
        """The task that may start first does, and goes on until somebody ends or stops it."""
        for task in self.startable():
            self.executes(task.run, task.task_id, start=self.steps(), index=task.map_index)
            return task
        return None

    def ends(self, task: Task) -> None:
        (attempt,) = [t for t, e in self.executions.items() if t.task == task and e.ending is Ending.OPEN]
        start = (self.executions.pop(attempt).started - minute(0)).total_seconds() / 60
        before = self.plan()
        end = self.steps()
        self.executes(task.run, task.task_id, start=start, end=end, index=task.map_index)
        for asset in self.dags[task.dag_id].writes.get(task.task_id, ()):
            self.deliver(asset, self.runs[task.run].key, before)

    def lives(self) -> None:
        """Scheduler and brake do what there is to do, until there is nothing."""
        for _ in range(STEPS_AT_MOST):
            self.settles()
            task = self.starts_one()
            if task is None:
                return
            self.ends(task)
        raise AssertionError("it never comes to rest")

    def waits_to_be_fixed(self, cord: int) -> bool:
        (halt,) = [h for h in self.halts if h.cord == cord]
        return bool(waits_for(self.facts(), self.plan(), halt.partition))

    # What has become of it

    def successes(self) -> dict[tuple[str, str | None, str], int]:
        """How often each task of each Dag and key has succeeded."""
        counts: dict[tuple[str, str | None, str], int] = {}
        for attempt, execution in self.executions.items():
            if execution.ending is Ending.SUCCESS:
                task = attempt.task
                name = (task.dag_id, self.runs[task.run].key, task.task_id)
                counts[name] = counts.get(name, 0) + 1
        return counts

    def owing(self) -> set[tuple[str, str]]:
        return {group for group, account in self.plan().accounts.items() if account.owed}
