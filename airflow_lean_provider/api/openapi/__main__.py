"""Write the OpenAPI document."""

from __future__ import annotations

from airflow_lean_provider.api.openapi.document import DOCUMENT, as_text

if __name__ == "__main__":
    DOCUMENT.write_text(as_text(), encoding="utf-8")
