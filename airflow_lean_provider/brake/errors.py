"""What a person gets told who asked for something that cannot be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class BadRequest(ValueError):
    """
    The request names something that cannot be; nothing was changed.

    :param field: the name of the argument that is wrong
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotFound(BadRequest):
    """The request names something that does not exist."""


class Ambiguous(BadRequest):
    """
    The request names several assets.

    :param name: what it says
    :param uris: of the assets that it may mean, by their ids
    """

    def __init__(self, name: str, uris: dict[int, str], hidden: int = 0) -> None:
        more = [f"{hidden} that you may not read"] if hidden else []
        super().__init__(
            "asset", f"{name!r} is ambiguous; use a uri: " + ", ".join(sorted(uris.values()) + more)
        )
        self.name = name
        self.uris = uris

    def told_to(self, readable: Collection[int]) -> Ambiguous:
        """Return it as it is told to somebody who may read only some assets."""
        named = {asset: uri for asset, uri in self.uris.items() if asset in readable}
        return Ambiguous(self.name, named, len(self.uris) - len(named))


class NotPermitted(BadRequest):
    """Whoever asks may not do all that the request takes."""


class Conflict(BadRequest):
    """The request could be carried out, were things not as they are: a cord is closed, the brake is off."""
