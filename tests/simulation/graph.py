"""What the simulated warehouse is: assets, Dags and tasks as plain data, for the stage and for the oracle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase


class Kind(str, Enum):
    """How the runs of a Dag come about."""

    RUNTIME = "runtime"
    """Partitioned, and nobody but people triggers it: ``PartitionedAtRuntime``."""
    PARTITIONED = "partitioned"
    """Scheduled on partitions of assets: ``PartitionedAssetTimetable``."""
    UNPARTITIONED = "unpartitioned"
    """Scheduled on assets as a whole, by an ordinary asset condition."""
    CRON = "cron"
    """Scheduled by the clock; its runs have no partition key."""
    MANUAL = "manual"
    """``schedule=None``: triggered by people, backfilled, or triggered by another Dag's task."""


@dataclass(frozen=True)
class Mapping:
    """
    How a key of an asset becomes the key of a consumer's run (and, for an inlet, the other way round).

    :param kind: ``identity``; ``day`` (24 hours, or ``size`` of them, roll up into a day); ``fixed`` (every
        key becomes ``value``); ``allowed`` (the identity for the keys in ``allowed``, others raise);
        ``fan_out`` (a day becomes its hours); ``product`` (``a|b``, both parts mapped by ``parts``);
        ``chain`` (``parts`` one after the other)
    :param at_least: of a roll-up: how many upstream keys are enough (``MinimumCount``); None for all
    :param size: of a day: how many of its hours, from midnight on, its window has

    An hour is written ``2026-06-14T05:00:00`` as an upstream key and ``2026-06-14T05`` when a day fans out
    (both are accepted), a day ``2026-06-14``: Airflow's own defaults.
    """

    kind: str = "identity"
    value: str = ""
    allowed: tuple[str, ...] = ()
    parts: tuple[Mapping, ...] = ()
    at_least: int | None = None
    size: int = 24


@dataclass(frozen=True)
class Source:
    """One asset that a Dag is scheduled on, with its mapper; ``mapping`` is ignored without partitions."""

    asset: str
    mapping: Mapping = Mapping()
    by: str = "asset"
    """``asset``, or a reference by ``name`` or by ``uri``."""


@dataclass(frozen=True)
class Inlet:
    """An inlet of a task; ``reads`` maps the run's key to the asset's keys, None if nothing is declared."""

    asset: str
    reads: Mapping | None = None


@dataclass(frozen=True)
class TaskSpec:
    """
    One task.

    :param after: the tasks that it follows directly
    :param mapped: how many mapped instances it has, None if it is not mapped
    :param teardown_of: the setup task that this task tears down, None if it is no teardown
    :param is_setup: it is a setup
    :param triggers: the Dag that it triggers (``TriggerDagRunOperator``), with its own run's key
    """

    id: str
    after: tuple[str, ...] = ()
    outlets: tuple[str, ...] = ()
    inlets: tuple[Inlet, ...] = ()
    retries: int = 0
    mapped: int | None = None
    is_setup: bool = False
    teardown_of: str | None = None
    triggers: str | None = None


@dataclass(frozen=True)
class DagSpec:
    """
    One Dag.

    :param sources: what it is scheduled on, if it is
    :param any_of: one of the sources is enough (``|``); else all are needed (``&``)
    :param advisory: it has the tag ``andon:advisory``
    """

    id: str
    kind: Kind
    tasks: tuple[TaskSpec, ...]
    sources: tuple[Source, ...] = ()
    any_of: bool = False
    advisory: bool = False
    max_active_runs: int = 16


def asks(asset: str) -> bool:
    """Whether the asset's author wants to be asked before what publishes it is run again."""
    return asset.endswith("_mail")


@dataclass(frozen=True)
class OpenScope:
    """
    What a cord covers of an asset, what is published later included.

    :param kind: ``all``, ``pattern`` (``value`` is a shell's) or ``from`` (``value`` and what follows it)
    """

    asset: str
    kind: str
    value: str = ""

    def covers(self, key: str | None) -> bool:
        if self.kind == "all" or key is None:
            return self.kind == "all"
        if self.kind == "pattern":
            return fnmatchcase(key, self.value)
        return re.sub(r"\d", "0", key) == re.sub(r"\d", "0", self.value) and key >= self.value


@dataclass(frozen=True)
class Graph:
    """All Dags; the assets are those that the Dags name."""

    dags: tuple[DagSpec, ...]
