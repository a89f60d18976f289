"""The document, as the code has it."""

from __future__ import annotations

from pathlib import Path

import yaml

DOCUMENT = Path(__file__).parent / "v1-andon.yaml"


def as_text() -> str:
    """Return the document that the routes and datamodels make."""
    from airflow_lean_provider.api.app import create_app

    return yaml.safe_dump(create_app().openapi(), sort_keys=False, allow_unicode=True, width=100)
