"""What the audience sees: one line for everything that happens, with the seconds since the beginning."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

PROGRESS_SECONDS = 2.0
NARROWEST = 110
TIME = re.compile(r"^\d{4}-\d\d-\d\d[T ](\d\d:\d\d:\d\d)\.\d+\+00:00$")


class Teller:
    """Prints the story."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._console.width = max(self._console.width, NARROWEST)
        self._begin = time.monotonic()
        self._last_progress = ""
        self._last_told = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._begin

    def chapter(self, title: str) -> None:
        """
        Begin a chapter.

        :param title: its title
        """
        self._console.print(f"\n[bold]{title}[/bold]")

    def say(self, what: str, style: str = "") -> None:
        """
        Tell one thing.

        :param what: a line
        :param style: rich's style of it
        """
        self._last_progress = ""
        self._last_told = self.seconds
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  ", end="")
        self._console.print(what, style=style, markup=False)

    def good(self, what: str) -> None:
        """
        Tell something that is as promised.

        :param what: a line
        """
        self.say(f"✓ {what}", "green")

    def bad(self, what: str) -> None:
        """
        Tell something that is not.

        :param what: a line
        """
        self.say(f"✗ {what}", "bold red")

    def progress(self, what: str) -> None:
        """
        Tell how far something is, unless that has just been told.

        :param what: a line
        """
        if what != self._last_progress and self.seconds - self._last_told >= PROGRESS_SECONDS:
            self.say(what, "dim")
            self._last_progress = what

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """
        Show a table.

        :param title: its title
        :param columns: headings
        :param rows: lines
        """
        shown = Table(title=title, title_justify="left", title_style="bold")
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in rows:
            shown.add_row(*map(_as_text, row))
        self._console.print(shown)


def _as_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list):
        return ", ".join(map(_as_text, cell))
    return TIME.sub(r"\1 UTC", str(cell))
