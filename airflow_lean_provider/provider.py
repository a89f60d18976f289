"""What Airflow's providers manager is told about this distribution."""

from __future__ import annotations

from typing import Any

from airflow_lean_provider import __version__


def get_provider_info() -> dict[str, Any]:
    """
    Describe the provider: tables, command line and configuration (see ``provider_info.schema.json``).

    The plugin is not listed here: Airflow finds it through the ``airflow.plugins`` entry point.
    """
    return {
        "package-name": "airflow-lean-provider",
        "name": "Lean",
        "description": (
            "An andon cord for Apache Airflow: hold what would read a bad partition, repair what has read it."
        ),
        "versions": [__version__],
        "db-managers": ["airflow_lean_provider.store.db_manager.LeanDBManager"],
        "cli": ["airflow_lean_provider.cli.definition.get_andon_cli_commands"],
        "config": {
            "lean": {
                "description": "The andon cord. Nothing here needs to be set.",
                "options": {
                    "clock_skew": {
                        "description": (
                            "Seconds by which the clocks of workers and api-servers may differ: two moments "
                            "closer than this have a doubtful order, and in doubt a task counts as having "
                            "seen the bad version."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "2.0",
                    },
                    "settle_timeout": {
                        "description": (
                            "Seconds for which a pull waits until every reader is held or stopped. After "
                            "that it says that it is still settling (exit code 3), and goes on settling."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "30",
                    },
                    "survival_time": {
                        "description": (
                            "Seconds for which the process of a stopped task may survive at the longest, "
                            "where the executor cannot say that it is gone; until then the task does not "
                            "start again. 0 derives it from Airflow's own worker settings."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "120",
                        "default": "0",
                    },
                    "sweep_interval": {
                        "description": (
                            "Seconds between two rounds of the sweeper, which finishes what a killed process "
                            "left unfinished."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "5",
                    },
                    "put_back_time": {
                        "description": (
                            "Seconds for which a start is put back when an error in this provider keeps it "
                            "from being judged. It is asked again then: never let through, never held for "
                            "ever."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "15",
                    },
                    "pull_requires": {
                        "description": (
                            "The right that it takes to pull a cord, to raise it to stop, and to edit its "
                            "reason: a method (GET, POST, PUT, DELETE) on asset or on dag, as the auth "
                            "manager knows it. On dag: on the runs of a Dag that publishes or reads the "
                            "asset."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "dag:PUT",
                        "default": "asset:POST",
                    },
                    "release_requires": {
                        "description": (
                            "The right that it takes to release and to repair, and to declare bad data as "
                            "good."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "dag:PUT",
                        "default": "asset:PUT",
                    },
                    "acknowledge_requires": {
                        "description": ("The right that it takes to acknowledge a cord."),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "dag:PUT",
                        "default": "asset:POST",
                    },
                    "let_through_requires": {
                        "description": (
                            "The right that it takes to let a run read bad data, and to let one be "
                            "repaired that asks first. On dag: on the runs of its own Dag."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "dag:PUT",
                        "default": "dag:PUT",
                    },
                },
            },
        },
    }
