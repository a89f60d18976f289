"""What the commands of ``airflow andon`` do: arguments in, one act, an answer out."""

from __future__ import annotations

import functools
import getpass
import sys
from argparse import Namespace
from collections.abc import Callable

from airflow_lean_provider import settings
from airflow_lean_provider.brake import pull as pulling
from airflow_lean_provider.brake import release as releasing
from airflow_lean_provider.brake import report, switch
from airflow_lean_provider.brake.doctor import examine
from airflow_lean_provider.brake.errors import BadRequest
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


def _scope(args: Namespace) -> pulling.Scope:
    if args.run and (args.asset or args.partition or args.range):
        raise BadRequest("run", "name either a run or partitions of an asset")
    if args.range and args.partition:
        raise BadRequest("range", "name either partitions or a range")
    return pulling.Scope(
        asset=args.asset,
        keys=tuple(args.partition or ()),
        between=tuple(args.range) if args.range else None,
        run=Run(*args.run) if args.run else None,
    )


def _who() -> str:
    return f"cli:{getpass.getuser()}"


@_command
def preview(args: Namespace) -> None:
    """Say what a pull would do now."""
    say(report.of_preview(pulling.preview(_scope(args))), args.output)


@_command
def pull(args: Namespace) -> int | None:
    """Mark partitions as bad and hold everything that reads them."""
    pulled = pulling.pull(
        _scope(args),
        reason=args.reason,
        by=_who(),
        severity=Severity(args.severity),
        request_key=args.request_key,
        timeout=args.timeout if args.timeout is not None else settings.settle_timeout(),
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
def release(args: Namespace) -> None:
    """End a cord."""
    releasing.release(
        args.cord_id,
        Outcome(args.outcome),
        by=_who(),
        keys=tuple(args.partition or ()),
        note=args.note,
        forced=args.now,
        timeout=settings.settle_timeout(),
    )
    say(report.of_cord(args.cord_id), args.output)


@_command
def repair(args: Namespace) -> None:
    """Clear the tasks that published the bad versions."""
    released = releasing.repair(args.cord_id, by=_who(), timeout=settings.settle_timeout())
    answer = report.of_cord(args.cord_id)
    answer["cleared"] = [t._asdict() for t in released.cleared]
    say(answer, args.output)


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
