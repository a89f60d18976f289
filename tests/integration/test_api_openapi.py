"""The OpenAPI document that is checked in."""

from __future__ import annotations

from airflow_lean_provider.api.openapi.document import DOCUMENT, as_text


def test_the_document_is_what_the_code_has() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == as_text(), "run 'make openapi'"
