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
ARG_RUN = Arg(("--run",), nargs=2, metavar=("DAG_ID", "RUN_ID"), help="All that this run published")
ARG_REASON = Arg(("-r", "--reason"), required=True, help="Why; everybody downstream reads it")
ARG_SEVERITY = Arg(
    ("--severity",), choices=("stop", "warn"), default="stop", help="'warn' marks and tells, holds nothing"
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
ARG_OUTCOME = Arg(
    ("--outcome",),
    required=True,
    choices=("fixed", "false_alarm", "withdrawn"),
    help="fixed: the data is right now; false_alarm: it was right all along; withdrawn: it should not exist",
)
ARG_NOTE = Arg(("--note",), help="For the record")
ARG_NOW = Arg(("--now",), action="store_true", help="Do not wait for the tasks that publish the partition")
ARG_ALL = Arg(("--all",), action="store_true", help="Closed cords, too")
ARG_DAG_ID = Arg(("dag_id",), help="The Dag")
ARG_RUN_ID = Arg(("run_id",), help="The run")

_SCOPE = (ARG_ASSET, ARG_PARTITION, ARG_RANGE, ARG_RUN)


def _command(name: str, text: str, args: tuple[Arg, ...], *, output: bool = True) -> ActionCommand:
    return ActionCommand(
        name=name,
        help=text,
        func=lazy_load_command(f"airflow_lean_provider.cli.commands.{name.replace('-', '_')}"),
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
                    (*_SCOPE, ARG_REASON, ARG_SEVERITY, ARG_REQUEST_KEY, ARG_TIMEOUT),
                ),
                _command("list", "List the open cords", (ARG_ALL,)),
                _command("show", "Show a cord: what it holds, for whom, and what is awaited", (ARG_CORD,)),
                _command(
                    "release",
                    "End a cord, on all of its partitions or on some",
                    (ARG_CORD, ARG_OUTCOME, ARG_PARTITION, ARG_NOTE, ARG_NOW),
                ),
                _command(
                    "repair",
                    "Clear the tasks that published the bad versions; release as fixed after that",
                    (ARG_CORD,),
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
            ),
        )
    ]
