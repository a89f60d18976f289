"""What lies downstream of partitions: hop by hop along schedules and inlets, and as a graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from airflow_lean_provider.airflow_internals.assets import names_of
from airflow_lean_provider.airflow_internals.dags import Dags, inlets_on, schedules_on
from airflow_lean_provider.airflow_internals.runs import parents_of
from airflow_lean_provider.brake.errors import NotFound
from airflow_lean_provider.brake.pull import A_PREVIEW, Preview
from airflow_lean_provider.rules.facts import Partition, Run, Severity
from airflow_lean_provider.rules.plan import Label
from airflow_lean_provider.store.models import AffectedRun, Cord, CordPartition, HaltedPartition
from airflow_lean_provider.store.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy.orm import Session

HOPS_AT_MOST = 50
NODES_AT_MOST = 2000


class Made(NamedTuple):
    """
    What a Dag makes, in its run with one key, of partitions one hop before it.

    :param sources: the assets that it reads of them
    :param outlets: the assets that it publishes
    :param again: it was reached on a shorter way already
    """

    dag_id: str
    key: str | None
    sources: frozenset[int]
    outlets: frozenset[int]
    hops: int
    again: bool


def walk(roots: Iterable[Partition], dags: Dags, session: Session) -> Iterator[Made]:
    """
    Follow the schedules and the inlets hop by hop.

    What reads without partitions, or by an inlet, is reached once, without a key.
    """
    seen: set[tuple[str, str | None]] = set()
    level = set(roots)
    for hop in range(1, HOPS_AT_MOST + 1):
        following: set[Partition] = set()
        reached: set[tuple[str, str | None]] = set()
        for dag_id, key, sources, outlets in _next_hop(level, dags, session):
            again = (dag_id, key) in seen
            if not again:
                reached.add((dag_id, key))
                following |= {Partition(asset, key) for asset in outlets}
            yield Made(dag_id, key, sources, outlets, hop, again)
        seen |= reached
        if not following:
            return
        level = following


def _next_hop(
    level: Collection[Partition], dags: Dags, session: Session
) -> list[tuple[str, str | None, frozenset[int], frozenset[int]]]:
    """Return what is made from these partitions: Dag, key, the assets that it reads of them, its outlets."""
    keys_of: dict[int, list[str | None]] = defaultdict(list)
    for partition in level:
        keys_of[partition.asset].append(partition.key)
    schedules = schedules_on(keys_of, session=session)
    inlets = inlets_on(keys_of, session=session)
    dags.load({s.dag_id for s in schedules} | {i.dag_id for i in inlets})
    sources: dict[tuple[str, str | None], set[int]] = defaultdict(set)
    outlets: dict[tuple[str, str | None], set[int]] = defaultdict(set)
    for schedule in schedules:
        keys: set[str | None] = {None}
        if schedule.partitioned:
            keys = {mapped for key in keys_of[schedule.asset] for mapped in dags.target_keys(schedule, key)}
        published = frozenset[int]().union(*dags.shape(schedule.dag_id).outlets.values())
        for key in keys:
            sources[schedule.dag_id, key].add(schedule.asset)
            outlets[schedule.dag_id, key] |= published
    for inlet in inlets:
        shape = dags.shape(inlet.dag_id)
        following = {inlet.task_id, *shape.downstream(inlet.task_id)}
        sources[inlet.dag_id, None].add(inlet.asset)
        outlets[inlet.dag_id, None].update(*(shape.outlets.get(t, ()) for t in following))
    return [
        (dag_id, key, frozenset(sources[dag_id, key]), frozenset(outlets[dag_id, key]))
        for dag_id, key in sorted(sources, key=lambda f: (f[0], str(f[1])))
    ]


class NodeState(str, Enum):
    """What is most urgently true of an asset or a Dag."""

    BAD = "bad"
    WARNED = "warned"
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
    :param runs: of a Dag, its runs by label
    """

    name: str
    asset: int | None
    hops: int
    root: bool = False
    warned: bool = False
    keys: set[str | None] = field(default_factory=set)
    bad: set[str | None] = field(default_factory=set)
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
            return NodeState.WARNED if self.warned else NodeState.CLEAN
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
        return draw_graph(
            Concerned(frozenset(Partition(*row) for row in rows), bad, affected, warned), session
        )

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
    return in_transaction(lambda session: draw_graph(concerned, session))


def draw_graph(concerned: Concerned, session: Session) -> Graph:
    """Draw what lies downstream, and the runs that are concerned on another way."""
    graph = Graph()
    for root in concerned.roots:
        _asset(graph, root.asset, 0).keys.add(root.key)
    for node in graph.nodes.values():
        node.root, node.warned = True, concerned.warned
    for made in walk(concerned.roots, Dags(session), session):
        if len(graph.nodes) >= NODES_AT_MOST:
            graph.cut = True
            break
        dag = _dag(graph, made.dag_id, made.hops)
        dag.keys.add(made.key)
        graph.edges |= {(f"asset:{asset}", dag.id) for asset in made.sources}
        for asset in made.outlets:
            outlet = _asset(graph, asset, made.hops)
            if not made.again:
                outlet.keys.add(made.key)
            graph.edges.add((dag.id, outlet.id))
    for partition in concerned.bad:
        node = _asset(graph, partition.asset, 1)
        node.keys.add(partition.key)
        node.bad.add(partition.key)
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
    return graph.nodes.setdefault(f"asset:{asset}", Node("?", asset, hops))


def _dag(graph: Graph, dag_id: str, hops: int) -> Node:
    return graph.nodes.setdefault(f"dag:{dag_id}", Node(dag_id, None, hops))
