"""
Mutants of the product: each breaks one rule by replacing one piece of text in one module.

They are chosen for what an engineer could plausibly have forgotten. ``mutation.py`` plays them; a test says
when a text is no longer there.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """
    The product with one rule broken.

    It is complained about when it plays its seeds or its story, which the unbroken product plays without
    complaint.

    :param breaks: what no longer holds
    :param old: occurs exactly once in the module
    :param story: one of ``stories.STORIES``
    :param interleavings: seeds of how what the story does at once interleaves (PostgreSQL)
    :param in_ci: it is played in every run of the tests, too
    """

    name: str
    breaks: str
    module: str
    old: str
    new: str
    seeds: tuple[int, ...] = ()
    story: str = ""
    interleavings: tuple[int, ...] = ()
    in_ci: bool = False


_AT = "airflow_lean_provider."

MUTANTS: tuple[Mutant, ...] = (
    # Starts (D3)
    Mutant(
        "derived_halts_unchecked",
        "a start finds only root halts, not those of what was made from bad data",
        _AT + "brake.ledger",
        "    for partition, causes in plan.halts.items():\n",
        "    for partition, causes in plan.halts.items():\n"
        "        if not any(c.cord and c.partition == partition for c in causes):\n"
        "            continue\n",
        story="a run of a derived reader is triggered by hand",
        in_ci=True,
    ),
    Mutant(
        "queued_tasks_untouched",
        "a pull leaves alone what is scheduled or with an executor",
        _AT + "rules.plan",
        "pull_back=tuple(sorted(t for t in forbidden if unfinished[t] is TaskState.QUEUED)),",
        "pull_back=(),",
        seeds=(3,),
        story="pulled while the reader is queued",
    ),
    Mutant(
        "tasks_not_judged",
        "a task instance of a running run is scheduled without being asked for",
        _AT + "airflow_internals.gate",
        "if failed or _only_counts(dep_context):",
        "if True:",
        story="the clock makes a run for what is halted",
    ),
    Mutant(
        "mappers_ignored",
        "a run is taken to read the partition with its own key only",
        _AT + "airflow_internals.dags",
        "return _map_key(ByIdentity(dag), schedule.name, schedule.uri, key)",
        "return frozenset((key,))",
        story="a run with a mapped key is triggered by hand",
    ),
    Mutant(
        "inlets_unchecked",
        "a start does not ask for inlets",
        _AT + "brake.verdict",
        "for inlet in self._dags.inlets(known.run.dag_id):",
        "for inlet in self._dags.inlets(known.run.dag_id)[:0]:",
        story="the clock makes a run for what is halted",
    ),
    Mutant(
        "inlets_unread",
        "who has a partition as an inlet is not found by a pull",
        _AT + "airflow_internals.readers",
        "found.inlets[partition][one.run].add(inlet.task_id)",
        "pass",
        story="pulled while the reader of an inlet is queued",
    ),
    Mutant(
        "children_unchecked",
        "a run that a task triggered is not taken to read what that task read",
        _AT + "brake.verdict",
        "above = parent is not None and self.add(parent.run)",
        "above = False",
        story="a child is cleared under a halt",
    ),
    Mutant(
        "own_partition_unread",
        "what follows the publishing task in its run goes on",
        _AT + "brake.verdict",
        "return bool(own)",
        "self._publications = []; return False",
        story="what follows the publishing task is cleared",
    ),
    Mutant(
        "all_let_through",
        "one run that is let through lets all runs of its Dag through",
        _AT + "brake.verdict",
        "            LetThrough.run_id == known.run.run_id,\n"
        "            *([LetThrough.let_at >= known.created] if known.created is not None else []),\n",
        "",
        story="one of two runs is let through",
    ),
    Mutant(
        "let_through_for_ever",
        "a run that is let through once is never held again",
        _AT + "brake.verdict",
        "if p in causes and not (causes[p] and causes[p] <= let_through)",
        "if p in causes and not let_through",
        story="let through before a second cord",
    ),
    Mutant(
        "advisory_held",
        "a Dag with the tag andon:advisory is held",
        _AT + "brake.verdict",
        "    if shape.advisory:\n        return free\n",
        "",
        story="an advisory Dag goes on",
    ),
    Mutant(
        "living_dead_ignored",
        "a stopped task starts again while its old process may still write",
        _AT + "brake.acting",
        "gone_by=moment + (survival_time() if alive else timedelta(0)),",
        "gone_by=moment,",
        story="a false alarm while the stopped process lives",
    ),
    # Badness (D1, D2)
    Mutant(
        "one_hop_only",
        "what was made from what was made from bad data is good",
        _AT + "rules.badness",
        "        if not grown:\n            return dict(bad), seen, sights",
        "        if True:\n            return dict(bad), seen, sights",
        story="a chain is repaired",
    ),
    Mutant(
        "overlap_ignored",
        "only what was complete when a task started was seen by it",
        _AT + "rules.badness",
        "if ended + doubt < version.began:",
        "if execution.started < version.at:",
        story="rewritten while it is read",
    ),
    Mutant(
        "half_written_forgotten",
        "what a killed task had begun to write is good",
        _AT + "brake.acting",
        "outlets=[list(p) for p in sorted(written, key=str)],",
        "outlets=[],",
        story="killed while it writes",
    ),
    Mutant(
        "published_under_halt_good",
        "what is published while a root halt is open is not named by the cord",
        _AT + "rules.badness",
        "        and v.at > halt.opened\n",
        "        and False\n",
        story="published under the halt",
    ),
    Mutant(
        "first_mapped_event_completes",
        "the first of ten mapped events makes a version complete",
        _AT + "rules.versions",
        "if not all(whole for whole, _ in members):",
        "if not any(whole for whole, _ in members):",
        story="the first of two mapped instances has published again",
        in_ci=True,
    ),
    Mutant(
        "one_of_two_cords_suffices",
        "a partition is released with one of two cords",
        _AT + "brake.scene",
        "    halts = [*halts_of(rows, cords)]\n",
        "    halts = [*halts_of(rows, cords)]\n"
        "    over = {h.partition: h for h in halts if h.outcome}\n"
        "    halts = [over.get(h.partition, h) if h.outcome is None else h for h in halts]\n",
        story="one of two cords is released",
    ),
    Mutant(
        "warnings_stop",
        "a cord of severity warn holds",
        _AT + "brake.scene",
        "severity=Severity(cords[p.cord_id].severity),",
        "severity=Severity.STOP,",
        story="a warning",
    ),
    # Stopping and holding
    Mutant(
        "readers_not_stopped",
        "a task that runs and has seen bad data is not killed",
        _AT + "rules.plan",
        "stop = _to_stop(facts, judgement, run, unfinished, forbidden, executions) - ends_by_itself",
        "stop: set[Task] = set()",
        story="a reader ends after the pull",
    ),
    Mutant(
        "no_second_look",
        "what is done to a run was decided before it was locked",
        _AT + "brake.settle",
        "        locked = holding.lock_runs(acting, session=session)\n"
        "        scene = look(session)\n"
        "        plan = decide(scene.facts, scene.judgement)\n",
        "        locked = holding.lock_runs(acting, session=session)\n",
        story="marked while a release settles",
        interleavings=(53, 14),
        in_ci=True,
    ),
    Mutant(
        "retries_consumed",
        "stopping a task uses up one of its retries",
        _AT + "airflow_internals.holding",
        "        ti.max_tries += 1\n",
        "",
        story="killed, run again, failed",
    ),
    Mutant(
        "teardowns_held",
        "the teardown of a killed task is held like anything else",
        _AT + "rules.plan",
        "said = replace(said, tear_down=_to_tear_down(run, executions))",
        "pass",
        story="killed between setup and teardown",
    ),
    Mutant(
        "skipped_instead_of_held",
        "what must wait is skipped, and never done",
        _AT + "airflow_internals.holding",
        "    ti.state = TaskInstanceState.DEFERRED\n",
        "    ti.state = TaskInstanceState.SKIPPED\n",
        story="the clock makes a run for what is halted",
    ),
    Mutant(
        "run_after_not_restored",
        "a run that was held has another run_after than before",
        _AT + "brake.acting",
        "holding.let_go(dag_run, affected.run_after or now())",
        "holding.let_go(dag_run, now())",
        seeds=(1,),
        story="held and released",
        in_ci=True,
    ),
    Mutant(
        "parked_for_ever",
        "a task that was parked in a run that goes on is never let go",
        _AT + "brake.acting",
        "            holding.unpark(tis[task])\n",
        "            pass\n",
        story="the clock makes a run for what is halted",
    ),
    # Publishing
    Mutant(
        "nothing_absorbed",
        "the publication of good data makes a second run beside the one that is repaired",
        _AT + "airflow_internals.absorbing",
        "    for candidate in candidates:\n",
        "    for candidate in candidates[:0]:\n",
        seeds=(0,),
        story="published again before the release",
        in_ci=True,
    ),
    Mutant(
        "incomplete_rows_absorbed",
        "every event for an affected run is absorbed, whatever it is about",
        _AT + "airflow_internals.absorbing",
        "if not whole and not _concerns(connection, row, run.saw):",
        "if False:",
        story="another hour of a day is published again",
    ),
    Mutant(
        "absorbed_and_forgotten",
        "what was absorbed is not run for",
        _AT + "rules.debts",
        "            unread = _runs_with_unread_events(judgement, members, instance, history)\n",
        "            unread: set[Run] = set()\n",
        story="published again before the false alarm",
    ),
    # Releasing
    Mutant(
        "fixed_waits_for_nobody",
        "a release as fixed takes effect while the partition is still to be published",
        _AT + "brake.settle",
        "if row.asked_outcome != Outcome.FIXED or row.forced:",
        "if True:",
        story="released while it is written",
    ),
    Mutant(
        "false_alarm_runs_again",
        "a false alarm makes everybody run again",
        _AT + "brake.scene",
        "outcome=Outcome(p.outcome) if p.outcome else None,",
        "outcome=Outcome(p.outcome.replace('false_alarm', 'fixed')) if p.outcome else None,",
        story="a false alarm",
    ),
    Mutant(
        "withdrawn_runs_again",
        "a withdrawn partition is taken for one that was fixed",
        _AT + "brake.scene",
        "outcome=Outcome(p.outcome) if p.outcome else None,",
        "outcome=Outcome(p.outcome.replace('withdrawn', 'fixed')) if p.outcome else None,",
        story="withdrawn",
    ),
    Mutant(
        "absent_halts",
        "a withdrawn partition holds whoever reads it",
        _AT + "rules.badness",
        "if last is not None and last.id in bad and partition not in absent:",
        "if last is not None and last.id in bad:",
        story="one of two assets is withdrawn",
    ),
    # Debts and payers (D4, D5)
    Mutant(
        "oldest_pays",
        "of several runs for one key the oldest pays",
        _AT + "rules.debts",
        "payer = max(candidates,",
        "payer = min(candidates,",
        story="two runs wait for one key",
    ),
    Mutant(
        "nobody_superseded",
        "every run that was held or owes for one key runs",
        _AT + "rules.debts",
        "superseded = ((kept_back | owing_runs) - {payer.run} if payer is not None else set()) | {",
        "superseded = set() | {",
        story="two runs wait for one key",
    ),
    Mutant(
        "followers_not_repaired",
        "what follows a repaired task does not run again",
        _AT + "rules.debts",
        "        again = due | hands_on | {t for t in payer.tasks if t.task_id in following}\n",
        "        again = due\n",
        story="what failed on bad data, and what follows it",
    ),
    Mutant(
        "setups_not_repaired",
        "a repaired task runs again without its setup and teardown",
        _AT + "airflow_internals.clearing",
        "        wanted |= {t for t in present[run] if t.task_id in served}\n",
        "",
        story="a task between setup and teardown reads",
    ),
    Mutant(
        "failures_owe_nothing",
        "only what succeeded on bad data owes, not what failed on it",
        _AT + "rules.badness",
        "return execution.ending in (Ending.SUCCESS, Ending.FAILED, Ending.SKIPPED)",
        "return execution.ending is Ending.SUCCESS",
        story="what failed on bad data, and what follows it",
    ),
    Mutant(
        "marks_ignored",
        "the repair undoes what a person has marked",
        _AT + "brake.scene",
        "if moments and max(moments) > max(collected.asked.get(task, ()), default=max(moments)):",
        "if False:",
        story="marked by a person",
    ),
    Mutant(
        "ended_and_held",
        "a run stays held although a person has ended all that it would do",
        _AT + "brake.start",
        "            and holding.will_start_others(dag_run, verdict.free, session=session)\n",
        "",
        story="all that is held is marked",
    ),
    Mutant(
        "marks_undone_for_others",
        "what a person has marked runs again for what follows it",
        _AT + "rules.debts",
        "            if t.task_id in before and e.attempt in judgement.seen and t not in payer.marked\n",
        "            if t.task_id in before and e.attempt in judgement.seen\n",
        story="what has handed on is marked",
    ),
    Mutant(
        "absorbed_by_the_dead",
        "what is absorbed into a run that a person has ended is lost",
        _AT + "brake.ledger",
        "    _give_back(owes_nothing & plan.runs.keys(), scene, session)\n",
        "",
        story="published after a mark",
    ),
)
