"""Which partitions a pull means: keys, a range in their own order, and what is published later, too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Order = Callable[[str], tuple[int, ...]]

_FORMATS: tuple[tuple[str, Order], ...] = (
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
"""Years, quarters, months, ISO weeks, days, hours, minutes, seconds and whole numbers."""


class NoOrder(ValueError):
    """The keys have no order that a range could follow."""


class Kind(str, Enum):
    """What an open-ended scope covers of an asset."""

    PATTERN = "pattern"
    """The keys that fit a shell-style pattern, compared byte for byte."""
    FROM = "from"
    """A key and those that follow it in the order of its format."""
    ALL = "all"
    """The whole asset, events without a key included."""


@dataclass(frozen=True, slots=True)
class OpenEnded:
    """
    A scope that also covers what is published later, until a person ends it.

    :param value: the pattern, or the first key
    """

    kind: Kind
    value: str | None = None

    def covers(self, key: str | None) -> bool:
        """Tell whether the scope means the partition with this key."""
        if self.kind is Kind.ALL:
            return True
        if key is None or self.value is None:
            return False
        if self.kind is Kind.PATTERN:
            return fnmatchcase(key, self.value)
        fits, order = _format_of(self.value)
        return bool(fits(key)) and order(self.value) <= order(key)

    def __str__(self) -> str:
        return self.kind.value if self.value is None else f"{self.kind.value} {self.value}"


def starting_at(first: str) -> OpenEnded:
    """
    Return the scope of a key and all that follow it.

    :raises NoOrder: if keys like it have no order
    """
    _format_of(first)
    return OpenEnded(Kind.FROM, first)


def keys_between(first: str, last: str, keys: Collection[str]) -> list[str]:
    """
    Return the keys from ``first`` to ``last``, both included, in the order of their format.

    :param keys: the keys that exist
    :raises NoOrder: if both ends are not of one format that has an order, or the range runs backwards
    """
    fits, order = _format_of(first, last)
    low, high = order(first), order(last)
    if low > high:
        raise NoOrder(f"{first!r} comes after {last!r}")
    return sorted((k for k in keys if fits(k) and low <= order(k) <= high), key=order)


def _format_of(*ends: str) -> tuple[Callable[[str], object], Order]:
    """Return what tells whether a key has the format that all of these have, and its order."""
    for pattern, order in _FORMATS:
        fits = re.compile(pattern, re.ASCII).fullmatch
        if all(fits(end) for end in ends):
            return fits, order
    raise NoOrder(f"keys like {' and '.join(map(repr, ends))} have no order")
