"""Types that several models share: text that every database takes, moments, runs, problems."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from airflow.api_fastapi.core_api.base import BaseModel, StrictBaseModel
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

LONGEST_TEXT = 10_000
"""Characters of a reason or a note."""

LARGEST_ID = 2**31 - 1
"""Of the integer columns in which ids are kept."""

FIRST, LAST = datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(9998, 1, 1, tzinfo=timezone.utc)


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and nobody takes half of a surrogate pair."""
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be Unicode")
    return text


def _usual(moment: datetime) -> datetime:
    if not FIRST <= moment <= LAST:
        raise ValueError("must lie between 1970 and 9998")
    return moment


Storable = AfterValidator(_storable)
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=250), Storable]
"""A partition key, a Dag id, a run id or whatever else Airflow keeps in 250 characters."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=1500), Storable]
"""The name or the uri of an asset."""
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT), Storable]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_TEXT), Storable
]
Moment = Annotated[AwareDatetime, AfterValidator(_usual)]


class RunBody(StrictBaseModel):
    """A Dag run."""

    dag_id: Key
    run_id: Key


class RunResponse(BaseModel):
    """A Dag run."""

    dag_id: str
    run_id: str


class TaskResponse(RunResponse):
    """A task instance; without ``task_id``, a run as a whole."""

    task_id: str | None
    map_index: int | None


class PartitionName(BaseModel):
    """An asset and one partition key of it; without a key, the asset as a whole."""

    asset_id: int
    asset: str
    partition_key: str | None


class Counts(BaseModel):
    """How many runs the brake concerns, by what it says of them; several may be true of one run."""

    held: int = 0
    stopped: int = 0
    tainted: int = 0
    owes: int = 0
    repairing: int = 0
    starting: int = 0
    superseded: int = 0
    repair_failed: int = 0
    asks: int = 0


class Awaited(BaseModel):
    """
    What something waits for.

    :param text: in words, naming no Dag
    :param tasks: the task instances in question, as far as the caller may read their Dags
    :param hidden: how many more there are
    """

    text: str
    tasks: list[TaskResponse]
    hidden: int


class Problem(BaseModel):
    """
    What is wrong with a request; nothing was changed.

    :param field: the field or parameter that is wrong
    """

    field: str
    message: str


class ProblemResponse(BaseModel):
    """The answer to a request that cannot be carried out."""

    detail: Problem


class RefusedResponse(BaseModel):
    """The answer to somebody who is not logged in, or has not the right."""

    detail: str
