"""What a person gets told who asked for something that cannot be done."""

from __future__ import annotations


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


class NotPermitted(BadRequest):
    """Whoever asks may not do all that the request takes."""


class Conflict(BadRequest):
    """The request could be carried out, were things not as they are: a cord is closed, the brake is off."""
