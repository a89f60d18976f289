"""
Shows that the simulation can fail: ``python -m tests.simulation.mutation [NAME]...``, or ``make mutants``.

Each mutant of ``mutants.py`` is the product with one rule broken. It plays fixed seeds and stories that the
unbroken product plays without a complaint (the first rows of the table), and has to be complained about
within :data:`SECONDS`. ``--find N`` has it play the first N seeds instead.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

from tests.simulation.mutants import MUTANTS, Mutant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""For how long one mutant plays at most."""


class Stale(Exception):
    """The text that a mutant replaces does not occur exactly once: the product has changed."""


def mutated(mutant: Mutant, source: str) -> str:
    """
    Return the source of the mutant's module, broken.

    :raises Stale: if it is not clear what to replace
    """
    if (found := source.count(mutant.old)) != 1:
        raise Stale(f"{mutant.name}: its text occurs {found} times in {mutant.module}")
    return source.replace(mutant.old, mutant.new)


def source_of(mutant: Mutant) -> str:
    """Return the source of the module that it breaks."""
    package, *rest = mutant.module.split(".")
    found = importlib.util.find_spec(package)  # found without importing anything
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(found.submodule_search_locations[0], *rest).with_suffix(".py").read_text()


@contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """
    Break the product of this process, wherever it has been imported to: its functions get other code.

    :raises Stale: if no function of the module changes
    """
    module, source = importlib.import_module(mutant.module), source_of(mutant)
    whole, other = (
        dict(_named(compile(text, str(module.__file__), "exec", dont_inherit=True)))
        for text in (source, mutated(mutant, source))
    )
    changed = {code: other[name] for name, code in whole.items() if name in other and code != other[name]}
    functions = {
        function: function.__code__
        for function in gc.get_objects()
        if isinstance(function, FunctionType)
        and function.__code__.co_filename == module.__file__
        and function.__code__ in changed
    }
    if not functions:
        raise Stale(f"{mutant.name}: no function of {mutant.module} changes")
    for function, code in functions.items():
        function.__code__ = changed[code]
    try:
        yield
    finally:
        for function, code in functions.items():
            function.__code__ = code


def _named(code: CodeType, within: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], CodeType]]:
    """Yield all code that has a name, by where it stands: in which classes and functions."""
    for each in code.co_consts:
        if isinstance(each, CodeType) and not each.co_name.startswith("<"):
            yield (*within, each.co_name), each
            yield from _named(each, (*within, each.co_name))


def scripts_of(mutant: Mutant) -> list[str]:
    """Return what it plays: its seeds, then its story, ``#`` and how that interleaves."""
    stories = [f"{mutant.story}#{seed}" for seed in mutant.interleavings or (0,)]
    return [*map(str, mutant.seeds), *(stories if mutant.story else [])]


def seeds_for(mutant: Mutant, count: int) -> Mutant:
    """Return the mutant with the first ``count`` seeds to play."""
    if mutant.interleavings:
        return mutant._replace(interleavings=tuple(range(count)))
    return mutant._replace(seeds=tuple(range(count)), story="")


@dataclass
class Caught:
    """
    What became of a mutant.

    :param mutant: its name, empty for the unbroken product
    :param script: the first seed or story that was complained about, None if none was
    :param complaint: what was said of it, or why nothing could be played
    :param clean: what was not complained about
    """

    mutant: str
    script: str | None = None
    complaint: str = ""
    seconds: float = 0.0
    clean: list[str] = field(default_factory=list)


