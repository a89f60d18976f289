"""An andon cord for Apache Airflow: stop bad data where it is, repair what it reached."""

from __future__ import annotations

__version__ = "0.1.0"
