"""
The systems that the shop's data comes from: the till and the bank.

What they deliver for an hour is a pure function of the hour, so that anybody can work out what every
table must contain. The till can be told to deliver one hour wrongly (a row in ``till_faults``): amounts
multiplied. Needs nothing of Airflow.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

CURRENCIES = ("EUR", "USD", "GBP", "SEK")
MICRO = 1_000_000


class Order(NamedTuple):
    """One line of the till; some are the cashiers' tests, some are sent twice."""

    order_no: str
    customer: str
    currency: str
    cents: int
    is_test: int


class Rate(NamedTuple):
    """What one unit of a currency is worth, in millionths of a euro."""

    currency: str
    micro_eur: int


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:6], "big")


def orders_of(hour: str, factor: int = 1) -> list[Order]:
    """
    Return what the till delivers for an hour.

    :param hour: the partition key
    :param factor: what a broken till multiplies every amount by
    """
    lines = []
    for number in range(6 + _number(hour, "orders") % 7):
        lines.append(
            Order(
                order_no=f"{hour}-{number:03}",
                customer=f"customer-{_number(hour, number, 'customer') % 40:02}",
                currency=CURRENCIES[_number(hour, number, "currency") % len(CURRENCIES)],
                cents=(100 + _number(hour, number, "cents") % 30_000) * factor,
                is_test=int(_number(hour, number, "test") % 9 == 0),
            )
        )
    return lines + lines[:: 1 + _number(hour, "twice") % 4]


def rates_of(hour: str) -> list[Rate]:
    """
    Return the bank's rates of an hour.

    :param hour: the partition key
    """
    usual = {"EUR": MICRO, "USD": 920_000, "GBP": 1_170_000, "SEK": 88_000}
    return [
        Rate(currency, usual[currency] + (_number(hour, currency) % 20_000 if currency != "EUR" else 0))
        for currency in CURRENCIES
    ]
