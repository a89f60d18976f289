"""Answers in Airflow's output formats."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import yaml
from airflow.cli.simple_table import AirflowConsole

if TYPE_CHECKING:
    from collections.abc import Mapping


def say(answer: Mapping[str, Any], output: str) -> None:
    """
    Print an answer: one document as JSON or YAML, or a table for each list in it.

    :param answer: plain values, and lists of flat dictionaries
    :param output: table, json, yaml or plain
    """
    if output == "json":
        print(json.dumps(answer, ensure_ascii=False, default=_as_json))
        return
    if output == "yaml":
        print(
            yaml.safe_dump(
                json.loads(json.dumps(answer, default=_as_json)), allow_unicode=True, sort_keys=False
            )
        )
        return
    console = AirflowConsole()
    single = {name: value for name, value in answer.items() if not isinstance(value, list)}
    if single:
        _table(console, [single], output)
    for name, rows in answer.items():
        if isinstance(rows, list):
            print(f"\n{name.replace('_', ' ').capitalize()}: {len(rows) or 'none'}")
            if rows:
                _table(console, rows, output)


def _table(console: AirflowConsole, rows: list[Mapping[str, Any]], output: str) -> None:
    columns = dict.fromkeys(name for row in rows for name in row)
    flat = [{name: _as_text(row.get(name)) for name in columns} for row in rows]
    console.print_as(flat, output)


def _as_json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
