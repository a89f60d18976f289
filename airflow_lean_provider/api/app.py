"""The application that Airflow mounts: for now, the sweeper's life is all it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from airflow_lean_provider.brake.sweep import Sweeper


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    sweeper = Sweeper()
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()


def create_app() -> FastAPI:
    """Return the application; Airflow runs its lifespan (``api_fastapi/app.py``)."""
    return FastAPI(title="Andon cord", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
