"""What lies downstream of partitions, as a graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.airflow_internals.dags import Dags
from airflow_lean_provider.airflow_internals.runs import parents_of
from airflow_lean_provider.brake.absent import absent_partitions
from airflow_lean_provider.brake.errors import NotFound
from airflow_lean_provider.brake.hops import Made, walk
from airflow_lean_provider.brake.pull import A_PREVIEW, Preview
from airflow_lean_provider.rules.facts import Partition, Run, Severity
from airflow_lean_provider.rules.plan import Label
from airflow_lean_provider.store.models import AffectedRun, Cord, CordPartition, HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

NODES_AT_MOST = 2000


class NodeState(str, Enum):
    """What is most urgently true of an asset or a Dag."""

    BAD = "bad"
    WARNED = "warned"
    WITHDRAWN = "withdrawn"
    STOPPED = "stopped"
    HELD = "held"
    REPAIRING = "repairing"
    TAINTED = "tainted"
    CLEAN = "clean"


@dataclass(slots=True)
class Node:
    """
    An asset or a Dag of the graph.

    :param asset: its id, None for a Dag
    :param hops: how many Dags away from the roots
    :param keys: the partition keys in question
    :param bad: those of an asset that are bad
    :param absent: those that were withdrawn, or made from such alone
    :param runs: of a Dag, its runs by label
    """

    name: str
    asset: int | None
    hops: int
    root: bool = False
    warned: bool = False
    keys: set[str | None] = field(default_factory=set)
    bad: set[str | None] = field(default_factory=set)
    absent: set[str | None] = field(default_factory=set)
    runs: Counter[str] = field(default_factory=Counter)

    @property
    def id(self) -> str:
        return f"dag:{self.name}" if self.asset is None else f"asset:{self.asset}"

    @property
    def state(self) -> NodeState:
        """Return the most urgent of what is true of it."""
        if self.asset is not None:
            if self.bad:
                return NodeState.BAD
            if self.warned:
                return NodeState.WARNED
            return NodeState.WITHDRAWN if self.absent else NodeState.CLEAN
        for label, state in _STATES.items():
            if self.runs[label.value]:
                return state
        return NodeState.CLEAN


_STATES = {
    Label.STOPPED: NodeState.STOPPED,
    Label.HELD: NodeState.HELD,
    Label.ASKS: NodeState.HELD,
    Label.REPAIR_FAILED: NodeState.HELD,
    Label.REPAIRING: NodeState.REPAIRING,
    Label.STARTING: NodeState.REPAIRING,
    Label.OWES: NodeState.TAINTED,
    Label.TAINTED: NodeState.TAINTED,
}
"""What a Dag is called, the most urgent first."""


@dataclass(slots=True)
class Graph:
    """
    Nodes by their ids, edges between them.

    :param cut: there is more
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Concerned:
    """
    What a cord concerns at this moment.

    :param bad: the bad partitions
    :param runs: the runs with their labels, and the partitions of which they saw a bad version, or wait for
    """

    roots: frozenset[Partition]
    bad: frozenset[Partition]
    runs: dict[Run, tuple[frozenset[str], frozenset[Partition]]]
    warned: bool = False
    absent: frozenset[Partition] = frozenset()


def of_cord(cord_id: int) -> Graph:
    """
    Return the downstream graph of a cord, as things stand.

    :raises NotFound: if there is none with this number
    """

    def draw(session: Session) -> Graph:
        cord = session.get(Cord, cord_id)
        if cord is None:
            raise NotFound("cord", f"there is no cord {cord_id}")
        rows = session.execute(
            select(CordPartition.asset_id, CordPartition.partition_key).where(
                CordPartition.cord_id == cord_id
            )
        )
        affected = {
            Run(row.dag_id, row.run_id): (
                frozenset(row.labels),
                frozenset(Partition(asset, key) for asset, key in row.saw),
            )
            for row in session.scalars(select(AffectedRun))
            if any(cause[0] == cord_id for cause in row.causes)
        }
        bad = frozenset(
            Partition(row.asset_id, row.partition_key)
            for row in session.scalars(select(HaltedPartition))
            if any(cause[0] == cord_id for cause in row.causes)
        )
        warned = cord.closed_at is None and cord.severity == Severity.WARN.value
        roots = frozenset(Partition(*row) for row in rows)
        made = tuple(walk(roots, Dags(session), session))
        assets = {p.asset for p in roots} | {asset for m in made for asset in m.outlets}
        absent = absent_partitions(session, assets=assets)
        return draw_graph(Concerned(roots, bad, affected, warned, absent), made, session)

    return in_transaction(draw)