def play(mutants: Collection[Mutant], *, interleaved: bool, find: int = 0) -> Iterator[Caught]:
    """
    Play the unbroken product, then the mutants one after the other, in a new process.

    :param interleaved: those that have interleavings, on PostgreSQL; else the others
    :raises subprocess.CalledProcessError: if the process crashes
    """
    names = [mutant.name for mutant in mutants if bool(mutant.interleavings) == interleaved]
    if not names:
        return
    command = [sys.executable, "-m", "tests.simulation.mutation", "--play", "--find", str(find), *names]
    command += ["--interleaved"] if interleaved else []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("{"):
                yield Caught(**json.loads(line))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _play_here(mutants: list[Mutant], *, interleaved: bool) -> None:
    """The other side of :func:`play`: one line for each."""
    from tests.simulation.__main__ import choose_database

    choose_database("postgres" if interleaved else "sqlite")
    import logging

    from tests.simulation.playing import airflow_without_delays

    logging.disable(logging.ERROR)
    with airflow_without_delays():
        scripts = list(dict.fromkeys(script for mutant in mutants for script in scripts_of(mutant)))
        if interleaved:
            _wrong(scripts[0])  # what Airflow asks only once would make the first one interleave otherwise
        unbroken = _judge("", scripts, go_on=True)
        print(json.dumps(asdict(unbroken)), flush=True)
        for mutant in mutants:
            able = [script for script in scripts_of(mutant) if script in unbroken.clean]
            try:
                with broken(mutant):
                    caught = _judge(mutant.name, able)
            except Stale as error:
                caught = Caught(mutant.name, complaint=str(error))
            print(json.dumps(asdict(caught)), flush=True)


def _judge(name: str, scripts: Iterable[str], *, go_on: bool = False) -> Caught:
    """:param go_on: play all, whatever is complained about"""
    started, caught = time.monotonic(), Caught(name)
    for script in scripts:
        wrong = _wrong(script)
        caught.seconds = time.monotonic() - started
        if not wrong:
            caught.clean.append(script)
        elif caught.script is None:
            by_oracle = [each for each in wrong if each.startswith("At ")]
            caught.script, caught.complaint = script, [*by_oracle, *wrong][0].splitlines()[0]
        if not go_on and (wrong or caught.seconds > SECONDS):
            break
    return caught


def _wrong(script: str) -> list[str]:
    from tests.simulation.playing import play_history, play_seed
    from tests.simulation.stories import STORIES

    story, _, seed = script.rpartition("#")
    return (play_history(STORIES[story].history(seed)) if story else play_seed(int(seed))).wrong


def main() -> int:
    """Print the table; the exit code says whether everything was caught."""
    arguments = _parse()
    if unknown := set(arguments.names) - {mutant.name for mutant in MUTANTS}:
        sys.exit(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]
    if arguments.play:
        find = arguments.find
        chosen = [seeds_for(mutant, find) for mutant in chosen] if find else chosen
        _play_here(chosen, interleaved=arguments.interleaved)
        return 0
    print(f"{'mutant':30} {'caught in':>9}  what is broken: seed or story, and the complaint")
    caught = 0
    for interleaved in (False, True):
        for each in play(chosen, interleaved=interleaved, find=arguments.find):
            caught += bool(each.mutant and each.script)
            print(_row(each, interleaved=interleaved), flush=True)
    print(f"{caught} of {len(chosen)} mutants were caught")
    return int(caught < len(chosen))


def _row(each: Caught, *, interleaved: bool) -> str:
    breaks = {mutant.name: mutant.breaks for mutant in MUTANTS}.get(each.mutant)
    if breaks is None:
        breaks = "several actors at once (PostgreSQL)" if interleaved else "one act at a time (SQLite)"
    if each.script is not None:
        script = f"seed {each.script}" if each.script.isdigit() else f'"{each.script.removesuffix("#0")}"'
        said = f"{script}: {each.complaint}"
    else:
        said = f"{len(each.clean)} seeds and stories without a complaint"
        said = f"ESCAPED: {each.complaint or said}" if each.mutant else said
    return f"{each.mutant or '(not broken)':30} {each.seconds:7.1f} s  {breaks}\n{'':43}{said}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutation", description=__doc__)
    parser.add_argument("names", nargs="*", help="these mutants only")
    parser.add_argument("--find", type=int, default=0, metavar="N", help="have them play the first N seeds")
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--interleaved", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
