"""What we rely on in ``airflow/models/dag.py`` and the auth managers to tell who may see what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.team import Team, dag_bundle_team_association_table
from airflow.sdk import Asset
from airflow.utils.session import create_session
from sqlalchemy import insert, update

from airflow_lean_provider.airflow_internals.teams import all_dags, dags_around, teams_of
from tests.integration.dags import CLEAN, ORDERS, consumer, producer

if TYPE_CHECKING:
    from tests.integration.world import World


def test_a_dag_belongs_to_the_team_of_its_bundle(world: World) -> None:
    world.add(producer("ingest", ORDERS), consumer("cleaning", ORDERS, CLEAN))
    with create_session(scoped=False) as session:
        session.add_all([Team(name="red"), DagBundleModel(name="red")])
        session.flush()
        session.execute(
            insert(dag_bundle_team_association_table).values(dag_bundle_name="red", team_name="red")
        )
        session.execute(update(DagModel).where(DagModel.dag_id == "ingest").values(bundle_name="red"))
    with create_session(scoped=False) as session:
        found = teams_of({"ingest", "cleaning", "gone"}, session=session)
        assert {dag_id: found.get(dag_id) for dag_id in ("ingest", "cleaning", "gone")} == {
            "ingest": "red",
            "cleaning": None,
            "gone": None,
        }
        assert all_dags(session=session) == {"ingest", "cleaning"}


def test_the_dags_around_an_asset_publish_it_or_read_it(world: World) -> None:
    nobodys = Asset("nobodys")
    world.add(producer("ingest", ORDERS, nobodys), consumer("cleaning", ORDERS, CLEAN))
    with create_session(scoped=False) as session:
        assert dags_around({1, 2, 3}, session=session) == {
            1: {"ingest", "cleaning"},
            2: {"ingest"},
            3: {"cleaning"},
        }
