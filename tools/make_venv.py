"""
Make a virtual environment and install into it.

Needs nothing but the standard library. Uses uv, which pip brings and which installs within seconds, and falls
back to plain pip where uv cannot be had or fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment")
    parser.add_argument("--editable", default=[], action="append", help="a project to install in place")
    parser.add_argument("--attempt", default=[], action="append", help="the same, but no harm if it fails")
    parser.add_argument("requirements", nargs="*", help="as pip takes them")
    args = parser.parse_intermixed_args()

    require_supported(args.python)
    python = args.directory / "bin" / "python"
    requirements = [*(f"--editable={project}" for project in args.editable), *args.requirements]
    uv = find_uv(args.python)
    if not python.exists():
        create(args.directory, args.python, uv)
    if not install(requirements, python, args.python, uv):
        sys.exit(f"cannot install {' '.join(requirements)} into {args.directory}")
    for project in args.attempt:
        if not install([f"--editable={project}"], python, args.python, uv):
            print(f"{project} could not be installed; what needs it is left out", flush=True)


def install(requirements: list[str], python: Path, model: str, uv: str | None) -> bool:
    """
    Install into the environment of ``python``.

    :param model: the interpreter that it was made from, whose configuration of pip counts
    """
    environment = uv_environment(model)
    if uv and run(uv, "pip", "install", "--python", str(python), *requirements, env=environment):
        return True
    print("uv is not available or failed; installing with pip, which takes longer", flush=True)
    if not run(str(python), "-m", "pip", "--version"):
        run(str(python), "-m", "ensurepip")
    return run(str(python), "-m", "pip", "install", "--quiet", *requirements)


def require_supported(python: str) -> None:
    version = output(python, "-c", "import sys; print(*sys.version_info[:2], sep='.')")
    if version not in SUPPORTED:
        sys.exit(
            f"{python} is Python {version or '?'}, and Airflow 3.3 runs on {', '.join(SUPPORTED)}: "
            f"name another one, for example `make test PYTHON=python{SUPPORTED[1]}`"
        )


def find_uv(python: str) -> str | None:
    """uv as found on the PATH, else as installed by pip into a folder of our own."""
    if uv := shutil.which("uv"):
        return uv
    folder = ROOT / "build" / "uv"
    own = folder / "bin" / "uv"
    if not own.exists() and not run(python, "-m", "pip", "install", "--quiet", "--target", str(folder), "uv"):
        return None
    return str(own) if own.exists() else None


def create(directory: Path, python: str, uv: str | None) -> None:
    environment = uv_environment(python)
    if uv and run(uv, "venv", "--quiet", "--seed", "--python", python, str(directory), env=environment):
        return
    if not run(python, "-m", "venv", str(directory)):
        sys.exit(
            f"{python} can neither make a virtual environment nor install uv; install what your system calls "
            "python3-venv or python3-pip"
        )


def uv_environment(python: str) -> dict[str, str]:
    """What pip is configured to use, in the words of uv, which does not read pip's configuration."""
    env = {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy", **os.environ}
    configured = {}
    for line in output(python, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        configured[key.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    if index := configured.get("index-url"):
        env.setdefault("UV_DEFAULT_INDEX", index)
    if extra := configured.get("extra-index-url"):
        env.setdefault("UV_INDEX", extra)
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # as pip does: the best of all indexes
    if links := configured.get("find-links"):
        env.setdefault("UV_FIND_LINKS", ",".join(links.split()))
    if certificate := configured.get("cert"):
        env.setdefault("SSL_CERT_FILE", certificate)
    return env


def output(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip()


def run(*command: str, env: dict[str, str] | None = None) -> bool:
    try:
        return subprocess.run(command, env=env, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    main()
