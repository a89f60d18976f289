"""
The metadata databases that tests run on: SQLite always, the others where a server can be reached or started.

``SERVED`` has a module for each of the others. Its ``server()`` is, in this order: the one that the module's
``VARIABLE`` names (a URL of a database whose user may create others), one on this machine at its usual place,
one started for us in a temporary folder. ``new_database(server)`` has a random name and ends with its block.

``python -m tests.databases [NAME]...`` says which servers they would be, and exits with 1 if there is none.
"""

from __future__ import annotations

from tests.databases import mariadb, postgres
from tests.databases.server import NoServer, text_of

SERVED = {"postgres": postgres, "mariadb": mariadb}

__all__ = ["SERVED", "NoServer", "mariadb", "postgres", "text_of"]
