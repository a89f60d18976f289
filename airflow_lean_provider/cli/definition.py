"""
The commands of ``airflow andon``, as Airflow's command line is told of them.

Every call of ``airflow`` imports this module, so it imports nothing else of ours.
"""

from __future__ import annotations

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg, GroupCommand, lazy_load_command

EXIT_CODES = (
    "Exit codes: 0 done, 1 error, 2 something is wrong with the request and nothing was changed, "
    "3 pulled, still settling."
)

ARG_ASSET = Arg(("asset",), nargs="?", help="Name or uri of the asset")
ARG_PARTITION = Arg(
    ("-p", "--partition"), action="append", metavar="KEY", help="A partition key; may be repeated"
)
ARG_RANGE = Arg(
    ("--range",), nargs=2, metavar=("FROM", "TO"), help="The published keys from FROM to TO, both included"
)
ARG_PATTERN = Arg(
    ("--pattern",),
    metavar="GLOB",
    help="The keys that fit a shell-style pattern, also those that are published later",
)
ARG_FROM = Arg(
    ("--from",), dest="start", metavar="KEY", help="This key and those after it, also if published later"
)
ARG_WHOLE = Arg(
    ("--all",), dest="whole", action="store_true", help="The whole asset, also what is published later"
)
ARG_SINCE = Arg(
    ("--since",),
    metavar="WHEN",
    help="The versions published from this moment on are bad, instead of the last one",
)
ARG_UNTIL = Arg(
    ("--until",),
    metavar="WHEN",
    help="What was published after this moment is good; without --since, the last version before it is bad",
)
ARG_RUN = Arg(("--run",), nargs=2, metavar=("DAG_ID", "RUN_ID"), help="All that this run published")
ARG_REASON = Arg(("-r", "--reason"), required=True, help="Why; everybody downstream reads it")
ARG_SEVERITY = Arg(
    ("--severity",),
    choices=("stop", "warn"),
    help="'warn' marks and tells, holds nothing. Default: what the asset's policy says, else 'stop'",
)
ARG_RELEASE_ON = Arg(
    ("--release-on",),
    choices=("manual", "publication"),
    help="'publication' ends the cord as fixed once it was published again. Default: what the asset's policy "
    "says, else 'manual'",
)
ARG_REQUEST_KEY = Arg(
    ("--request-key",), help="A repeated pull with the same key returns the cord that exists"
)
ARG_TIMEOUT = Arg(
    ("--timeout",),
    type=float,
    metavar="SECONDS",
    help="How long to wait until every reader is held or stopped",
)
ARG_CORD = Arg(("cord_id",), type=int, help="Number of the cord")
ARG_ONLY_ASSET = Arg(
    ("--asset",),
    metavar="NAME_OR_URI",
    help="Only the partitions of this asset; with --partition, only those of them",
)
ARG_OUTCOME = Arg(
    ("--outcome",),
    choices=("fixed", "false_alarm", "withdrawn"),
    help="fixed: the data is right now; false_alarm: it was right all along; withdrawn: it should not exist",
)
ARG_NOTE = Arg(("--note",), help="For the record")
ARG_NOW = Arg(("--now",), action="store_true", help="Do not wait for the tasks that publish the partition")
ARG_ON_PUBLICATION = Arg(
    ("--on-publication",), action="store_true", help="As fixed, once it was published again"
)
ARG_KEEP_SCOPE = Arg(
    ("--keep-scope",),
    action="store_true",
    help="Go on covering what is published later; without it, releasing all partitions ends that",
)
ARG_ONLY_SCOPE = Arg(
    ("--only-scope",),
    action="store_true",
    help="Only stop covering what is published later; the partitions stay halted",
)
ARG_OPTIONAL_CORD = Arg(("cord_id",), type=int, nargs="?", help="Number of the cord")
ARG_APPROVED_RUN = Arg(
    ("--run",),
    nargs=2,
    metavar=("DAG_ID", "RUN_ID"),
    help="Instead of a cord: let this run be repaired, which asks for a person first (repair='ask')",
)
ARG_ONE_PARTITION = Arg(("-p", "--partition"), metavar="KEY", help="The partition key, if it has one")
ARG_AS = Arg(
    ("--as",),
    dest="outcome",
    required=True,
    choices=("fixed", "false_alarm"),
    help="fixed: the data is right as it stands now, what read it before runs again; false_alarm: it was "
    "right all along",
)
ARG_BEFORE = Arg(("--before",), required=True, metavar="WHEN", help="Delete what was closed before this")
ARG_DRY_RUN = Arg(("--dry-run",), action="store_true", help="Only say what would be deleted")
ARG_ALL = Arg(("--all",), action="store_true", help="Closed cords, too")
ARG_DAG_ID = Arg(("dag_id",), help="The Dag")
ARG_RUN_ID = Arg(("run_id",), help="The run")

