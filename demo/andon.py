"""``airflow andon`` as a person at a terminal uses it, the answers as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.airflow_process import AirflowFailed, RunningAirflow

if TYPE_CHECKING:
    from demo.telling import Teller

STILL_SETTLING = 3


@dataclass
class Andon:
    """
    The command line of one Airflow.

    :param airflow: where it runs
    :param teller: who tells the audience which command was given
    """

    airflow: RunningAirflow
    teller: Teller

    def __call__(self, *words: str, succeed_with: tuple[int, ...] = (0,)) -> Any:
        """
        Give one command and return its answer.

        :param words: what follows ``airflow andon``
        :param succeed_with: the exit codes that are no failure
        """
        shown = " ".join(f'"{word}"' if " " in word else word for word in words)
        self.teller.say(f"$ airflow andon {shown}", "bold cyan")
        begin = time.monotonic()
        done = self.airflow.cli("andon", *words, "-o", "json", check=False)
        if done.returncode not in succeed_with:
            raise AirflowFailed(
                f"airflow andon {shown}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        self.teller.say(f"exit {done.returncode} after {time.monotonic() - begin:.1f} s", "dim")
        return first_json(done.stdout)


def first_json(output: str) -> Any:
    """
    Return the JSON document in a command's output; other lines may come before it.

    :param output: what was printed
    """
    decoder = json.JSONDecoder()
    for number, character in enumerate(output):
        if character in "[{" and (number == 0 or output[number - 1] == "\n"):
            try:
                return decoder.raw_decode(output[number:])[0]
            except ValueError:
                continue
    raise AirflowFailed(f"No JSON in:\n{output}")


def find(answer: Any, *names: str) -> Any:
    """
    Return the first value under one of these names, however deep it is; None if there is none.

    :param answer: decoded JSON
    :param names: keys, the best first
    """
    for name in names:
        if (found := _find_one(answer, name)) is not None:
            return found
    return None


def is_said(answer: Any, *words: str) -> bool:
    """
    Whether one record of the answer contains all these words as values.

    :param answer: decoded JSON
    :param words: values, or members of lists that are values
    """
    if isinstance(answer, list):
        return any(is_said(part, *words) for part in answer)
    if not isinstance(answer, dict):
        return False
    said = set()
    for value in answer.values():
        if isinstance(value, str):
            said |= {value, *value.replace(" ", "").split(",")}
        elif isinstance(value, list):
            said |= {part for part in value if isinstance(part, str)}
    if said.issuperset(words):
        return True
    return any(is_said(value, *words) for value in answer.values())


def _find_one(answer: Any, name: str) -> Any:
    if isinstance(answer, dict):
        if answer.get(name) is not None:
            return answer[name]
        answer = list(answer.values())
    if isinstance(answer, list):
        for part in answer:
            if (found := _find_one(part, name)) is not None:
                return found
    return None