def of_preview(preview: Preview) -> Graph:
    """Return the graph of what a pull would concern."""
    plan = preview.plan
    runs = {
        run: (frozenset(label.value for label in p.labels), p.reads_bad)
        for run, p in plan.runs.items()
        if p.labels and any(c.cord == A_PREVIEW for c in p.causes)
    }
    bad = frozenset(
        p for p, causes in plan.judgement.bad_partitions.items() if any(c.cord == A_PREVIEW for c in causes)
    )
    roots = frozenset(t.partition for t in preview.meant.targets)
    concerned = Concerned(roots, bad, runs, preview.severity is Severity.WARN)
    return in_transaction(lambda session: draw_graph(concerned, preview.downstream, session))


def draw_graph(concerned: Concerned, downstream: Iterable[Made], session: Session) -> Graph:
    """
    Draw what lies downstream, and the runs that are concerned on another way.

    :param downstream: what is made of the roots, the shortest ways first
    """
    graph = Graph()
    for root in concerned.roots:
        _asset(graph, root.asset, 0).keys.add(root.key)
    for node in graph.nodes.values():
        node.root, node.warned = True, concerned.warned
    for made in downstream:
        if len(graph.nodes) >= NODES_AT_MOST:
            graph.cut = True
            break
        dag = _dag(graph, made.dag_id, made.hops)
        dag.keys |= made.keys
        graph.edges |= {(f"asset:{asset}", dag.id) for asset in made.sources}
        for asset in made.outlets:
            outlet = _asset(graph, asset, made.hops)
            outlet.keys |= made.keys
            graph.edges.add((dag.id, outlet.id))
    for partition in concerned.bad:
        node = _asset(graph, partition.asset, 1)
        node.keys.add(partition.key)
        node.bad.add(partition.key)
    for partition in concerned.absent:
        of_asset = graph.nodes.get(f"asset:{partition.asset}")
        if of_asset is not None and partition.key in of_asset.keys:
            of_asset.absent.add(partition.key)
    _add_runs(graph, concerned, session)
    names = names_of({n.asset for n in graph.nodes.values() if n.asset is not None}, session=session)
    for node in graph.nodes.values():
        if node.asset is not None:
            node.name = names.get(node.asset, "?")
    return graph


def _add_runs(graph: Graph, concerned: Concerned, session: Session) -> None:
    missing = {run for run in concerned.runs if f"dag:{run.dag_id}" not in graph.nodes}
    parents = parents_of(missing, session=session)
    for run, (labels, saw) in sorted(concerned.runs.items()):
        dag = _dag(graph, run.dag_id, 1)
        dag.runs.update(labels)
        if run in missing:
            graph.edges |= {(f"asset:{p.asset}", dag.id) for p in saw if f"asset:{p.asset}" in graph.nodes}
            if run in parents and parents[run].dag_id != run.dag_id:
                graph.edges.add((_dag(graph, parents[run].dag_id, 1).id, dag.id))


def _asset(graph: Graph, asset: int, hops: int) -> Node:
    name = f"asset:{asset}"
    if name not in graph.nodes:
        graph.nodes[name] = Node("?", asset, hops)
    return graph.nodes[name]


def _dag(graph: Graph, dag_id: str, hops: int) -> Node:
    name = f"dag:{dag_id}"
    if name not in graph.nodes:
        graph.nodes[name] = Node(dag_id, None, hops)
    return graph.nodes[name]
