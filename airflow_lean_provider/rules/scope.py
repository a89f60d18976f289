"""Which partitions a pull means: keys, a list of them, or a range in the keys' own order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_FORMATS: tuple[tuple[str, Callable[[str], tuple[int, ...]]], ...] = (
    (r"\d{4}-Q[1-4]", lambda k: tuple(map(int, re.findall(r"\d+", k)))),
    (r"\d{4}-W\d{2}", lambda k: tuple(map(int, re.findall(r"\d+", k)))),
    (r"\d{4}", lambda k: (int(k),)),
    (r"\d{4}-\d{2}", lambda k: tuple(map(int, k.split("-")))),
    (r"\d{4}-\d{2}-\d{2}", lambda k: tuple(map(int, k.split("-")))),
    (
        r"\d{4}-\d{2}-\d{2}[T ]\d{2}(:\d{2}(:\d{2})?)?(Z|[+-]00:?00)?",
        lambda k: tuple(map(int, re.findall(r"\d+", k[:19]))),
    ),
    (r"-?\d+", lambda k: (int(k),)),
)


class NoOrder(ValueError):
    """The keys have no order that a range could follow."""


def keys_between(first: str, last: str, keys: Collection[str]) -> list[str]:
    """
    Return the keys from ``first`` to ``last``, both included, in the order of their format.

    Known formats are years, quarters, months, ISO weeks, days, hours, minutes, seconds and whole numbers.

    :param keys: the keys that exist
    :raises NoOrder: if both ends are not of one of these formats, or the range runs backwards
    """
    for pattern, order in _FORMATS:
        fits = re.compile(pattern).fullmatch
        if fits(first) and fits(last):
            low, high = order(first), order(last)
            if low > high:
                raise NoOrder(f"{first!r} comes after {last!r}")
            return sorted((k for k in keys if fits(k) and low <= order(k) <= high), key=order)
    raise NoOrder(f"keys like {first!r} and {last!r} have no order")
