"""The story of one bad hour, played in a real Airflow: ``python -m demo``."""

from __future__ import annotations
