"""Paging, sorting and filtering, as Airflow's own API takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from airflow.configuration import conf
from fastapi import Depends, Query

from airflow_lean_provider.api.datamodels.common import (
    LARGEST_ID,
    Moment,
    ProblemResponse,
    RefusedResponse,
    Storable,
)
from airflow_lean_provider.brake.paging import Moments, Page

_PAGE_LIMIT = conf.getint("api", "fallback_page_limit")

QueryText = Annotated[str | None, Query(max_length=1500), Storable]
QueryPattern = Annotated[
    str | None,
    Query(
        max_length=1500,
        description="Part of it in any case; `%` and `_` are wildcards, `|` means or, `~` everything",
    ),
    Storable,
]
QueryKey = Annotated[str | None, Query(min_length=1, max_length=250), Storable]


def page(
    limit: Annotated[int, Query(ge=0, le=LARGEST_ID)] = _PAGE_LIMIT,
    offset: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
    order_by: Annotated[
        list[Annotated[str, Storable]],
        Query(description="Fields to order by, with a minus in front for descending"),
    ] = [],  # noqa: B006 (FastAPI copies it)
) -> Page:
    """Return which part of a list is asked for; ``[api] maximum_page_limit`` bounds it."""
    return Page(min(limit, conf.getint("api", "maximum_page_limit")), offset, tuple(order_by))


PageDep = Annotated[Page, Depends(page)]


def moments(field: str) -> Callable[..., Moments]:
    """Return what reads ``<field>_gte``, ``_gt``, ``_lte`` and ``_lt``."""

    def given(
        gte: Moment | None = Query(None, alias=f"{field}_gte"),
        gt: Moment | None = Query(None, alias=f"{field}_gt"),
        lte: Moment | None = Query(None, alias=f"{field}_lte"),
        lt: Moment | None = Query(None, alias=f"{field}_lt"),
    ) -> Moments:
        return Moments(gte, gt, lte, lt)

    return given


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the answers to requests that cannot be carried out."""
    return {
        status: {
            "model": RefusedResponse if status in _IN_WORDS else ProblemResponse,
            "description": _WHAT[status],
        }
        for status in statuses
    }


_WHAT = {
    400: "Something is wrong with the request; nothing was changed",
    404: "There is no such thing",
    409: "Things are not as the request takes them to be; nothing was changed",
    415: "A write has to be sent as application/json; nothing was changed",
}
_IN_WORDS = {415}
"""What is answered in words alone, without the name of a field."""
