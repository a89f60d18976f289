"""The files of the pages in Airflow's UI. They hold no data, so nobody has to be logged in for them."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from airflow_lean_provider import ui

log = logging.getLogger(__name__)


def mount(app: FastAPI) -> None:
    """Serve the bundle below ``/pages`` of the application, if there is one."""
    if ui.is_built():
        app.mount("/pages", StaticFiles(directory=ui.DIST), name="pages")
    else:
        log.warning("The pages of the andon cord are absent, since their bundle was not built (make ui)")
