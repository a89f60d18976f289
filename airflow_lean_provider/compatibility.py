"""Which versions of Airflow the provider was tested with: it relies on Airflow's private models."""

from __future__ import annotations

import logging

from airflow import __version__ as airflow_version

log = logging.getLogger(__name__)

TESTED_MINORS = frozenset({"3.3"})
"""The minor versions of Airflow on which the whole test suite, contract tests included, has passed."""


def untested_minor(version: str = airflow_version) -> str | None:
    """Return the minor version of Airflow if the provider was never tested with it, else None."""
    minor = ".".join(version.split(".")[:2])
    return None if minor in TESTED_MINORS else minor


def warn_if_untested(version: str = airflow_version) -> None:
    """Say loudly, and once in each process that loads plugins, that nobody has tested this combination."""
    if (minor := untested_minor(version)) is not None:
        log.warning(
            "airflow-lean-provider was never tested with Airflow %s (tested: %s). It relies on Airflow's "
            "private models: holding, stopping and repairing may fail. Look for a newer version of the "
            "provider before you rely on the andon cord.",
            minor,
            ", ".join(sorted(TESTED_MINORS)),
        )
