"""What the commands of ``airflow andon`` do: arguments in, one act, an answer out."""

from __future__ import annotations

import functools
import getpass
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow.cli.cli_config import parsedate

from airflow_lean_provider import settings
from airflow_lean_provider.brake import clean as cleaning
from airflow_lean_provider.brake import cords, permits, report, switch
from airflow_lean_provider.brake import declare as declaring
from airflow_lean_provider.brake import pull as pulling
from airflow_lean_provider.brake import release as releasing
from airflow_lean_provider.brake.doctor import examine
from airflow_lean_provider.brake.errors import BadRequest
from airflow_lean_provider.brake.targets import Scope
from airflow_lean_provider.cli.output import say
from airflow_lean_provider.rules.facts import Outcome, Run, Severity

BAD_REQUEST = 2
STILL_SETTLING = 3

Command = Callable[[Namespace], int | None]


def _command(act: Command) -> Callable[[Namespace], None]:
    """Turn a bad request into one line on stderr and exit code 2."""

    @functools.wraps(act)
    def run(args: Namespace) -> None:
        try:
            code = act(args)
        except BadRequest as error:
            print(error, file=sys.stderr)
            sys.exit(BAD_REQUEST)
        if code:
            sys.exit(code)

    return run


def _scope(args: Namespace) -> Scope:
    return Scope(
        asset=args.asset,
        keys=tuple(args.partition or ()),
        between=tuple(args.range) if args.range else None,
        pattern=args.pattern,
        start=args.start,
        whole=args.whole,
        run=Run(*args.run) if args.run else None,
        since=_moment("since", args.since),
        until=_moment("until", args.until),
    )


def _severity(args: Namespace) -> Severity | None:
    return Severity(args.severity) if args.severity else None


def _moment(field: str, text: str | None) -> datetime | None:
    """Read a moment in ISO 8601, in Airflow's default time zone unless it names another."""
    if text is None:
        return None
    try:
        moment = parsedate(text, strict=True)
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise BadRequest(field, f"{text!r} is no date or time like 2026-06-14T05:00")
    return moment


def _who() -> str:
    return f"cli:{getpass.getuser()}"


def _timeout(args: Namespace) -> float:
    return args.timeout if args.timeout is not None else settings.settle_timeout()


@_command
def preview(args: Namespace) -> None:
    """Say what a pull would do now."""
    say(report.of_preview(pulling.preview(_scope(args), severity=_severity(args))), args.output)


@_command
def pull(args: Namespace) -> int | None:
    """Mark partitions as bad and hold everything that reads them."""
    pulled = pulling.pull(
        _scope(args),
        reason=args.reason,
        by=_who(),
        severity=_severity(args),
        release_on=args.release_on,
        request_key=args.request_key,
        timeout=_timeout(args),
    )
    say(report.of_cord(pulled.cord) | {"settled": pulled.settled}, args.output)
    return None if pulled.settled else STILL_SETTLING


@_command
def list(args: Namespace) -> None:
    """List the open cords."""
    say({"cords": report.of_cords(closed=args.all)}, args.output)


@_command
def show(args: Namespace) -> None:
    """Show a cord."""
    say(report.of_cord(args.cord_id), args.output)


@_command
def ack(args: Namespace) -> None:
    """Say that somebody is on it."""
    said = cords.acknowledge(args.cord_id, by=_who(), note=args.note)
    say(
        {
            "cord_id": said.cord,
            "acknowledged_by": said.by,
            "acknowledged_at": said.at,
            "new": said.new,
        },
        args.output,
    )


@_command
def raise_to_stop(args: Namespace) -> int | None:
    """Let a cord that only warns hold everything."""
    settled = cords.raise_to_stop(args.cord_id, by=_who(), timeout=_timeout(args))
    say(report.of_cord(args.cord_id) | {"settled": settled}, args.output)
    return None if settled else STILL_SETTLING


