"""
An oracle for the simulation: it says whether a history obeyed the rules of the andon cord.

It is written from the rules alone (the five definitions, who reads what, and the acts) and shares no code
with what it judges. Its only input is a :class:`~tests.simulation.trace.Trace`. Read in this order:
``records`` and ``facts`` (what happened), ``reading`` and ``mappings`` (who reads what), ``state`` (D1 to
D3), ``debts`` and ``holds`` (D4, D5), ``deliveries`` (absorption), ``withdrawal``, ``judge`` (one event after
another) and ``rest`` (what must be true when nothing goes on by itself any more).

Every moment is read twice. The *strict* reading counts what the brake has promised by now; what it forbids
must not happen, what it demands must have happened when all is at rest. The *mild* reading counts what the
brake may know or suspect already; whatever was done to somebody must have a reason in it. Between the two lie
the moments at which doubt counts as "saw it".

What is let pass on purpose:

- Until a pull has returned, and until the end of a publishing task has been answered, starts that slip in.
  Between a pull's record and its return it may hold and stop already.
- Who killed a task that a person cleared, marked or deleted cannot be seen: no half-written version is
  demanded, and none is complained of.
- A task that its Dag has no more may be killed while it runs: Airflow does that.
- A task that follows an owing one may be killed while it runs: the repair begins.
- A child run may count as having seen what the task saw that triggered it; it may count as superseded when
  another run of the same (Dag, key) has run that task again.
- A pending row that becomes complete while a run is affected may be absorbed or made into a run; when a pull
  returns it must be absorbed. Events without a key may be absorbed or not.
- A superseded run whose reading task is up for retry may run or be skipped. The next one after a payer that
  failed may run or, if it was skipped before, not.
- A running teardown of a killed task may go on. A reading teardown of a task that ended of itself may not.
- A release as ``fixed`` is too early only if a task that publishes the partition runs or waits to run again,
  or made the last complete version and is tainted or owes. It may wait for all that the rules name.
- A queued run waits rightly if its Dag's ``max_active_runs`` are running, held scheduled, backfill and
  unpartitioned ones included.
- While the brake is disabled nothing is promised, and what it had absorbed, and nobody has read, is pending
  again or lost; what a child or a payer does just then is not judged.
- A run parts of which ask before they are repaired may wait as a whole.
- Refused starts, texts, notes, times to death and everything that a person reads are not judged, nor is the
  exemption of a check from its own cord.

What looks like a licence, and is the rule itself:

- Another run of the key may pay: a debt is one of (Dag, key, task instance), whichever run incurred it
  (D4), and "a later execution of the same instance" is one in any run of that key.
- A row that an event completes may be absorbed whole, or without that event: the event alone is to be
  absorbed for its partition, "every pending row that is complete" for being so, and the row is only with
  it.
- "Until its reading part starts again" is told partition by partition: the part that reads this one. A task
  that reads something else has nothing to do with the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.oracle.judge import Judge
from tests.simulation.oracle.outcome import Outcome, outcome_of

if TYPE_CHECKING:
    from tests.simulation.trace import Trace

__all__ = ["Outcome", "judge", "outcome"]


def judge(trace: Trace) -> list[str]:
    """What was wrong, in plain sentences; empty when all is well."""
    return Judge(trace).read()


def outcome(trace: Trace) -> Outcome:
    """What the history came to: equal for orders of releases, or pulls told twice, that must not matter."""
    reader = Judge(trace)
    reader.read()
    return outcome_of(reader)
