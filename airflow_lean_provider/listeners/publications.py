"""Airflow's listener of asset events, called by the api-server after the publication was committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.listeners.types import AssetEvent


@hookimpl
def on_asset_event_emitted(asset_event: AssetEvent) -> None:
    """Settle what the publication changes, before the publishing task is answered."""
    from airflow_lean_provider.brake.publication import published

    published(asset_event)
