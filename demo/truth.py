"""
What every table must contain, worked out in plain Python from what the till and the bank deliver.

Shares nothing with the Dags but the source systems and the names of the tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from shop.source import MICRO, orders_of, rates_of

from demo.shop_database import Rows, tables

Row = tuple[Any, ...]
Tables = dict[str, Rows]


def hours_of(day: str) -> list[str]:
    """
    Return the 24 hours of a day.

    :param day: as ``2026-06-14``
    """
    return [f"{day}T{hour:02}" for hour in range(24)]


def week_of(day: str) -> str:
    """
    Return the week of a day, as Airflow's ``StartOfWeekMapper`` writes it.

    :param day: as ``2026-06-14``
    """
    monday = date.fromisoformat(day) - timedelta(days=date.fromisoformat(day).weekday())
    return f"{monday.isoformat()} (W{monday.isocalendar().week:02})"


def revenue_of(day: str, faults: Mapping[str, int]) -> Row:
    """
    Return a day's row of ``daily_revenue``.

    :param day: the day
    :param faults: what the till multiplied an hour's amounts by
    """
    sold = [row for hour in hours_of(day) for row in _enriched(hour, faults)]
    return day, len(sold), len({row[2] for row in sold}), sum(row[5] for row in sold)


def all_tables(
    hours: Iterable[str], days: Collection[str], faults: Mapping[str, int] | None = None
) -> Tables:
    """
    Return the content of every table.

    :param hours: the hours that were published
    :param days: the days whose revenue is known
    :param faults: what the till multiplied an hour's amounts by; nothing if all is well
    """
    faults = faults or {}
    expected: Tables = {name: [] for name in tables.TABLES}
    for hour in hours:
        expected["orders"] += [(hour, *order) for order in orders_of(hour, faults.get(hour, 1))]
        expected["exchange_rates"] += [(hour, *rate) for rate in rates_of(hour)]
        enriched = _enriched(hour, faults)
        expected["clean_orders"] += [row[:5] for row in enriched]
        expected["enriched_orders"] += enriched
    weeks: dict[str, list[int]] = {}
    for day in days:
        revenue = revenue_of(day, faults)
        _, orders, _, cents = revenue
        expected["daily_revenue"].append(revenue)
        expected["revenue_mail"].append(
            (day, "management", f"Revenue of {day}: {cents // 100} EUR, {orders} orders")
        )
        expected["marketing_budget"].append((day, cents // 10))
        weeks.setdefault(week_of(day), []).append(cents)
    for week, cents_of_days in weeks.items():
        expected["weekly_forecast"].append(
            (week, len(cents_of_days), 7 * sum(cents_of_days) // len(cents_of_days))
        )
    return {name: sorted(rows) for name, rows in expected.items()}


def checksums(content: Tables) -> dict[str, str]:
    """
    Return the checksum of every partition, by ``table/partition``.

    :param content: all tables
    """
    partitions: dict[str, Rows] = {}
    for table, rows in content.items():
        for row in rows:
            partitions.setdefault(f"{table}/{row[0]}", []).append(row)
    return {name: tables.checksum(rows) for name, rows in partitions.items()}


def _enriched(hour: str, faults: Mapping[str, int]) -> Rows:
    rates = {rate.currency: rate.micro_eur for rate in rates_of(hour)}
    sold: dict[str, Row] = {}
    for order in orders_of(hour, faults.get(hour, 1)):
        if not order.is_test:
            euros = order.cents * rates[order.currency] // MICRO
            sold[order.order_no] = (hour, order.order_no, order.customer, order.currency, order.cents, euros)
    return list(sold.values())
