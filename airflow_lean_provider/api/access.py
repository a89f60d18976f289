"""
Who may see and do what, as Airflow's auth manager says.

Whoever sees a cord may read one of its assets. Which right it takes to pull, to release, to acknowledge and
to let a run through is configured (``[lean] pull_requires`` and so on). Where Airflow runs with teams, a
person must have the same right on a Dag that publishes or reads the asset, too.
"""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    AssetDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, status

from airflow_lean_provider import settings
from airflow_lean_provider.airflow_internals.teams import all_dags, dags_around, teams_of
from airflow_lean_provider.settings import Right
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Act(str, Enum):
    """What people do that takes a right of its own."""

    PULL = "pull"
    RELEASE = "release"
    ACKNOWLEDGE = "acknowledge"
    LET_THROUGH = "let through"

    @property
    def right(self) -> Right:
        """Return what it takes, as configured."""
        return {
            Act.PULL: settings.pull_requires,
            Act.RELEASE: settings.release_requires,
            Act.ACKNOWLEDGE: settings.acknowledge_requires,
            Act.LET_THROUGH: settings.let_through_requires,
        }[self]()


LONGEST_NAME = 250
"""Characters of who did something, in our columns."""

SAME_SITE = ("same-origin", "none", None)
"""What a browser says of a request that our own pages, or nobody's, have made (``Sec-Fetch-Site``)."""


class Caller:
    """Whoever calls: what they may read and do. What was asked once is kept for the request."""

    def __init__(self, user: Any) -> None:
        self._user = user
        self._asked: dict[tuple[Right, int], bool] = {}

    @property
    def name(self) -> str:
        return str(self._user.get_name())[:LONGEST_NAME]

    @cached_property
    def readable_dags(self) -> set[str]:
        return set(get_auth_manager().get_authorized_dag_ids(user=self._user))

    @cached_property
    def editable_dags(self) -> set[str]:
        return set(get_auth_manager().get_authorized_dag_ids(user=self._user, method="PUT"))

    @property
    def reads_every_dag(self) -> bool:
        return in_transaction(lambda session: all_dags(session=session)) <= self.readable_dags

    def readable_assets(self, assets: Iterable[int]) -> set[int]:
        """Return those of the assets that the caller may read."""
        return self._authorized(settings.SEEING, set(assets))

    def assets_to(self, act: Act, assets: Iterable[int]) -> set[int]:
        """Return those of the assets to which the caller may do this."""
        return self._authorized(act.right, set(assets))

    def may(self, act: Act, assets: Collection[int]) -> bool:
        """Tell whether the caller may do this to all of the assets."""
        return bool(assets) and self.assets_to(act, assets) == set(assets)

    def may_for_run(self, act: Act, dag_id: str) -> bool:
        """Tell whether the caller may do this to runs of the Dag."""
        right = act.right
        if right.resource == "asset":
            found = get_auth_manager().is_authorized_asset(method=right.method, user=self._user)
        else:
            found = self._may_for_dags(right, {dag_id}) == {dag_id}
        return bool(found) and dag_id in self.readable_dags

    def insist(self, allowed: bool) -> None:
        """
        Refuse what is not allowed.

        :raises HTTPException: 403
        """
        if not allowed:
            raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden")

    def _authorized(self, right: Right, assets: set[int]) -> set[int]:
        unknown = {asset for asset in assets if (right, asset) not in self._asked}
        if unknown:
            found = self._ask(right, unknown)
            self._asked |= {(right, asset): asset in found for asset in unknown}
        return {asset for asset in assets if self._asked[right, asset]}

    def _ask(self, right: Right, assets: set[int]) -> set[int]:
        if right.resource == "asset":
            manager = get_auth_manager()
            assets = {
                a
                for a in assets
                if manager.is_authorized_asset(
                    method=right.method, details=AssetDetails(id=str(a)), user=self._user
                )
            }
        if right.resource == "dag" or conf.getboolean("core", "multi_team"):
            around = in_transaction(lambda session: dags_around(assets, session=session))
            allowed = self._may_for_dags(right, {d for dags in around.values() for d in dags})
            nobodys = right.resource == "asset"
            assets = {a for a in assets if around[a] & allowed or (nobodys and not around[a])}
        return assets

    def _may_for_dags(self, right: Right, dag_ids: set[str]) -> set[str]:
        teams = in_transaction(lambda session: teams_of(dag_ids, session=session))
        manager = get_auth_manager()
        return {
            dag_id
            for dag_id in dag_ids
            if manager.is_authorized_dag(
                method=right.method,
                access_entity=DagAccessEntity.RUN,
                details=DagDetails(id=dag_id, team_name=teams.get(dag_id)),
                user=self._user,
            )
        }


def _caller(user: Annotated[Any, Depends(get_user)], request: Request) -> Caller:
    request.state.caller = Caller(user)
    return request.state.caller


CallerDep = Annotated[Caller, Depends(_caller)]
"""Whoever calls; nobody who is not logged in gets past it (401)."""


def only_our_own_pages(request: Request) -> None:
    """
    Refuse a write that a page of somebody else has sent with the cookie of a person (CSRF).

    A request with a token of its own in ``Authorization`` was not sent by a page that does not know it. But
    where everybody is an administrator, Airflow itself adds a token to every request
    (``SimpleAllAdminMiddleware``): there, nobody is believed to have sent one.

    :raises HTTPException: 403 if another site's page sent it, 415 if it is not JSON
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    sent_a_token = "authorization" in request.headers and not conf.getboolean(
        "core", "simple_auth_manager_all_admins", fallback=False
    )
    if request.headers.get("sec-fetch-site") not in SAME_SITE and not sent_a_token:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Forbidden: another site's page has sent this")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPException(status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, "Send application/json")
