"""What ``airflow db migrate`` calls to bring our tables up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.utils.db_manager import BaseDBManager
from alembic import command

from airflow_lean_provider.airflow_internals.inlets import note_all
from airflow_lean_provider.store.models import Base

_HERE = Path(__file__).parent


class LeanDBManager(BaseDBManager):
    """
    Creates, upgrades and downgrades the provider's tables.

    Airflow finds it by the provider-info key ``db-managers``; nothing has to be configured.
    """

    metadata = Base.metadata
    version_table_name = "alembic_version_lean"
    migration_dir = os.fspath(_HERE / "migrations")
    alembic_file = os.fspath(_HERE / "alembic.ini")
    supports_table_dropping = True
    revision_heads_map = {"0.1.0": "0001"}  # noqa: RUF012 (as the base class declares it)

    def initdb(self, *args: Any, **kwargs: Any) -> None:
        """Create or upgrade the tables, and note what Airflow does not keep of the Dags that are there."""
        super().initdb(*args, **kwargs)
        note_all(self.session)

    def upgradedb(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`initdb`."""
        super().upgradedb(*args, **kwargs)
        note_all(self.session)

    def downgrade(
        self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False
    ) -> None:
        """
        Go back to ``to_revision``; ``base`` removes every table of the provider.

        :param from_revision: only with ``show_sql_only``, where the printed script begins
        :param show_sql_only: print the SQL instead of executing it
        """
        config = self.get_alembic_config()
        revision = f"{from_revision}:{to_revision}" if show_sql_only and from_revision else to_revision
        self._release_metadata_locks_if_needed()
        command.downgrade(config, revision=revision, sql=show_sql_only)
