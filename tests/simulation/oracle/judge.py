"""The walk through a trace: one event after another, each judged by what was known just before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.simulation import trace as seen
from tests.simulation.oracle.debts import Debts
from tests.simulation.oracle.deliveries import Mail
from tests.simulation.oracle.facts import Facts
from tests.simulation.oracle.holds import Holds
from tests.simulation.oracle.reading import reading_of
from tests.simulation.oracle.rest import AtRest
from tests.simulation.oracle.state import State, label, name, words
from tests.simulation.oracle.withdrawal import withdraw

if TYPE_CHECKING:
    from tests.simulation.oracle.records import Execution
    from tests.simulation.oracle.state import Cause, Halt
    from tests.simulation.trace import PartitionId, RunId, TaskId, Trace


NONE: frozenset[Cause] = frozenset()

_SETTLES = (seen.Pulled, seen.Raised, seen.Released, seen.Cleared, seen.Enabled, seen.Rest)
"""After these the brake has looked at everything."""


class Moment(NamedTuple):
    """All definitions at one moment, by the strict and by the mild reading."""

    strict: State
    mild: State
    owed: Debts
    may_be_owed: Debts


class Recorded(NamedTuple):
    """A pull, or a raise, was committed and has not returned yet."""

    at: int
    what: seen.Pulled | seen.Raised


class Looked(NamedTuple):
    """A pull has asked what was published: what is committed later it does not know."""

    at: int
    what: seen.Pulled


class Judge:
    """
    Reads a trace once, from front to back.

    ``facts`` are what was seen so far, ``moment`` is what follows from them, both as they were just before
    the event that is being judged: a method asks first and notes the event last.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.facts = Facts()
        self.complaints: list[str] = []
        self.let_through: dict[RunId, frozenset[Halt]] = {}
        self.mail = Mail(self.facts)
        self.holds, self.may_hold = Holds(), Holds()
        self.suspects: set[Execution] = set()
        """Open executions that may have seen a bad version at some moment."""
        self.superseded: dict[RunId, tuple[RunId, int]] = {}
        """Runs that were held and may not start any more, each with the one that pays, and since when."""
        self.to_skip: set[TaskId] = set()
        """Held parts that read nothing but what was withdrawn."""
        self.to_repair: set[TaskId] = set()
        """What the brake has cleared for a repair."""
        self.asked: dict[tuple[int, PartitionId], seen.ReleaseAsked] = {}
        self.answers = {(e.task, e.attempt) for e in trace.events if isinstance(e, seen.Answered)}
        self.moment = self.look()

    def read(self) -> list[str]:
        """All complaints, in the order of the history."""
        self.walk()
        self.facts.now = self.trace.quiet
        self._see_Rest(
            seen.Rest(
                self.trace.quiet,
                self.trace.final,
                self.trace.pending,
                self.trace.overlooked,
                self.trace.waiting,
            )
        )
        return self.complaints

    def walk(self) -> list[str]:
        """The complaints about what happened, without those about what is left at the end."""
        for event in self._steps():
            self.see(event)
        return self.complaints

    def see(self, event: seen.Event | Recorded | Looked) -> None:
        """Judge one event, and note what follows from it."""
        self.facts.now = event.at
        getattr(self, f"_see_{type(event).__name__}")(event)
        self.moment = self.look()
        self._note_what_follows()
        self._note_who_is_known(event)

    def _steps(self) -> list[seen.Event | Recorded | Looked]:
        """The events in order; a cord is known from the moment at which it was recorded."""
        events = self.trace.events
        pulls = [each for each in events if isinstance(each, seen.Pulled)]
        looks = [Looked(each.recorded - 1 if each.looked is None else each.looked, each) for each in pulls]
        records = [Recorded(each.recorded, each) for each in pulls]
        raises = [
            Recorded(each.recorded or each.at, each) for each in events if isinstance(each, seen.Raised)
        ]
        return sorted(
            [*records, *raises, *events, *looks], key=lambda step: (step.at, isinstance(step, Looked))
        )

    def complain(self, rule: str, what: str) -> None:
        self.complaints.append(f"At {self.facts.now}: {what} [{rule}]")

    def look(self) -> Moment:
        strict = State(self.facts, self.let_through)
        mild = State(self.facts, self.let_through, doubt=self.trace.doubt)
        return Moment(
            strict,
            mild,
            Debts(self.facts, strict, self.holds, self.mail.all),
            Debts(self.facts, mild, self.may_hold, self.mail.all),
        )

    def _note_what_follows(self) -> None:
        """What must be remembered because it may not be true any more when it matters."""
        strict, mild, owed, may_be_owed = self.moment
        self.holds.note(strict)
        self.may_hold.note(mild)
        self.suspects |= {each for each in self.facts.open_executions() if mild.is_to_be_stopped(each)}
        for run in self.holds.waiting():
            payer = owed.payer(run)
            if payer is not None and not any(mild.forbids(task) for task in self.holds[run]):
                self.superseded.setdefault(run, (payer, self.facts.now))
        self.mail.absorb_rows(None, may_be_owed)

    def _note_who_is_known(self, event: seen.Event | Recorded | Looked) -> None:
        """All that settles has looked who is affected; a publication at least at its own run."""
        at: set[RunId] = set()
        if isinstance(event, _SETTLES):
            at = {run.id for run in self.facts.runs.values() if run.exists}
        elif isinstance(event, seen.Answered) and any(
            (each.task, each.attempt) == (event.task, event.attempt) for each in self.facts.events.values()
        ):
            at = {event.task.run}
        self.mail.look(self.moment.owed, self.moment.may_be_owed, at)

    def _let_go(self, run: RunId) -> None:
        self.holds.drop(run)
        self.may_hold.drop(run)

    # Dags and runs

    def _see_DagWritten(self, event: seen.DagWritten) -> None:
        self.facts.write(event.dag)

    def _see_DagRemoved(self, event: seen.DagRemoved) -> None:
        self.facts.removed.add(event.dag)
        self.facts.gone_since[event.dag] = event.at

    def _see_DagPaused(self, event: seen.DagPaused) -> None:
        (self.facts.paused.add if event.paused else self.facts.paused.discard)(event.dag)

    def _see_RunCreated(self, event: seen.RunCreated) -> None:
        taken = self.mail.consume(event.run, event.key, event.consumed)
        if event.key is not None and taken and all(delivery.must for delivery in taken):
            into = ", ".join(sorted({each.must.id.run for each in taken if each.must}))
            self.complain(
                "Publish: Airflow's own duplicates are absorbed",
                f"run {event.run.run} of {event.run.dag} was made for {event.key} although all its events "
                f"were to be absorbed into {into}",
            )
        parent = event.parent
        self.facts.create(event, reading_of(self.facts, parent) if parent is not None else None)

    def _see_RunDeleted(self, event: seen.RunDeleted) -> None:
        """What is not known by now to be bad can never be: who wrote it, and when, is gone."""
        strict, mild = self.moment.strict, self.moment.mild
        for version in (v for versions in self.facts.versions.values() for v in versions):
            if version.run == event.run and version.complete is not None:
                version.kept = (strict.causes.get(version, NONE), mild.causes.get(version, NONE))
        self.facts.delete(event.run)
        self._let_go(event.run)

    def _see_RunMarked(self, event: seen.RunMarked) -> None:
        self.facts.mark(event)
        self._let_go(event.run)

    def _see_TasksMarked(self, event: seen.TasksMarked) -> None:
        self.facts.mark_tasks(event.tasks)
        for task in event.tasks:
            self.holds.end(task)
            self.may_hold.end(task)

    def _see_TaskCleared(self, event: seen.TaskCleared) -> None:
        if event.by_person:
            self.to_skip -= set(event.tasks)
            for task in event.tasks:
                self.superseded.pop(task.run, None)
        else:
            debts = self.moment.may_be_owed
            for task in event.tasks:
                self._judge_payer(task, self.facts.last.get(task))
                if self.facts.asks(task) and self.facts.states.get(task) == "success":
                    self.complain(
                        "Repair: it waits for a person where the author wants that",
                        f"{label(task)} was cleared although nobody had approved",
                    )
            self.to_repair |= {task for task in event.tasks if debts.is_part_of_a_repair(task)}
        self.facts.clear(event.tasks, by_person=event.by_person)

    # Starts

    def _see_Granted(self, event: seen.Granted) -> None:
        task, before = event.task, self.facts.last.get(event.task)
        if forbidden := self.moment.strict.forbids(task):
            self.complain(
                "D3, no late start", f"{label(task)} was granted a start but reads {words(forbidden)}"
            )
        on = self.facts.promises
        if on and before is not None and before.stopped is not None and before.ended is None:
            self.complain(
                "D3, its own stopped execution",
                f"{label(task)} was granted try {event.attempt} while try {before.attempt}, which was "
                "stopped, still runs",
            )
        if task in self.to_skip:
            self.complain(
                "withdrawn: parts that read nothing else end as skipped",
                f"{label(task)} was granted a start although all that it reads was withdrawn",
            )
        self._judge_payer(task, before)
        for_repair = self._judge_reason(task, before)
        if on and before is not None and not self._was_cleared(before) and self.facts.is_torn_down(task):
            self.complain(
                "Repair: with their setups and teardowns",
                f"{label(task)} was granted a start although its setup was torn down",
            )
        self.holds.start(task, event.at)
        self.may_hold.start(task, event.at)
        self.to_repair.discard(task)
        execution = self.facts.grant(event, self.moment.strict.reading(task))
        execution.for_repair = for_repair
        if before is not None and before.how in ("up_for_retry", "killed") and not self._was_cleared(before):
            execution.retries_used = before.retries_used + (before.how == "up_for_retry")

    def _judge_payer(self, task: TaskId, before: Execution | None) -> None:
        """D5: the others that are held, stopped or owe are superseded."""
        run, owed = task.run, self.moment.owed
        if self.facts.tears_down_what_ran(task) or not self.facts.promises:
            return
        is_held = task in self.holds[run] and self.holds.waits(run) and run not in self.let_through
        is_held = is_held and (before is None or before.how != "up_for_retry")
        cleared = task in self.to_repair or (before is not None and self._was_cleared(before))
        owes = task in owed.owing and not cleared
        payer, since = self.superseded.get(run, (None, 0)) if is_held else (None, 0)
        if payer is not None and owed.has_failed_or_is_abandoned(payer, since):
            payer = None
        if payer is None and owes:
            payer = owed.payer(run)
            if payer is not None and self._was_never_looked_at(payer):
                payer = None
        if payer is not None:
            self.complain(
                "D5, one payer",
                f"{label(task)} goes on although its run is superseded by {payer.run}",
            )
        elif (is_held or owes) and owed.triggered_in_vain(run):
            self.complain(
                "D5, a child run whose triggering task owes, or has run again since, is superseded",
                f"{label(task)} goes on",
            )

    def _was_never_looked_at(self, run: RunId) -> bool:
        """The file of its Dag was gone before the scheduler got to it: nobody knows that it waits to read."""
        has_begun = any(task.run == run for task in self.facts.last)
        return not has_begun and self.facts.gone_since.get(run.dag, -1) > self.facts.runs[run].created

    def _judge_reason(self, task: TaskId, before: Execution | None) -> bool:
        """Each once: who has ended of itself runs again only for a reason. Whether that is a repair."""
        debts, spec = self.moment.may_be_owed, self.facts.spec(task)
        run = self.facts.runs[task.run]
        goes_on = task in run.missed_by_hand or (spec is not None and spec.teardown_of is not None)
        if run.by_hand is not None and spec is not None and not goes_on:
            self.complain(
                "people decide: a release does not undo a mark",
                f"{label(task)} was granted a start although a person had marked its run",
            )
        if task in self.facts.marked and not self._follows_a_repair(task):
            self.complain(
                "people decide: a release does not undo a mark",
                f"{label(task)} was granted a start although a person had marked it",
            )
        repair = before is not None and (task in self.to_repair or debts.is_part_of_a_repair(task))
        if before is None or repair or self._was_cleared(before):
            return repair
        if before.of_itself and before.how != "up_for_retry":
            self.complain(
                "each once",
                f"{label(task)} ran again although it had ended as {before.how} and nothing was owed",
            )
        return before.for_repair

    def _follows_a_repair(self, task: TaskId) -> bool:
        """What a debt re-runs is followed by what follows it, as Airflow's own clear would."""
        above = self.facts.above(task.run.dag, task.task)
        return any(
            other.task in above and other.run == task.run and last.for_repair
            for other, last in self.facts.last.items()
        )

    def _was_cleared(self, before: Execution) -> bool:
        """By a person, since that try was granted."""
        return self.facts.cleared.get(before.task, -1) > before.granted

    def _see_Refused(self, event: seen.Refused) -> None:
        """A refusal may be Airflow's own; who waits for nothing is found when all is at rest."""

    # Ends and publications

    def _see_Ended(self, event: seen.Ended) -> None:
        execution = self.facts.try_of(event.task, event.attempt)
        if execution is None:
            return
        if execution.stopped is not None and event.how != "killed":
            self.complain(
                "Pull: every open execution that saw a bad version is stopped",
                f"{label(event.task)} try {event.attempt} ended as {event.how} although it had to be stopped "
                f"at {execution.stopped}",
            )
        if self.facts.acted_on.get(event.task, -1) < execution.granted:
            self._judge_end_of_itself(event, execution)
        self.facts.end(event)
        if event.how in ("success", "failed", "skipped"):
            self.holds.end(event.task)
            self.may_hold.end(event.task)
        execution.answered = (event.task, event.attempt) not in self.answers

    def _judge_end_of_itself(self, event: seen.Ended, execution: Execution) -> None:
        """No person had a hand in it."""
        suspect = execution.stopped is not None or execution in self.suspects
        spec = self.facts.spec(event.task)
        if (
            event.how == "killed"
            and not suspect
            and spec is not None  # what its Dag has no more, Airflow ends
            and not self.moment.may_be_owed.is_part_of_a_repair(event.task)
        ):
            self.complain(
                "unaffected work is never delayed",
                f"{label(event.task)} try {event.attempt} was killed although it saw no bad version",
            )
        if event.how == "failed" and spec is not None and execution.retries_used < spec.retries:
            self.complain(
                "Pull: stopping loses no retry",
                f"{label(event.task)} failed for good after {execution.retries_used} of its {spec.retries} "
                "retries",
            )

    def _see_Answered(self, event: seen.Answered) -> None:
        execution = self.facts.try_of(event.task, event.attempt)
        if execution is not None:
            execution.answered = True

    def _see_Skipped(self, event: seen.Skipped) -> None:
        task, facts = event.task, self.facts
        spec = facts.spec(task)
        above = [
            facts.states.get(each) for each in facts.instances(task.run) if spec and each.task in spec.after
        ]
        if not (
            spec is None  # its Dag has it no more
            or {"skipped", "failed"} & set(above)  # it could not have started
            or task in self.to_skip
            or task.run in self.superseded
            or self.moment.may_be_owed.triggered_in_vain(task.run)
            or not facts.runs[task.run].exists
            or facts.was_told_by_a_task_that_is_gone(task.run)
        ):
            self.complain(
                "a held run is never skipped for waiting",
                f"{label(task)} was skipped for no reason of its own",
            )
        facts.skip(task)
        self.holds.end(task)
        self.may_hold.end(task)

    def _see_CutOff(self, event: seen.CutOff) -> None:
        self.facts.cut_off(event.task)
        self.holds.end(event.task)
        self.may_hold.end(event.task)

    def _see_Published(self, event: seen.Published) -> None:
        execution = self.facts.try_of(event.task, event.attempt) if event.task else None
        if event.task is not None and execution is not None and execution.stopped is not None:
            self.complain(
                "nothing that read bad data publishes unmarked",
                f"{label(event.task)} try {event.attempt} published {name(event.partition)} although it was "
                f"stopped at {execution.stopped}",
            )
        self.mail.deliver(event, self.moment.owed, self.moment.may_be_owed)
        self.facts.publish(event)
        self._is_there_again(event.partition)

    def _is_there_again(self, partition: PartitionId) -> None:
        reading = self.moment.strict.reading
        self.to_skip = {task for task in self.to_skip if not reading(task).covers(partition)}

    # Cords

    def _see_PullCalled(self, event: seen.PullCalled) -> None:
        """Nothing is promised yet."""

    def _see_Looked(self, event: Looked) -> None:
        self.facts.look(event.what, self.moment.mild.halted)

    def _see_Recorded(self, event: Recorded) -> None:
        if isinstance(event.what, seen.Pulled):
            self.facts.record(event.what, self.moment.mild.halted)
        else:
            cord = self.facts.cords[event.what.cord]
            cord.returned = cord.returned and cord.stops
            cord.stops = True

    def _see_Pulled(self, event: seen.Pulled) -> None:
        self._return(event.cord)

    def _see_Raised(self, event: seen.Raised) -> None:
        self._return(event.cord)

    def _return(self, cord: int) -> None:
        self.facts.cords[cord].returned = True
        self._stop()
        _, _, owed, may_be_owed = self.look()
        self.mail.absorb_rows(owed, may_be_owed)

    def _stop(self) -> None:
        """All that is open and saw a bad version is stopped now, and who saw what that leaves behind."""
        while found := self._find_to_stop():
            for execution in found:
                execution.stopped = self.facts.now
                self.facts.note_half_written(execution)

    def _find_to_stop(self) -> list[Execution]:
        state = State(self.facts, self.let_through)
        return [
            each
            for each in self.facts.open_executions()
            if each.stopped is None and state.is_to_be_stopped(each)
        ]

    def _see_ReleaseAsked(self, event: seen.ReleaseAsked) -> None:
        """What is released already stays as it is."""
        cord = self.facts.cords[event.cord]
        self.asked |= {
            (event.cord, each): event
            for each in event.partitions or cord.partitions
            if each not in cord.outcomes
        }
        if event.ends_scope:
            cord.scope = None

    def _see_ScopeEnded(self, event: seen.ScopeEnded) -> None:
        self.facts.cords[event.cord].scope = None

    def _see_Released(self, event: seen.Released) -> None:
        asked = self.asked.pop((event.cord, event.partition), None)
        if event.partition in self.facts.cords[event.cord].outcomes:
            return  # the pull itself had said that it is good again
        if asked is None:
            self.complain(
                "people decide", f"cord {event.cord} on {name(event.partition)} was released unasked"
            )
        elif event.outcome == "fixed" and not asked.forced:
            self._judge_release(event)
            if asked.again and not self.facts.is_newer(event.partition, asked.at):
                self.complain(
                    "Release: a new version releases where asked",
                    f"cord {event.cord} was released on {name(event.partition)} although it was not "
                    "published again",
                )
        known_bad, was_absent = self.moment.mild.causes, event.partition in self.facts.absent
        self.facts.release(self.facts.cords[event.cord], event.partition, event.outcome, known_bad)
        if was_absent and event.partition not in self.facts.absent:
            self._is_there_again(event.partition)
        withdrawn = event.partition if event.outcome == "withdrawn" else None
        self.to_skip |= withdraw(self.facts, self.moment.mild, withdrawn)

    def _judge_release(self, event: seen.Released) -> None:
        """It takes effect when no task that publishes the partition is tainted, owing, ... or running."""
        last, waiting = self.facts.last_complete(event.partition), self.facts.waiting()
        owed = self.moment.owed
        for task, execution in self.facts.last.items():
            run = self.facts.runs[task.run]
            by_hand = run.by_hand is not None or task in self.facts.marked
            if not run.exists or by_hand or event.partition not in self.facts.publishes(task):
                continue
            made_it = last is not None and execution in last.contributors
            if (
                execution.ended is None
                or (task in waiting and owed.payer(task.run) is None)
                or (made_it and (task in owed.tainted or task in owed.owing))
            ):
                self.complain(
                    "Release: fixed waits for the tasks that publish the partition",
                    f"cord {event.cord} was released on {name(event.partition)} while {label(task)} was "
                    "still to publish it",
                )

    def _see_Approved(self, event: seen.Approved) -> None:
        self.facts.approved[event.run] = event.at

    def _see_Disabled(self, event: seen.Disabled) -> None:
        """It undoes everything that the brake changed in Airflow."""
        self.facts.acts = self.facts.promises = False
        self.holds.drop_all()
        self.may_hold.drop_all()
        self.superseded.clear()
        self.to_skip.clear()
        self.mail.give_back()

    def _see_Enabled(self, event: seen.Enabled) -> None:
        self.facts.acts = True
        if event.returned:
            self.facts.promises = True
            self._stop()
            _, _, owed, may_be_owed = self.look()
            self.mail.absorb_rows(owed, may_be_owed)

    def _see_LetThrough(self, event: seen.LetThrough) -> None:
        before = self.let_through.get(event.run, frozenset())
        self.let_through[event.run] = before | self.moment.mild.halts_to_let_through()

    def _see_Cleared(self, event: seen.Cleared) -> None:
        if event.as_ == "false_alarm":
            for version in self.facts.versions.get(event.partition, ()):
                version.cleared = version.cleared or self.facts.visible_until(version) is None
        elif event.as_ == "fixed":
            self.facts.vouch_for(event.partition, self.moment.mild.causes)

    def _see_Rest(self, event: seen.Rest) -> None:
        self._stop()
        for delivery in self.mail.all:  # neither made into a run nor pending: it was absorbed
            if not delivery.consumed and not event.is_pending(delivery.event, delivery.dag, delivery.key):
                delivery.must = delivery.must or delivery.may
        self.moment = self.look()
        AtRest(self, event).complain()
