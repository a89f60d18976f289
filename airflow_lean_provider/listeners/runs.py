"""Airflow's listener of Dag runs, called by the scheduler in the transaction that starts a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Hold a run that would read a halted partition, before any of its tasks is scheduled."""
    from airflow_lean_provider.brake.start import judge_run

    judge_run(dag_run)
