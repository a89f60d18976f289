"""What the Dags of the shop share: its assets, the system its orders come from, its tables, its audit."""

from __future__ import annotations