_SCOPE = (
    ARG_ASSET,
    ARG_PARTITION,
    ARG_RANGE,
    ARG_PATTERN,
    ARG_FROM,
    ARG_WHOLE,
    ARG_RUN,
    ARG_SINCE,
    ARG_UNTIL,
    ARG_SEVERITY,
)


def _command(
    name: str, text: str, args: tuple[Arg, ...], *, output: bool = True, function: str | None = None
) -> ActionCommand:
    """Describe a command; ``function`` is what it is called in ``commands``, if not like the command."""
    return ActionCommand(
        name=name,
        help=text,
        func=lazy_load_command(f"airflow_lean_provider.cli.commands.{function or name.replace('-', '_')}"),
        args=(*args, ARG_OUTPUT) if output else args,
        epilog=EXIT_CODES,
    )


def get_andon_cli_commands() -> list[GroupCommand]:
    """Return the command group ``andon`` (provider-info key ``cli``)."""
    return [
        GroupCommand(
            name="andon",
            help="Stop the line: hold whatever would read a bad partition, and repair what has read it",
            subcommands=(
                _command("preview", "Say what a pull would do now", _SCOPE),
                _command(
                    "pull",
                    "Mark partitions as bad and hold everything that reads them",
                    (*_SCOPE, ARG_REASON, ARG_RELEASE_ON, ARG_REQUEST_KEY, ARG_TIMEOUT),
                ),
                _command("list", "List the open cords", (ARG_ALL,)),
                _command("show", "Show a cord: what it holds, for whom, and what is awaited", (ARG_CORD,)),
                _command("ack", "Say that you are on it", (ARG_CORD, ARG_NOTE)),
                _command(
                    "raise",
                    "Let a cord that only warns hold everything",
                    (ARG_CORD, ARG_TIMEOUT),
                    function="raise_to_stop",
                ),
                _command(
                    "release",
                    "End a cord, on all of its partitions or on some",
                    (
                        ARG_CORD,
                        ARG_OUTCOME,
                        ARG_ONLY_ASSET,
                        ARG_PARTITION,
                        ARG_NOTE,
                        ARG_NOW,
                        ARG_ON_PUBLICATION,
                        ARG_KEEP_SCOPE,
                        ARG_ONLY_SCOPE,
                    ),
                ),
                _command(
                    "repair",
                    "Clear the tasks that published the bad versions, and release as fixed after; or let "
                    "a run be repaired that asks first",
                    (ARG_OPTIONAL_CORD, ARG_APPROVED_RUN, ARG_NOTE),
                ),
                _command(
                    "let-through",
                    "Let one run read what is halted at this moment",
                    (ARG_DAG_ID, ARG_RUN_ID, ARG_REASON),
                ),
                _command(
                    "declare",
                    "Declare bad data as good that no task is going to publish again",
                    (ARG_ASSET, ARG_ONE_PARTITION, ARG_AS, ARG_REASON),
                ),
                _command("why", "Say why a run waits", (ARG_DAG_ID, ARG_RUN_ID)),
                _command("doctor", "Check that the brake works", ()),
                _command(
                    "disable",
                    "Undo all that the brake changed, and switch it off",
                    (ARG_REASON,),
                    output=False,
                ),
                _command("enable", "Switch the brake on again", (), output=False),
                _command(
                    "clean",
                    "Delete old closed cords, and what belongs to them",
                    (ARG_BEFORE, ARG_DRY_RUN),
                ),
            ),
        )
    ]
