"""The built wheel, on every other interpreter that Airflow supports and this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PAGES = ROOT / "airflow_lean_provider" / "ui" / "dist" / "main.js"


@dataclass(frozen=True)
class Interpreter:
    """A minor version that Airflow supports, and where it was found, if it was."""

    version: str
    path: Path | None


def other_interpreters() -> list[Interpreter]:
    own = "{}.{}".format(*sys.version_info[:2])
    supported = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text()
    )
    return [Interpreter(version, find_interpreter(version)) for version in supported if version != own]


def find_interpreter(version: str) -> Path | None:
    """The first that really starts as this version: pyenv's shims for versions not switched on do not."""
    return next((path for path in _candidates(version) if _starts_as(path, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    for folder in os.get_exec_path():
        yield Path(folder, name)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True)
    uv = Path.home() / ".local/share/uv/python"
    yield from sorted(uv.glob(f"cpython-{version}.*/bin/{name}"), reverse=True)


def _starts_as(path: Path, version: str) -> bool:
    if not path.exists():
        return False
    question = "import sys; print(*sys.version_info[:2], sep='.')"
    answer = subprocess.run([str(path), "-c", question], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == version


def prepare(interpreter: Interpreter, wheel: Path) -> tuple[Path, Path]:
    """
    Install the wheel with what its tests need.

    :return: the interpreter that has it, and a folder with the tests but without the sources, so that what is
        imported is what was installed
    """
    folder = BUILD / "interpreters" / interpreter.version
    python = folder / "venv" / "bin" / "python"
    if python.exists():  # the version number alone does not tell one build from the next
        _call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "airflow-lean-provider")
    _call(
        Path(sys.executable),
        ROOT / "tools" / "make_venv.py",
        folder / "venv",
        "--python",
        interpreter.path,
        f"{wheel}[test]",
    )
    sources = folder / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(ROOT / "tests", sources / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", sources)
    _call(python, "-c", "import airflow_lean_provider", cwd=sources)
    return python, sources


def build_wheel() -> Path:
    folder = BUILD / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    _call(Path(sys.executable), "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    return next(folder.glob("*.whl"))


def pages_in(wheel: Path) -> bool | None:
    """Tell whether the wheel contains the pages in Airflow's UI; None if they were not built."""
    if not PAGES.exists():
        return None
    with ZipFile(wheel) as contents:
        return str(PAGES.relative_to(ROOT)) in contents.namelist()


def _call(python: Path, *arguments: object, cwd: Path = ROOT) -> None:
    subprocess.run([str(python), *map(str, arguments)], cwd=cwd, check=True)