@_command
def release(args: Namespace) -> None:
    """End a cord."""
    if args.only_scope:
        if any((args.outcome, args.on_publication, args.asset, args.partition, args.keep_scope, args.now)):
            raise BadRequest("only-scope", "releases no partition; it goes with no other option")
        releasing.end_scope(args.cord_id, by=_who(), timeout=settings.settle_timeout())
    else:
        if not (args.outcome or args.on_publication):
            raise BadRequest("outcome", "say how it ends: fixed, false_alarm or withdrawn")
        releasing.release(
            args.cord_id,
            Outcome(args.outcome or Outcome.FIXED),
            by=_who(),
            keys=tuple(args.partition or ()),
            asset=args.asset,
            note=args.note,
            forced=args.now,
            on_publication=args.on_publication,
            keep_scope=args.keep_scope,
            timeout=settings.settle_timeout(),
        )
    say(report.of_cord(args.cord_id), args.output)


@_command
def repair(args: Namespace) -> None:
    """Clear the tasks that published the bad versions, or let a run be repaired that asks first."""
    if (args.cord_id is None) == (args.run is None):
        raise BadRequest("cord", "name either a cord, or a run with --run")
    if args.run is not None:
        approved = permits.approve(
            Run(*args.run), by=_who(), reason=args.note, timeout=settings.settle_timeout()
        )
        say(_permitted(approved), args.output)
        return
    released = releasing.repair(args.cord_id, by=_who(), timeout=settings.settle_timeout())
    answer = report.of_cord(args.cord_id)
    answer["cleared"] = [t._asdict() for t in released.cleared]
    say(answer, args.output)


@_command
def let_through(args: Namespace) -> None:
    """Let one run read what is halted at this moment."""
    permitted = permits.let_through(
        Run(args.dag_id, args.run_id), reason=args.reason, by=_who(), timeout=settings.settle_timeout()
    )
    say(_permitted(permitted), args.output)


def _permitted(permitted: permits.Permitted) -> dict[str, Any]:
    return permitted.run._asdict() | {
        "permitted_by": permitted.by,
        "permitted_at": permitted.at,
        "new": permitted.new,
    }


@_command
def declare(args: Namespace) -> None:
    """Declare bad data as good that no task is going to publish again."""
    said = declaring.declare(
        args.asset,
        args.partition,
        Outcome(args.outcome),
        reason=args.reason,
        by=_who(),
        timeout=settings.settle_timeout(),
    )
    say(
        {
            "asset": said.asset,
            "partition_key": said.key,
            "declared": said.outcome.value,
            "declared_by": said.by,
            "declared_at": said.at,
            "new": said.new,
        },
        args.output,
    )


@_command
def why(args: Namespace) -> None:
    """Say why a run waits."""
    say({"why": report.of_run(Run(args.dag_id, args.run_id))}, args.output)


@_command
def doctor(args: Namespace) -> int | None:
    """Check that the brake works."""
    findings = examine()
    say({"checks": [f._asdict() for f in findings]}, args.output)
    return None if all(f.fine for f in findings) else 1


@_command
def disable(args: Namespace) -> None:
    """Undo all that the brake changed, and switch it off."""
    print(f"The brake is off; {switch.disable(reason=args.reason, by=_who())} held run(s) go on.")


@_command
def enable(args: Namespace) -> int | None:
    """Switch the brake on again."""
    settled = switch.enable(by=_who(), timeout=settings.settle_timeout())
    print("The brake is on." if settled else "The brake is on, and still settling.")
    return None if settled else STILL_SETTLING


@_command
def clean(args: Namespace) -> None:
    """Delete old closed cords, and what belongs to them."""
    before = _moment("before", args.before)
    if before is None:
        raise BadRequest("before", "say before when")
    counts = cleaning.clean(before=before, by=_who(), dry_run=args.dry_run)
    tables = [{"table": table, "rows": rows} for table, rows in sorted(counts.items()) if rows]
    say({"deleted": not args.dry_run, "rows": counts.total(), "tables": tables}, args.output)
