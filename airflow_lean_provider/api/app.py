"""The application that Airflow mounts below ``/andon``: the REST API, and the sweeper's life."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import FastAPI, HTTPException, Request, Response, status
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_lean_provider.api import pages
from airflow_lean_provider.api.routes import router
from airflow_lean_provider.brake.errors import Ambiguous, BadRequest, Conflict, NotFound, NotPermitted
from airflow_lean_provider.brake.sweep import Sweeper

PREFIX = "/andon"

DESCRIPTION = (
    "Stop the line: hold whatever would read a bad partition, and repair what has read it. "
    "Log in as for Airflow's own API: a JWT in `Authorization`, or the cookie of its pages."
)

_FIELDS = {
    "partition": "partition_keys",
    "from": "from_key",
    "only-scope": "only_scope",
    "on-publication": "on_publication",
    "as": "outcome",
    "cord": "cord_id",
}
"""How the API calls what the command line calls otherwise."""


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
    app = FastAPI(
        title="Andon cord",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        servers=[{"url": PREFIX}],
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(router)
    pages.mount(app)
    app.add_exception_handler(BadRequest, _refuse)
    app.add_exception_handler(RequestValidationError, _say_what_does_not_fit)
    app.add_exception_handler(AnyHTTPException, _say_what_cannot_be_read)
    return app


async def _not_logged_in(request: Request) -> Response | None:
    """Return what nobody is told who has not said who they are; None to somebody who has."""
    try:
        await get_user(request, None, await bearer_scheme(request))
    except HTTPException as refused:
        return JSONResponse({"detail": refused.detail}, refused.status_code)
    return None


async def _say_what_cannot_be_read(request: Request, error: Exception) -> Response:
    """Answer as FastAPI does; a body that is no text is found before anybody has asked who sends it."""
    assert isinstance(error, AnyHTTPException)
    stranger = await _not_logged_in(request) if error.status_code == status.HTTP_400_BAD_REQUEST else None
    return stranger or await http_exception_handler(request, error)


async def _say_what_does_not_fit(request: Request, error: Exception) -> Response:
    """
    Answer as FastAPI does, in ASCII and without giving back what was sent.

    Half a character, or NaN, can be read from JSON and not be written to it again. JSON that cannot be read
    at all is found before anybody has asked who sends it.
    """
    assert isinstance(error, RequestValidationError)
    stranger = await _not_logged_in(request)
    if stranger is not None:
        return stranger
    detail = [{part: found[part] for part in ("type", "loc", "msg")} for found in error.errors()]
    return Response(
        json.dumps({"detail": detail}),
        status.HTTP_422_UNPROCESSABLE_CONTENT,
        media_type="application/json",
    )


def _refuse(request: Request, error: Exception) -> JSONResponse:
    """Answer 404 for what does not exist, 409 for what cannot be now, else 400; the field is named."""
    assert isinstance(error, BadRequest)
    if isinstance(error, Ambiguous):
        readable = request.state.caller.readable_assets(error.uris)
        error = error.told_to(readable) if readable else NotPermitted("asset", "you may not read it")
    if isinstance(error, NotPermitted):
        return JSONResponse({"detail": f"Forbidden: {error.message}"}, status.HTTP_403_FORBIDDEN)
    code = {NotFound: status.HTTP_404_NOT_FOUND, Conflict: status.HTTP_409_CONFLICT}.get(
        type(error), status.HTTP_400_BAD_REQUEST
    )
    detail: dict[str, Any] = {"field": _FIELDS.get(error.field, error.field), "message": error.message}
    return JSONResponse({"detail": detail}, status_code=code)
